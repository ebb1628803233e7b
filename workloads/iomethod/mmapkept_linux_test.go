package iomethod

import (
	"errors"
	"io"
	"os"
	"testing"
)

// The mapping stays as it was made, whatever becomes of the file.
func TestKeptMappingOfFileThatChanges(t *testing.T) {
	const size = 3*4096 + 100
	for _, c := range []struct {
		name string
		now  int64 // bytes of the file, after the first job
		plan Plan
		want error
	}{
		{"as it was", size, Plan{Length: size, Block: 4096}, nil},
		{"short of bytes of its last page", size - 1, Plan{Length: size, Block: 4096}, io.ErrUnexpectedEOF},
		{"short of a page", 4096, Plan{Length: size, Block: 4096}, io.ErrUnexpectedEOF},
		{"emptied", 0, Plan{Length: 1, Block: 4096}, io.ErrUnexpectedEOF},
		{"short, behind what is read", 4096, Plan{Length: 4096, Block: 4096}, nil},
		{"longer", 2 * size, Plan{Length: size, Block: 4096}, nil},
		{"longer, and read to its new end", 2 * size, Plan{Length: 2 * size, Block: 4096}, io.ErrUnexpectedEOF},
	} {
		path := testFile(t, t.TempDir(), size)
		r, err := newKeptReader(Config{Path: path, Block: 4096})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Read(&Plan{Length: size, Block: 4096}, func(int64, []byte) {}); err != nil {
			t.Errorf("%s: first job = %v, want nil", c.name, err)
		}
		if err := os.Truncate(path, c.now); err != nil {
			t.Fatal(err)
		}
		var sum int
		err = r.Read(&c.plan, func(_ int64, b []byte) {
			for _, v := range b {
				sum += int(v)
			}
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: second job = %v, want %v", c.name, err, c.want)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: Close = %v, want nil", c.name, err)
		}
	}
}
