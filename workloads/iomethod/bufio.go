package iomethod

import (
	"bufio"
	"io"
)

func init() {
	Register(Method{
		Name:      "bufio",
		Doc:       "Go's bufio.Reader of 64 KiB over os.File: io.ReadFull into another buffer, Seek and Reset wherever the next piece is not the next byte; a bufio.Writer as large, Flush before each Seek or Sync (fsync)",
		Idiomatic: true,
		Reader:    Role[Reader]{Calls: []string{"read"}, New: newBufioReader},
		Writer:    Role[Writer]{Calls: []string{"write"}, Also: fileSyncCalls, New: newBufioWriter},
	})
}

// bufioSize is the size in bytes of bufio's own buffer. Pieces as large go past it.
const bufioSize = 64 << 10

type bufioReader struct {
	goFile
	buffered *bufio.Reader
	buf      []byte
}

func newBufioReader(c Config) (Reader, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &bufioReader{goFile{f}, bufio.NewReaderSize(f, bufioSize), newBuffer(c.Block)}, nil
}

func (r *bufioReader) Read(p *Plan, consume Consumer) error {
	at := int64(-1)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if off != at {
			if _, err := r.f.Seek(off, io.SeekStart); err != nil {
				return err
			}
			r.buffered.Reset(r.f)
		}
		if _, err := io.ReadFull(r.buffered, r.buf[:n]); err != nil {
			return cutShort(err)
		}
		at = off + int64(n)
		consume(off, r.buf[:n])
	}
	return nil
}
