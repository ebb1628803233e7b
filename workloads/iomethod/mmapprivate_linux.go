package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:   "mmap+private",
		Doc:    "as mmap, with MAP_PRIVATE: the same pages of the page cache, as long as nobody writes them",
		Reader: Role[Reader]{Calls: []string{"mmap", "munmap"}, New: mmapWith(unix.MAP_PRIVATE, nil)},
	})
}
