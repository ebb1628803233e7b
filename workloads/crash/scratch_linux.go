package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	scratchPrefix = "iopath-crash-"
	scratchLock   = "lock" // a file that marks the directory as ours, locked while its run lives
)

// Scratch makes a directory in dir for the files of a run, which remove removes, and
// removes those of runs that were killed: a lock (flock(2)) ends with its process.
func Scratch(dir string) (scratch string, remove func() error, err error) {
	old, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	for _, e := range old {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		// What is another user's stays.
		name := filepath.Join(dir, e.Name())
		if f, err := locked(filepath.Join(name, scratchLock), os.O_RDONLY); err == nil {
			os.RemoveAll(name)
			f.Close()
		}
	}
	if scratch, err = os.MkdirTemp(dir, scratchPrefix); err != nil {
		return "", nil, err
	}
	// It has its name when it is locked: nobody else may come between.
	nameless := filepath.Join(scratch, "new")
	f, err := locked(nameless, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err == nil {
		err = os.Rename(nameless, filepath.Join(scratch, scratchLock))
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(scratch))
	}
	return scratch, func() error { return errors.Join(os.RemoveAll(scratch), f.Close()) }, nil
}

// locked opens and locks a file, if nobody else has.
func locked(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, os.NewSyscallError("flock", err))
	}
	return f, nil
}
