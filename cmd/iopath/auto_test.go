package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"iopath/internal/summary"
	"iopath/internal/trial"
)

// made returns what a cell prints in a round that gives it ns nanoseconds.
func made(cell string, ns float64) string {
	return fmt.Sprintf("Benchmark%s\t1\t%v ns/op\t5.000 syscalls/op", resultName(cell), ns)
}

// play runs made-up rounds of the cells until auto stops them all, and returns
// the notes and in which rounds each cell ran.
func play(t *testing.T, a *autoStop, rounds int, line func(cell string, k int) string) (notes string, ran map[string][]int) {
	t.Helper()
	ran = map[string][]int{}
	for k := 1; k <= rounds; k++ {
		var lines strings.Builder
		for _, i := range order(rand.New(rand.NewPCG(1, uint64(k))), len(a.names), a) {
			ran[a.names[i]] = append(ran[a.names[i]], k)
			fmt.Fprintln(&lines, line(a.names[i], k))
		}
		note, left, err := a.ended(k, []byte(lines.String()))
		if err != nil {
			t.Fatalf("round %d: %v", k, err)
		}
		notes += note
		going := 0
		for i := range a.names {
			if a.goesOn(i) {
				going++
			}
		}
		if left != going {
			t.Errorf("after round %d: ended says %d cells go on, want %d", k, left, going)
		}
		if left == 0 {
			break
		}
	}
	return notes, ran
}

func TestAutoStop(t *testing.T) {
	steady := func(cell string, _ int) string { return made(cell, 100) }
	for _, test := range []struct {
		name    string
		rounds  int
		line    func(cell string, k int) string
		notes   string // of ended
		cut     string // of cut("time is up")
		summary string
		last    int // round of cell a
		cells   []string
	}{
		{"as soon as there is an interval", 20, steady,
			"# stopped: Benchmarka: ±0% after 6 rounds\n", "",
			"1 of 1 cells within ±3.0%", 6, []string{"a"}},
		{"when the interval is narrow enough", 20,
			// The extremes of six hold the median, the second of each side of nine.
			func(cell string, k int) string { return made(cell, map[int]float64{1: 90, 2: 110}[k]+100*b2f(k > 2)) },
			"# stopped: Benchmarka: ±0% after 9 rounds\n", "",
			"1 of 1 cells within ±3.0%", 9, []string{"a"}},
		{"narrow, but not nothing", 6,
			func(cell string, k int) string { return made(cell, []float64{98, 100, 102}[k%3]) },
			"# stopped: Benchmarka: ±2.0% after 6 rounds\n", "",
			"1 of 1 cells within ±3.0%", 6, []string{"a"}},
		{"time is up, not precise enough", 7,
			func(cell string, k int) string { return made(cell, []float64{90, 100, 110}[k%3]) },
			"", "# stopped: Benchmarka: time is up at ±10% after 7 rounds\n",
			"0 of 1 cells within ±3.0%, 1 stopped by -time 4m0s", 7, []string{"a"}},
		{"time is up before there can be an interval", 5, steady,
			"", "# stopped: Benchmarka: time is up after 5 rounds, too few for an interval\n",
			"0 of 1 cells within ±3.0%, 1 stopped by -time 4m0s", 5, []string{"a"}},
		{"fails for good", 20,
			func(cell string, k int) string { return fmt.Sprintf("# failed: Benchmark%s: reason %d: x", cell, k) },
			"# stopped: Benchmarka: 3 rounds in a row: failed: reason 3: x\n", "",
			"0 of 1 cells within ±3.0%, 1 without results", 3, []string{"a"}},
		{"skipped for good", 20,
			func(cell string, k int) string { return fmt.Sprintf("# skipped: Benchmark%s: not here", cell) },
			"# stopped: Benchmarka: 3 rounds in a row: skipped: not here\n", "",
			"0 of 1 cells within ±3.0%, 1 without results", 3, []string{"a"}},
		{"says nothing", 20, func(string, int) string { return "# note: none" },
			"# stopped: Benchmarka: 3 rounds in a row: no result\n", "",
			"0 of 1 cells within ±3.0%, 1 without results", 3, []string{"a"}},
		{"fails now and then", 20,
			func(cell string, k int) string {
				if k%3 != 0 {
					return fmt.Sprintf("# failed: Benchmark%s: reason", cell)
				}
				return made(cell, 100)
			},
			"# stopped: Benchmarka: ±0% after 6 rounds\n", "",
			"1 of 1 cells within ±3.0%", 18, []string{"a"}},
		{"fails, and time is up", 2,
			func(cell string, k int) string { return fmt.Sprintf("# failed: Benchmark%s: reason", cell) },
			"", "# stopped: Benchmarka: time is up without a result, the last round: failed: reason\n",
			"0 of 1 cells within ±3.0%, 1 stopped by -time 4m0s", 2, []string{"a"}},
		{"one of each", 8,
			func(cell string, k int) string {
				switch cell {
				case "a":
					return made(cell, 100)
				case "b":
					return made(cell, []float64{50, 100, 200}[k%3])
				}
				return fmt.Sprintf("# failed: Benchmark%s: reason", cell)
			},
			"# stopped: Benchmarkc: 3 rounds in a row: failed: reason\n# stopped: Benchmarka: ±0% after 6 rounds\n",
			"# stopped: Benchmarkb: time is up at ±100% after 8 rounds\n",
			"1 of 3 cells within ±3.0%, 1 without results, 1 stopped by -time 4m0s", 6, []string{"a", "b", "c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAutoStop(0.03, test.cells)
			notes, ran := play(t, a, test.rounds, test.line)
			if notes != test.notes {
				t.Errorf("notes:\n%swant:\n%s", notes, test.notes)
			}
			if got := a.cut("time is up"); got != test.cut {
				t.Errorf("cut:\n%swant:\n%s", got, test.cut)
			}
			if got := a.summary("-time 4m0s"); got != test.summary {
				t.Errorf("summary = %q, want %q", got, test.summary)
			}
			// A cell runs in every round up to its last, so that its k-th line
			// belongs to round k.
			for cell, rounds := range ran {
				for i, k := range rounds {
					if k != i+1 {
						t.Errorf("cell %s ran in rounds %v, want no gap", cell, rounds)
						break
					}
				}
			}
			if got := len(ran["a"]); got != test.last {
				t.Errorf("cell a ran in %d rounds, want %d", got, test.last)
			}
		})
	}
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestAutoStopOfDamagedLines(t *testing.T) {
	a := newAutoStop(0.03, []string{"a"})
	if _, _, err := a.ended(1, []byte("Benchmarka 1 many ns/op\n")); !errors.Is(err, summary.ErrInput) {
		t.Errorf("ended = %v, want that the line is damaged", err)
	}
}

func TestOrder(t *testing.T) {
	draw := func(seed uint64, stopped ...int) []int {
		a := newAutoStop(0.03, make([]string, 40))
		for _, i := range stopped {
			a.cells[i].stopped = true
		}
		return order(rand.New(rand.NewPCG(seed, 3)), 40, a)
	}
	all := draw(1)
	if got := order(rand.New(rand.NewPCG(1, 3)), 40, nil); !slices.Equal(got, all) {
		t.Errorf("order = %v, want %v as long as nothing is stopped", got, all)
	}
	if slices.Equal(draw(2), all) {
		t.Error("two seeds gave the same order, want two")
	}
	some := draw(1, 3, 17, 39)
	if again := draw(1, 3, 17, 39); !slices.Equal(some, again) {
		t.Errorf("the same seed gave %v and %v for the same cells", some, again)
	}
	want := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return i == 3 || i == 17 || i == 39 })
	if !slices.Equal(some, want) {
		t.Errorf("order = %v, want %v: without those that were stopped", some, want)
	}
}

