package iomethod

import (
	"slices"
	"testing"
	"unsafe"
)

func TestVectorSplits(t *testing.T) {
	for _, c := range []struct {
		n    int
		want []uint64
	}{
		{1, []uint64{1}},
		{2, []uint64{1, 1}},
		{3, []uint64{1, 1, 1}},
		{4, []uint64{1, 1, 1, 1}},
		{5, []uint64{2, 2, 1}},
		{7, []uint64{2, 2, 2, 1}},
		{4096, []uint64{1024, 1024, 1024, 1024}},
		{4099, []uint64{1025, 1025, 1025, 1024}},
	} {
		b := make([]byte, c.n)
		var v vector
		var got []uint64
		at := 0
		for _, part := range v[:v.split(b)] {
			if part.Base != &b[at] {
				t.Errorf("split %d bytes: part %d is at %p, want it at byte %d", c.n, len(got), unsafe.Pointer(part.Base), at)
			}
			got = append(got, uint64(part.Len))
			at += int(part.Len)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("split %d bytes = parts of %v, want %v", c.n, got, c.want)
		}
	}
}
