package peer

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/workloads"
)

// A Receiver is a child process that takes in what is sent to it. It is used by one
// goroutine at a time.
type Receiver struct{ *child }

// Start starts a receiver that feeds that consumer (see workloads.Consumers) or is
// such a sink (see [Sinks]), and is pinned to that CPU, or not pinned where it is
// negative. The file of the sink splice is in the directory for temporary files.
func Start(transport, consumer string, cpu int) (*Receiver, error) {
	return StartIn(os.TempDir(), transport, consumer, cpu)
}

// StartIn is Start with a directory for the file of the sink splice. Each job
// overwrites that file from its start: what the one before left is not truncated,
// because a job would wait for that.
func StartIn(dir, transport, consumer string, cpu int) (*Receiver, error) {
	if err := Takes(transport, consumer); err != nil {
		return nil, err
	}
	var files []*os.File
	if consumer == "splice" {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, &os.PathError{Op: "open an unnamed file in", Path: dir, Err: err}
		}
		f := os.NewFile(uintptr(fd), dir)
		defer f.Close()
		files = append(files, f) // fileFD
	}
	c, err := start(transport, "receiver", consumer, cpu, files...)
	if err != nil {
		return nil, err
	}
	return &Receiver{c}, nil
}

// Begin tells the receiver that a job of that many bytes begins.
func (r *Receiver) Begin(job int64) error { return r.BeginAfter(0, job) }

// BeginAfter tells the receiver that a job of that many bytes begins after skip
// bytes, which it takes in and looks at no further: they are in no digest.
func (r *Receiver) BeginAfter(skip, job int64) error { return r.begin(skip, job) }

// newReceiving returns a receiver's job: it takes in so many bytes to skip, and then
// so many bytes, or less where the sender goes away.
func newReceiving(kind string) (jobFunc, error) {
	buf := make([]byte, Block)
	drain := func(n int64) (workloads.Digest, error) { return discard(buf, n, 0) }
	take, err := newTaking(kind, buf)
	if err != nil {
		return nil, err
	}
	return func(skip, n int64) (workloads.Digest, error) {
		if skipped, err := drain(skip); err != nil || skipped.Bytes < skip {
			return workloads.Digest{}, err
		}
		d, err := take(n)
		if err != nil {
			return d, err
		}
		// What the sender sent too much would be taken for the next job's.
		surplus, err := unix.IoctlGetInt(dataFD, unix.TIOCINQ)
		d.Bytes += int64(surplus)
		return d, os.NewSyscallError("ioctl TIOCINQ", err)
	}, nil
}

// newTaking returns what takes in so many bytes, or less.
func newTaking(kind string, buf []byte) (func(n int64) (workloads.Digest, error), error) {
	switch kind {
	case "drain":
		return func(n int64) (workloads.Digest, error) { return discard(buf, n, 0) }, nil
	case "trunc":
		return func(n int64) (workloads.Digest, error) { return discard(buf, n, unix.MSG_TRUNC) }, nil
	case "splice":
		pipe, err := newPipe()
		return pipe.toFile, err
	}
	c, err := workloads.NewConsumer(kind, len(buf))
	if err != nil {
		return nil, err
	}
	return func(n int64) (workloads.Digest, error) { return consume(c, buf, n) }, nil
}

// consume hands on whole buffers.
func consume(c *workloads.Consumer, buf []byte, n int64) (workloads.Digest, error) {
	c.Reset()
	for off := int64(0); off < n; {
		b := buf[:min(int64(len(buf)), n-off)]
		filled := 0
		for filled < len(b) {
			got, err := receive(b[filled:], 0)
			if err != nil {
				return c.Digest, err
			}
			if got == 0 {
				c.Consume(off, b[:filled])
				return c.Digest, nil
			}
			filled += got
		}
		c.Consume(off, b)
		off += int64(filled)
	}
	return c.Digest, nil
}

// discard takes in n bytes and has no use for them.
func discard(buf []byte, n int64, flags int) (d workloads.Digest, err error) {
	for d.Bytes < n {
		got, err := receive(buf[:min(int64(len(buf)), n-d.Bytes)], flags)
		if err != nil || got == 0 {
			return d, err
		}
		d.Bytes += int64(got)
	}
	return d, nil
}

// receive is recv(2) without Go's scheduler.
func receive(b []byte, flags int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, dataFD, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("recvfrom", errno)
		}
	}
}

// A pipe is what splice(2) moves by.
type pipe struct{ r, w int }

// newPipe returns a pipe that holds a block where the user may have so much.
func newPipe() (pipe, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], 0); err != nil {
		return pipe{}, os.NewSyscallError("pipe2", err)
	}
	// A refusal leaves the pipe as it was made.
	unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, Block)
	return pipe{p[0], p[1]}, nil
}

// toFile moves n bytes to the start of the file.
func (p pipe) toFile(n int64) (d workloads.Digest, err error) {
	var off int64
	for d.Bytes < n {
		filled, err := retry(func() (int, error) {
			n, err := unix.Splice(dataFD, nil, p.w, nil, int(min(Block, n-d.Bytes)), 0)
			return int(n), err
		})
		if err != nil || filled == 0 {
			return d, os.NewSyscallError("splice from the socket", err)
		}
		d.Bytes += int64(filled)
		for filled > 0 {
			moved, err := retry(func() (int, error) {
				n, err := unix.Splice(p.r, nil, fileFD, &off, filled, 0)
				return int(n), err
			})
			if err != nil {
				return d, os.NewSyscallError("splice to the file", err)
			}
			filled -= moved
		}
	}
	return d, nil
}
