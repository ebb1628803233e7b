package iomethod

func init() {
	Register(Method{
		Name:   "map+shared",
		Doc:    "mmap(2) a file shared: its pages in the page cache are the memory, and stores change the file",
		Mapper: sharedMappers(0),
	})
}
