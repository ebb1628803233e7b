package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iopath/internal/summary"
)

// oracle answers for a machine on which b is faster from a size on, and nothing is
// certain within a band around it.
func oracle(from, low, high int64, asked *[]int64) func(int64) (contestAt, error) {
	return func(size int64) (contestAt, error) {
		*asked = append(*asked, size)
		t := contestAt{Size: size}
		switch {
		case size > low && size < high:
		case size >= from:
			t.sign = 1
		default:
			t.sign = -1
		}
		return t, nil
	}
}

func TestFindCrossover(t *testing.T) {
	const page, min, max = 4 << 10, 4 << 10, 4 << 20
	for _, c := range []struct {
		name            string
		from, low, high int64
		want            crossing
		within          float64 // of upTo/above, at most
	}{
		{"certain", 300 << 10, 0, 0, crossing{}, 1.13},
		{"a band of doubt", 300 << 10, 200 << 10, 500 << 10, crossing{}, 2.5 * 1.3},
		{"b always", 0, 0, 0, crossing{always: 1}, 0},
		{"a always", 1 << 40, 0, 0, crossing{always: -1}, 0},
		{"doubt at the small end", 300 << 10, 0, 500 << 10, crossing{}, 0},
		{"doubt at the large end", 300 << 10, 200 << 10, 1 << 40, crossing{}, 0},
		{"doubt all through", 300 << 10, 0, 1 << 40, crossing{}, 0},
	} {
		var asked []int64
		got, err := findCrossover(min, max, page, oracle(c.from, c.low, c.high, &asked))
		if err != nil {
			t.Fatal(err)
		}
		if got.always != c.want.always {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if got.above != 0 && (got.above >= c.from || c.low > 0 && got.above > c.low) {
			t.Errorf("%s: a is said to be faster at %d, and is up to %d alone", c.name, got.above, c.low)
		}
		if got.upTo != 0 && (got.upTo < c.from || got.upTo < c.high) {
			t.Errorf("%s: b is said to be faster at %d, and is from %d on alone", c.name, got.upTo, c.high)
		}
		if c.within > 0 && (got.above == 0 || float64(got.upTo)/float64(got.above) > c.within) {
			t.Errorf("%s: got between %d and %d, want within %.2f", c.name, got.above, got.upTo, c.within)
		}
		if len(asked) > 25 {
			t.Errorf("%s: %d sizes were tried: %d", c.name, len(asked), asked)
		}
		for _, size := range asked {
			if size%page != 0 || size < min || size > max {
				t.Errorf("%s: asked for a size of %d", c.name, size)
			}
		}
	}
	failure := errors.New("no power")
	if _, err := findCrossover(min, max, page, func(int64) (contestAt, error) { return contestAt{}, failure }); !errors.Is(err, failure) {
		t.Errorf("a size that fails: got %v, want %v", err, failure)
	}
}

func TestJudge(t *testing.T) {
	took := func(a, b time.Duration, n int) (took [2][]time.Duration) {
		for i := range n {
			wobble := time.Duration(i % 3)
			took[0], took[1] = append(took[0], a+wobble), append(took[1], b+2*wobble)
		}
		return took
	}
	for _, c := range []struct {
		a, b time.Duration
		n    int
		want int
	}{
		{1000, 2000, 31, -1}, {2000, 1000, 31, 1}, {1000, 998, 31, 0},
		{1000, 2000, 5, 0}, // of five values the interval has no end
	} {
		got := judge(4096, 10, took(c.a, c.b, c.n))
		if got.sign != c.want || got.Pairs != c.n || got.Files != 10 {
			t.Errorf("a %v, b %v, %d pairs: got %+v, want sign %d", c.a, c.b, c.n, got, c.want)
		}
	}
}

// The command itself, on small files and with few pairs: that it works, not what it
// finds.
func TestCrossoverCommand(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	iopath := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), append([]string{"iopath", "crossover", "-dir", filepath.Join(dir, "data")}, args...), strings.NewReader(""), &stdout, &stderr)
		return status, stdout.String(), stderr.String()
	}
	status, stdout, stderr := iopath("-pairs", "6", "-min", "4KiB", "-max", "64KiB", "-out", out)
	if status != 0 && status != exitUndecided || !strings.Contains(stdout, "read/mmap [95 %]") {
		t.Errorf("status %d, printed %q, %q; want an answer", status, stdout, stderr)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	results, err := summary.Read(summary.Input{Name: out, Reader: f})
	if err != nil {
		t.Fatal(err)
	}
	cells, err := results.Cells(".name:Open /size:4KiB")
	if err != nil || len(cells) != 2 {
		t.Errorf("the file has %d cells of 4 KiB, %v, want 2", len(cells), err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-pairs", "5"}, "at least 6"},
		{[]string{"-min", "8KiB", "-max", "8KiB"}, "a smaller and a larger size"},
		{[]string{"-a", "mmap"}, "two methods"},
		{[]string{"-b", "teleport"}, "is unknown"},
		{[]string{"-b", "sendfile"}, "cannot open, read and close"},
		{[]string{"-out", out}, "file exists"},
		{[]string{"more"}, "takes no arguments"},
	} {
		if status, _, stderr := iopath(c.args...); status != exitUsage || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, %q; want %d and one line with %q", c.args, status, stderr, exitUsage, c.want)
		}
	}
}
