package iomethod

import (
	"io"
	"os"
)

type fileWriter struct {
	f    *os.File
	sync fileSync
}

func newFileWriter(c Config) (Writer, error) {
	f, err := openSynced(c)
	if err != nil {
		return nil, err
	}
	return &fileWriter{f, fileSync(c.Sync)}, nil
}

// openSynced opens the target of a method that writes by os.File.
func openSynced(c Config) (*os.File, error) {
	if err := checkSync(c.Sync, fileSyncs...); err != nil {
		return nil, err
	}
	return openTarget(c, os.O_WRONLY)
}

func (w *fileWriter) Write(p *Plan, produce Producer) error {
	at := int64(-1)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b := produce(off, n)
		if off != at {
			if _, err := w.f.Seek(off, io.SeekStart); err != nil {
				return err
			}
		}
		if _, err := w.f.Write(b); err != nil {
			return err
		}
		at = off + int64(n)
		if err := w.sync.piece(w.f); err != nil {
			return err
		}
	}
	return w.sync.end(w.f, p)
}

func (w *fileWriter) Close() error { return w.f.Close() }
