package workloads

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"unsafe"

	"iopath/workloads/iomethod"
)

// What a Source hands out repeats itself every period bytes: a small stretch, so
// that small pieces come out of the processor's second-level cache, as bytes do
// that a program has just made. It is a prime number of pages, so that no bytes are
// alike at two offsets that differ by a power of two; and it is longer than the
// 128 KiB of which filesystems compress each by itself, so that nothing is saved by
// that.
const period = 37 * touchStride

// jobShift is how many bytes further on each job begins.
const jobShift = 2 * touchStride

// A Source is what writers write: bytes in memory that depend on their offset in
// the file and on the number of the job, so that a job which wrote nothing, or in
// the wrong place, is seen. They are random, and the same in every process. It is
// not safe for concurrent use.
type Source struct {
	// Produce returns the n bytes that belong at off, of the job under way. It
	// neither copies nor allocates; the bytes are valid until the Source is
	// dropped, and not to be changed. It takes pieces as long as NewSource was told.
	Produce iomethod.Producer

	shift int64  // of the job under way
	read  []byte // what Verify reads back
}

// NewSource returns a source, at its first job, for pieces of at most block bytes.
func NewSource(block int) *Source {
	s := new(Source)
	buf := offPage(period + block)
	rand.NewChaCha8([32]byte{}).Read(buf[:period])
	for n := period; n < len(buf); n *= 2 {
		copy(buf[n:], buf[:n])
	}
	// A function literal, for the reason that Consumer.Consume is one.
	s.Produce = func(off int64, n int) []byte {
		return buf[(off+s.shift)%period:][:n]
	}
	return s
}

// offPage returns n bytes that start 1 KiB into a page, as the buffers of readers do
// (package iomethod), lest a copy be slow because both sides' addresses end alike.
func offPage(n int) []byte {
	const offset = 1 << 10
	const page = touchStride
	b := make([]byte, n+page)
	skip := (offset - int(uintptr(unsafe.Pointer(&b[0]))%page) + page) % page
	return b[skip:][:n:n]
}

// Next goes on to the next job, whose bytes are others. They are the same again
// after 37 jobs.
func (s *Source) Next() { s.shift = (s.shift + jobShift) % period }

// Verify reads the pieces of the plan back and compares each with what the job
// under way was to write. The error of the first byte that differs, or that the
// file has not, matches ErrVerification; any other error is the reader's.
func (s *Source) Verify(r io.ReaderAt, p *iomethod.Plan) error {
	if len(s.read) < p.Block {
		s.read = make([]byte, p.Block)
	}
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		got, err := r.ReadAt(s.read[:n], off)
		if got < n && err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read back %d bytes at %d: %w", n, off, err)
		}
		if want := s.Produce(off, n); !bytes.Equal(s.read[:got], want) {
			return differs(off, s.read[:got], want)
		}
	}
	return nil
}

// differs names the first byte, from off on, that is not the one wanted.
func differs(off int64, got, want []byte) error {
	for i, b := range got {
		if b != want[i] {
			return fmt.Errorf("%w: byte %#02x at offset %d, want %#02x", ErrVerification, b, off+int64(i), want[i])
		}
	}
	return fmt.Errorf("%w: no byte at offset %d, want %#02x", ErrVerification, off+int64(len(got)), want[len(got)])
}
