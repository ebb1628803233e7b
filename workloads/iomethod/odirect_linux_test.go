package iomethod

import (
	"errors"
	"testing"
	"unsafe"
)

func TestCheckAligned(t *testing.T) {
	for _, c := range []struct {
		plan Plan
		want bool
	}{
		{Plan{Length: 8192, Block: 4096}, true},
		{Plan{Length: 8191, Block: 4096}, true},
		{Plan{Start: 4096, Length: 1, Block: 4096}, true},
		{Plan{Length: 100, Block: 1000}, true}, // one piece
		{Plan{Length: 1000, Block: 1000}, true},
		{Plan{Length: 1001, Block: 1000}, false},
		{Plan{Start: 512, Length: 4096, Block: 4096}, false},
		{Plan{Start: 1, Block: 4096}, false},
	} {
		err := checkAligned(&c.plan, 4096)
		if got := err == nil; got != c.want {
			t.Errorf("checkAligned(%+v, 4096) = %v, want it taken: %v", c.plan, err, c.want)
		}
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("checkAligned(%+v, 4096) = %v, want it to match ErrUnsupported", c.plan, err)
		}
	}
}

func TestAlignedBuffer(t *testing.T) {
	for _, c := range []struct{ n, align, size int }{
		{1, 512, 512}, {512, 512, 512}, {513, 512, 1024}, {4096, 4096, 4096},
		{5000, 4096, 8192}, {1 << 20, 512, 1 << 20}, {1, 1 << 16, 1 << 16}, {0, 512, 0},
	} {
		b := alignedBuffer(c.n, c.align)
		at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		if len(b) != c.n || cap(b) != c.size || at%uintptr(c.align) != 0 || at%4096 != 0 {
			t.Errorf("alignedBuffer(%d, %d) = %d bytes, capacity %d, at %#x; want %d, %d and aligned", c.n, c.align, len(b), cap(b), at, c.n, c.size)
		}
	}
}

// It takes O_DIRECT, and would read from memory all the same.
func TestDirectRefusesTmpfs(t *testing.T) {
	m, _ := Lookup("odirect")
	if err := m.Available(Config{Path: onTmpfs(t, 4096)}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("probe on tmpfs = %v, want an error that matches ErrUnsupported", err)
	}
}
