package iomethod

import (
	"os"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "map+private",
		Doc:    "mmap(2) a file private: its pages in the page cache are the memory until the first store to each, which copies it; the file never changes",
		Mapper: Role[Mapper]{Calls: []string{"mmap", "munmap"}, New: newPrivateMapper},
	})
}

func newPrivateMapper(c Config) (Mapper, error) {
	m, err := openMapper(c, c.Path, os.O_RDONLY, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	return m, nil
}
