package iomethod

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "splice",
		Doc:    "splice(2) from the file into a pipe of the default size and from the pipe into the socket",
		Sender: Role[Sender]{Calls: []string{"splice"}, New: newSpliceSender},
	})
}

type spliceSender struct {
	f           *os.File
	pipeR       int
	pipeW       int
	pipeBytes   int
	socket      int
	off, remain int64 // of the job under way; here, because the kernel is given their address
}

func newSpliceSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		f.Close()
		return nil, os.NewSyscallError("pipe2", err)
	}
	s := &spliceSender{f: f, pipeR: pipe[0], pipeW: pipe[1], socket: c.Socket}
	if s.pipeBytes, err = unix.FcntlInt(uintptr(s.pipeW), unix.F_GETPIPE_SZ, 0); err != nil {
		s.Close()
		return nil, os.NewSyscallError("fcntl F_GETPIPE_SZ", err)
	}
	return s, nil
}

func (s *spliceSender) Send(p *Plan) error {
	s.remain = p.Bytes()
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := s.piece(off, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *spliceSender) piece(off int64, n int) error {
	file := int(s.f.Fd())
	s.off = off
	for n > 0 {
		filled, err := rawSplice(file, &s.off, s.pipeW, min(n, s.pipeBytes), 0)
		if err != nil {
			return os.NewSyscallError("splice from the file", err)
		}
		if filled == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= filled
		s.remain -= int64(filled)
		// Without MORE the kernel pushes each filling of the pipe as if it were
		// the last, and small segments wait for delayed acknowledgements.
		flags := unix.SPLICE_F_MORE
		if s.remain == 0 {
			flags = 0
		}
		for filled > 0 {
			drained, err := rawSplice(s.pipeR, nil, s.socket, filled, flags)
			if err != nil {
				return os.NewSyscallError("splice to the socket", err)
			}
			filled -= drained
		}
	}
	return nil
}

func (s *spliceSender) Close() error {
	unix.Close(s.pipeR)
	unix.Close(s.pipeW)
	return s.f.Close()
}

// rawSplice moves up to n bytes; off is nil for pipes and sockets.
func rawSplice(in int, off *int64, out int, n, flags int) (int, error) {
	return retry(unix.SYS_SPLICE, uintptr(in), uintptr(unsafe.Pointer(off)), uintptr(out), 0, uintptr(n), uintptr(flags))
}
