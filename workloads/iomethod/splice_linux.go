package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// largePipe is the size in bytes that an ordinary user may give a pipe, unless
// the machine was set up otherwise (pipe(7), /proc/sys/fs/pipe-max-size).
const largePipe = 1 << 20

func init() {
	Register(Method{
		Name:     "splice",
		Doc:      "splice(2) through a pipe of the default size, from a file or a socket to a socket or a file",
		Sender:   Role[Sender]{Calls: []string{"splice"}, New: newSpliceSender},
		Copier:   Role[Copier]{Calls: []string{"splice"}, New: newSpliceCopier},
		Receiver: Role[Receiver]{Calls: []string{"splice"}, New: newSpliceReceiver},
		Relay:    Role[Relay]{Calls: []string{"splice"}, New: newSpliceRelay},
	})
	Register(Method{
		Name:     "splice+1MiB",
		Doc:      "splice(2) through a pipe of 1 MiB (fcntl(2) with F_SETPIPE_SZ): fewer calls for large pieces",
		Probe:    probeLargePipe,
		Sender:   Role[Sender]{Calls: []string{"splice"}, New: newLargeSpliceSender},
		Receiver: Role[Receiver]{Calls: []string{"splice"}, New: newLargeSpliceReceiver},
		Relay:    Role[Relay]{Calls: []string{"splice"}, New: newLargeSpliceRelay},
	})
}

func probeLargePipe(Config) error {
	p, err := openSplicePipe(largePipe)
	if err != nil {
		return err
	}
	p.close()
	return nil
}

// A splicePipe is a pipe that is filled and drained in turn.
type splicePipe struct {
	r, w int
	size int // bytes that it holds, where they fill whole pages
}

// openSplicePipe makes a pipe of that many bytes, or of the default size where
// they are 0.
func openSplicePipe(size int) (splicePipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return splicePipe{}, os.NewSyscallError("pipe2", err)
	}
	p := splicePipe{r: fds[0], w: fds[1]}
	if err := p.resize(size); err != nil {
		p.close()
		return splicePipe{}, err
	}
	return p, nil
}

func (p *splicePipe) resize(size int) (err error) {
	if size > 0 {
		_, err = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, size)
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("enlarge a pipe to %d bytes: %w: %w (raise /proc/sys/fs/pipe-max-size, or pipe-user-pages-soft where this user's pipes are many, or run as root)",
			size, err, errors.ErrUnsupported)
	}
	if err != nil {
		return os.NewSyscallError("fcntl F_SETPIPE_SZ", err)
	}
	p.size, err = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	return os.NewSyscallError("fcntl F_GETPIPE_SZ", err)
}

// drain moves n bytes, which are in the pipe, to the socket.
func (p *splicePipe) drain(socket, n int, last bool) error {
	// Without MORE the kernel pushes each filling of the pipe as if it were
	// the last, and small segments wait for delayed acknowledgements.
	flags := unix.SPLICE_F_MORE
	if last {
		flags = 0
	}
	for n > 0 {
		drained, err := rawSplice(p.r, nil, socket, n, flags)
		if err != nil {
			return os.NewSyscallError("splice to the socket", err)
		}
		n -= drained
	}
	return nil
}

func (p *splicePipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

type spliceSender struct {
	f           *os.File
	pipe        splicePipe
	socket      int
	off, remain int64 // of the job under way; here, because the kernel is given their address
}

func newSpliceSender(c Config) (Sender, error)      { return openSpliceSender(c, 0) }
func newLargeSpliceSender(c Config) (Sender, error) { return openSpliceSender(c, largePipe) }

func openSpliceSender(c Config, pipeSize int) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	pipe, err := openSplicePipe(pipeSize)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &spliceSender{f: f, pipe: pipe, socket: c.Socket}, nil
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
		filled, err := rawSplice(file, &s.off, s.pipe.w, min(n, s.pipe.size), 0)
		if err != nil {
			return os.NewSyscallError("splice from the file", err)
		}
		if filled == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= filled
		s.remain -= int64(filled)
		if err := s.pipe.drain(s.socket, filled, s.remain == 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *spliceSender) Close() error {
	s.pipe.close()
	return s.f.Close()
}

// rawSplice moves up to n bytes; off is nil for pipes and sockets.
func rawSplice(in int, off *int64, out int, n, flags int) (int, error) {
	return retry(unix.SYS_SPLICE, uintptr(in), uintptr(unsafe.Pointer(off)), uintptr(out), 0, uintptr(n), uintptr(flags))
}
