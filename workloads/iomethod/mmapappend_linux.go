package iomethod

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name: "mmap+append",
		Doc:  "ftruncate(2) the file longer by a piece, mmap(2) the pages it lies in, copy, munmap(2): once a piece, at the file's end alone",
		Writer: Role[Writer]{
			Calls: []string{"ftruncate", "mmap", "munmap"},
			Also:  appendSyncCalls,
			New:   newMmapAppender,
		},
	})
}

type mmapAppender struct {
	f    *os.File
	sync Sync
}

func newMmapAppender(c Config) (Writer, error) {
	f, err := openStored(c)
	if err != nil {
		return nil, err
	}
	return &mmapAppender{f, c.Sync}, nil
}

// appendSyncCalls differ from those of other mappings in what comes at the end,
// when nothing is mapped any more.
func appendSyncCalls(c Config) []string {
	if c.Sync == SyncEnd {
		return fdSyncCalls(c)
	}
	return mapSyncCalls(c)
}

// Write appends the pieces. It refuses a plan that is not in order, or does not
// begin where the file ends: those are for the method mmap.
func (w *mmapAppender) Write(p *Plan, produce Producer) error {
	if p.Pieces() == 0 {
		return nil
	}
	fd := int(w.f.Fd())
	size, err := sizeOf(fd)
	if err != nil {
		return err
	}
	if p.Order != nil || p.Start != size {
		return fmt.Errorf("mmap+append writes in order from the end of the file, here %d, on: %w", size, errors.ErrUnsupported)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := w.piece(fd, off, produce(off, n)); err != nil {
			return err
		}
	}
	return fdSync(w.sync).end(fd, p)
}

func (w *mmapAppender) piece(fd int, off int64, b []byte) (err error) {
	n := int64(len(b))
	if _, err := retry(unix.SYS_FTRUNCATE, uintptr(fd), uintptr(off+n), 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	m, err := mapPages(fd, off, n, int64(os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	// By the address that mmap returned, which is a page's: munmap of the piece's
	// own is EINVAL, and the mapping stays.
	defer m.release(&err)
	copy(m.data, b)
	return mapSync(w.sync).piece(fd, off, m.data)
}

func (w *mmapAppender) Close() error { return w.f.Close() }
