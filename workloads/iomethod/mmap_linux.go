package iomethod

import (
	"os"
	"runtime/debug"
)

func init() {
	Register(Method{
		Name:   "mmap",
		Doc:    "mmap(2) the file shared, hand out the mapping itself, munmap(2): once a job, no advice",
		Reader: Role[Reader]{Calls: []string{"mmap", "munmap"}, New: newMmapReader},
	})
}

type mmapReader struct{ f *os.File }

func newMmapReader(c Config) (Reader, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &mmapReader{f}, nil
}

func (r *mmapReader) Read(p *Plan, consume Consumer) (err error) {
	if p.Length == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapFile(int(r.f.Fd()), p.Start, p.Length)
	if err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if panicked := recover(); panicked != nil {
			err = m.fault(panicked)
		}
		if e := m.unmap(); err == nil {
			err = e
		}
	}()
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		// Hand out the mapping itself: a copy would charge mmap for what it avoids.
		consume(off, m.data[off-p.Start:][:n])
	}
	return nil
}

func (r *mmapReader) Close() error { return r.f.Close() }
