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
	nowait := Role[Reader]{Calls: []string{"preadv2"}, New: newNowaitReader}
	Register(Method{
		Name:   "preadv2+nowait",
		Doc:    "preadv2(2) with RWF_NOWAIT into one buffer; the same without it where the page cache lacks the bytes",
		Reader: nowait,
		Probe:  probeReader(nowait),
	})
	dontcache := Role[Reader]{Calls: []string{"preadv2"}, New: newDontcacheReader}
	Register(Method{
		Name:   "preadv2+dontcache",
		Doc:    "preadv2(2) with RWF_DONTCACHE into one buffer: what it brings into the page cache is dropped again",
		Reader: dontcache,
		Probe:  probeReader(dontcache),
	})
}

type preadv2Reader struct {
	*rawFile
	buf   []byte
	part  unix.Iovec
	flags int
	name  string // of the flags
	needs string // of the machine
}

func newNowaitReader(c Config) (Reader, error) {
	return newPreadv2Reader(c, unix.RWF_NOWAIT, "RWF_NOWAIT", "Linux 4.14 and a filesystem that can tell, such as ext4, xfs or btrfs")
}

func newDontcacheReader(c Config) (Reader, error) {
	return newPreadv2Reader(c, unix.RWF_DONTCACHE, "RWF_DONTCACHE", "Linux 6.14 and a filesystem that takes it, such as ext4, xfs or btrfs")
}

func newPreadv2Reader(c Config, flags int, name, needs string) (Reader, error) {
	f, err := openRaw(c.Path, 0)
	if err != nil {
		return nil, err
	}
	return &preadv2Reader{rawFile: f, buf: newBuffer(c.Block), flags: flags, name: name, needs: needs}, nil
}

func (r *preadv2Reader) Read(p *Plan, consume Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		for got := 0; got < n; {
			m, err := r.some(r.buf[got:n], off+int64(got))
			if err != nil {
				return err
			}
			got += m
		}
		consume(off, r.buf[:n])
	}
	return nil
}

// some reads at least one byte of b.
func (r *preadv2Reader) some(b []byte, off int64) (int, error) {
	n, err := r.call(b, off, r.flags)
	if err == unix.EAGAIN {
		// Not in the page cache: a program hands the call to a thread that may
		// wait. Here it is this one.
		n, err = r.call(b, off, 0)
	}
	switch {
	case err == unix.EOPNOTSUPP:
		return 0, fmt.Errorf("preadv2 with %s: %w: not to be had here: %w (needs %s)", r.name, err, errors.ErrUnsupported, r.needs)
	case err != nil:
		return 0, os.NewSyscallError("preadv2", err)
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

func (r *preadv2Reader) call(b []byte, off int64, flags int) (int, error) {
	r.part.Base = &b[0]
	r.part.SetLen(len(b))
	// The offset is in one register; its upper half, a fifth argument, is ignored.
	return retry(unix.SYS_PREADV2, uintptr(r.fd), uintptr(unsafe.Pointer(&r.part)), 1, uintptr(off), 0, uintptr(flags))
}
