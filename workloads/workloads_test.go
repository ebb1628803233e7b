package workloads

import (
	"math"
	"slices"
	"strings"
	"testing"

	"iopath/workloads/iomethod"
)

func TestRandomCoversEachPieceOnce(t *testing.T) {
	for _, c := range []struct {
		size   int64
		block  int
		pieces int
	}{
		{0, 4096, 0},
		{1, 4096, 1},
		{4096, 4096, 1},
		{4097, 4096, 2},
		{1 << 20, 4096, 256},
		{1<<20 + 1, 7, 149797},
	} {
		p, err := Random(c.size, c.block, 42)
		if err != nil {
			t.Errorf("Random(%d, %d) = %v, want a plan", c.size, c.block, err)
			continue
		}
		if got := len(p.Order); got != c.pieces || p.Pieces() != c.pieces {
			t.Errorf("Random(%d, %d) orders %d of %d pieces, want %d", c.size, c.block, got, p.Pieces(), c.pieces)
		}
		var bytes int64
		for i, at := range slices.Sorted(slices.Values(p.Order)) {
			if int(at) != i {
				t.Fatalf("Random(%d, %d): the %d-th piece in order is %d, want each once", c.size, c.block, i, at)
			}
		}
		for i := range p.Pieces() {
			_, n := p.Piece(i)
			bytes += int64(n)
		}
		if bytes != c.size {
			t.Errorf("Random(%d, %d) moves %d bytes, want %d", c.size, c.block, bytes, c.size)
		}
	}
}

func TestRandomDependsOnTheSeedAlone(t *testing.T) {
	order := func(seed uint64) []uint32 {
		t.Helper()
		p, err := Random(1<<20, 4096, seed)
		if err != nil {
			t.Fatal(err)
		}
		return p.Order
	}
	if !slices.Equal(order(1), order(1)) {
		t.Error("the same seed gave two orders, want one")
	}
	if slices.Equal(order(1), order(2)) {
		t.Error("two seeds gave the same order, want two")
	}
	if slices.IsSorted(order(1)) {
		t.Error("Random gave ascending order")
	}
	// Results of different versions compare only while the order stays.
	if got, want := order(1)[:4], []uint32{165, 188, 20, 42}; !slices.Equal(got, want) {
		t.Errorf("Random(1 MiB, 4 KiB, 1) starts with %v, want %v as ever", got, want)
	}
}

func TestRandomRefusesMoreThanItCanNumber(t *testing.T) {
	if p, err := Random(math.MaxUint32+1, 1, 1); err == nil {
		t.Errorf("Random(4 GiB, 1) = a plan of %d pieces, want an error", p.Pieces())
	} else if !strings.Contains(err.Error(), "larger block") {
		t.Errorf("Random(4 GiB, 1) = %q, want the remedy in it", err)
	}
}

func TestNewPlan(t *testing.T) {
	for _, pattern := range Patterns {
		p, err := NewPlan(pattern, 10_001, 100)
		if err != nil || p.Length != 10_001 || p.Block != 100 || p.Start != 0 {
			t.Errorf("NewPlan(%q) = %+v, %v, want 10001 bytes in blocks of 100", pattern, p, err)
		}
		if got, want := p.Order != nil, pattern != "seq"; got != want {
			t.Errorf("NewPlan(%q) has an order: %v, want %v", pattern, got, want)
		}
	}
	for _, pattern := range []string{"", "SEQ", "zipfian"} {
		if _, err := NewPlan(pattern, 1, 1); err == nil || !strings.Contains(err.Error(), "known: [seq rand sparse stride reverse zipf]") {
			t.Errorf("NewPlan(%q) = %v, want an error that names the known ones", pattern, err)
		}
	}
}

