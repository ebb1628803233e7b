package iomethod

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	role := Role[Mapper]{Calls: []string{"mmap", "munmap"}, New: newHugetlbMapper}
	Register(Method{
		Name:   "map+hugetlb",
		Doc:    "mmap(2) MAP_ANONYMOUS|MAP_HUGETLB: zeros in huge pages, which root has set aside",
		Probe:  probeMapper(role),
		Mapper: role,
	})
}

type hugetlbMapper struct{ anonMapper }

func newHugetlbMapper(Config) (Mapper, error) {
	size, err := defaultHugePage()
	if err != nil {
		return nil, err
	}
	return &hugetlbMapper{anonMapper{page: size, flags: unix.MAP_HUGETLB}}, nil
}

// Map needs no look at how many pages are free: mmap(2) reserves them, and so says
// ENOMEM here, where a fault later would be SIGBUS
// (Documentation/admin-guide/mm/hugetlbpage.rst).
func (h *hugetlbMapper) Map(n int) ([]byte, error) {
	b, err := h.anonMapper.Map(n)
	if errors.Is(err, unix.ENOMEM) {
		pages := (int64(n) + h.page - 1) / h.page
		return nil, fmt.Errorf("%w: too few huge pages: %w (as root: sysctl vm.nr_hugepages=%d, or more where others take some)", err, errors.ErrUnsupported, pages)
	}
	return b, err
}

// defaultHugePage returns the bytes of a page that MAP_HUGETLB maps.
func defaultHugePage() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "Hugepagesize: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no huge pages in this kernel: %w (needs CONFIG_HUGETLBFS)", errors.ErrUnsupported)
}
