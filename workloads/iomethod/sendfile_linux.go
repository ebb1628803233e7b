package iomethod

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "sendfile",
		Doc:    "sendfile(2) from the file to the socket, without a copy, or to the other file: one call a piece",
		Sender: Role[Sender]{Calls: []string{"sendfile"}, New: newSendfileSender},
		Copier: Role[Copier]{Calls: []string{"sendfile"}, New: newSendfileCopier},
	})
}

type sendfileSender struct {
	f      *os.File
	socket int
	off    int64 // here, because the kernel is given its address
}

func newSendfileSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &sendfileSender{f: f, socket: c.Socket}, nil
}

func (s *sendfileSender) Send(p *Plan) error {
	file := int(s.f.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		s.off = off // which the kernel advances
		for n > 0 {
			sent, err := rawSendfile(s.socket, file, &s.off, n)
			if err != nil {
				return os.NewSyscallError("sendfile", err)
			}
			if sent == 0 {
				return io.ErrUnexpectedEOF
			}
			n -= sent
		}
	}
	return nil
}

func (s *sendfileSender) Close() error { return s.f.Close() }

// rawSendfile reads from *off on and advances it; the file's own offset stays.
func rawSendfile(out, in int, off *int64, n int) (int, error) {
	return retry(unix.SYS_SENDFILE, uintptr(out), uintptr(in), uintptr(unsafe.Pointer(off)), uintptr(n), 0, 0)
}
