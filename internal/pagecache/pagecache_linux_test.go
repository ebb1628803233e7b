package pagecache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// newFile returns a file of that many bytes on a real disk: below this package,
// since the system's temporary directory may be a tmpfs, whose pages stay.
func newFile(t *testing.T, size int) *os.File {
	t.Helper()
	dir, err := os.MkdirTemp(".", "testdata-*")
	if err != nil {
		t.Skipf("no directory to write to: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.TMPFS_MAGIC {
		t.Skip("the checkout is on tmpfs: nothing can be evicted")
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(bytes.Repeat([]byte{7}, size)); err != nil {
		t.Fatal(err)
	}
	return f
}

func resident(t *testing.T, f *os.File) Residency {
	t.Helper()
	r, err := Resident(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEvictAndLoad(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 1<<20 + 1, 16 << 20} {
		f := newFile(t, size)
		if err := Evict(f); err != nil {
			t.Fatal(err)
		}
		if r := resident(t, f); r.Cold() != nil {
			t.Errorf("size %d: after Evict: %v", size, r.Cold())
		}
		if size > 0 && resident(t, f).Warm() == nil {
			t.Errorf("size %d: an evicted file counts as warm", size)
		}
		var r Residency
		want := pages(int64(size))
		// Some virtual machines page out at once what nobody maps.
		for range 5 {
			if err := Load(f); err != nil {
				t.Fatal(err)
			}
			if r = resident(t, f); r.Pages == want {
				break
			}
		}
		if r.Warm() != nil {
			t.Errorf("size %d: after Load: %v", size, r.Warm())
		}
		if r.Pages != want || r.Total != want {
			t.Errorf("size %d: resident %d of %d pages, want %d of %d", size, r.Pages, r.Total, want, want)
		}
		if size > 0 && r.Cold() == nil {
			t.Errorf("size %d: a loaded file counts as cold", size)
		}
	}
}

// The trap: DONTNEED alone leaves dirty pages where they are.
func TestDirtyPagesAreWrittenBackFirst(t *testing.T) {
	f := newFile(t, 8<<20)
	if r := resident(t, f); r.Source == "cachestat" && r.Dirty == 0 {
		t.Skip("the pages were written back before the test could see them dirty")
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if resident(t, f).Cold() == nil {
		t.Skip("this filesystem evicts dirty pages")
	}
	if err := Evict(f); err != nil {
		t.Fatal(err)
	}
	if err := resident(t, f).Cold(); err != nil {
		t.Error(err)
	}
}

// The trap: mapped pages stay, and that must be seen.
func TestMappedPagesAreSeen(t *testing.T) {
	f := newFile(t, 8<<20)
	m, err := unix.Mmap(int(f.Fd()), 0, 8<<20, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	var sum byte
	for i := 0; i < len(m); i += 4096 {
		sum += m[i]
	}
	if sum != 0 { // 2048 × 7 mod 256
		t.Fatalf("touched %d", sum)
	}
	if err := Evict(f); err != nil {
		t.Fatal(err)
	}
	if resident(t, f).Cold() == nil {
		t.Error("a mapped and touched file counts as cold")
	}
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	if err := Evict(f); err != nil {
		t.Fatal(err)
	}
	if err := resident(t, f).Cold(); err != nil {
		t.Error(err)
	}
}

func TestMincoreAgreesWithCachestat(t *testing.T) {
	f := newFile(t, 4<<20+5)
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, prepare := range []func(*os.File) error{Evict, Load} {
		if err := prepare(f); err != nil {
			t.Fatal(err)
		}
		a, err := byCachestat(f, st.Size())
		if errors.Is(err, unix.ENOSYS) {
			t.Skip("no cachestat before Linux 6.5")
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := byMincore(f, st)
		if err != nil {
			t.Fatal(err)
		}
		if a.Pages != b.Pages || a.Total != b.Total {
			t.Errorf("cachestat: %v; mincore: %v", a, b)
		}
	}
}

// mincore calls everything resident to who is neither owner nor writer.
func TestResidencyOfOthersFiles(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may ask about any file")
	}
	f, err := os.Open("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	if _, err := Resident(f); err == nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("residency of /bin/sh: %v, want an error that matches ErrUnsupported", err)
	}
}
