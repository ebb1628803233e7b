package iomethod

import (
	"bufio"
	"io"
	"os"
)

type bufioWriter struct {
	f    *os.File
	buf  *bufio.Writer
	sync fileSync
}

func newBufioWriter(c Config) (Writer, error) {
	f, err := openSynced(c)
	if err != nil {
		return nil, err
	}
	return &bufioWriter{f, bufio.NewWriterSize(f, bufioSize), fileSync(c.Sync)}, nil
}

// Write flushes what is buffered before a seek, before a sync, and at the end.
func (w *bufioWriter) Write(p *Plan, produce Producer) error {
	w.buf.Reset(w.f) // an error of an earlier job would stay
	at := int64(-1)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b := produce(off, n)
		if off != at {
			if err := w.seek(off); err != nil {
				return err
			}
		}
		if _, err := w.buf.Write(b); err != nil {
			return err
		}
		at = off + int64(n)
		if err := w.syncPiece(); err != nil {
			return err
		}
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	return w.sync.end(w.f, p)
}

func (w *bufioWriter) seek(off int64) error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	_, err := w.f.Seek(off, io.SeekStart)
	return err
}

func (w *bufioWriter) syncPiece() error {
	if Sync(w.sync) != SyncBlock {
		return nil
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	return w.sync.piece(w.f)
}

func (w *bufioWriter) Close() error { return w.f.Close() }
