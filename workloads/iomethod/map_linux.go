package iomethod

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A holder has what a mapper has mapped last.
type holder struct{ m mapping } // of no size where that is nothing

// Unmap unmaps it.
func (h *holder) Unmap() error {
	if h.m.size == 0 {
		return errUnmapped
	}
	m := h.m
	h.m = mapping{}
	return m.unmap()
}

// Close unmaps it, where there is something left.
func (h *holder) Close() error {
	if h.m.size == 0 {
		return nil
	}
	return h.Unmap()
}

// An anonMapper's memory is anonymous.
type anonMapper struct {
	holder
	flags  int
	page   int64 // bytes of a page
	align  bool  // whether the memory begins where a multiple of page does: mmap(2) sees to that of small pages alone
	advice []advice
}

func (a *anonMapper) Map(n int) ([]byte, error) {
	if err := canMap(n, int(a.m.size)); err != nil {
		return nil, err
	}
	length := int64(n)
	if a.align {
		length += a.page // nobody touches what is not used of them
	}
	m, err := mapPages(-1, 0, length, a.page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|a.flags)
	if err != nil {
		return nil, err
	}
	for _, advice := range a.advice {
		if err := advice.give(m, 0); err != nil {
			return nil, errors.Join(err, m.unmap())
		}
	}
	a.m = m
	skip := 0
	if a.align {
		skip = int(-uintptr(m.addr) % uintptr(a.page))
	}
	return m.data[skip:][:n:n], nil
}

// anonMappers returns the role of anonymous memory in small pages, with advice
// besides.
func anonMappers(besides ...advice) Role[Mapper] {
	role := Role[Mapper]{
		Calls: []string{"mmap", "munmap"},
		Also: func(Config) (calls []string) {
			if len(smallPages()) > 0 || len(besides) > 0 {
				calls = []string{"madvise"}
			}
			return calls
		},
	}
	role.New = func(Config) (Mapper, error) {
		return &anonMapper{page: int64(os.Getpagesize()), advice: append(smallPages(), besides...)}, nil
	}
	return role
}

// smallPages is the advice that keeps memory in small pages whatever the machine's
// setting, where the kernel has others.
func smallPages() []advice {
	if _, err := hugePageSize(); err != nil {
		return nil
	}
	return []advice{{unix.MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE", ""}}
}

// A fileMapper's memory is a file's, from its start on.
type fileMapper struct {
	holder
	f           *os.File
	size        int64 // bytes of a device, of which fstat(2) tells none; 0 of a file
	prot, flags int
}

// openMapper opens the file at path for mappings that may be written where c says
// so, with mmap's flags.
func openMapper(c Config, path string, access, flags int) (*fileMapper, error) {
	f, err := os.OpenFile(path, access, 0)
	if err != nil {
		return nil, err
	}
	m := &fileMapper{f: f, prot: unix.PROT_READ, flags: flags}
	if c.Write {
		m.prot |= unix.PROT_WRITE
	}
	return m, nil
}

// sharedMappers returns the role of shared mappings with those flags.
func sharedMappers(flags int) Role[Mapper] {
	return Role[Mapper]{
		Calls: []string{"mmap", "munmap"},
		New: func(c Config) (Mapper, error) {
			path, access := c.Path, os.O_RDONLY
			if c.Write {
				path, access = c.Target, os.O_RDWR
			}
			m, err := openMapper(c, path, access, unix.MAP_SHARED|flags)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
	}
}

// Map looks first whether the file has that many bytes: pages beyond its end would
// raise SIGBUS in whoever touches them.
func (m *fileMapper) Map(n int) ([]byte, error) {
	if err := canMap(n, int(m.m.size)); err != nil {
		return nil, err
	}
	fd, size, err := int(m.f.Fd()), m.size, error(nil)
	if size == 0 {
		size, err = sizeOf(fd)
	}
	if err != nil {
		return nil, err
	}
	if size < int64(n) {
		return nil, io.ErrUnexpectedEOF
	}
	if m.m, err = mapPages(fd, 0, int64(n), int64(os.Getpagesize()), m.prot, m.flags); err != nil {
		return nil, err
	}
	return m.m.data[:n:n], nil
}

// Backing returns the file's path.
func (m *fileMapper) Backing() string { return m.f.Name() }

// Close unmaps what is left, and closes the file.
func (m *fileMapper) Close() error { return errors.Join(m.holder.Close(), m.f.Close()) }

// probeMapper returns a probe that maps one byte.
func probeMapper(role Role[Mapper]) func(Config) error {
	return func(c Config) error {
		m, err := role.New(c)
		if err != nil {
			return err
		}
		_, err = m.Map(1)
		return errors.Join(err, m.Close())
	}
}
