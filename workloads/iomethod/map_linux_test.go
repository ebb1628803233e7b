package iomethod

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// What the methods promise shows in the page faults of whoever touches the memory.
func TestMapFaults(t *testing.T) {
	const size = 8 << 20
	huge, _ := hugePageSize()
	pages := size / os.Getpagesize()
	for _, c := range []struct {
		method string
		write  bool
		min    int // faults
		max    int
	}{
		{"map+anon", false, pages, pages},
		{"map+anon", true, pages, pages},
		{"map+anon+populate", true, 0, 0},
		{"map+populate", false, 0, 0},
		{"map+private", true, pages, 2 * pages}, // at least one for each copy
		{"map+shared", false, 1, pages},         // several are mapped at once, where they are in the page cache
		{"map+memfd", true, 1, pages},
		{"map+anon+hugepage", true, 1, int(size/max(huge, 1)) + pages/2}, // some may be small
	} {
		t.Run(c.method, func(t *testing.T) {
			m, ok := Lookup(c.method)
			if !ok {
				t.Fatalf("there is no method %s", c.method)
			}
			config := filled(t, size)
			config.Write = c.write
			if err := m.Available(config); errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			mapper, err := m.Mapper.New(config)
			if err != nil {
				t.Fatal(err)
			}
			defer mapper.Close()
			got := faults(t, mapper, size, c.write)
			// A few more may be the Go runtime's own.
			if got < c.min || got > c.max+20 {
				t.Errorf("touch %d pages: got %d minor faults, want %d to %d", pages, got, c.min, c.max)
			}
		})
	}
}

// filled makes a file of size bytes, which is in the page cache.
func filled(t *testing.T, size int) Config {
	path := filepath.Join(t.TempDir(), "file")
	target := path + ".target"
	for _, p := range []string{path, target} {
		if err := os.WriteFile(p, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Config{Path: path, Target: target, Socket: -1}
}

// faults returns the minor faults of touching each page of a mapper's memory.
func faults(t *testing.T, m Mapper, size int, write bool) int {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b, err := m.Map(size)
	if err != nil {
		t.Fatal(err)
	}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		t.Fatal(err)
	}
	var sum byte
	for i := 0; i < len(b); i += os.Getpagesize() {
		if write {
			b[i] = 1
		} else {
			sum += b[i]
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		t.Fatal(err)
	}
	if err := m.Unmap(); err != nil {
		t.Fatal(err)
	}
	if sum != 0 {
		t.Errorf("got memory that is not zeros")
	}
	return int(after.Minflt - before.Minflt)
}

// The heap does not grow by what was unmapped, while nothing else collects.
func TestHeapIsCollected(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	m, err := newHeapMapper(Config{})
	if err != nil {
		t.Fatal(err)
	}
	const size, times = 8 << 20, 32
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if _, err := m.Map(size); err != nil {
			t.Fatal(err)
		}
		if err := m.Unmap(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > size*times/2 {
		t.Errorf("map and unmap %d bytes %d times: got a heap that is %d bytes larger, want a few times as many at most", size, times, grown)
	}
}
