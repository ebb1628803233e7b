package iomethod

import "os"

func init() {
	Register(Method{
		Name:   "mmap+write",
		Doc:    "mmap(2) the file once a job, write(2) the socket or the other file from the mapping: one copy, one call a piece",
		Sender: Role[Sender]{Calls: []string{"mmap", "write", "munmap"}, New: newMmapWriteSender},
		Copier: Role[Copier]{Calls: []string{"mmap", "write", "munmap"}, New: newMmapWriteCopier},
	})
}

type mmapWriteSender struct {
	f      *os.File
	socket int
}

func newMmapWriteSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &mmapWriteSender{f, c.Socket}, nil
}

func (s *mmapWriteSender) Send(p *Plan) error {
	if p.Length == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapFile(int(s.f.Fd()), p.Start, p.Length)
	if err != nil {
		return err
	}
	for i := 0; i < p.Pieces() && err == nil; i++ {
		p.Await(i)
		off, n := p.Piece(i)
		// No guard against SIGBUS: only the kernel touches the mapping, and
		// where the file has shrunk it answers EFAULT or a short count.
		err = writeAll(s.socket, m.data[off-p.Start:][:n])
	}
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
}

func (s *mmapWriteSender) Close() error { return s.f.Close() }
