package iomethod

import (
	"os"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:    "unix",
		Doc:     "write(2) to a Unix stream socket and read(2) from it, with the default buffers: two copies",
		Channel: Role[Channel]{Calls: []string{"write"}, Also: answered, New: newUnixChannel},
	})
}

func newUnixChannel(c Config) (Channel, error) {
	s, err := newStream(c, 1, unixSockets)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func unixSockets() (near, far []*os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	near, far = socketFiles(fds[0], fds[1])
	return near, far, nil
}

func socketFiles(a, b int) (near, far []*os.File) {
	return []*os.File{os.NewFile(uintptr(a), "socket")}, []*os.File{os.NewFile(uintptr(b), "socket")}
}
