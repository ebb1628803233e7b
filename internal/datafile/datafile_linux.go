package datafile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openUnnamed opens a new file in dir, to write and to read. Its name is empty where it
// has none yet.
func openUnnamed(dir string) (f *os.File, name string, err error) {
	f, err = os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o644)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		return createNamed(dir) // open(2): not every filesystem has O_TMPFILE
	}
	return f, "", err
}

// giveName makes a finished file appear at path. Where another process was
// faster, its file stays: it has the same content.
func giveName(f *os.File, name, path string) error {
	if name != "" {
		return os.Rename(name, path)
	}
	// The calling thread's: the first thread, which /proc/self stands for, may
	// have a descriptor table of its own by now.
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/thread-self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return os.NewSyscallError("linkat", err)
}
