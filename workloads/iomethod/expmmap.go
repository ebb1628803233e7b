package iomethod

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/exp/mmap"
)

func init() {
	Register(Method{
		Name:      "exp.mmap",
		Doc:       "Go's golang.org/x/exp/mmap: Open, ReadAt into one buffer, which copies, Close: once a job",
		Idiomatic: true,
		Reader:    Role[Reader]{Calls: []string{"openat", "mmap", "munmap", "close"}, New: newExpMmapReader},
	})
}

type expMmapReader struct {
	path string
	buf  []byte
}

func newExpMmapReader(c Config) (Reader, error) {
	if _, err := os.Stat(c.Path); err != nil {
		return nil, err
	}
	return &expMmapReader{c.Path, newBuffer(c.Block)}, nil
}

func (r *expMmapReader) Read(p *Plan, consume Consumer) error {
	if p.Pieces() == 0 {
		return nil
	}
	file, err := mmap.Open(r.path)
	if err != nil {
		return err
	}
	err = r.pieces(file, p, consume)
	if e := file.Close(); err == nil {
		err = e
	}
	return err
}

func (r *expMmapReader) pieces(file *mmap.ReaderAt, p *Plan, consume Consumer) error {
	if p.Start+p.Length > int64(file.Len()) {
		return io.ErrUnexpectedEOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := readMapped(file, r.buf[:n], off); err != nil {
			return err
		}
		consume(off, r.buf[:n])
	}
	return nil
}

// readMapped fills b. The package leaves it to its caller to see that the file
// shrank, by SIGBUS; nothing else can fault here.
func readMapped(file *mmap.ReaderAt, b []byte, off int64) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			if _, fault := panicked.(interface{ Addr() uintptr }); !fault {
				panic(panicked)
			}
			err = fmt.Errorf("touch the mapping: SIGBUS: the file shrank: %w", io.ErrUnexpectedEOF)
		}
	}()
	_, err = file.ReadAt(b, off)
	return err
}

func (r *expMmapReader) Close() error { return nil }
