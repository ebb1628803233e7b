package iomethod

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "zerocopy",
		Doc:    "mmap(2) the file once a job, send(2) it with MSG_ZEROCOPY, wait until the kernel is done with the pages: TCP alone",
		Probe:  func(Config) error { return probeZerocopy(usualSend) },
		Sender: Role[Sender]{Calls: []string{"mmap", "sendto", "recvmsg", "munmap"}, New: newZerocopySender},
	})
}

// usualSend is how many bytes a machine must let a user send by one call, for the
// method to be of any use there.
const usualSend = 64 << 10

// A zerocopySender follows the kernel's Documentation/networking/msg_zerocopy.rst:
// the socket's error queue tells, by ranges of send calls in the order in which
// they were made, which of them the kernel is done with, and whether it copied
// their bytes after all, as it does on loopback.
type zerocopySender struct {
	f             *os.File
	socket        int
	inFlight      uint32 // sends that the kernel is not done with
	sends, copied uint32 // that it was done with since Tell, and those of them that it copied

	// What the kernel is given the address of.
	msg     unix.Msghdr
	control notification
	poll    unix.PollFd
}

// A notification is what the error queue holds, as cmsg(3) and ip(7), IP_RECVERR,
// lay it out.
type notification struct {
	head unix.Cmsghdr
	ee   unix.SockExtendedErr
	_    [unix.SizeofSockaddrInet6]byte // who is to blame: nobody
}

func newZerocopySender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	if err = probeZerocopy(c.Block); err == nil {
		err = setZerocopy(c.Socket, 1)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &zerocopySender{f: f, socket: c.Socket}, nil
}

// setZerocopy is what a socket wants before MSG_ZEROCOPY means anything to it.
func setZerocopy(socket, on int) error {
	err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_ZEROCOPY, on)
	const notSupported = unix.Errno(524) // the kernel's own ENOTSUPP, by which older ones refuse Unix sockets
	switch err {
	case unix.EOPNOTSUPP, notSupported, unix.ENOPROTOOPT:
		return fmt.Errorf("setsockopt SO_ZEROCOPY: %w (send by TCP, on Linux 4.14 or later)", errors.ErrUnsupported)
	}
	return os.NewSyscallError("setsockopt SO_ZEROCOPY", err)
}

// probeZerocopy tries to send n bytes by a socket that is not connected: the
// kernel sees to the pages, which the user must be allowed to lock, before it
// sees that (EPIPE).
func probeZerocopy(n int) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	if err := setZerocopy(s, 1); err != nil {
		return err
	}
	_, err = rawSend(s, make([]byte, n), unix.MSG_ZEROCOPY|unix.MSG_NOSIGNAL)
	switch {
	case errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%w: %w", lockedPages(n, err), errors.ErrUnsupported)
	case !errors.Is(err, unix.EPIPE):
		return fmt.Errorf("send with MSG_ZEROCOPY by a socket that is not connected: got %v, want EPIPE", err)
	}
	return nil
}

func lockedPages(n int, err error) error {
	return fmt.Errorf("send %d bytes with MSG_ZEROCOPY: %w (raise the limit of locked memory, ulimit -l, or /proc/sys/net/core/optmem_max)", n, err)
}

func (s *zerocopySender) Send(p *Plan) error {
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
		err = s.piece(m.data[off-p.Start:][:n])
	}
	// What a program sends this way it must leave alone until the kernel is done
	// with it: that wait is a part of the method, and of the job.
	for s.inFlight > 0 && err == nil {
		err = s.complete()
	}
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
}

// piece sends b. Where the kernel cannot keep track of more sends, it waits until
// some are done. There is no guard against SIGBUS, since only the kernel touches
// the mapping: where the file has shrunk it answers EFAULT or a short count.
func (s *zerocopySender) piece(b []byte) error {
	for len(b) > 0 {
		n, err := rawSend(s.socket, b, unix.MSG_ZEROCOPY)
		switch {
		case err == nil:
			s.inFlight++
			b = b[n:]
		case err != unix.ENOBUFS:
			return os.NewSyscallError("sendto", err)
		case s.inFlight == 0:
			return lockedPages(len(b), err)
		default:
			if err := s.complete(); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete takes one notification from the socket's error queue, and waits for it
// where there is none.
func (s *zerocopySender) complete() error {
	for {
		err := s.receive()
		if err == nil {
			return s.note()
		}
		if err != unix.EAGAIN {
			return os.NewSyscallError("recvmsg MSG_ERRQUEUE", err)
		}
		if err := s.wait(); err != nil {
			return err
		}
	}
}

// receive reads the error queue, which never waits.
func (s *zerocopySender) receive() error {
	s.msg.Control = (*byte)(unsafe.Pointer(&s.control))
	s.msg.SetControllen(int(unsafe.Sizeof(s.control)))
	_, err := retry(unix.SYS_RECVMSG, uintptr(s.socket), uintptr(unsafe.Pointer(&s.msg)), unix.MSG_ERRQUEUE, 0, 0, 0)
	return err
}

// note takes account of the notification that was received: the sends from the
// Info-th to the Data-th, counted modulo 1<<32, are done.
func (s *zerocopySender) note() error {
	head, ee := &s.control.head, &s.control.ee
	extended := head.Level == unix.SOL_IP && head.Type == unix.IP_RECVERR ||
		head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_RECVERR
	if !extended || ee.Origin != unix.SO_EE_ORIGIN_ZEROCOPY || ee.Errno != 0 {
		return fmt.Errorf("recvmsg MSG_ERRQUEUE: level %d, type %d, origin %d, errno %d, want a notification of MSG_ZEROCOPY",
			head.Level, head.Type, ee.Origin, ee.Errno)
	}
	n := ee.Data - ee.Info + 1
	if n > s.inFlight {
		return fmt.Errorf("recvmsg MSG_ERRQUEUE: sends %d to %d are done, and only %d are in flight: leave the socket to one sender",
			ee.Info, ee.Data, s.inFlight)
	}
	s.inFlight -= n
	s.sends += n
	if ee.Code&unix.SO_EE_CODE_ZEROCOPY_COPIED != 0 {
		s.copied += n
	}
	return nil
}

// wait waits for a notification. Where the connection is gone instead, which an
// empty send is told, there may be none any more.
func (s *zerocopySender) wait() error {
	s.poll = unix.PollFd{Fd: int32(s.socket)} // POLLERR is always waited for
	if _, err := retry(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.poll)), 1, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("ppoll", err)
	}
	if s.poll.Revents&unix.POLLHUP == 0 {
		return nil
	}
	_, err := rawSend(s.socket, nil, 0)
	return os.NewSyscallError("sendto", err)
}

// Tell returns the share of the sends that the kernel copied.
func (s *zerocopySender) Tell() []Figure {
	if s.sends == 0 {
		return nil
	}
	share := 100 * float64(s.copied) / float64(s.sends)
	s.sends, s.copied = 0, 0
	return []Figure{{"copied-%", share}}
}

func (s *zerocopySender) Close() error {
	return errors.Join(setZerocopy(s.socket, 0), s.f.Close())
}

func rawSend(fd int, b []byte, flags int) (int, error) {
	return retry(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags), 0, 0)
}
