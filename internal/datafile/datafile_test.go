package datafile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alecthomas/units"
)

// A context of its own counting: it is cancelled when it has been asked that
// often, so that a file can be interrupted amid its writing.
type expiring struct {
	context.Context
	left int
}

func (c *expiring) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func whole(t *testing.T, size int64) []byte {
	t.Helper()
	b := make([]byte, size)
	if n, err := Content(size).ReadAt(b, 0); int64(n) != size || err != nil && size > 0 {
		t.Fatalf("ReadAt(%d bytes, 0) = %d, %v, want all and nil", size, n, err)
	}
	return b
}

func TestContentInAnySlices(t *testing.T) {
	const size = 1<<16 + 13
	want := whole(t, size)
	for _, step := range []int{1, 3, 7, 8, 9, 15, 4096, 65536} {
		for _, start := range []int64{0, 1, 5, 8, 4095} {
			var got []byte
			buf := make([]byte, step)
			for off := start; off < size; {
				n, err := Content(size).ReadAt(buf, off)
				if err != nil && (err != io.EOF || off+int64(n) != size) {
					t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", step, off, n, err)
				}
				got = append(got, buf[:n]...)
				off += int64(n)
			}
			if !bytes.Equal(got, want[start:]) {
				t.Errorf("content from %d in slices of %d differs from the whole", start, step)
			}
		}
	}
}

func TestContentAtTheEdges(t *testing.T) {
	for _, c := range []struct {
		size Content
		b    int
		off  int64
		n    int
		err  error
	}{
		{100, 100, 0, 100, nil},
		{100, 101, 0, 100, io.EOF},
		{100, 10, 95, 5, io.EOF},
		{100, 5, 95, 5, nil},
		{100, 1, 100, 0, io.EOF},
		{100, 1, 1000, 0, io.EOF},
		{0, 1, 0, 0, io.EOF},
		{100, 0, 50, 0, nil},
		{1 << 50, 16, 1<<50 - 7, 7, io.EOF},
	} {
		n, err := c.size.ReadAt(make([]byte, c.b), c.off)
		if n != c.n || err != c.err {
			t.Errorf("Content(%d).ReadAt(%d bytes, %d) = %d, %v, want %d, %v", c.size, c.b, c.off, n, err, c.n, c.err)
		}
	}
	// What a byte is depends on where it is, not on the size of the file.
	if long, short := whole(t, 5000), whole(t, 1234); !bytes.Equal(long[:1234], short) {
		t.Error("the content of a short file is not the beginning of a long one's")
	}
}

func TestNoTwoBlocksAreAlike(t *testing.T) {
	const block = 4096
	b := whole(t, 16<<20)
	seen := map[[block]byte]int{}
	for off := 0; off < len(b); off += block {
		key := [block]byte(b[off:])
		if first, ok := seen[key]; ok {
			t.Fatalf("the blocks at %d and %d are alike", first, off)
		}
		seen[key] = off
	}
	words := map[[8]byte]int{}
	for off := 0; off < 1<<20; off += 8 {
		if first, ok := words[[8]byte(b[off:])]; ok {
			t.Fatalf("the words at %d and %d are alike", first, off)
		}
		words[[8]byte(b[off:])] = off
	}
}

// list returns the names in a directory; none where there is no directory.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestEnsure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for _, size := range []int64{0, 1, 4096, chunk, 3*chunk + 17} {
		path, err := Ensure(t.Context(), dir, "warm", size)
		if err != nil {
			t.Fatalf("Ensure of %d bytes = %v, want a file", size, err)
		}
		if want := filepath.Join(dir, "warm-"+units.Base2Bytes(size).String()+".data"); path != want {
			t.Errorf("Ensure of %d bytes = %q, want %q", size, path, want)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, whole(t, size)) {
			t.Errorf("the file of %d bytes has %d, and not the content", size, len(got))
		}
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := before.Mode().Perm()&0o700, fs.FileMode(0o600); got != want {
			t.Errorf("the owner's mode = %v, want %v", got, want)
		}
		// The second time it is reused.
		again, err := Ensure(t.Context(), dir, "warm", size)
		if err != nil || again != path {
			t.Errorf("Ensure again = %q, %v, want %q", again, err, path)
		}
		after, err := os.Stat(path)
		if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
			t.Errorf("Ensure again made another file (%v)", err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, ".gitignore")); err != nil || string(b) != "*\n" {
		t.Errorf(".gitignore = %q, %v, want all ignored", b, err)
	}
	want := []string{".gitignore", "warm-0B.data", "warm-1B.data", "warm-1MiB.data", "warm-3MiB17B.data", "warm-4KiB.data"}
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
}

