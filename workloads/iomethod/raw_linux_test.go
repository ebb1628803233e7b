package iomethod

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// testFile returns the path of a file of that many bytes, each its offset's last.
func testFile(t *testing.T, dir string, size int) string {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i)
	}
	f, err := os.CreateTemp(dir, "iopath")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(f.Name()) })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// onTmpfs is testFile in a filesystem that has nothing but the page cache.
func onTmpfs(t *testing.T, size int) string {
	t.Helper()
	const dir = "/dev/shm"
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skipf("%s is not a tmpfs: type %#x, %v", dir, st.Type, err)
	}
	return testFile(t, dir, size)
}

func TestRawFileRefusesPaths(t *testing.T) {
	good := testFile(t, t.TempDir(), 1)
	f, err := openRaw(good, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		want       error
	}{
		{"too long", "/" + strings.Repeat("./", unix.PathMax/2), unix.ENAMETOOLONG},
		{"longer than any", strings.Repeat("x", 3*unix.PathMax), unix.ENAMETOOLONG},
		{"cut short by a zero", good + "\x00behind it", unix.EINVAL},
		{"empty", "", fs.ErrNotExist},
		{"missing", filepath.Join(filepath.Dir(good), "missing"), fs.ErrNotExist},
	} {
		if err := f.Reopen(c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: Reopen = %v, want an error that matches %v", c.name, err, c.want)
		}
		if f.fd != -1 {
			t.Errorf("%s: after Reopen: descriptor %d, want none", c.name, f.fd)
		}
	}
	if err := f.Reopen(good); err != nil {
		t.Errorf("Reopen after refusals = %v, want nil", err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	}
}
