package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/alecthomas/units"
	"github.com/urfave/cli/v3"
	"golang.org/x/perf/benchmath"

	"iopath/bench"
	"iopath/internal/host"
	"iopath/internal/pagecache"
)

// crossoverOptions are the flags of iopath crossover.
type crossoverOptions struct {
	bench.Options
	a, b     string
	min, max bench.SizeFlag
	pairs    int
	out      string
	json     bool
}

func (o *crossoverOptions) register(fs *flag.FlagSet) {
	o.min, o.max = 4<<10, 4<<20
	fs.StringVar(&o.a, "a", "read", "`method` that is faster on small files, presumably")
	fs.StringVar(&o.b, "b", "mmap", "`method` that is faster on larger ones, presumably")
	fs.Var(&o.min, "min", "smallest `size` of a file")
	fs.Var(&o.max, "max", "largest `size` of a file")
	fs.IntVar(&o.pairs, "pairs", 31, "time so many `jobs` of each method, in turn, at each size; four times as many where that does not decide")
	fs.StringVar(&o.Dir, "dir", "", "`directory` of the data files (default: .iopath beside go.mod)")
	fs.StringVar(&o.out, "out", "", "write what was measured to this new `file`, in the Go benchmark format")
	fs.BoolVar(&o.json, "json", false, "print JSON")
}

func crossoverCommand(stdout, stderr io.Writer) *cli.Command {
	var o crossoverOptions
	return &cli.Command{
		Name:  "crossover",
		Usage: "find the size of a file from which mapping it pays",
		Description: "Many small files are opened, read whole and closed, by two methods in turn.\n" +
			"The size from which -b is faster than -a is found by bisection, to within two\n" +
			"sizes at which it is certain (95 %) which of them is faster. The files are in\n" +
			"the page cache. Exit status 3: no size is certain.",
		Flags: flags(o.register),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath crossover takes no arguments, got %q", c.Args().First())
			}
			return o.do(ctx, stdout, stderr)
		},
	}
}

// leastPairs is of how many values the interval of a median at 95 % is finite.
const leastPairs = 6

// A contestAt is what was found at one size.
type contestAt struct {
	Size  int64      `json:"size"`
	Files int        `json:"files"`
	Pairs int        `json:"pairs"`
	NsA   float64    `json:"a_ns_per_file"`
	NsB   float64    `json:"b_ns_per_file"`
	Ratio float64    `json:"a_over_b"` // median over the pairs: more than 1 where b is faster
	CI    [2]float64 `json:"ci95"`
	sign  int        // +1: b is faster, -1: a is, 0: undecided
}

func (o *crossoverOptions) do(ctx context.Context, stdout, stderr io.Writer) error {
	page := int64(os.Getpagesize())
	lo, hi := int64(o.min), int64(o.max)
	switch {
	case o.pairs < leastPairs:
		return usage("-pairs %d: want at least %d, or there is no interval", o.pairs, leastPairs)
	case lo >= hi || hi > bench.MaxBlock:
		return usage("-min %s, -max %s: want a smaller and a larger size, of at most %s", units.Base2Bytes(lo), units.Base2Bytes(hi), units.Base2Bytes(bench.MaxBlock))
	case o.a == o.b:
		return usage("-a %s, -b %s: want two methods", o.a, o.b)
	}
	contest, err := bench.OpenContest(ctx, o.Options, o.a, o.b)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: no size was tried", errInterrupted)
	}
	if err != nil {
		return err
	}
	defer contest.Close()
	record, err := o.recorder(contest)
	if err != nil {
		return err
	}
	defer record.Close()
	var tried []contestAt
	at := func(size int64) (contestAt, error) {
		t, err := o.try(ctx, contest, size, record)
		if err == nil {
			tried = append(tried, t)
			fmt.Fprintf(stderr, "%9s: %s\n", sizeText(size), o.verdict(t))
		}
		return t, err
	}
	c, err := findCrossover(lo, hi, page, at)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %d sizes were tried", errInterrupted, len(tried))
		}
		return err
	}
	slices.SortFunc(tried, func(a, b contestAt) int { return int(a.Size - b.Size) })
	answer := o.answer(c, lo, hi)
	if _, err := fmt.Fprintf(record, "# crossover: %s\n", answer); err != nil {
		return err
	}
	if o.json {
		err = writeJSON(stdout, struct {
			A      string      `json:"a"`
			B      string      `json:"b"`
			Above  int64       `json:"above,omitempty"` // a is faster here
			UpTo   int64       `json:"up_to,omitempty"` // b is faster from here on
			Answer string      `json:"answer"`
			Tried  []contestAt `json:"tried"`
		}{o.a, o.b, c.above, c.upTo, answer, tried})
	} else {
		o.print(stdout, tried)
		fmt.Fprintf(stdout, "\n%s\n", answer)
	}
	if err == nil && c.above == 0 && c.upTo == 0 && c.always == 0 {
		return errInconclusive
	}
	return err
}

