package device

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"iopath/internal/counters"
	"iopath/internal/pagecache"
)

// Tells reports whether the kernel tells a thread how much of the file it has
// fetched from the device: nil where it does, or where that cannot be found out
// since the file has no data, or somebody has it mapped. It evicts the file and
// reads a page of it.
//
// Otherwise the error matches errors.ErrUnsupported, and a count of 0 says nothing.
// The kernel counts at the block layer, on behalf of whoever submits the request
// (proc_pid_io(5), read_bytes): where the filesystem asks another process or
// another machine for the bytes (FUSE, virtiofs, 9p, many network filesystems),
// there is no request, and what is not in this page cache may be in theirs.
func Tells(f *os.File) error {
	// The meter is a thread's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pagecache.Evict(f); err != nil {
		return err
	}
	r, err := pagecache.Resident(f)
	if err != nil || r.Cold() != nil {
		return nil
	}
	// A hole is read without the device. Where the filesystem does not tell, all
	// of the file counts as data.
	off, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		off = 0
	}
	m := counters.OpenMeter()
	defer m.Close()
	if err := m.Start(); err != nil {
		return err
	}
	n, _ := f.ReadAt(make([]byte, os.Getpagesize()), off)
	if err := m.Stop(); err != nil {
		return err
	}
	switch {
	case n == 0:
		return nil // and who reads it in earnest is told the error
	case !m.HasDeviceBytes:
		return fmt.Errorf("/proc/thread-self/io does not tell the bytes from the device: %w (take a kernel with CONFIG_TASK_IO_ACCOUNTING)", errors.ErrUnsupported)
	case m.DeviceBytes == 0:
		return fmt.Errorf("the kernel counts no bytes from a device for %s: %w (its filesystem may get them from another process or machine, whose cache may hold what is cold here; choose a local disk)", f.Name(), errors.ErrUnsupported)
	}
	return nil
}
