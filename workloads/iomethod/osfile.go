package iomethod

import (
	"errors"
	"io"
	"os"
)

func init() {
	Register(Method{
		Name:      "os.File",
		Doc:       "Go's os.File: io.ReadFull into one buffer, or Write, and Sync, which is fsync(2); Seek wherever the next piece is not the next byte",
		Idiomatic: true,
		Reader:    Role[Reader]{Calls: []string{"read"}, New: newFileReader},
		Writer:    Role[Writer]{Calls: []string{"write"}, Also: fileSyncCalls, New: newFileWriter},
	})
}

type fileReader struct {
	goFile
	buf []byte
}

func newFileReader(c Config) (Reader, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &fileReader{goFile{f}, newBuffer(c.Block)}, nil
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
			return cutShort(err)
		}
		at = off + int64(n)
		consume(off, r.buf[:n])
	}
	return nil
}

// A goFile is an os.File that another can take the place of.
type goFile struct{ f *os.File } // nil where there is none

// Reopen closes the file and opens the one at path.
func (g *goFile) Reopen(path string) error {
	if err := g.Close(); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	g.f = f
	return nil
}

// Close closes the file, if there is one.
func (g *goFile) Close() error {
	f := g.f
	if f == nil {
		return nil
	}
	g.f = nil
	return f.Close()
}

// cutShort is err, or io.ErrUnexpectedEOF where the file ended before the piece
// did: right at its first byte that is io.EOF to Go.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
