package iomethod

import (
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A mapping is a stretch of a file in memory. Its data starts at the byte that
// was asked for; what is mapped starts at that byte's page.
type mapping struct {
	addr unsafe.Pointer
	size uintptr
	data []byte
}

// mapFile maps length > 0 bytes of the file from off on, shared and for
// reading. A file that ends before them is io.ErrUnexpectedEOF here: pages
// beyond its end would raise SIGBUS, and the rest of its last page would read
// as zeros without a word (mmap(2), "NOTES").
func mapFile(fd int, off, length int64) (mapping, error) {
	var st unix.Stat_t
	if err := rawFstat(fd, &st); err != nil {
		return mapping{}, os.NewSyscallError("fstat", err)
	}
	if st.Size < off+length {
		return mapping{}, io.ErrUnexpectedEOF
	}
	pad := off % int64(os.Getpagesize()) // mmap wants the offset of a page
	size := uintptr(length + pad)
	addr, err := rawMmap(fd, off-pad, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return mapping{}, os.NewSyscallError("mmap", err)
	}
	return mapping{addr, size, unsafe.Slice((*byte)(addr), size)[pad:]}, nil
}

func (m mapping) unmap() error {
	return os.NewSyscallError("munmap", rawMunmap(m.addr, m.size))
}

// fault turns what recover returned under debug.SetPanicOnFault into an error
// where the fault was in the mapping, and panics again where it was not.
func (m mapping) fault(panicked any) error {
	if at, ok := panicked.(interface{ Addr() uintptr }); ok {
		if rel := at.Addr() - uintptr(m.addr); rel < m.size {
			return fmt.Errorf("touch page %d of the mapping: SIGBUS: the file shrank: %w",
				rel/uintptr(os.Getpagesize()), io.ErrUnexpectedEOF)
		}
	}
	panic(panicked)
}
