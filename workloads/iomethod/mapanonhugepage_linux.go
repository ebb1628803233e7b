package iomethod

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	role := Role[Mapper]{Calls: []string{"mmap", "madvise", "munmap"}, New: newHugeMapper}
	Register(Method{
		Name:   "map+anon+hugepage",
		Doc:    "mmap(2) MAP_ANONYMOUS, madvise(2) MADV_HUGEPAGE, aligned to huge pages: a fault makes one of 2 MiB (x86) where the kernel finds as much in one piece, else a small one, as minflt/op tells",
		Probe:  probeMapper(role),
		Mapper: role,
	})
}

func newHugeMapper(Config) (Mapper, error) {
	size, err := hugePageSize()
	if err != nil {
		return nil, err
	}
	if err := hugePagesOn(size); err != nil {
		return nil, err
	}
	a := advice{unix.MADV_HUGEPAGE, "MADV_HUGEPAGE", "CONFIG_TRANSPARENT_HUGEPAGE"}
	return &anonMapper{page: size, align: true, advice: []advice{a}}, nil
}

// hugePagesOn returns an error where the machine gives transparent huge pages of
// that many bytes to nobody: the advice is then taken and does nothing. Each size
// has a setting of its own since Linux 6.8, and it may be to inherit the common
// one (Documentation/admin-guide/mm/transhuge.rst).
func hugePagesOn(size int64) error {
	const dir = "/sys/kernel/mm/transparent_hugepage/"
	for _, path := range []string{fmt.Sprintf("%shugepages-%dkB/enabled", dir, size>>10), dir + "enabled"} {
		text, err := os.ReadFile(path)
		switch {
		case errors.Is(err, os.ErrNotExist), err == nil && strings.Contains(string(text), "[inherit]"):
			continue
		case err != nil:
			return err
		case strings.Contains(string(text), "[never]"):
			return fmt.Errorf("transparent huge pages are off: %w (as root: echo madvise > %s)", errors.ErrUnsupported, path)
		}
		return nil
	}
	return nil
}
