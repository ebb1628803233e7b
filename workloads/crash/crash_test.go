package crash

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func records(run uint64, n int) []byte {
	b := make([]byte, n*RecordSize)
	for i := range n {
		Record(b[i*RecordSize:][:RecordSize], run, uint64(i))
	}
	return b
}

func TestCheck(t *testing.T) {
	const run, n = 7, 3000 // beyond one batch
	at := func(k int) int { return k * RecordSize }
	zero := func(b []byte, from, to int) { clear(b[from:to]) }
	for _, test := range []struct {
		name   string
		damage func(b []byte) []byte
		acked  uint64
		want   Counts
	}{
		{"whole", func(b []byte) []byte { return b }, n, Counts{Intact: n}},
		{"unacknowledged", func(b []byte) []byte { return b }, n - 3, Counts{Intact: n - 3, Unacknowledged: 3}},
		{"cut between records", func(b []byte) []byte { return b[:at(2000)] }, n, Counts{Intact: 2000, Lost: 1000}},
		{"cut within one", func(b []byte) []byte { return b[:at(2000)+512] }, n, Counts{Intact: 2000, Torn: 1, Lost: 999}},
		{"empty", func(b []byte) []byte { return nil }, n, Counts{Lost: n}},
		{"empty, nothing acknowledged", func(b []byte) []byte { return nil }, 0, Counts{}},
		{"a hole", func(b []byte) []byte { zero(b, at(10), at(12)); return b }, n, Counts{Intact: n - 2, Lost: 2, Holes: 2}},
		{"a sector of zeros", func(b []byte) []byte { zero(b, 1024, 1536); return b }, n, Counts{Intact: n - 1, Torn: 1, Holes: 1}},
		{"one byte", func(b []byte) []byte { b[at(5)+999] ^= 1; return b }, n, Counts{Intact: n - 1, Torn: 1, Holes: 1}},
		{"another's record", func(b []byte) []byte { copy(b[at(5):], b[at(6):at(7)]); return b }, n, Counts{Intact: n - 1, Torn: 1, Holes: 1}},
		{"zeros behind, preallocated", func(b []byte) []byte { return append(b[:at(100)], make([]byte, 100000)...) }, 100, Counts{Intact: 100}},
		{"torn in flight", func(b []byte) []byte { zero(b, at(2999)+100, at(3000)); return b }, n - 1, Counts{Intact: n - 1, TornInFlight: 1}},
	} {
		test.want.Acknowledged = test.acked
		got, err := Check(bytes.NewReader(test.damage(records(run, n))), run, test.acked)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
	// Of another run, no record is intact.
	if got, _ := Check(bytes.NewReader(records(8, 10)), run, 10); got.Torn != 10 {
		t.Errorf("of another run: %+v, want 10 torn", got)
	}
}

// No byte of a record is zero by chance: what is zero was never written.
func TestRecordHasNoZeros(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, RecordSize)
	for range 1000 {
		Record(b, rng.Uint64(), rng.Uint64N(1<<40))
		if i := bytes.IndexByte(b[bodyAt:], 0); i >= 0 {
			t.Fatalf("byte %d is zero", bodyAt+i)
		}
	}
}

// Whatever the bytes, the counts add up.
func FuzzCheck(f *testing.F) {
	f.Add(records(1, 3), uint64(3))
	f.Add([]byte{}, uint64(5))
	f.Add(records(1, 3)[:2500], uint64(2))
	f.Fuzz(func(t *testing.T, b []byte, acked uint64) {
		acked %= 5000
		c, err := Check(bytes.NewReader(b), 1, acked)
		if err != nil {
			t.Fatal(err)
		}
		if c.Intact+c.Lost+c.Torn != acked || c.Holes > c.LostOrTorn() || c.Intact+c.Unacknowledged > uint64(len(b)/RecordSize) {
			t.Errorf("%d bytes, %d acknowledged: %+v", len(b), acked, c)
		}
	})
}
