package iomethod

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Bytes that the page cache lacks are refused at first and read at last.
func TestNowaitReadsWhatIsNotCached(t *testing.T) {
	const size = 1 << 20
	path := testFile(t, t.TempDir(), size)
	r, err := newPreadv2Reader(Config{Path: path, Block: size}, unix.RWF_NOWAIT, "RWF_NOWAIT", "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	evict := func() {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			t.Fatal(err)
		}
	}
	evict()
	switch n, err := r.(*preadv2Reader).call(make([]byte, size), 0, unix.RWF_NOWAIT); {
	case errors.Is(err, unix.EOPNOTSUPP) || err == nil && n == size:
		t.Skipf("preadv2 with RWF_NOWAIT right after eviction = %d, %v: this filesystem's bytes stay in memory", n, err)
	case !errors.Is(err, unix.EAGAIN) && err != nil:
		t.Fatalf("preadv2 with RWF_NOWAIT right after eviction = %d, %v, want EAGAIN", n, err)
	}
	evict()
	got := 0
	err = r.Read(&Plan{Length: size, Block: size}, func(off int64, b []byte) {
		for i := range b {
			if b[i] != byte(int(off)+i) {
				t.Fatalf("byte %d = %d, want %d", int(off)+i, b[i], byte(int(off)+i))
			}
		}
		got += len(b)
	})
	if err != nil || got != size {
		t.Errorf("Read = %d bytes, %v, want %d and nil", got, err, size)
	}
}

func TestDontcacheRefusesTmpfs(t *testing.T) {
	m, _ := Lookup("preadv2+dontcache")
	err := m.Available(Config{Path: onTmpfs(t, 4096)})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "needs Linux 6.14") {
		t.Errorf("probe on tmpfs = %v, want an error that matches ErrUnsupported and names the remedy", err)
	}
}
