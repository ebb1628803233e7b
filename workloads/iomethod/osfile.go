package iomethod

import (
	"errors"
	"io"
	"os"
)

func init() {
	Register(Method{
		Name:      "os.File",
		Doc:       "Go's os.File: io.ReadFull into one buffer, Seek wherever the next piece is not the next byte",
		Idiomatic: true,
		Reader:    Role[Reader]{Calls: []string{"read"}, New: newFileReader},
	})
}

type fileReader struct {
	f   *os.File
	buf []byte
}

func newFileReader(c Config) (Reader, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &fileReader{f, newBuffer(c.Block)}, nil
}

func (r *fileReader) Read(p *Plan, consume Consumer) error {
	at := int64(-1)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if off != at {
			if _, err := r.f.Seek(off, io.SeekStart); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(r.f, r.buf[:n]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		at = off + int64(n)
		consume(off, r.buf[:n])
	}
	return nil
}

func (r *fileReader) Close() error { return r.f.Close() }
