package iomethod

func init() {
	Register(Method{
		Name:   "map+anon",
		Doc:    "mmap(2) MAP_ANONYMOUS, madvise(2) MADV_NOHUGEPAGE: zeros in small pages, each by a fault; what is only read is one page of zeros",
		Mapper: anonMappers(),
	})
}
