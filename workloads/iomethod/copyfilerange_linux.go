package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "copy_file_range",
		Doc:    "copy_file_range(2) within one filesystem, which copies in the kernel, has its server copy (NFS), or shares the blocks (xfs, btrfs: see reflink)",
		Probe:  probeCopier(newRangeCopier),
		Copier: Role[Copier]{Calls: []string{"copy_file_range"}, New: newRangeCopier},
	})
}

type rangeCopier struct {
	filePair
	from, to int64 // offsets of the job under way; here, because the kernel is given their address
}

func newRangeCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return &rangeCopier{filePair: files}, nil
}

func (c *rangeCopier) Copy(p *Plan) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := c.piece(off, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *rangeCopier) piece(off int64, n int) error {
	source, target := int(c.source.Fd()), int(c.target.Fd())
	c.from, c.to = off, off // which the kernel advances
	for n > 0 {
		copied, err := retry(unix.SYS_COPY_FILE_RANGE, uintptr(source), uintptr(unsafe.Pointer(&c.from)),
			uintptr(target), uintptr(unsafe.Pointer(&c.to)), uintptr(n), 0)
		if err != nil {
			return apart("copy_file_range", err)
		}
		if copied == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= copied
	}
	return nil
}

// apart is the error of a call that wants both files on one filesystem.
func apart(call string, err error) error {
	err = os.NewSyscallError(call, err)
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%w: %w (have both files on one filesystem)", err, errors.ErrUnsupported)
	}
	return err // EOPNOTSUPP and ENOSYS match errors.ErrUnsupported by themselves
}

// probeCopier returns a probe that copies the first block of the small source to
// the small target.
func probeCopier(open func(Config) (Copier, error)) func(Config) error {
	return func(c Config) error {
		const block = 4096
		c.Block = block
		copier, err := open(c)
		if err != nil {
			return err
		}
		return errors.Join(copier.Copy(&Plan{Length: block, Block: block}), copier.Close())
	}
}
