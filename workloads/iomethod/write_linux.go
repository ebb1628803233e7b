package iomethod

import "os"

func init() {
	Register(Method{
		Name:   "write",
		Doc:    "write(2) the producer's bytes; lseek(2) wherever the next piece is not the next byte",
		Writer: Role[Writer]{Calls: []string{"write"}, Also: fdSyncCalls, New: newWriteWriter},
	})
}

type writeWriter struct {
	f    *os.File
	sync fdSync
}

func newWriteWriter(c Config) (Writer, error) {
	f, err := openWritten(c, 0)
	if err != nil {
		return nil, err
	}
	return &writeWriter{f, fdSync(c.Sync)}, nil
}

// openWritten opens the target of a method that writes by its descriptor.
func openWritten(c Config, flags int) (*os.File, error) {
	if err := checkSync(c.Sync, fdSyncs...); err != nil {
		return nil, err
	}
	return openTarget(c, os.O_WRONLY|flags)
}

func (w *writeWriter) Write(p *Plan, produce Producer) error {
	target := cursor{int(w.f.Fd()), -1}
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b := produce(off, n)
		if err := target.seek(off, n); err != nil {
			return err
		}
		if err := writeAll(target.fd, b); err != nil {
			return err
		}
		if err := w.sync.piece(target.fd, off, n); err != nil {
			return err
		}
	}
	return w.sync.end(target.fd, p)
}

func (w *writeWriter) Close() error { return w.f.Close() }