func TestSparseIsTheStartOfRandom(t *testing.T) {
	for _, c := range []struct {
		size   int64
		block  int
		pieces int
	}{{0, 4096, 0}, {1, 4096, 1}, {15 * 4096, 4096, 1}, {1 << 20, 4096, 16}, {1<<20 + 1, 4096, 16}} {
		all, err := Random(c.size, c.block, 1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Sparse(c.size, c.block, 1)
		if err != nil || p.Pieces() != c.pieces {
			t.Errorf("Sparse(%d, %d) = %d pieces, %v, want %d", c.size, c.block, p.Pieces(), err, c.pieces)
		} else if !slices.Equal(p.Order, all.Order[:c.pieces]) {
			t.Errorf("Sparse(%d, %d) is not the start of Random", c.size, c.block)
		}
	}
}

func TestHead(t *testing.T) {
	random, err := Random(10_001, 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*iomethod.Plan{Sequential(10_001, 100), random} {
		for _, n := range []int{0, 1, 100, 101, 102, math.MaxInt} {
			head, want := Head(p, n), min(n, 101)
			if head.Pieces() != want {
				t.Errorf("Head(%d) has %d pieces, want %d", n, head.Pieces(), want)
			}
			var bytes int64
			for i := range want {
				off, size := head.Piece(i)
				wantOff, wantSize := p.Piece(i)
				if off != wantOff || size != wantSize {
					t.Errorf("Head(%d): piece %d is %d bytes at %d, want %d at %d", n, i, size, off, wantSize, wantOff)
				}
				bytes += int64(size)
			}
			if head.Bytes() != bytes {
				t.Errorf("Head(%d).Bytes() = %d, want %d", n, head.Bytes(), bytes)
			}
		}
	}
}

// Strided and Reverse have each piece once, and their neighbours so far apart.
func TestStridedAndReverse(t *testing.T) {
	for name, c := range map[string]struct {
		make func(int64, int) (*iomethod.Plan, error)
		step func(a, b uint32) bool
	}{
		"Strided": {Strided, func(a, b uint32) bool { return b == a+16 || b == a%16+1 }},
		"Reverse": {Reverse, func(a, b uint32) bool { return b == a-1 }},
	} {
		for _, pieces := range []int64{0, 1, 2, 15, 16, 17, 100} {
			p, err := c.make(max(pieces*100-1, 0), 100)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(p.Order); i++ {
				if !c.step(p.Order[i-1], p.Order[i]) {
					t.Errorf("%s of %d pieces: %d follows %d", name, pieces, p.Order[i], p.Order[i-1])
				}
			}
			for i, at := range slices.Sorted(slices.Values(p.Order)) {
				if int(at) != i {
					t.Fatalf("%s of %d pieces: the %d-th in order is %d, want each once", name, pieces, i, at)
				}
			}
			if int64(p.Pieces()) != pieces {
				t.Errorf("%s has %d pieces, want %d", name, p.Pieces(), pieces)
			}
		}
	}
}

// By Zipf's law with an exponent near 1, the most frequent of n pieces is drawn about
// n/ln(n) times, the next one half as often.
func TestZipfian(t *testing.T) {
	const n = 1 << 14
	p, err := Zipfian(n*100, 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if p.Pieces() != n || p.Bytes() != n*100 {
		t.Fatalf("Zipfian has %d pieces of %d bytes, want %d of %d", p.Pieces(), p.Bytes(), n, n*100)
	}
	times := make([]int, n)
	for _, i := range p.Order {
		times[i]++
	}
	drawn := 0
	for _, k := range times {
		drawn += min(k, 1)
	}
	byRank := slices.Clone(times)
	slices.Sort(byRank)
	slices.Reverse(byRank)
	most := n / math.Log(n)
	for k, want := range []float64{most, most / 2, most / 3} {
		if got := float64(byRank[k]); got < want*0.8 || got > want*1.25 {
			t.Errorf("the piece of rank %d was drawn %v times of %d, want about %.0f", k+1, got, n, want)
		}
	}
	if drawn < n/8 || drawn > n/2 {
		t.Errorf("%d of %d pieces were drawn, want an eighth to a half", drawn, n)
	}
	// The frequent ones do not lie side by side.
	if first, second := slices.Index(times, byRank[0]), slices.Index(times, byRank[1]); first-second == 1 || second-first == 1 {
		t.Errorf("the two most frequent pieces are %d and %d", first, second)
	}
	again, _ := Zipfian(n*100, 100, 1)
	other, _ := Zipfian(n*100, 100, 2)
	if !slices.Equal(p.Order, again.Order) || slices.Equal(p.Order, other.Order) {
		t.Error("Zipfian does not depend on the seed alone")
	}
	for _, size := range []int64{0, 1, 100, 101} {
		if p, err := Zipfian(size, 100, 1); err != nil || int64(p.Pieces()) != (size+99)/100 {
			t.Errorf("Zipfian of %d bytes = %d pieces, %v", size, p.Pieces(), err)
		}
	}
}

func TestOnce(t *testing.T) {
	for _, pattern := range Patterns {
		p, err := NewPlan(pattern, 1<<20, 4096)
		if err != nil {
			t.Fatal(err)
		}
		times := map[int64]int{}
		for i := range p.Pieces() {
			off, _ := p.Piece(i)
			times[off]++
		}
		once := len(times) == 256 && p.Pieces() == 256
		if Once(pattern) != once {
			t.Errorf("Once(%q) = %v, and its plan has %d pieces, %d of them different, of 256", pattern, Once(pattern), p.Pieces(), len(times))
		}
	}
}