func TestEnsureRefuses(t *testing.T) {
	const size = 2 * chunk
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		size  int64
		setUp func(t *testing.T, dir string) string // returns the directory to use
		text  string                                // part of the error's
		is    error
		left  []string // in the directory
	}{
		{name: "another size", size: size, text: "it has 3 bytes and not 2097152 (remove it)", left: []string{"warm-2MiB.data"},
			setUp: func(t *testing.T, dir string) string {
				if err := os.WriteFile(filepath.Join(dir, "warm-2MiB.data"), []byte("abc"), 0o644); err != nil {
					t.Fatal(err)
				}
				return dir
			}},
		{name: "a directory in the file's place", size: size, text: "remove it", left: []string{"warm-2MiB.data"},
			setUp: func(t *testing.T, dir string) string {
				if err := os.Mkdir(filepath.Join(dir, "warm-2MiB.data"), 0o755); err != nil {
					t.Fatal(err)
				}
				return dir
			}},
		{name: "not enough space", size: 1 << 60, text: "it needs 1EiB and "},
		{name: "cancelled", ctx: cancelled, size: size, is: context.Canceled, left: []string{".gitignore"}},
		{name: "cancelled amid the file", ctx: &expiring{t.Context(), 1}, size: size, is: context.Canceled, left: []string{".gitignore"}},
		{name: "a file in the directory's place", size: size, text: "choose another place with -dir",
			setUp: func(t *testing.T, dir string) string {
				path := filepath.Join(dir, "file")
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				return path
			}},
		{name: "a file above the directory", size: size, text: "choose another place with -dir",
			setUp: func(t *testing.T, dir string) string {
				path := filepath.Join(dir, "file")
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				return filepath.Join(path, "below")
			}},
		{name: "no right to write", size: size, text: "choose another place with -dir", is: fs.ErrPermission,
			setUp: func(t *testing.T, dir string) string {
				if os.Geteuid() == 0 {
					t.Skip("root may write anywhere")
				}
				if err := os.Chmod(dir, 0o555); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.Chmod(dir, 0o755) })
				return dir
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.setUp != nil {
				dir = c.setUp(t, dir)
			}
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			path, err := Ensure(ctx, dir, "warm", c.size)
			if err == nil {
				t.Fatalf("Ensure = %q, want an error", path)
			}
			if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Ensure = %q, want one line with %q", err, c.text)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("Ensure = %v, want an error that matches %v", err, c.is)
			}
			if st, err := os.Stat(dir); err == nil && st.IsDir() {
				if got := list(t, dir); !slices.Equal(got, c.left) {
					t.Errorf("the directory holds %q, want %q", got, c.left)
				}
			}
		})
	}
}

func TestEnsureTogether(t *testing.T) {
	const size = 4*chunk + 5
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := Ensure(t.Context(), dir, "warm", size)
			if err != nil {
				t.Errorf("Ensure = %v, want nil", err)
				return
			}
			// Whoever has the path has a file that is ready.
			if st, err := os.Stat(path); err != nil || st.Size() != size {
				t.Errorf("the file is %v, %v, want %d bytes", st, err, size)
			}
		})
	}
	all.Wait()
	want := []string{".gitignore", "warm-4MiB5B.data"}
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Fatalf("the directory holds %q, want %q", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(dir, want[1])); err != nil || !bytes.Equal(got, whole(t, size)) {
		t.Errorf("the file of %d bytes has %d, and not the content (%v)", size, len(got), err)
	}
}

// Where the filesystem cannot make a file without a name, it has a temporary
// one, which must not stay either.
func TestNamedUntilReady(t *testing.T) {
	dir := t.TempDir()
	f, name, err := createNamed(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("ready"); err != nil {
		t.Fatal(err)
	}
	if err := giveName(f, name, filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, dir), []string{"file"}; !slices.Equal(got, want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "file")); string(b) != "ready" {
		t.Errorf("the file = %q, %v, want what was written", b, err)
	}
}

func TestEnsureMany(t *testing.T) {
	const n, size = 5, 5000
	dir := filepath.Join(t.TempDir(), "new")
	var all []byte
	for range 2 { // made, then reused
		paths, err := EnsureMany(t.Context(), dir, n, size)
		if err != nil || len(paths) != n {
			t.Fatalf("EnsureMany = %d paths, %v, want %d", len(paths), err, n)
		}
		all = nil
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil || len(b) != size {
				t.Fatalf("%s has %d bytes, %v, want %d", path, len(b), err, size)
			}
			all = append(all, b...)
		}
	}
	if !bytes.Equal(all, whole(t, n*size)) {
		t.Error("together the files do not hold the content of them all")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".partial*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
	if _, err := EnsureMany(&expiring{t.Context(), 0}, dir, n, size+1); err == nil {
		t.Error("EnsureMany with a context that has ended: no error")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "[!.]*")); len(left) != 1 {
		t.Errorf("after a failure there are %q, want the first files alone", left)
	}
}

func TestScratch(t *testing.T) {
	runtime.LockOSThread() // its path is the thread's
	defer runtime.UnlockOSThread()
	dir := t.TempDir()
	f, path, err := Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.WriteString("here"); err != nil {
		t.Fatal(err)
	}
	var b [4]byte
	if _, err := f.ReadAt(b[:], 0); err != nil || string(b[:]) != "here" {
		t.Errorf("read back %q, %v", b, err)
	}
	if err := Discard(f, path); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	// Where there are no unnamed files, it has a name until then.
	named, name, err := createNamed(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Discard(named, name); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, _, err := Scratch(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Scratch in a missing directory = %v, want fs.ErrNotExist", err)
	}
}
