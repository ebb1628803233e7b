package peer

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/workloads"
)

// A Source is a child process that sends: what a workloads.Source produces, which
// goes to its next job with each of them, and so may one that verifies. It is used by
// one goroutine at a time.
type Source struct{ *child }

// StartSource starts a source that is pinned to that CPU, or not pinned where it is
// negative.
func StartSource(transport string, cpu int) (*Source, error) {
	c, err := start(transport, "source", "-", cpu)
	if err != nil {
		return nil, err
	}
	return &Source{c}, nil
}

// Begin tells the source to go to its next job and to send the n bytes of it that
// belong at off and behind it.
func (s *Source) Begin(off, n int64) error { return s.begin(off, n) }

// newSending returns a source's job: it sends so many bytes from an offset on, or
// less where the other side goes away. It writes whole blocks, so that it is not what
// the other side waits for.
func newSending() (jobFunc, error) {
	source := workloads.NewSource(Block)
	return func(off, n int64) (d workloads.Digest, err error) {
		source.Next()
		for d.Bytes < n && err == nil {
			var sent int
			sent, err = send(source.Produce(off+d.Bytes, int(min(Block, n-d.Bytes))))
			d.Bytes += int64(sent)
		}
		if gone(err) {
			err = nil
		}
		return d, err
	}, nil
}

// send writes all of b without Go's scheduler, and returns how much it has.
func send(b []byte) (sent int, err error) {
	for sent < len(b) {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, dataFD, uintptr(unsafe.Pointer(&b[sent])), uintptr(len(b)-sent))
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		default:
			return sent, os.NewSyscallError("write", errno)
		}
	}
	return sent, nil
}
