package iomethod

import (
	"os"
	"runtime/debug"
)

type mmapWriter struct {
	f    *os.File
	sync mapSync
}

func newMmapWriter(c Config) (Writer, error) {
	f, err := openStored(c)
	if err != nil {
		return nil, err
	}
	return &mmapWriter{f, mapSync(c.Sync)}, nil
}

// openStored opens the target of a method that stores to a mapping, for which it
// must be open for reading too (mmap(2), EACCES).
func openStored(c Config) (*os.File, error) {
	if err := checkSync(c.Sync, mapSyncs...); err != nil {
		return nil, err
	}
	return openTarget(c, os.O_RDWR)
}

// Write maps the plan's stretch once and stores the pieces there.
func (w *mmapWriter) Write(p *Plan, produce Producer) (err error) {
	if p.Pieces() == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	fd := int(w.f.Fd())
	m, err := mapTarget(fd, p)
	if err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer m.release(&err)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		stored := m.data[off-p.Start:][:n]
		copy(stored, produce(off, n))
		if err := w.sync.piece(fd, off, stored); err != nil {
			return err
		}
	}
	return w.sync.end(fd, p, m.data)
}

func (w *mmapWriter) Close() error { return w.f.Close() }

// release ends the stores to a mapping, and is deferred: it unmaps, and turns a
// fault in the mapping, under debug.SetPanicOnFault, into an error.
func (m mapping) release(err *error) {
	if panicked := recover(); panicked != nil {
		if *err = m.storeFault(panicked); *err == nil {
			panic(panicked)
		}
	}
	if e := m.unmap(); *err == nil {
		*err = e
	}
}