// A crossing is what a search has come to.
type crossing struct {
	above, upTo int64 // the largest size at which a is faster, the smallest at which b is; 0: none
	always      int   // +1: b is faster at all sizes tried, -1: a is
}

// findCrossover searches between two sizes, by bisection on their logarithm, in
// multiples of step. Where a size does not decide, both sides of it are searched:
// what is left between is the interval.
func findCrossover(lo, hi, step int64, at func(int64) (contestAt, error)) (c crossing, err error) {
	first, err := at(lo)
	if err != nil {
		return c, err
	}
	last, err := at(hi)
	if err != nil {
		return c, err
	}
	if first.sign != 0 && first.sign == last.sign {
		return crossing{always: first.sign}, nil
	}
	if first.sign > 0 || last.sign < 0 {
		// The other way round: there is no size from which b pays.
		return c, nil
	}
	if first.sign < 0 {
		c.above = lo
	}
	if last.sign > 0 {
		c.upTo = hi
	}
	// narrow moves one edge of what is undecided towards the other.
	narrow := func(sure, unsure int64, sign int) (int64, error) {
		for {
			mid := middle(sure, unsure, step)
			if mid == sure || mid == unsure {
				return sure, nil
			}
			t, err := at(mid)
			if err != nil {
				return sure, err
			}
			if t.sign == sign {
				sure = mid
			} else {
				unsure = mid
			}
		}
	}
	below, beyond := lo, hi
	for {
		mid := middle(below, beyond, step)
		if mid == below || mid == beyond {
			break
		}
		t, err := at(mid)
		if err != nil {
			return c, err
		}
		if t.sign == 0 {
			if c.above != 0 {
				if c.above, err = narrow(below, mid, -1); err != nil {
					return c, err
				}
			}
			if c.upTo != 0 {
				if c.upTo, err = narrow(beyond, mid, +1); err != nil {
					return c, err
				}
			}
			return c, nil
		}
		if t.sign < 0 {
			below, c.above = mid, mid
		} else {
			beyond, c.upTo = mid, mid
		}
	}
	return c, nil
}

// middle is the geometric mean of two sizes, in multiples of step; one of the two
// where they lie within an eighth of each other, which is near enough.
func middle(a, b, step int64) int64 {
	if lo, hi := min(a, b), max(a, b); hi-lo <= lo/8 {
		return a
	}
	return int64(math.Round(math.Sqrt(float64(a)*float64(b))/float64(step))) * step
}

// tries is how often a size is tried whose files the machine takes out of the page
// cache meanwhile.
const tries = 3

// try times the two methods at one size, and once more for longer where that does
// not decide.
func (o *crossoverOptions) try(ctx context.Context, contest *bench.Contest, size int64, record io.Writer) (t contestAt, err error) {
	for _, pairs := range []int{o.pairs, 4 * o.pairs} {
		var cells [2]bench.Cell
		var took [2][]time.Duration
		for k := range tries {
			cells, took, err = contest.Pairs(ctx, size, pairs)
			if !errors.Is(err, pagecache.ErrNotWarm) || k == tries-1 {
				break
			}
		}
		if err != nil {
			return t, fmt.Errorf("time files of %s: %w", units.Base2Bytes(size), err)
		}
		for k := range took[0] {
			for i := range cells {
				ns := float64(took[i][k].Nanoseconds())
				bytes := float64(cells[i].Size) * float64(cells[i].Files)
				fmt.Fprintf(record, "Benchmark%s\t1\t%.0f ns/op\t%.2f MB/s\n", cells[i].Name(), ns, bytes/ns*1e3)
			}
		}
		if t = judge(size, cells[0].Files, took); t.sign != 0 {
			break
		}
	}
	return t, nil
}

