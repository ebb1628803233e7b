//go:build !linux

package host

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

// rootFS is empty: the /proc of another system is not Linux's.
func rootFS() fs.FS { return embed.FS{} }

func mountID(string) (int, bool) { return 0, false }

func isTmpfs(path string) (bool, error) {
	return false, fmt.Errorf("statfs %s: %w", path, errors.ErrUnsupported)
}

func freeSpace(path string) (int64, error) {
	return 0, fmt.Errorf("statfs %s: %w", path, errors.ErrUnsupported)
}

func allowedCPUs() ([]int, error) {
	return nil, fmt.Errorf("sched_getaffinity: %w", errors.ErrUnsupported)
}
