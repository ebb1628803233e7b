package iomethod

import (
	"io"
	"os"
)

func init() {
	Register(Method{
		Name:      "os.ReadFile",
		Doc:       "Go's os.ReadFile, one call a job: into new memory each time, and the whole file, whatever the job wants of it",
		Idiomatic: true,
		Whole:     true,
		Reader:    Role[Reader]{Calls: []string{"openat", "read", "close"}, New: newReadFileReader},
	})
}

type readFileReader struct{ path string }

func newReadFileReader(c Config) (Reader, error) {
	if _, err := os.Stat(c.Path); err != nil {
		return nil, err
	}
	return &readFileReader{c.Path}, nil
}

func (r *readFileReader) Read(p *Plan, consume Consumer) error {
	if p.Pieces() == 0 {
		return nil
	}
	data, err := os.ReadFile(r.path)
	if err != nil {
		return err
	}
	if p.Start+p.Length > int64(len(data)) {
		return io.ErrUnexpectedEOF
	}
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		consume(off, data[off:][:n])
	}
	return nil
}

// Reopen has nothing to open: the next job does.
func (r *readFileReader) Reopen(path string) error {
	r.path = path
	return nil
}

func (r *readFileReader) Close() error { return nil }
