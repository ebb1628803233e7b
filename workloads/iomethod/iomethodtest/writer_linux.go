package iomethodtest

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// dirtyPages returns how many pages of the file the page cache holds that are not
// on the device yet, by cachestat(2), Linux 6.5.
func dirtyPages(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Cachestat_t
	err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0) // no length: all of it
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return 0, fmt.Errorf("cachestat: %w: %w", err, errors.ErrUnsupported)
	}
	return st.Dirty + st.Writeback, os.NewSyscallError("cachestat", err)
}

// sealed calls do with the path of a file of size bytes that cannot grow, for
// anybody (memfd_create(2), F_SEAL_GROW): a write beyond its end is cut short, and
// then refused. Afterwards nobody may have it mapped.
func sealed(size int64, do func(path string) error) error {
	const name = "iopath-sealed"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, size); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		return os.NewSyscallError("fcntl F_ADD_SEALS", err)
	}
	if err := do(fmt.Sprintf("/proc/thread-self/fd/%d", fd)); err != nil {
		return err
	}
	mapped, err := mappings(name)
	if err == nil && mapped != "" {
		err = fmt.Errorf("got mapping %q, want none of the file", mapped)
	}
	return err
}

// fullSize is how many bytes the filesystem of fullFilesystem holds.
const fullSize = 256 << 10

// fullFilesystem calls do while dir is a filesystem with little room. It is on a
// thread of its own, which alone sees it, and takes it with it when it ends.
func fullFilesystem(dir string, do func() error) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		defer func() {
			if r := recover(); r != nil {
				ended <- fmt.Errorf("panic: %v", r)
			}
		}()
		ended <- mountAndDo(dir, do)
	}()
	return <-ended
}

func mountAndDo(dir string, do func() error) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mounts: %w: %w (run as root)", err, errors.ErrUnsupported)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", fullSize)); err != nil {
		return os.NewSyscallError("mount", err)
	}
	// The first thread of a process does not end with its goroutine.
	defer unix.Unmount(dir, unix.MNT_DETACH)
	return do()
}
