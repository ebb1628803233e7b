package iomethod

import (
	"os"
	"syscall"
	"unsafe"
)

func init() {
	Register(Method{
		Name:   "pwrite",
		Doc:    "pwrite(2) the producer's bytes",
		Writer: Role[Writer]{Calls: []string{"pwrite64"}, Also: fdSyncCalls, New: newPwriteWriter},
	})
}

type pwriteWriter struct {
	f    *os.File
	sync fdSync
}

func newPwriteWriter(c Config) (Writer, error) {
	f, err := openWritten(c, 0)
	if err != nil {
		return nil, err
	}
	return &pwriteWriter{f, fdSync(c.Sync)}, nil
}

func (w *pwriteWriter) Write(p *Plan, produce Producer) error {
	fd := int(w.f.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := pwriteAll(fd, produce(off, n), off); err != nil {
			return err
		}
		if err := w.sync.piece(fd, off, n); err != nil {
			return err
		}
	}
	return w.sync.end(fd, p)
}

func (w *pwriteWriter) Close() error { return w.f.Close() }

// pwriteAll writes the whole of b at off. It calls the kernel itself, for the
// reason that pread does.
func pwriteAll(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_PWRITE64,
			uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(off), 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return os.NewSyscallError("pwrite64", errno)
		default:
			b, off = b[n:], off+int64(n)
		}
	}
	return nil
}
