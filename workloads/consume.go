package workloads

import (
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"iopath/workloads/iomethod"
)

// Consumers names what can be done with each piece:
//
//   - sum hashes every byte (XXH3, 64 bits, of each 4 KiB): a program that needs
//     all of it.
//   - touch loads one byte of each page: the least that proves the page is there.
//   - copy copies every byte to a buffer of its own, then touches the copy.
var Consumers = []string{"sum", "touch", "copy"}

// touchStride is the distance in bytes between two touches. It is the smallest
// page there is, whatever the machine's own, so that figures compare.
const touchStride = 4096

// A Digest is what a consumer found in a job.
type Digest struct {
	// Bytes is how many were handed over.
	Bytes int64
	// Sum depends on each piece's offset and on what the consumer loaded of it,
	// not on the order of the pieces. A missing, doubled or misplaced piece
	// changes it, and so does a stretch misplaced inside a piece.
	Sum uint64
}

// add takes in one piece. The factor is odd, so that no piece's hash is lost in
// it, and differs from offset to offset, so that two pieces cannot trade places.
func (d *Digest) add(off int64, n int, hash uint64) {
	d.Bytes += int64(n)
	d.Sum += hash * (uint64(off)*0x9e3779b97f4a7c15 | 1)
}

// A Consumer is one kind of use of the bytes, with its digest so far. It is not
// safe for concurrent use.
type Consumer struct {
	Digest
	// Consume takes one piece. It does not allocate.
	Consume iomethod.Consumer

	ahead byte // see sum's fetch
}

// NewConsumer returns the consumer of that name, for pieces of at most block
// bytes.
func NewConsumer(name string, block int) (*Consumer, error) {
	c := new(Consumer)
	switch name {
	// Function literals: a method value would be called by way of another call.
	case "sum":
		c.Consume = func(off int64, b []byte) {
			n := len(b) // 0 of the null method's pieces
			var hash uint64
			for ; len(b) > hashed; b = b[hashed:] {
				c.ahead += fetch(b)
				hash = hash*chain + xxh3.Hash(b[:hashed])
			}
			if n != 0 {
				c.ahead += fetch(b)
				c.add(off, n, hash*chain+xxh3.Hash(b))
			}
		}
	case "touch":
		c.Consume = func(off int64, b []byte) { c.touch(off, b) }
	case "copy":
		buf := make([]byte, block)
		c.Consume = func(off int64, b []byte) { c.touch(off, buf[:copy(buf, b)]) }
	default:
		return nil, fmt.Errorf("consumer %q is unknown (known: %v)", name, Consumers)
	}
	return c, nil
}

func (c *Consumer) touch(off int64, b []byte) {
	var hash uint64
	for i := 0; i < len(b); i += touchStride {
		hash = hash*31 + uint64(b[i])
	}
	c.add(off, len(b), hash)
}

// Pieces are hashed in stretches of so many bytes, whose hashes are chained.
const (
	hashed = 4096
	chain  = 0x9e3779b97f4a7c15 // odd: no hash is lost in the next
)

// fetch loads a byte of each cache line of the first KiB. The hash has loads and
// arithmetic depend on one another, it prefetches what comes after the first KiB
// alone, and a processor's own prefetching ends at a page. Loads that depend on
// nothing wait for memory all at once: so hashing 128 MiB of memory went from 13 to
// 25 GB/s, and 4 KiB in the cache take 3 ns more of 70. Without it the hash, and no
// method, is what mmap waits for.
func fetch(b []byte) (sum byte) {
	const step = 512
	for b = b[:min(len(b), 2*step)]; len(b) >= step; b = b[step:] {
		p := (*[step]byte)(b)
		sum += p[0] + p[64] + p[128] + p[192] + p[256] + p[320] + p[384] + p[448]
	}
	return sum
}

// Reset forgets what was consumed.
func (c *Consumer) Reset() { c.Digest = Digest{} }

// Reference returns the digest that the consumer of that name must come to over
// the plan, when content is what the file was made from.
func Reference(consumer string, p *iomethod.Plan, content io.ReaderAt) (Digest, error) {
	c, err := NewConsumer(consumer, p.Block)
	if err != nil {
		return Digest{}, err
	}
	buf := make([]byte, p.Block)
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		// A ReaderAt may say io.EOF with the last of its bytes.
		if got, err := content.ReadAt(buf[:n], off); got < n && err != nil {
			return Digest{}, fmt.Errorf("read the reference content at offset %d: %w", off, err)
		}
		c.Consume(off, buf[:n])
	}
	return c.Digest, nil
}

// ErrVerification is matched by the error of a job whose digest is not the
// reference's: bytes were lost, doubled, misplaced or changed on the way.
var ErrVerification = errors.New("verification failed")

// Verify compares what a job came to with what it must come to.
func Verify(got, want Digest) error {
	switch {
	case got.Bytes != want.Bytes:
		return fmt.Errorf("%w: %d bytes arrived, want %d", ErrVerification, got.Bytes, want.Bytes)
	case got.Sum != want.Sum:
		return fmt.Errorf("%w: sum %016x over %d bytes, want %016x", ErrVerification, got.Sum, got.Bytes, want.Sum)
	}
	return nil
}
