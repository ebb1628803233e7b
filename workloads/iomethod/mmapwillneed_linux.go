package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:   "mmap+willneed",
		Doc:    "as mmap, with madvise(2) MADV_WILLNEED: the kernel begins to read the file, and maps nothing yet",
		Reader: advice{value: unix.MADV_WILLNEED, name: "MADV_WILLNEED"}.reader(),
	})
}
