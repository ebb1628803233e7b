package iomethod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	role := Role[Mapper]{Calls: []string{"mmap", "munmap"}, New: newDeviceMapper}
	Register(Method{
		Name:   "map+device",
		Doc:    "mmap(2) the block device that the file's filesystem is on, shared, for reading alone, from its first byte on; who may read the device is up to root",
		Probe:  probeMapper(role),
		Mapper: role,
	})
}

func newDeviceMapper(c Config) (Mapper, error) {
	if c.Write {
		return nil, fmt.Errorf("write to the device of a filesystem: %w (map it for reading)", errors.ErrUnsupported)
	}
	path, err := deviceOf(c.Path)
	if err != nil {
		return nil, err
	}
	m, err := openDevice(c, path)
	if err != nil {
		return nil, err
	}
	if m.size, err = m.f.Seek(0, io.SeekEnd); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// openDevice opens a device for reading. Where that is not allowed, or there is none,
// the error matches errors.ErrUnsupported.
func openDevice(c Config, path string) (*fileMapper, error) {
	m, err := openMapper(c, path, os.O_RDONLY, unix.MAP_SHARED)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: %w (run as root, and in a container that has the device)", err, errors.ErrUnsupported)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w (take a machine, or a container, that has it)", err, errors.ErrUnsupported)
	}
	return m, err
}

// deviceOf returns the path of the block device that a file is on.
func deviceOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	// Of tmpfs, overlayfs, btrfs and NFS it is not a device's number.
	text, err := os.ReadFile("/sys/dev/block/" + device + "/uevent")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: no block device %s: %w (take a file on ext4 or xfs)", path, device, errors.ErrUnsupported)
	}
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return "/dev/" + name, nil
		}
	}
	return "", fmt.Errorf("block device %s has no name: %w (take a file on another filesystem)", device, errors.ErrUnsupported)
}
