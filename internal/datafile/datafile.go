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
	"io"
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
	if err := MakeDir(dir); err != nil {
		return "", err
	}
	if err := create(ctx, path, size); err != nil {
		return "", fmt.Errorf("make data file %s: %w (take a smaller -size, or another place with -dir)", path, err)
	}
	return path, nil
}

// EnsureMany returns the paths of n ready files of size bytes each, in a directory of
// their own in dir. Together, one behind the other, they hold the [Content] of n
// times size bytes. Otherwise it is as [Ensure].
func EnsureMany(ctx context.Context, dir string, n int, size int64) ([]string, error) {
	all := filepath.Join(dir, fmt.Sprintf("%dx%s", n, units.Base2Bytes(size)))
	paths := make([]string, n)
	for i := range paths {
		paths[i] = filepath.Join(all, fmt.Sprintf("%04d", i))
	}
	if _, err := os.Stat(all); err == nil {
		return paths, nil
	}
	if err := MakeDir(dir); err != nil {
		return nil, err
	}
	// They are ready when their directory has its name.
	partial, err := os.MkdirTemp(dir, ".partial-*")
	if err != nil {
		return nil, fmt.Errorf("make data files in %s: %w (choose another place with -dir)", dir, err)
	}
	defer os.RemoveAll(partial)
	buf := make([]byte, size)
	for i, path := range paths {
		err := context.Cause(ctx)
		if err == nil {
			_, err = Content(int64(n)*size).ReadAt(buf, int64(i)*size)
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = os.WriteFile(filepath.Join(partial, filepath.Base(path)), buf, 0o644)
		}
		if err != nil {
			return nil, fmt.Errorf("make data files in %s: %w (choose another place with -dir)", all, err)
		}
	}
	err = os.Chmod(partial, 0o755)
	if err == nil {
		err = os.Rename(partial, all)
	}
	// Another process may have been faster; its files have the same content.
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make data files in %s: %w (choose another place with -dir)", all, err)
	}
	return paths, nil
}

// MakeDir makes the directory of data files. One inside somebody else's repository ignores
// itself.
func MakeDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	ignore := filepath.Join(dir, ".gitignore")
	if _, missing := os.Stat(ignore); err == nil && errors.Is(missing, fs.ErrNotExist) {
		err = os.WriteFile(ignore, []byte("*\n"), 0o644)
	}
	if err != nil {
		return fmt.Errorf("make the data directory: %w (choose another place with -dir)", err)
	}
	return nil
}

// Scratch makes an empty file in dir, and returns it with a path by which the
// calling thread can open it again. It has no name, and is gone with its last
// descriptor; where the filesystem cannot do that, it has one until [Discard].
func Scratch(dir string) (*os.File, string, error) {
	f, name, err := openUnnamed(dir)
	if err != nil {
		return nil, "", fmt.Errorf("make a scratch file: %w (choose another place with -dir)", err)
	}
	if name == "" {
		// Not self: that is the first thread, which may have a table of its own.
		name = fmt.Sprintf("/proc/thread-self/fd/%d", f.Fd())
	}
	return f, name, nil
}

// Discard closes a scratch file, and removes it where it has a name.
func Discard(f *os.File, path string) error {
	err := f.Close()
	if path == f.Name() {
		err = errors.Join(err, os.Remove(path))
	}
	return err
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
