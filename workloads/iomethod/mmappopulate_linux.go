package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:   "mmap+populate",
		Doc:    "as mmap, with MAP_POPULATE: mmap(2) reads the file and maps all pages, and ignores those that it cannot",
		Reader: Role[Reader]{Calls: []string{"mmap", "munmap"}, New: mmapWith(unix.MAP_SHARED|unix.MAP_POPULATE, nil)},
	})
}
