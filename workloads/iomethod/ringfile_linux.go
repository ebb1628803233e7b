package iomethod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:    "ring.file",
		Doc:     "as ring.memfd, in a file of the filesystem without a name (O_TMPFILE): its pages are written back meanwhile",
		Probe:   probeFileRing,
		Channel: Role[Channel]{Sometimes: []string{"futex"}, New: newFileRing},
	})
}

func newFileRing(c Config) (Channel, error) { return newRingChannel(c, newUnnamed) }

// newUnnamed returns a file without a name, next to the target or among temporary
// files.
func newUnnamed(c Config) (*os.File, error) {
	dir := os.TempDir()
	if c.Target != "" {
		dir = filepath.Dir(c.Target)
	}
	// A target without a name has a path by its descriptor (proc_pid_fd(5)).
	if path, err := os.Readlink(c.Target); err == nil && filepath.IsAbs(path) {
		dir = filepath.Dir(path)
	}
	f, err := os.OpenFile(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	// A kernel older than 3.11 takes the flag for a directory's.
	if errors.Is(err, unix.EISDIR) {
		err = fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file without a name: %w (choose a directory of ext4, xfs, btrfs or tmpfs)", err)
	}
	return f, nil
}

func probeFileRing(c Config) error {
	f, err := newUnnamed(c)
	if err != nil {
		return err
	}
	return errors.Join(allocate(f, 1), f.Close())
}