func TestEffortFlags(t *testing.T) {
	for _, test := range []struct {
		text string
		want roundsFlag
		ok   bool
	}{
		{"auto", roundsFlag{auto: true}, true}, {"7", roundsFlag{n: 7}, true},
		{"0", roundsFlag{}, false}, {"-1", roundsFlag{}, false}, {"", roundsFlag{}, false}, {"Auto", roundsFlag{}, false}, {"1.5", roundsFlag{}, false},
	} {
		var got roundsFlag
		if err := got.Set(test.text); got != test.want || (err == nil) != test.ok {
			t.Errorf("-rounds %q = %+v, %v, want %+v, accepted: %v", test.text, got, err, test.want, test.ok)
		}
		if test.ok && got.String() != test.text {
			t.Errorf("-rounds %s is written %q", test.text, got.String())
		}
	}
	for _, test := range []struct {
		text string
		want float64
		ok   bool
	}{
		{"3%", 0.03, true}, {"0.03", 0.03, true}, {".5%", 0.005, true}, {"99%", 0.99, true},
		{"3", 0, false}, {"0", 0, false}, {"0%", 0, false}, {"-1%", 0, false}, {"100%", 0, false}, {"NaN", 0, false}, {"inf%", 0, false},
		{"%", 0, false}, {"", 0, false}, {"3 %", 0, false}, {"3%%", 0, false},
	} {
		var got precisionFlag
		if err := got.Set(test.text); float64(got) != test.want || (err == nil) != test.ok {
			t.Errorf("-precision %q = %v, %v, want %v, accepted: %v", test.text, float64(got), err, test.want, test.ok)
		}
	}
}

// Wrong use is told in one line, before anything is made.
func TestEffortUsage(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ args, want string }{
		{"-rounds none", `"none" is not a number of rounds`},
		{"-rounds 0", `"0" is not a number of rounds`},
		{"-rounds auto -precision 3", `"3" is not a share`},
		{"-precision 3%", "-precision is for -rounds auto"},
		{"-rounds 6 -precision 3%", "-precision is for -rounds auto"},
		{"-settle -1s", "not below zero"},
		{"-time -1s", "not below zero"},
	} {
		var stderr bytes.Buffer
		args := append([]string{"iopath", "bench", "-results", dir + "/r", "-dir", dir + "/d"}, strings.Fields(test.args)...)
		status := run(context.Background(), args, strings.NewReader(""), io.Discard, &stderr)
		if status != exitUsage || !strings.Contains(stderr.String(), test.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("iopath bench %s: exit %d, %q, want %d and one line with %q", test.args, status, stderr.String(), exitUsage, test.want)
		}
	}
}

