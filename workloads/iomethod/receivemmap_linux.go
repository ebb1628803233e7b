package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

type mmapReceiver struct {
	f      *os.File
	socket int
}

func newMmapReceiver(c Config) (Receiver, error) {
	f, err := openTarget(c, os.O_RDWR) // a shared mapping is never write-only
	if err != nil {
		return nil, err
	}
	return &mmapReceiver{f, c.Socket}, nil
}

func (r *mmapReceiver) Receive(p *Plan) error {
	if p.Pieces() == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapTarget(int(r.f.Fd()), p)
	if err != nil {
		return err
	}
	for i := 0; i < p.Pieces() && err == nil; i++ {
		p.Await(i)
		off, n := p.Piece(i)
		err = receiveFull(r.socket, m.data[off-p.Start:][:n])
	}
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
}

func (r *mmapReceiver) Close() error { return r.f.Close() }

// receiveFull fills b, which is mapped, from the socket. No guard against SIGBUS:
// only the kernel touches the mapping, and where there is no page to be had it
// answers EFAULT.
func receiveFull(socket int, b []byte) error {
	for len(b) > 0 {
		n, err := retry(unix.SYS_RECVFROM, uintptr(socket), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_WAITALL, 0, 0)
		if errors.Is(err, unix.EFAULT) {
			return fmt.Errorf("%w: no page of the file (it shrank, or its filesystem is full)", os.NewSyscallError("recvfrom into the mapping", err))
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}
