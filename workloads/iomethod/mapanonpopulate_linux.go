package iomethod

import "golang.org/x/sys/unix"

// MAP_POPULATE would come before the advice that keeps the pages small, and
// where the machine's setting is "always" fill huge ones.
func init() {
	role := anonMappers(advice{unix.MADV_POPULATE_WRITE, "MADV_POPULATE_WRITE", "Linux 5.14"})
	Register(Method{
		Name:   "map+anon+populate",
		Doc:    "as map+anon, with madvise(2) MADV_POPULATE_WRITE: one call makes all pages, and none is left to fault",
		Probe:  probeMapper(role),
		Mapper: role,
	})
}
