package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:   "mmap+random",
		Doc:    "as mmap, with madvise(2) MADV_RANDOM: no read-ahead, a fault reads what it touches",
		Reader: advice{value: unix.MADV_RANDOM, name: "MADV_RANDOM"}.reader(),
	})
}
