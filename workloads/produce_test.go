package workloads

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"iopath/workloads/iomethod"
)

// written is a file in memory.
type written []byte

func (w written) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(w)) {
		return 0, io.EOF
	}
	n := copy(b, w[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// produced is the file after a job.
func produced(s *Source, size int, p *iomethod.Plan) written {
	w := make(written, size)
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		copy(w[off:], s.Produce(off, n))
	}
	return w
}

func TestSourceVerifies(t *testing.T) {
	const size = 1<<20 + 123
	random, err := Random(size, 4096, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*iomethod.Plan{
		"in order":             Sequential(size, 64<<10),
		"in random order":      random,
		"one piece":            Sequential(size, 4<<20),
		"bytes":                {Start: size - 1000, Length: 1000, Block: 1},
		"unaligned":            {Start: 12345, Length: 54321, Block: 5003},
		"nothing":              {Block: 4096},
		"the same piece twice": {Length: size, Block: 4096, Order: []uint32{3, 3}},
	} {
		s := NewSource(p.Block)
		for range 40 { // more jobs than it has different ones
			if err := s.Verify(produced(s, size, p), p); err != nil {
				t.Errorf("%s: Verify = %v, want nil", name, err)
			}
			s.Next()
		}
	}
}

func TestSourceSeesWhatIsWrong(t *testing.T) {
	const size = 1 << 20
	p := Sequential(size, 64<<10)
	s := NewSource(p.Block)
	before := produced(s, size, p)
	s.Next()
	right := produced(s, size, p)
	if err := s.Verify(right, p); err != nil {
		t.Fatalf("Verify = %v, want nil", err)
	}
	changed := func(change func(written)) written {
		w := slices.Clone(right)
		change(w)
		return w
	}
	for _, c := range []struct {
		name string
		file written
		want string // where
	}{
		{"what the job before wrote", before, "at offset "},
		{"one byte of the last piece", changed(func(w written) { w[size-1] ^= 1 }), "at offset 1048575"},
		{"one byte of a piece in the middle", changed(func(w written) { w[300001] ^= 0x80 }), "at offset 300001"},
		{"a piece of the job before", changed(func(w written) { copy(w[128<<10:192<<10], before[128<<10:]) }), "at offset 1310"},
		{"a piece in the place of another", changed(func(w written) { copy(w[128<<10:192<<10], w[64<<10:]) }), "at offset 1310"},
		{"zeros", make(written, size), "at offset "},
		{"one byte short", right[:size-1], "no byte at offset 1048575"},
		{"one piece short", right[:size-64<<10], "no byte at offset 983040"},
		{"empty", nil, "no byte at offset 0"},
	} {
		err := s.Verify(c.file, p)
		if !errors.Is(err, ErrVerification) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Verify = %v, want ErrVerification %q", c.name, err, c.want)
		}
	}
}

// What is alike in two places, or in two jobs, would hide that one was taken for
// the other.
func TestSourceNeverRepeatsAtPowersOfTwo(t *testing.T) {
	s := NewSource(4096)
	at := func(off int64) []byte { return slices.Clone(s.Produce(off, 512)) }
	first := at(0)
	for shift := 9; shift < 50; shift++ {
		if bytes.Equal(first, at(1<<shift)) {
			t.Errorf("the bytes at 2^%d are those at 0, want others", shift)
		}
	}
	for job := 1; job < 37; job++ {
		s.Next()
		if bytes.Equal(first, at(0)) {
			t.Errorf("job %d has the bytes of job 0, want others", job)
		}
	}
}

// A piece's bytes depend on where they lie, not on how the file is cut.
func TestSourceDependsOnOffsetsAlone(t *testing.T) {
	const block = 4 << 20
	s := NewSource(block)
	s.Next()
	whole := s.Produce(1<<30, block)
	for _, c := range []struct{ at, n int }{{0, 1}, {1, 4096}, {period - 1, 2}, {period, 65536}, {block - 1, 1}} {
		if got := s.Produce(1<<30+int64(c.at), c.n); !bytes.Equal(got, whole[c.at:][:c.n]) {
			t.Errorf("%d bytes at %d are not those of the whole piece, want them to be", c.n, c.at)
		}
	}
}

func TestSourceDoesNotAllocate(t *testing.T) {
	s := NewSource(64 << 10)
	var sum byte
	off := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		sum += s.Produce(off, 64<<10)[0]
		off += 64 << 10
		s.Next()
	}); n != 0 {
		t.Errorf("got %v allocations a piece, want 0", n)
	}
}

func TestSourcePassesTheReadersErrorOn(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	p := Sequential(4096, 4096)
	if err := NewSource(4096).Verify(f, p); !errors.Is(err, os.ErrClosed) || errors.Is(err, ErrVerification) {
		t.Errorf("Verify = %v, want os.ErrClosed and not ErrVerification", err)
	}
}
