package iomethod

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

func init() {
	Register(Method{
		Name:   "pread",
		Doc:    "pread(2) into one buffer",
		Reader: Role[Reader]{Calls: []string{"pread64"}, New: newPreadReader},
	})
}

type preadReader struct {
	*rawFile
	buf []byte
}

func newPreadReader(c Config) (Reader, error) {
	f, err := openRaw(c.Path, 0)
	if err != nil {
		return nil, err
	}
	return &preadReader{f, newBuffer(c.Block)}, nil
}

func (r *preadReader) Read(p *Plan, consume Consumer) error {
	fd := uintptr(r.fd)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		for got := 0; got < n; {
			// Called right here, and not through unix.RawSyscall6, because this
			// loop is held against one in C: a return soon after a system call
			// is mispredicted, so that each level of calls costs 8 ns of 600.
			m, _, errno := syscall.RawSyscall6(syscall.SYS_PREAD64,
				fd, uintptr(unsafe.Pointer(&r.buf[got])), uintptr(n-got), uintptr(off)+uintptr(got), 0, 0)
			switch {
			case errno == syscall.EINTR:
			case errno != 0:
				return os.NewSyscallError("pread64", errno)
			case m == 0:
				return io.ErrUnexpectedEOF
			default:
				got += int(m)
			}
		}
		consume(off, r.buf[:n])
	}
	return nil
}
