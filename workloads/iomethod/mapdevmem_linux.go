package iomethod

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

func init() {
	role := Role[Mapper]{Calls: []string{"mmap", "munmap"}, New: newDevmemMapper}
	Register(Method{
		Name:   "map+devmem",
		Doc:    "mmap(2) physical memory by /dev/mem, shared, for reading alone: the first MiB of a PC's, which is all that CONFIG_STRICT_DEVMEM lets anybody see",
		Probe:  probeMapper(role),
		Mapper: role,
	})
}

type devmemMapper struct{ *fileMapper }

// devmemSize is how many bytes can be seen (devmem_is_allowed in
// arch/x86/mm/init.c).
const devmemSize = 1 << 20

func newDevmemMapper(c Config) (Mapper, error) {
	switch {
	case c.Write:
		return nil, fmt.Errorf("write to physical memory: %w (map it for reading)", errors.ErrUnsupported)
	case runtime.GOARCH != "amd64":
		// Elsewhere there may be no memory at address 0, and a load from it ends the process.
		return nil, fmt.Errorf("map physical memory on %s: %w (take a PC)", runtime.GOARCH, errors.ErrUnsupported)
	}
	m, err := openDevice(c, "/dev/mem")
	if err != nil {
		return nil, err
	}
	m.size = devmemSize
	return &devmemMapper{m}, nil
}

func (m *devmemMapper) Map(n int) ([]byte, error) {
	if n > devmemSize {
		return nil, fmt.Errorf("map %d bytes of physical memory: %w (map %d at most)", n, errors.ErrUnsupported, devmemSize)
	}
	b, err := m.fileMapper.Map(n)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w: the kernel is locked down: %w (boot it with lockdown=none)", err, errors.ErrUnsupported)
	}
	return b, err
}
