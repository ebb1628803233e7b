package iomethod

import (
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "mmap+mmap",
		Doc:    "mmap(2) both files once a job, ftruncate(2) the target before where it is too short, copy in user space: no call a piece",
		Copier: Role[Copier]{Calls: []string{"mmap", "munmap"}, New: newMmapCopier},
	})
}

type mmapCopier struct{ filePair }

func newMmapCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_RDWR) // a mapping is never of a file that cannot be read
	if err != nil {
		return nil, err
	}
	return &mmapCopier{files}, nil
}

func (c *mmapCopier) Copy(p *Plan) error {
	if p.Pieces() == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	source, err := mapFile(int(c.source.Fd()), p.Start, p.Length)
	if err != nil {
		return err
	}
	target, err := mapTarget(int(c.target.Fd()), p)
	if err == nil {
		err = copyMapped(p, source, target)
		if e := target.unmap(); err == nil {
			err = e
		}
	}
	if e := source.unmap(); err == nil {
		err = e
	}
	return err
}

// mapTarget maps what the plan will write of the file, which has at least one
// piece, after it made the file as long as that.
func mapTarget(fd int, p *Plan) (mapping, error) {
	end := endOf(p)
	size, err := sizeOf(fd)
	if err != nil {
		return mapping{}, err
	}
	if size < end {
		if _, err := retry(unix.SYS_FTRUNCATE, uintptr(fd), uintptr(end), 0, 0, 0, 0); err != nil {
			return mapping{}, os.NewSyscallError("ftruncate", err)
		}
	}
	return mapPages(fd, p.Start, end-p.Start, int64(os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// copyMapped copies the plan's pieces from one mapping to the other.
func copyMapped(p *Plan, source, target mapping) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if panicked := recover(); panicked != nil {
			if err = target.storeFault(panicked); err == nil {
				err = source.fault(panicked)
			}
		}
	}()
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		copy(target.data[off-p.Start:][:n], source.data[off-p.Start:][:n])
	}
	return nil
}

// storeFault returns the error that a fault stands for in a mapping that was
// written, or nil where it was elsewhere.
func (m mapping) storeFault(panicked any) error {
	at, ok := panicked.(interface{ Addr() uintptr })
	if !ok {
		return nil
	}
	rel := at.Addr() - uintptr(m.addr)
	if rel >= m.size {
		return nil
	}
	return fmt.Errorf("store to page %d of the target's mapping: SIGBUS: the target shrank, or its filesystem is full", rel/uintptr(os.Getpagesize()))
}
