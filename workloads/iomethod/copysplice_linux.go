package iomethod

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

type spliceCopier struct {
	filePair
	pipe     splicePipe
	from, to int64 // offsets of the job under way; here, because the kernel is given their address
}

// newSpliceCopier returns the copier through a pipe of the default size.
func newSpliceCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	pipe, err := openSplicePipe(0)
	if err != nil {
		files.Close()
		return nil, err
	}
	return &spliceCopier{filePair: files, pipe: pipe}, nil
}

func (c *spliceCopier) Copy(p *Plan) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := c.piece(off, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *spliceCopier) piece(off int64, n int) error {
	source, target := int(c.source.Fd()), int(c.target.Fd())
	c.from, c.to = off, off // which the kernel advances
	for n > 0 {
		filled, err := spliceAt(source, &c.from, c.pipe.w, nil, min(n, c.pipe.size))
		if err != nil {
			return os.NewSyscallError("splice from the source", err)
		}
		if filled == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= filled
		for filled > 0 {
			drained, err := spliceAt(c.pipe.r, nil, target, &c.to, filled)
			if err != nil {
				return os.NewSyscallError("splice to the target", err)
			}
			filled -= drained
		}
	}
	return nil
}

func (c *spliceCopier) Close() error {
	c.pipe.close()
	return c.filePair.Close()
}

// spliceAt moves up to n bytes between a file, at an offset that it advances, and
// a pipe, which has none.
func spliceAt(in int, from *int64, out int, to *int64, n int) (int, error) {
	return retry(unix.SYS_SPLICE, uintptr(in), uintptr(unsafe.Pointer(from)), uintptr(out), uintptr(unsafe.Pointer(to)), uintptr(n), 0)
}