// fakeNoise has a steal as a share; below zero it is not known.
type fakeNoise float64

func (n fakeNoise) String() string { return "steal=S" }

func (n fakeNoise) Share(name string) (float64, bool) { return max(0, float64(n)), n >= 0 }

// warmCells makes warm cells, and a cold one beside them, of so many results each;
// the first of each warm cell is that share above its others, the median.
func warmCells(t *testing.T, rounds int, halves ...float64) []*summary.Cell {
	t.Helper()
	var lines strings.Builder
	for i, half := range halves {
		for k := range rounds {
			fmt.Fprintln(&lines, made(fmt.Sprintf("Read/cache=warm/n=%d", i), 1000*(1+half*b2f(k == 0))))
		}
	}
	fmt.Fprintln(&lines, made("Read/cache=cold", 1000))
	results, err := summary.Read(summary.Input{Name: "made up", Reader: strings.NewReader(lines.String())})
	if err != nil {
		t.Fatal(err)
	}
	warm, err := results.Cells("/cache:warm")
	if err != nil || len(warm) != len(halves) {
		t.Fatalf("%d warm cells, %v, want %d", len(warm), err, len(halves))
	}
	return warm
}

func TestNoiseLine(t *testing.T) {
	nine := []float64{0.03, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01}
	for _, test := range []struct {
		name   string
		noise  fakeNoise
		rounds int
		halves []float64
		want   string
	}{
		{"quiet", 0.009, 6, append(nine, 0.5), "# noise: steal=S over 6 rounds; ± of the median: half of 10 warm cells within 1.0%, 9 within 3.0%; quiet\n"},
		{"steal", 0.01, 6, nine, "# noise: steal=S over 6 rounds; ± of the median: half of 9 warm cells within 1.0%, 9 within 3.0%; noisy\n"},
		{"steal is not known", -1, 6, nine, "# noise: steal=S over 6 rounds; ± of the median: half of 9 warm cells within 1.0%, 9 within 3.0%; quiet\n"},
		{"wide intervals", 0, 6, []float64{0.02, 0.01, 0.2, 0.14}, "# noise: steal=S over 6 rounds; ± of the median: half of 4 warm cells within 2.0%, 2 within 3.0%; noisy\n"},
		{"one cell", 0, 6, []float64{0.041}, "# noise: steal=S over 6 rounds; ± of the median: half of 1 warm cell within 4.1%, 0 within 3.0%; noisy\n"},
		{"five rounds", 0, 5, nine, "# noise: steal=S over 5 rounds; too few rounds for intervals\n"},
		{"one round", 0, 1, nine, "# noise: steal=S over 1 round; too few rounds for intervals\n"},
		{"cold alone", 0, 6, nil, "# noise: steal=S over 6 rounds; no warm cells\n"},
	} {
		if got := noiseLine(test.noise, test.rounds, warmCells(t, test.rounds, test.halves...)); got != test.want {
			t.Errorf("%s:\n got %swant %s", test.name, got, test.want)
		}
	}
}

// What a file ends with names what ended the run.
func TestClosing(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		limit   int
		failure error
		auto    bool
		want    string
		told    string
	}{
		{"rounds", context.Background(), 2, nil, false, "", ""},
		{"time", context.Background(), 0, nil, true, "# stopped: Benchmarka: time is up after 2 rounds, too few for an interval\n", "0 of 1 cells within ±3.0%, 1 stopped by -time 4m0s\n"},
		{"limit", context.Background(), 2, nil, true, "# stopped: Benchmarka: the last round ended after 2 rounds, too few for an interval\n", "0 of 1 cells within ±3.0%, 1 stopped by the limit of 2 rounds\n"},
		{"Ctrl-C", cancelled, 0, nil, true, "# stopped: Benchmarka: interrupted after 2 rounds, too few for an interval\n", "0 of 1 cells within ±3.0%, 1 stopped by the interruption\n"},
		{"failure", context.Background(), 0, errors.New("x"), true, "# stopped: Benchmarka: the run failed after 2 rounds, too few for an interval\n", "0 of 1 cells within ±3.0%, 1 stopped by a failure\n"},
	} {
		o := benchOptions{time: 4 * time.Minute, rounds: roundsFlag{n: test.limit, auto: test.auto}}
		var auto *autoStop
		if test.auto {
			auto = newAutoStop(0.03, []string{"a"})
			play(t, auto, 2, func(cell string, _ int) string { return made(cell, 100) })
		}
		tail, told := o.closing(test.ctx, "/nonexistent", trial.Result{Rounds: 2, Noise: fakeNoise(0)}, test.failure, auto)
		const noise = "noise: steal=S over 2 rounds; no warm cells\n"
		if tail != test.want+"# "+noise || told != test.told+noise {
			t.Errorf("%s: closing = %q, %q, want %q, %q", test.name, tail, told, test.want+"# "+noise, test.told+noise)
		}
	}
}
