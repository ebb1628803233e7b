package iomethod

import (
	"io"
	"os"
	"strings"
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

// A rawFile is the file that a raw method reads, without an os.File around it:
// that would allocate wherever another file is opened in its place.
type rawFile struct {
	fd   int                // -1 where there is none
	mode int                // open(2)'s flags
	path [unix.PathMax]byte // as the kernel reads it: it ends with a zero
}

// openRaw opens the file for reading, with flags besides.
func openRaw(path string, flags int) (*rawFile, error) {
	f := &rawFile{fd: -1, mode: unix.O_RDONLY | unix.O_CLOEXEC | flags}
	if err := f.Reopen(path); err != nil {
		return nil, err
	}
	return f, nil
}

// Reopen closes the file and opens the one at path. It allocates only an error.
func (f *rawFile) Reopen(path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	err := f.open(path)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

func (f *rawFile) open(path string) error {
	switch {
	case len(path) >= len(f.path):
		return unix.ENAMETOOLONG
	case strings.IndexByte(path, 0) >= 0:
		return unix.EINVAL
	}
	f.path[copy(f.path[:], path)] = 0
	here := unix.AT_FDCWD // not a constant: it is negative
	fd, err := retry(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(&f.path[0])), uintptr(f.mode), 0, 0, 0)
	if err == nil {
		f.fd = fd
	}
	return err
}

// Close closes the file, if there is one. It is not retried: Linux lets go of the
// descriptor also where a signal cuts the call short (close(2), "NOTES").
func (f *rawFile) Close() error {
	if f.fd < 0 {
		return nil
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(f.fd), 0, 0)
	f.fd = -1
	if errno != 0 && errno != unix.EINTR {
		return os.NewSyscallError("close", errno)
	}
	return nil
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
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("write", errno)
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

// probeReader is the probe of a reader that is to be had where it can read the
// first byte of a file.
func probeReader(role Role[Reader]) func(Config) error {
	return func(c Config) error {
		c.Block = 1
		r, err := role.New(c)
		if err != nil {
			return err
		}
		err = r.Read(&Plan{Length: 1, Block: 1}, func(int64, []byte) {})
		if e := r.Close(); err == nil {
			err = e
		}
		return err
	}
}
