// Package mmapgo shows how a package outside of iopath has a method of its own
// measured: reading a file by github.com/edsrzf/mmap-go. The method is registered
// here; the test file beside hands over to iopath.
package mmapgo

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/edsrzf/mmap-go"

	"iopath/workloads/iomethod"
)

func init() {
	iomethod.Register(iomethod.Method{
		Name: "mmapgo",
		Doc:  "github.com/edsrzf/mmap-go: MapRegion of the job's pages, read-only, and Unmap: once a job",
		// It goes through Go's runtime: os.File, and system calls that the
		// scheduler is told of.
		Idiomatic: true,
		Reader:    iomethod.Role[iomethod.Reader]{Calls: []string{"mmap", "munmap"}, New: open},
	})
}

type reader struct{ f *os.File }

func open(c iomethod.Config) (iomethod.Reader, error) {
	f, err := os.Open(c.Path)
	if err != nil {
		return nil, err
	}
	return &reader{f}, nil
}

// Read maps the pages of the plan and hands out the mapping itself.
func (r *reader) Read(p *iomethod.Plan, consume iomethod.Consumer) (err error) {
	if p.Length == 0 {
		return nil // there is no mapping of no bytes
	}
	st, err := r.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < p.Start+p.Length {
		return io.ErrUnexpectedEOF // the pages beyond the end would raise SIGBUS
	}
	pad := p.Start % int64(os.Getpagesize())
	m, err := mmap.MapRegion(r.f, int(p.Length+pad), mmap.RDONLY, 0, p.Start-pad)
	if err != nil {
		return fmt.Errorf("map %s: %w", r.f.Name(), err)
	}
	// A file that shrinks meanwhile makes the touch of its lost pages a fault, which
	// this makes a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch panicked := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("touch the mapping at %#x: %w", panicked.Addr(), io.ErrUnexpectedEOF)
		default:
			panic(panicked)
		}
		if e := m.Unmap(); err == nil {
			err = e
		}
	}()
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		consume(off, m[pad+off-p.Start:][:n])
	}
	return nil
}

func (r *reader) Close() error { return r.f.Close() }
