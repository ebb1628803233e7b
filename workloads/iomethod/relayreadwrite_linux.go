package iomethod

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

type readWriteRelay struct {
	buf      []byte
	from, to int
}

func newReadWriteRelay(c Config) (Relay, error) {
	return &readWriteRelay{newBuffer(c.Block), c.From, c.Socket}, nil
}

// Relay passes on what one read returns, as proxies do: nothing waits for the rest
// of its piece.
func (r *readWriteRelay) Relay(p *Plan) error {
	for i := range p.Pieces() {
		p.Await(i)
		_, n := p.Piece(i)
		for n > 0 {
			got, err := rawRead(r.from, r.buf[:n])
			if err != nil {
				return os.NewSyscallError("read", err)
			}
			if got == 0 {
				return io.ErrUnexpectedEOF
			}
			if err := writeAll(r.to, r.buf[:got]); err != nil {
				return err
			}
			n -= got
		}
	}
	return nil
}

func (r *readWriteRelay) Close() error { return nil }

func rawRead(fd int, b []byte) (int, error) {
	return retry(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
}
