package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:   "mmap+sequential",
		Doc:    "as mmap, with madvise(2) MADV_SEQUENTIAL: read far ahead",
		Reader: advice{value: unix.MADV_SEQUENTIAL, name: "MADV_SEQUENTIAL"}.reader(),
	})
}
