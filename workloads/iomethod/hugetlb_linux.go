package iomethod

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func init() {
	reader := Role[Reader]{Calls: []string{"mmap", "munmap"}, New: newHugetlbReader}
	Register(Method{
		Name:   "hugetlb",
		Doc:    "as memfd, with MFD_HUGETLB: the copy is in huge pages, which root has set aside",
		Cache:  "warm",
		Reader: reader,
		Probe:  probeReader(reader),
	})
}

// newHugetlbReader fails where too few huge pages are free for the file: the kernel
// reserves them when they are mapped (Documentation/admin-guide/mm/hugetlbpage.rst).
func newHugetlbReader(c Config) (Reader, error) {
	r, err := copyToMemfd(c.Path, unix.MFD_HUGETLB)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOSYS) {
		return nil, fmt.Errorf("%w: no huge pages in this kernel: %w (needs CONFIG_HUGETLBFS)", err, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}
