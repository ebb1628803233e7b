package iomethod

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "writev",
		Doc:    "writev(2) each piece from 4 parts; lseek(2) wherever the next piece is not the next byte",
		Writer: Role[Writer]{Calls: []string{"writev"}, Also: fdSyncCalls, New: newWritevWriter},
	})
}

// parts is how many buffers one writev gathers: a header, a key, a value and a
// checksum, say.
const parts = 4

type writevWriter struct {
	f    *os.File
	sync fdSync
	vecs [parts]unix.Iovec // here, because the kernel is given their address
}

func newWritevWriter(c Config) (Writer, error) {
	f, err := openWritten(c, 0)
	if err != nil {
		return nil, err
	}
	return &writevWriter{f: f, sync: fdSync(c.Sync)}, nil
}

func (w *writevWriter) Write(p *Plan, produce Producer) error {
	target := cursor{int(w.f.Fd()), -1}
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b := produce(off, n)
		if err := target.seek(off, n); err != nil {
			return err
		}
		if err := w.writeAll(target.fd, b); err != nil {
			return err
		}
		if err := w.sync.piece(target.fd, off, n); err != nil {
			return err
		}
	}
	return w.sync.end(target.fd, p)
}

func (w *writevWriter) writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&w.vecs)), w.gather(b))
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return os.NewSyscallError("writev", errno)
		default:
			b = b[n:]
		}
	}
	return nil
}

// gather cuts b into equal parts, the last ones shorter where it must be, and
// returns how many there are.
func (w *writevWriter) gather(b []byte) (count uintptr) {
	for each := (len(b) + parts - 1) / parts; len(b) > 0; count++ {
		n := min(each, len(b))
		w.vecs[count].Base = &b[0]
		w.vecs[count].SetLen(n)
		b = b[n:]
	}
	return count
}

func (w *writevWriter) Close() error { return w.f.Close() }
