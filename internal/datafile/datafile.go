// Package datafile makes the files that the benchmarks read: of a known size,
// with content that proves itself (see [Content]), made once and reused.
//
// A file is ready when it has its name. Until then it has none (O_TMPFILE), so
// that a run which is killed half-way leaves nothing behind; where the
// filesystem cannot do that, it has a temporary name which is removed on every
// way out but SIGKILL.
package datafile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/alecthomas/units"

	"iopath/internal/host"
)

// chunk is the size of one write. How a file was written stays visible in its
// page cache and its extents, so that all files are written alike.
const chunk = 1 << 20

// Path is where the file of that name and size is, or would be.
func Path(dir, name string, size int64) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%s.data", name, units.Base2Bytes(size)))
}

// Ensure returns the path of a ready file of size bytes in dir, called after
// name and size. It makes the directory and the file where they are missing;
// what it makes is ignored by git. It needs room for the whole file and says so
// before it writes.
//
// Several processes may ask for the same file at the same time.
func Ensure(ctx context.Context, dir, name string, size int64) (string, error) {
	path := Path(dir, name, size)
	st, err := os.Stat(path)
	switch {
	case err == nil && st.Mode().IsRegular() && st.Size() == size:
		return path, nil
	case err == nil:
		return "", fmt.Errorf("reuse data file %s: it has %d bytes and not %d (remove it)", path, st.Size(), size)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("reuse data file: %w (choose another place with -dir)", err)
	}
	if free, err := host.FreeSpace(dir); err == nil && free < size {
		return "", fmt.Errorf("make data file %s: it needs %s and %s is free (take a smaller -size, or another place with -dir)",
			path, units.Base2Bytes(size), units.Base2Bytes(free).Round(1))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the data directory: %w (choose another place with -dir)", err)
	}
	// A directory inside somebody else's repository ignores itself.
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return "", fmt.Errorf("make the data directory: %w (choose another place with -dir)", err)
		}
	}
	if err := create(ctx, path, size); err != nil {
		return "", fmt.Errorf("make data file %s: %w (take a smaller -size, or another place with -dir)", path, err)
	}
	return path, nil
}

// create writes the file, syncs it, and gives it its name last.
func create(ctx context.Context, path string, size int64) (err error) {
	f, name, err := openUnnamed(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil && name != "" {
			os.Remove(name)
		}
	}()
	buf := make([]byte, chunk)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, _ := Content(size).ReadAt(buf, off)
		m, err := f.Write(buf[:n])
		if err != nil {
			return err
		}
		off += int64(m)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return giveName(f, name, path)
}

// createNamed is what openUnnamed comes to without O_TMPFILE.
func createNamed(dir string) (*os.File, string, error) {
	f, err := os.CreateTemp(dir, ".partial-*")
	if err != nil {
		return nil, "", err
	}
	return f, f.Name(), f.Chmod(0o644)
}
