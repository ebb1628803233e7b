package iomethod

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "vmsplice",
		Doc:    "mmap(2) the file once a job, vmsplice(2) the mapping's pages into a pipe, splice(2) them into the socket",
		Sender: Role[Sender]{Calls: []string{"mmap", "vmsplice", "splice", "munmap"}, New: newVmspliceSender},
	})
}

type vmspliceSender struct {
	f      *os.File
	pipe   splicePipe
	socket int
	iov    unix.Iovec // here, because the kernel is given its address
}

func newVmspliceSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	pipe, err := openSplicePipe(0)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &vmspliceSender{f: f, pipe: pipe, socket: c.Socket}, nil
}

func (s *vmspliceSender) Send(p *Plan) error {
	if p.Length == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapFile(int(s.f.Fd()), p.Start, p.Length)
	if err != nil {
		return err
	}
	remain := p.Bytes()
	for i := 0; i < p.Pieces() && err == nil; i++ {
		p.Await(i)
		off, n := p.Piece(i)
		remain -= int64(n)
		err = s.piece(m.data[off-p.Start:][:n], remain == 0)
	}
	// Pages may still be on their way in the socket: it has references of its
	// own to them, as the pipe had, and needs no mapping. They are the page
	// cache's, which nobody changes, so that there is nothing to wait for.
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
}

// piece sends b. The pipe takes what it has room for: it counts pages, and those
// at both ends of b are whole ones to it. There is no guard against SIGBUS, since
// only the kernel touches the mapping: where the file has shrunk it answers
// EFAULT or a short count.
func (s *vmspliceSender) piece(b []byte, last bool) error {
	for len(b) > 0 {
		filled, err := s.fill(b)
		if err != nil {
			return os.NewSyscallError("vmsplice", err)
		}
		b = b[filled:]
		if err := s.pipe.drain(s.socket, filled, last && len(b) == 0); err != nil {
			return err
		}
	}
	return nil
}

// fill puts pages of b into the pipe, which is empty: so it does not wait.
func (s *vmspliceSender) fill(b []byte) (int, error) {
	s.iov.Base = &b[0]
	s.iov.SetLen(len(b))
	return retry(unix.SYS_VMSPLICE, uintptr(s.pipe.w), uintptr(unsafe.Pointer(&s.iov)), 1, 0, 0, 0)
}

func (s *vmspliceSender) Close() error {
	s.pipe.close()
	return s.f.Close()
}
