package iomethod

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "readv",
		Doc:    "readv(2) into four parts of one buffer; lseek(2) wherever the next piece is not the next byte",
		Reader: Role[Reader]{Calls: []string{"readv"}, New: newReadvReader},
	})
}

// A vector is a buffer in parts, as a program has it that scatters what it reads, or
// gathers what it writes. Here they lie side by side, so that the consumer gets
// them as one piece: what is measured is the price of several parts to a call.
type vector [4]unix.Iovec

// split makes b's quarters the parts, the last of which may be shorter, and returns
// how many there are: fewer than four where b has fewer bytes.
func (v *vector) split(b []byte) int {
	part := (len(b) + len(v) - 1) / len(v)
	parts := 0
	for ; len(b) > 0; parts++ {
		n := min(part, len(b))
		v[parts].Base = &b[0]
		v[parts].SetLen(n)
		b = b[n:]
	}
	return parts
}

type readvReader struct {
	readReader
	parts vector
}

func newReadvReader(c Config) (Reader, error) {
	r, err := openReadReader(c)
	if err != nil {
		return nil, err
	}
	return &readvReader{readReader: *r}, nil
}

func (r *readvReader) Read(p *Plan, consume Consumer) error {
	r.at = -1
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := r.piece(off, n); err != nil {
			return err
		}
		consume(off, r.buf[:n])
	}
	return nil
}

// piece reads one piece into the buffer.
func (r *readvReader) piece(off int64, n int) error {
	if err := r.seek(off); err != nil {
		return err
	}
	for got := 0; got < n; {
		parts := r.parts.split(r.buf[got:n])
		m, err := retry(unix.SYS_READV, uintptr(r.fd), uintptr(unsafe.Pointer(&r.parts)), uintptr(parts), 0, 0, 0)
		if err != nil {
			return os.NewSyscallError("readv", err)
		}
		if m == 0 {
			return io.ErrUnexpectedEOF
		}
		got += m
	}
	r.at = off + int64(n)
	return nil
}
