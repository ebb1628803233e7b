package iomethod

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/uring"
)

func init() {
	Register(Method{
		Name: "io_uring.send_zc",
		Doc:  "mmap(2) the file once a job, IORING_OP_SEND_ZC from the mapping, wait until the kernel is done with the pages: TCP alone",
		Probe: func(Config) error {
			runtime.LockOSThread() // the ring is the thread's
			defer runtime.UnlockOSThread()
			return probeSendZC(1)
		},
		Sender: Role[Sender]{Calls: []string{"mmap", "io_uring_enter", "munmap"}, New: newUringSender},
	})
}

// A uringSender has one send at a time, since those in flight together may pass
// each other, but as many notifications to come as the kernel bears: each says
// that it is done with the pages of one send, and whether it copied them after
// all, as it does on loopback (io_uring_enter(2), IORING_OP_SEND_ZC).
type uringSender struct {
	f             *os.File
	ring          *uring.Ring
	sends, copied uint // that were notified of since Tell, and those of them that were copied
}

const (
	sendZCReportUsage = 1 << 3  // IORING_SEND_ZC_REPORT_USAGE
	notifCopied       = 1 << 31 // IORING_NOTIF_USAGE_ZC_COPIED
)

func newUringSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	if err = checkSendZC(c); err != nil {
		f.Close()
		return nil, err
	}
	s, err := newSendRing(c.Socket)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.f = f
	return s, nil
}

// checkSendZC refuses a socket that has no such sends, and a block that the user
// may not lock.
func checkSendZC(c Config) error {
	domain, err := unix.GetsockoptInt(c.Socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if domain != unix.AF_INET && domain != unix.AF_INET6 {
		return fmt.Errorf("io_uring SEND_ZC by a socket that is not TCP's: %w (send by TCP)", errors.ErrUnsupported)
	}
	return probeSendZC(max(c.Block, 1))
}

// newSendRing returns a sender without a file.
func newSendRing(socket int) (*uringSender, error) {
	const entries = 64 // of which one is used; there are twice as many for completions
	r, err := uring.New(entries)
	if err != nil {
		return nil, err
	}
	if err := r.RegisterFile(socket); err != nil {
		r.Close()
		return nil, err
	}
	return &uringSender{ring: r}, nil
}

// probeSendZC tries to send n bytes by a socket that is not connected: the kernel
// looks at the request, and sees to the pages, before it sees that (EPIPE).
func probeSendZC(n int) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	s, err := newSendRing(socket)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	err = errors.Join(s.piece(b), s.ring.Close())
	runtime.KeepAlive(b)
	switch {
	case errors.Is(err, unix.EPIPE):
		return nil
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %w (take Linux 6.2 or later)", err, errors.ErrUnsupported)
	case lacksPages(err):
		return fmt.Errorf("%d bytes: %w: %w (raise the memory that may be locked: ulimit -l; or take a smaller block)", n, err, errors.ErrUnsupported)
	}
	return fmt.Errorf("io_uring SEND_ZC by a socket that is not connected: got error %w, want EPIPE", err)
}

// lacksPages reports whether the user may not lock as many pages as a send has: the
// ring says ENOMEM, the socket ENOBUFS.
func lacksPages(err error) bool { return errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) }

func (s *uringSender) Send(p *Plan) error {
	if p.Pieces() == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapFile(int(s.f.Fd()), p.Start, p.Length)
	if err != nil {
		return err
	}
	for i := 0; i < p.Pieces() && err == nil; i++ {
		p.Await(i)
		off, n := p.Piece(i)
		err = s.piece(m.data[off-p.Start:][:n])
	}
	// What a program sends this way it must leave alone until the kernel is done
	// with it: that wait is a part of the method, and of the job.
	for s.ring.Flying() > 0 {
		if _, _, e := s.await(); e != nil {
			err = errors.Join(err, e)
			break
		}
	}
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
}

// piece sends b. Where the kernel cannot lock more pages, it waits until some are
// done with. There is no guard against SIGBUS, since only the kernel touches the
// mapping: where the file has shrunk it answers EFAULT or a short count.
func (s *uringSender) piece(b []byte) error {
	for len(b) > 0 {
		c, err := s.send(b)
		switch {
		case err != nil:
			return err
		case c.Interrupted():
		case lacksPages(c.Err()) && s.ring.Flying() > 0:
			if _, _, err := s.await(); err != nil {
				return err
			}
		case c.Res < 0:
			return os.NewSyscallError("io_uring SEND_ZC", c.Err())
		default:
			b = b[c.Res:]
		}
	}
	return nil
}

// send asks for b to be sent whole, and waits until the socket has taken what it
// will.
func (s *uringSender) send(b []byte) (uring.CQE, error) {
	r := s.ring.Request()
	r.Opcode, r.Flags, r.IOPrio = uring.OpSendZC, uring.SQEFixedFile, sendZCReportUsage
	r.Addr, r.Len = uint64(uintptr(unsafe.Pointer(&b[0]))), uint32(len(b))
	r.OpFlags = unix.MSG_WAITALL
	for {
		if c, sent, err := s.await(); sent || err != nil {
			return c, err
		}
	}
}

// await waits for completions and takes note of the notifications among them. It
// returns the send's, if that was there too.
func (s *uringSender) await() (send uring.CQE, sent bool, err error) {
	if err := s.ring.Enter(1); err != nil {
		return uring.CQE{}, false, err
	}
	for {
		c, ok := s.ring.Completion()
		switch {
		case !ok:
			return send, sent, nil
		case c.Flags&uring.CQENotif == 0:
			send, sent = c, true
		default:
			s.sends++
			if uint32(c.Res)&notifCopied != 0 {
				s.copied++
			}
		}
	}
}

// Tell returns the share of the sends that the kernel copied.
func (s *uringSender) Tell() []Figure {
	if s.sends == 0 {
		return nil
	}
	share := 100 * float64(s.copied) / float64(s.sends)
	s.sends, s.copied = 0, 0
	return []Figure{{"copied-%", share}}
}

// Close leaves the socket as it was.
func (s *uringSender) Close() error { return errors.Join(s.ring.Close(), s.f.Close()) }
