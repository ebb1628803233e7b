package iomethod

import "golang.org/x/sys/unix"

func init() {
	reader := advice{unix.MADV_POPULATE_READ, "MADV_POPULATE_READ", "Linux 5.14"}.reader()
	Register(Method{
		Name:   "mmap+populate_read",
		Doc:    "as mmap, with madvise(2) MADV_POPULATE_READ: it reads the file and maps all pages, or says why it cannot",
		Reader: reader,
		Probe:  probeReader(reader),
	})
}
