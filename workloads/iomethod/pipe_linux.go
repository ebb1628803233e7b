package iomethod

import (
	"os"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:    "pipe",
		Doc:     "write(2) into a pipe of the default size and read(2) from it, one for each direction: two copies",
		Channel: Role[Channel]{Calls: []string{"write"}, Also: answered, New: newPipeChannel},
	})
}

func newPipeChannel(c Config) (Channel, error) {
	s, err := newStream(c, 2, twoPipes)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// twoPipes returns, for each of two ends, what it reads and what it writes.
func twoPipes() (near, far []*os.File, err error) {
	var there, back [2]int
	if err := unix.Pipe2(there[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.Pipe2(back[:], unix.O_CLOEXEC); err != nil {
		unix.Close(there[0])
		unix.Close(there[1])
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	file := func(fd int) *os.File { return os.NewFile(uintptr(fd), "pipe") }
	return []*os.File{file(back[0]), file(there[1])}, []*os.File{file(there[0]), file(back[1])}, nil
}
