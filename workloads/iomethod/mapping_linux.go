package iomethod

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
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
	return mapFileAs(fd, off, length, unix.MAP_SHARED)
}

// mapFileAs is mapFile with mmap's flags.
func mapFileAs(fd int, off, length int64, flags int) (mapping, error) {
	size, err := sizeOf(fd)
	if err != nil {
		return mapping{}, err
	}
	if size < off+length {
		return mapping{}, io.ErrUnexpectedEOF
	}
	return mapPages(fd, off, length, int64(os.Getpagesize()), unix.PROT_READ, flags)
}

// sizeOf returns the file's size in bytes.
func sizeOf(fd int) (int64, error) {
	var st unix.Stat_t
	if err := rawFstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Size, nil
}

// mapPages maps the pages of that many bytes which hold length > 0 bytes from off
// on, and does not look whether the file has them.
func mapPages(fd int, off, length, page int64, prot, flags int) (mapping, error) {
	pad := off % page // mmap wants the offset of a page
	// And munmap wants whole pages, where they are huge.
	size := uintptr((pad + length + page - 1) / page * page)
	addr, err := rawMmap(fd, off-pad, size, prot, flags)
	if err != nil {
		return mapping{}, os.NewSyscallError("mmap", err)
	}
	return mapping{addr, size, unsafe.Slice((*byte)(addr), size)[pad:][:length]}, nil
}

// handOut hands the consumer every piece of the plan, whose bytes the mapping must
// hold, from byte start of the file on. A page that the file has lost is
// io.ErrUnexpectedEOF.
func (m mapping) handOut(p *Plan, start int64, consume Consumer) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if panicked := recover(); panicked != nil {
			err = m.fault(panicked)
		}
	}()
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		// Hand out the mapping itself: a copy would charge mmap for what it avoids.
		consume(off, m.data[off-start:][:n])
	}
	return nil
}

// readOnce is the job of a mapping of the plan's stretch alone: it hands the pieces
// out and unmaps.
func (m mapping) readOnce(p *Plan, consume Consumer) error {
	err := m.handOut(p, p.Start, consume)
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
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
