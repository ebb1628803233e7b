package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:   "map+populate",
		Doc:    "as map+shared, with MAP_POPULATE: mmap(2) maps all pages, for reading; the first store to each is a fault all the same",
		Mapper: sharedMappers(unix.MAP_POPULATE),
	})
}
