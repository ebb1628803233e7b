package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/alecthomas/units"
	"golang.org/x/sys/unix"

	"iopath/internal/host"
)

// A swap file that was made for a run has the run's process in its name, so that what
// a killed run left behind is known.
const (
	swapPrefix = "iopath-swap-"
	swapSuffix = ".swap"
)

// ensureSwap makes so many bytes of swap, where the machine has not as much free, and
// returns what takes it away again. The file has the lowest priority: others are used
// first. The error matches errors.ErrUnsupported where the user may not.
func ensureSwap(ctx context.Context, dir string, size int64) (off func() error, err error) {
	nothing := func() error { return nil }
	sweepSwap(dir)
	if size == 0 {
		return nothing, nil
	}
	if free, err := named("/proc/meminfo", "SwapFree:"); err == nil && free<<10 >= size {
		return nothing, nil
	}
	path, err := filepath.Abs(filepath.Join(dir, swapPrefix+strconv.Itoa(os.Getpid())+swapSuffix))
	if err != nil {
		return nil, err
	}
	if free, err := host.FreeSpace(dir); err == nil && free < size {
		return nil, usage("make the swap file in %s: it needs %s and %s is free (take a smaller -swap, or another place with -dir)",
			dir, units.Base2Bytes(size), units.Base2Bytes(free).Round(1))
	}
	if err := makeSwap(ctx, path, size); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	err = swap(unix.SYS_SWAPON, path)
	switch {
	case errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: %w (run as root, or without swap: -swap 0)", err, errors.ErrUnsupported)
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("%w: %w (the filesystem takes no swap file: choose another place with -dir, or -swap 0)", err, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("switch on the swap file %s: %w", path, err), os.Remove(path))
	}
	return func() error {
		if err := swap(unix.SYS_SWAPOFF, path); err != nil {
			return fmt.Errorf("switch off the swap file: %w (swapoff %s, and remove it)", err, path)
		}
		return os.Remove(path)
	}, nil
}

// sweepSwap takes away the swap files of processes that are gone.
func sweepSwap(dir string) {
	paths, _ := filepath.Glob(filepath.Join(dir, swapPrefix+"*"+swapSuffix))
	inUse, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(inUse)) {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "/") {
			paths = append(paths, name)
		}
	}
	for _, path := range paths {
		digits, ours := strings.CutPrefix(filepath.Base(path), swapPrefix)
		pid, err := strconv.Atoi(strings.TrimSuffix(digits, swapSuffix))
		if ours && err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			swap(unix.SYS_SWAPOFF, path) // an error where it was not switched on yet
			os.Remove(path)
		}
	}
}

// makeSwap writes the file, without holes, and its header as mkswap(8) does.
func makeSwap(ctx context.Context, path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the swap file: %w (choose another place with -dir, or -swap 0)", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("make the swap file %s: %w (take a smaller -swap, or another place with -dir)", path, err)
		}
	}()
	page := int64(os.Getpagesize())
	size -= size % page
	zeros := make([]byte, heldBlock)
	for off := int64(0); off < size; off += heldBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.WriteAt(zeros[:min(heldBlock, size-off)], off); err != nil {
			return err
		}
	}
	// include/linux/swap.h: union swap_header.
	var head bytes.Buffer
	head.Write(make([]byte, 1024))
	binary.Write(&head, binary.NativeEndian, []uint32{1, uint32(size/page - 1), 0}) // version, last page, bad pages
	if _, err := f.WriteAt(head.Bytes(), 0); err != nil {
		return err
	}
	const magic = "SWAPSPACE2"
	if _, err := f.WriteAt([]byte(magic), page-int64(len(magic))); err != nil {
		return err
	}
	return f.Sync()
}

// swap calls swapon(2) or swapoff(2).
func swap(call uintptr, path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
		return os.NewSyscallError(map[uintptr]string{unix.SYS_SWAPON: "swapon", unix.SYS_SWAPOFF: "swapoff"}[call], errno)
	}
	return nil
}
