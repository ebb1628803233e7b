package host

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func rootFS() fs.FS { return os.DirFS("/") }

// mountID returns the id that path's mount has in /proc/self/mountinfo.
// Kernels before 5.8 do not tell it: statx(2), STATX_MNT_ID.
func mountID(path string) (int, bool) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, false
	}
	return int(st.Mnt_id), true
}

func isTmpfs(path string) (bool, error) {
	st, err := statfs(path)
	magic := uint32(st.Type) // f_type's own width and sign differ by architecture
	return magic == unix.TMPFS_MAGIC || magic == unix.RAMFS_MAGIC, err
}

func freeSpace(path string) (int64, error) {
	st, err := statfs(path)
	// Blocks are counted in f_frsize bytes, which old filesystems leave at 0;
	// f_bsize is the size of a good transfer: statvfs(3).
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return int64(st.Bavail) * unit, err
}

func statfs(path string) (st unix.Statfs_t, err error) {
	for {
		if err = unix.Statfs(path, &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return unix.Statfs_t{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	return st, nil
}

func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var ids []int
	for id := 0; len(ids) < set.Count(); id++ {
		if set.IsSet(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
