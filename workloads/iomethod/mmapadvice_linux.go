package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// An advice is one of madvise(2)'s.
type advice struct {
	value int
	name  string
	needs string // of the kernel; "" where every kernel has it
}

// reader is the role of mmap with that advice.
func (a advice) reader() Role[Reader] {
	return Role[Reader]{Calls: []string{"mmap", "madvise", "munmap"}, New: mmapWith(unix.MAP_SHARED, a.give)}
}

// give advises the kernel of the whole mapping, wherever that is in the file.
func (a advice) give(m mapping, _ int64) error {
	_, err := retry(unix.SYS_MADVISE, uintptr(m.addr), m.size, uintptr(a.value), 0, 0, 0)
	switch {
	case err == nil:
		return nil
	case err == unix.EINVAL && a.needs != "":
		return fmt.Errorf("madvise %s: %w: not in this kernel: %w (needs %s)", a.name, err, errors.ErrUnsupported, a.needs)
	case err == unix.EFAULT: // of those advices alone that touch the pages
		return fmt.Errorf("madvise %s: %w: the file shrank: %w", a.name, err, io.ErrUnexpectedEOF)
	}
	return os.NewSyscallError("madvise "+a.name, err)
}