// judge says which method is the faster one, by the median of the pairs' ratios and
// its interval, which presumes no distribution.
func judge(size int64, files int, took [2][]time.Duration) contestAt {
	t := contestAt{Size: size, Files: files, Pairs: len(took[0])}
	var values [3][]float64
	for k := range took[0] {
		a, b := float64(took[0][k]), float64(took[1][k])
		values[0] = append(values[0], a/float64(files))
		values[1] = append(values[1], b/float64(files))
		values[2] = append(values[2], a/b)
	}
	for i, center := range []*float64{&t.NsA, &t.NsB, &t.Ratio} {
		sum := benchmath.AssumeNothing.Summary(benchmath.NewSample(values[i], &benchmath.DefaultThresholds), 0.95)
		*center = sum.Center
		t.CI = [2]float64{sum.Lo, sum.Hi} // of the last, the ratio
	}
	switch {
	case t.Pairs < leastPairs:
	case t.CI[0] > 1:
		t.sign = 1
	case t.CI[1] < 1:
		t.sign = -1
	}
	return t
}

func (o *crossoverOptions) verdict(t contestAt) string {
	switch t.sign {
	case 1:
		return o.b + " is faster"
	case -1:
		return o.a + " is faster"
	}
	return "undecided"
}

// sizeText writes a size in one unit, where Base2Bytes writes 1MiB220KiB.
func sizeText(n int64) string {
	if n%(1<<20) != 0 && n%(1<<10) == 0 {
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return units.Base2Bytes(n).String()
}

func (o *crossoverOptions) print(w io.Writer, tried []contestAt) {
	fmt.Fprintf(w, "%9s %6s %6s %12s %12s  %-19s\n", "size", "files", "pairs", o.a+" ns", o.b+" ns", o.a+"/"+o.b+" [95 %]")
	for _, t := range tried {
		fmt.Fprintf(w, "%9s %6d %6d %12.0f %12.0f  %.2f [%.2f, %.2f]  %s\n",
			sizeText(t.Size), t.Files, t.Pairs, t.NsA, t.NsB, t.Ratio, t.CI[0], t.CI[1], o.verdict(t))
	}
}

// answer is the result in words.
func (o *crossoverOptions) answer(c crossing, lo, hi int64) string {
	size := sizeText
	switch {
	case c.always > 0:
		return fmt.Sprintf("%s is faster than %s at %s already, and at %s", o.b, o.a, size(lo), size(hi))
	case c.always < 0:
		return fmt.Sprintf("%s is not faster than %s up to %s", o.b, o.a, size(hi))
	case c.above != 0 && c.upTo != 0:
		return fmt.Sprintf("%s begins to be faster than %s between %s and %s", o.b, o.a, size(c.above), size(c.upTo))
	case c.upTo != 0:
		return fmt.Sprintf("%s is faster than %s from %s on; below, it is undecided down to %s", o.b, o.a, size(c.upTo), size(lo))
	case c.above != 0:
		return fmt.Sprintf("%s is faster than %s up to %s; above, it is undecided up to %s", o.a, o.b, size(c.above), size(hi))
	}
	return fmt.Sprintf("undecided between %s and %s: the machine is too noisy, or there is no size from which %s is faster (take more -pairs, or change -a and -b)", size(lo), size(hi), o.b)
}

// recorder opens the file for what is measured, with the machine's facts above;
// without one, what is written is dropped.
func (o *crossoverOptions) recorder(contest *bench.Contest) (io.WriteCloser, error) {
	if o.out == "" {
		return discard{io.Discard}, nil
	}
	f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, usage("-out: %w (name a new file)", err)
	}
	err = host.WriteConfig(f, host.TestHeader("iopath/bench"))
	if err == nil {
		err = contest.Session().WriteHeader(f, host.Options{})
	}
	if err != nil {
		f.Close()
		os.Remove(o.out)
		return nil, usage("-out: %w (choose another place)", err)
	}
	return f, nil
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }
