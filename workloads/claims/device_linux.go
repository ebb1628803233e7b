package claims

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"iopath/internal/loopdev"
)

// device maps a block device, and /dev/mem where there is one.
func device(_ context.Context, l *Lab) (f Finding, err error) {
	const size = 1 << 20
	file, err := l.file(size)
	if err != nil {
		return f, err
	}
	defer file.Close()
	loop, err := loopdev.Attach(file)
	if err != nil {
		return f, err
	}
	defer loop.Close()
	dev, err := os.OpenFile(loop.Path(), os.O_RDWR, 0)
	if err != nil {
		return f, err
	}
	defer dev.Close()
	m, err := mapFile(dev, 0, size, readWrite, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	read := make([]byte, size)
	if _, err := dev.ReadAt(read, 0); err != nil {
		return f, err
	}
	behind := make([]byte, size)
	if _, err := file.ReadAt(behind, 0); err != nil {
		return f, err
	}
	same := f.is("a block device (loop) of 1MiB has the same bytes by mmap, by read, and in the file behind it", bytes.Equal(read, m.bytes()) && bytes.Equal(read, behind))
	copy(m.bytes()[100:], "stored")
	if err := unix.Msync(m.bytes(), unix.MS_SYNC); err != nil {
		return f, os.NewSyscallError("msync", err)
	}
	back := make([]byte, 6)
	if _, err := file.ReadAt(back, 100); err != nil {
		return f, err
	}
	stored := f.is("a store and msync reach what is behind the device", string(back) == "stored")
	switch mem, err := os.Open("/dev/mem"); {
	case errors.Is(err, fs.ErrNotExist):
		f.untried("/dev/mem", "this machine has none")
	case err != nil:
		f.untried("/dev/mem", err.Error())
	default:
		defer mem.Close()
		first, err := mapFile(mem, 0, page, unix.PROT_READ, unix.MAP_SHARED)
		if f.is("the first page of /dev/mem is mapped", err == nil) {
			first.unmap()
		}
	}
	f.Verdict, f.Because = Holds, "a block device has a page cache like a file's, and is mapped like one; who may open it is up to root"
	if !same || !stored {
		f.Verdict, f.Because = Fails, "the bytes differ"
	}
	return f, nil
}
