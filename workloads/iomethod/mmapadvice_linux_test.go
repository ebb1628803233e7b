package iomethod

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapWhole(t *testing.T, path string, size int64) mapping {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := mapFile(int(f.Fd()), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.unmap() })
	return m
}

func TestAdviceThatTheKernelLacks(t *testing.T) {
	m := mapWhole(t, testFile(t, t.TempDir(), 4096), 4096)
	err := advice{value: 12345, name: "MADV_NEVER", needs: "Linux 99"}.give(m, 0)
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "needs Linux 99") {
		t.Errorf("give = %v, want an error that matches ErrUnsupported and names the remedy", err)
	}
}

// The file may shrink between its fstat and the advice.
func TestPopulateOfFileThatShrank(t *testing.T) {
	path := testFile(t, t.TempDir(), 1<<20)
	m := mapWhole(t, path, 1<<20)
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	err := advice{unix.MADV_POPULATE_READ, "MADV_POPULATE_READ", "Linux 5.14"}.give(m, 0)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("give = %v, want an error that matches io.ErrUnexpectedEOF", err)
	}
}

func TestMappingSuitsHugePages(t *testing.T) {
	const huge = 1 << 20
	arena := make([]byte, 5*huge)
	skip := roundUp(int(uintptr(unsafe.Pointer(&arena[0]))), huge) - int(uintptr(unsafe.Pointer(&arena[0])))
	aligned := arena[skip:][:4*huge]
	for _, c := range []struct {
		name  string
		at, n int // in aligned
		off   int64
		want  bool
	}{
		{"a huge page", 0, huge, 0, true},
		{"a huge page, further in the file", 0, huge, 7 * huge, true},
		{"a huge page at a wrong address", 4096, huge, 0, false},
		{"no whole huge page, at a wrong address", 4096, huge - 1, 0, true},
		{"both from the same byte of a page on", 4096, 2 * huge, 4096, true},
		{"from different bytes of a page on", 4096, 2 * huge, 8192, false},
		{"huge pages begun and not whole", 0, 2*huge - 2, 1, true},
		{"a huge page at its end", 0, 2*huge - 1, 1, false},
	} {
		m := mapping{data: aligned[c.at:][:c.n]}
		if got := m.suits(c.off, huge); got != c.want {
			t.Errorf("%s: suits = %v, want %v", c.name, got, c.want)
		}
	}
}
