package iomethod

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "map+memfd",
		Doc:    "memfd_create(2), ftruncate(2), mmap(2) it shared, close(2): memory that can be passed to another process",
		Mapper: Role[Mapper]{Calls: []string{"memfd_create", "ftruncate", "mmap", "close", "munmap"}, New: newMemfdMapper},
	})
}

type memfdMapper struct{ holder }

func newMemfdMapper(Config) (Mapper, error) { return &memfdMapper{}, nil }

// memfdName is what /proc/PID/maps shows, as the kernel reads it.
var memfdName = []byte("iopath\x00")

// Map makes a new memfd each time: one that was mapped before has its pages already.
// The mapping keeps it when its descriptor is closed.
func (m *memfdMapper) Map(n int) ([]byte, error) {
	if err := canMap(n, int(m.m.size)); err != nil {
		return nil, err
	}
	fd, err := retry(unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(&memfdName[0])), unix.MFD_CLOEXEC, 0, 0, 0, 0)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	made, err := mapNew(fd, n)
	if _, e := retry(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0); err == nil {
		err = os.NewSyscallError("close", e)
	}
	m.m = made
	if err != nil {
		return nil, err
	}
	return made.data[:n:n], nil
}

// mapNew makes the empty file n bytes long, and maps it.
func mapNew(fd, n int) (mapping, error) {
	if _, err := retry(unix.SYS_FTRUNCATE, uintptr(fd), uintptr(n), 0, 0, 0, 0); err != nil {
		return mapping{}, os.NewSyscallError("ftruncate", err)
	}
	return mapPages(fd, 0, int64(n), int64(os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}
