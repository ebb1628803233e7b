package iomethod

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below go to the kernel without telling Go's scheduler, so that
// what is measured is the kernel's price and not the hand-off's (25 % of a
// 64 KiB pread where Go has one P). The price: they hold their P while they
// block. Idiomatic Go is measured by the methods named after Go's APIs.
//
// Each retries EINTR. Offsets are passed in one register: 64-bit systems only,
// which the next line makes sure of.
const _ = uint(unsafe.Sizeof(uintptr(0)) - 8)

func rawWrite(fd int, b []byte) (int, error) {
	return retry(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
}

func rawSeek(fd int, off int64) error {
	_, err := retry(unix.SYS_LSEEK, uintptr(fd), uintptr(off), unix.SEEK_SET, 0, 0, 0)
	return err
}

// rawFstat does without retry, through which st would escape to the heap: an
// allocation a job. A signal does not cut it short (signal(7)).
func rawFstat(fd int, st *unix.Stat_t) error {
	_, _, errno := unix.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(st)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// rawMmap maps size bytes of the file from off on, wherever the kernel likes.
func rawMmap(fd int, off int64, size uintptr, prot, flags int) (unsafe.Pointer, error) {
	addr, err := retry(unix.SYS_MMAP, 0, size, uintptr(prot), uintptr(flags), uintptr(fd), uintptr(off))
	// The kernel's word for a pointer; the detour is how vet takes it.
	return *(*unsafe.Pointer)(unsafe.Pointer(&addr)), err
}

func rawMunmap(addr unsafe.Pointer, size uintptr) error {
	_, err := retry(unix.SYS_MUNMAP, uintptr(addr), size, 0, 0, 0, 0)
	return err
}

// retry calls the kernel until no signal cuts it short. The directive keeps what
// the pointers among its arguments point to in place and alive. It is not
// inlined.
//
//go:uintptrescapes
func retry(trap, a1, a2, a3, a4, a5, a6 uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// writeAll writes the whole of b to a blocking descriptor.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := rawWrite(fd, b)
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		b = b[n:]
	}
	return nil
}

// readFull fills b from the file's offset.
func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("read", errno)
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}
