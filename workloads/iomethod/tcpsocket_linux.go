package iomethod

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:    "tcp",
		Doc:     "write(2) to a TCP connection over loopback, without Nagle's delay, and read(2) from it: two copies",
		Channel: Role[Channel]{Calls: []string{"write"}, Also: answered, New: newTCPChannel},
	})
}

func newTCPChannel(c Config) (Channel, error) {
	s, err := newStream(c, 1, tcpSockets)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func tcpSockets() (near, far []*os.File, err error) {
	listening, address, err := listen()
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(listening)
	dialed, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	accepted, err := connected(dialed, listening, address)
	if err != nil {
		unix.Close(dialed)
		return nil, nil, err
	}
	near, far = socketFiles(dialed, accepted)
	// As Go's net does: the last segment of a piece must not wait until those
	// before it are acknowledged, which the receiver may put off for 40 ms.
	for _, s := range []int{dialed, accepted} {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return nil, nil, errors.Join(os.NewSyscallError("setsockopt TCP_NODELAY", err), closeAll(near), closeAll(far))
		}
	}
	return near, far, nil
}

// listen returns a socket that listens on a port of its own of loopback.
func listen() (socket int, address unix.Sockaddr, err error) {
	socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	if err = os.NewSyscallError("bind", unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(socket, 1))
	}
	if err == nil {
		address, err = unix.Getsockname(socket)
		err = os.NewSyscallError("getsockname", err)
	}
	if err != nil {
		unix.Close(socket)
	}
	return socket, address, err
}

// connected connects a socket to the listening one and returns the other end.
func connected(dialed, listening int, address unix.Sockaddr) (accepted int, err error) {
	if err := unix.Connect(dialed, address); err != nil {
		return 0, os.NewSyscallError("connect", err)
	}
	ours, err := unix.Getsockname(dialed)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	accepted, theirs, err := unix.Accept4(listening, unix.SOCK_CLOEXEC)
	if err != nil {
		return 0, os.NewSyscallError("accept4", err)
	}
	// Any process of the machine may have been faster to connect.
	if theirs.(*unix.SockaddrInet4).Port != ours.(*unix.SockaddrInet4).Port {
		unix.Close(accepted)
		return 0, errors.New("accept a connection over loopback: another process connected to the port (try again)")
	}
	return accepted, nil
}
