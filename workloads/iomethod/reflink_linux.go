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
		Name:   "reflink",
		Doc:    "ioctl(2) FICLONERANGE a piece: both files share the blocks until one is written, no byte is moved (xfs, btrfs); whole blocks of the filesystem, but for the end of the file",
		Cache:  "warm", // it reads none of the bytes
		Probe:  probeCopier(newReflinkCopier),
		Copier: Role[Copier]{Calls: []string{"ioctl"}, New: newReflinkCopier},
	})
}

type reflinkCopier struct {
	filePair
	block int64               // bytes, of the filesystem
	arg   unix.FileCloneRange // here, because the kernel is given its address
}

func newReflinkCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(files.target.Fd()), &st); err != nil {
		files.Close()
		return nil, os.NewSyscallError("fstatfs", err)
	}
	return &reflinkCopier{filePair: files, block: int64(st.Bsize)}, nil
}

func (c *reflinkCopier) Copy(p *Plan) error {
	if p.Pieces() == 0 {
		return nil
	}
	if err := c.check(p); err != nil {
		return err
	}
	c.arg.Src_fd = int64(c.source.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := c.piece(off, n); err != nil {
			return err
		}
	}
	return nil
}

// check refuses plans that would be refused amid the job: blocks are shared whole,
// but for the last one of a file, which can only be the target's last one as well.
func (c *reflinkCopier) check(p *Plan) error {
	end := endOf(p)
	if p.Start%c.block != 0 || int64(p.Block)%c.block != 0 && p.Length > int64(p.Block) {
		return c.unaligned()
	}
	if end%c.block == 0 {
		return nil
	}
	from, err := sizeOf(int(c.source.Fd()))
	if err != nil {
		return err
	}
	to, err := sizeOf(int(c.target.Fd()))
	if err != nil {
		return err
	}
	switch {
	case end > from:
		return io.ErrUnexpectedEOF
	case end < from || end < to:
		return c.unaligned()
	}
	return nil
}

func (c *reflinkCopier) unaligned() error {
	return fmt.Errorf("share blocks in part: %w (take pieces in multiples of %d bytes, or to the end of both files)", errors.ErrUnsupported, c.block)
}

func (c *reflinkCopier) piece(off int64, n int) error {
	c.arg.Src_offset, c.arg.Src_length, c.arg.Dest_offset = uint64(off), uint64(n), uint64(off)
	_, err := retry(unix.SYS_IOCTL, c.target.Fd(), unix.FICLONERANGE, uintptr(unsafe.Pointer(&c.arg)), 0, 0, 0)
	switch err {
	case nil:
		return nil
	case unix.EINVAL: // which it is too where the source ends before the piece
		if size, e := sizeOf(int(c.source.Fd())); e == nil && size < off+int64(n) {
			return io.ErrUnexpectedEOF
		}
	case unix.EOPNOTSUPP, unix.ENOTTY:
		return fmt.Errorf("ioctl FICLONERANGE: %w: %w (take files on xfs or btrfs)", err, errors.ErrUnsupported)
	}
	return apart("ioctl FICLONERANGE", err)
}
