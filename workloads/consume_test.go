package workloads

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"iopath/workloads/iomethod"
)

const (
	testBlock  = 8192
	testPieces = 16
	testSize   = testPieces*testBlock - 100 // the last piece is partial
)

// data is content in which no two words are alike.
func data() []byte {
	b := make([]byte, testSize)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// A piece is what a method hands over: maybe at the wrong offset.
type piece struct {
	off int64
	b   []byte
}

func pieces(b []byte) []piece {
	var ps []piece
	for p, i := Sequential(int64(len(b)), testBlock), 0; i < p.Pieces(); i++ {
		off, n := p.Piece(i)
		ps = append(ps, piece{off, b[off:][:n]})
	}
	return ps
}

func digest(t *testing.T, consumer string, ps []piece) Digest {
	t.Helper()
	c, err := NewConsumer(consumer, testBlock)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		c.Consume(p.off, p.b)
	}
	return c.Digest
}

func TestConsumersComeToTheReference(t *testing.T) {
	b := data()
	random, err := Random(testSize, testBlock, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, consumer := range Consumers {
		want, err := Reference(consumer, Sequential(testSize, testBlock), bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if want.Bytes != testSize || want.Sum == 0 {
			t.Errorf("%s: Reference = %+v, want %d bytes and a sum", consumer, want, testSize)
		}
		if got := digest(t, consumer, pieces(b)); got != want {
			t.Errorf("%s: digest = %+v, want the reference %+v", consumer, got, want)
		}
		backwards := pieces(b)
		for i, j := 0, len(backwards)-1; i < j; i, j = i+1, j-1 {
			backwards[i], backwards[j] = backwards[j], backwards[i]
		}
		if got := digest(t, consumer, backwards); got != want {
			t.Errorf("%s: digest backwards = %+v, want %+v whatever the order", consumer, got, want)
		}
		if got, err := Reference(consumer, random, bytes.NewReader(b)); err != nil || got != want {
			t.Errorf("%s: Reference at random = %+v, %v, want %+v", consumer, got, err, want)
		}
	}
}

func TestSumAndCopyOfAPageDiffer(t *testing.T) {
	ps := pieces(data())
	touch, sum, copied := digest(t, "touch", ps), digest(t, "sum", ps), digest(t, "copy", ps)
	if touch == sum {
		t.Error("touch and sum come to the same, want touch to load less")
	}
	if copied != touch {
		t.Errorf("copy = %+v, want what touch comes to, over the copy: %+v", copied, touch)
	}
}

func TestDigestSeesPiecesThatAreNotThere(t *testing.T) {
	b := data()
	damages := map[string][]piece{}
	for i, p := range pieces(b) {
		damages[fmt.Sprintf("piece %d missing", i)] = append(pieces(b)[:i:i], pieces(b)[i+1:]...)
		damages[fmt.Sprintf("piece %d doubled", i)] = append(pieces(b), p)
		if len(p.b) < testBlock {
			continue
		}
		for j, q := range pieces(b)[:testPieces-1] {
			if j == i {
				continue
			}
			// Bytes of the one at the place of the other.
			instead := pieces(b)
			instead[j].b = p.b
			damages[fmt.Sprintf("piece %d in place of %d", i, j)] = instead
			if i < j {
				swapped := pieces(b)
				swapped[i].b, swapped[j].b = q.b, p.b
				damages[fmt.Sprintf("pieces %d and %d swapped", i, j)] = swapped
			}
		}
	}
	for _, consumer := range Consumers {
		want := digest(t, consumer, pieces(b))
		for name, ps := range damages {
			if err := Verify(digest(t, consumer, ps), want); !errors.Is(err, ErrVerification) {
				t.Errorf("%s, %s: Verify = %v, want ErrVerification", consumer, name, err)
			}
		}
	}
}

func TestSumSeesEveryByte(t *testing.T) {
	want := digest(t, "sum", pieces(data()))
	check := func(name string, damaged []byte) {
		t.Helper()
		if err := Verify(digest(t, "sum", pieces(damaged)), want); !errors.Is(err, ErrVerification) {
			t.Errorf("%s: Verify = %v, want ErrVerification", name, err)
		}
	}
	for _, at := range []int{0, 1, 7, 8, 63, 4095, 4096, testBlock - 1, testBlock, testSize - 1} {
		for bit := range 8 {
			b := data()
			b[at] ^= 1 << bit
			check(fmt.Sprintf("bit %d of byte %d flipped", bit, at), b)
		}
	}
	for _, at := range []int{0, 8, 4096 - 8, testBlock + 16} {
		for _, distance := range []int{8, 16, 64, 1024} {
			b := data()
			x, y := b[at:][:8], b[at+distance:][:8]
			u, v := binary.NativeEndian.Uint64(x), binary.NativeEndian.Uint64(y)
			binary.NativeEndian.PutUint64(x, v)
			binary.NativeEndian.PutUint64(y, u)
			check(fmt.Sprintf("words at %d and %d swapped", at, at+distance), b)
		}
	}
}

// Touch is documented to see one byte of each page, and must see that one.
func TestTouchSeesEachPage(t *testing.T) {
	for _, consumer := range []string{"touch", "copy"} {
		want := digest(t, consumer, pieces(data()))
		for at := 0; at < testSize; at += touchStride {
			b := data()
			b[at]++
			if err := Verify(digest(t, consumer, pieces(b)), want); !errors.Is(err, ErrVerification) {
				t.Errorf("%s, byte %d changed: Verify = %v, want ErrVerification", consumer, at, err)
			}
		}
		b := data()
		b[0], b[touchStride] = b[touchStride], b[0]
		if err := Verify(digest(t, consumer, pieces(b)), want); !errors.Is(err, ErrVerification) {
			t.Errorf("%s, pages swapped inside a piece: Verify = %v, want ErrVerification", consumer, err)
		}
	}
}

func TestVerify(t *testing.T) {
	for _, c := range []struct {
		got, want Digest
		text      string // "" where they agree
	}{
		{Digest{}, Digest{}, ""},
		{Digest{5, 9}, Digest{5, 9}, ""},
		{Digest{4, 9}, Digest{5, 9}, "4 bytes arrived, want 5"},
		{Digest{5, 0x1f}, Digest{5, 9}, "sum 000000000000001f over 5 bytes, want 0000000000000009"},
	} {
		err := Verify(c.got, c.want)
		switch {
		case c.text == "" && err != nil:
			t.Errorf("Verify(%v, %v) = %v, want nil", c.got, c.want, err)
		case c.text != "" && (!errors.Is(err, ErrVerification) || !strings.Contains(err.Error(), c.text)):
			t.Errorf("Verify(%v, %v) = %v, want ErrVerification with %q", c.got, c.want, err, c.text)
		}
	}
}

func TestConsumersAtTheEdges(t *testing.T) {
	for _, consumer := range Consumers {
		c, err := NewConsumer(consumer, testBlock)
		if err != nil {
			t.Fatal(err)
		}
		c.Consume(4096, nil) // as the null method does
		if c.Digest != (Digest{}) {
			t.Errorf("%s: digest of an empty piece = %+v, want none", consumer, c.Digest)
		}
		c.Consume(4096, []byte{1})
		c.Reset()
		if c.Digest != (Digest{}) {
			t.Errorf("%s: digest after Reset = %+v, want none", consumer, c.Digest)
		}
		b := data()[:testBlock]
		if got := testing.AllocsPerRun(100, func() { c.Consume(0, b) }); got != 0 {
			t.Errorf("%s: %v allocations a piece, want 0", consumer, got)
		}
	}
	if c, err := NewConsumer("taste", 1); err == nil || !strings.Contains(err.Error(), "known: [sum touch copy]") {
		t.Errorf("NewConsumer(taste) = %v, %v, want an error that names the known ones", c, err)
	}
}

func TestReferenceErrors(t *testing.T) {
	plan := Sequential(testSize, testBlock)
	for _, c := range []struct {
		name     string
		consumer string
		plan     *iomethod.Plan
		content  io.ReaderAt
		ok       bool
	}{
		{"whole", "sum", plan, bytes.NewReader(data()), true},
		{"says EOF with its last byte", "sum", plan, eofAt(data()), true},
		{"one byte short", "sum", plan, bytes.NewReader(data()[1:]), false},
		{"empty", "touch", plan, bytes.NewReader(nil), false},
		{"nothing of nothing", "copy", Sequential(0, 1), bytes.NewReader(nil), true},
		{"fails", "sum", plan, failing{}, false},
		{"unknown consumer", "taste", plan, bytes.NewReader(data()), false},
	} {
		if d, err := Reference(c.consumer, c.plan, c.content); (err == nil) != c.ok {
			t.Errorf("%s: Reference = %+v, %v, want an error: %v", c.name, d, err, !c.ok)
		}
	}
}

type eofAt []byte

func (b eofAt) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[off:])
	if off+int64(n) == int64(len(b)) {
		return n, io.EOF
	}
	return n, nil
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func BenchmarkConsumer(b *testing.B) {
	for _, consumer := range Consumers {
		for _, block := range []int{4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("consume=%s/block=%dKiB", consumer, block>>10), func(b *testing.B) {
				c, err := NewConsumer(consumer, block)
				if err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, block)
				rand.NewChaCha8([32]byte{}).Read(buf)
				b.SetBytes(int64(block))
				b.ReportAllocs()
				for b.Loop() {
					c.Consume(0, buf)
				}
			})
		}
	}
}
