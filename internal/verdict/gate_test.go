package verdict

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iopath/internal/summary"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A file is a result file with sides, as iopath regress writes it.
type file struct{ strings.Builder }

// round begins round k.
func (f *file) round(k int) { fmt.Fprintf(f, "# round %d: seed=1 took=1s\n", k) }

// line adds a result of a side.
func (f *file) line(side, name string, figures ...any) {
	fmt.Fprintf(f, "side: %s\ncommit: %s\nBenchmark%s 1", side, map[string]string{Base: "aaaaaaaaaaaa", Again: "aaaaaaaaaaaa", Head: "bbbbbbbbbbbb"}[side], name)
	for i := 0; i < len(figures); i += 2 {
		fmt.Fprintf(f, " %v %s", figures[i], figures[i+1])
	}
	f.WriteByte('\n')
}

func read(t testing.TB, text string) *summary.Results {
	t.Helper()
	r, err := summary.Read(summary.Input{Name: "bench.txt", Reader: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sidesOfText(t testing.TB, text string) *Sides {
	t.Helper()
	s, err := SidesOf(read(t, text), "*")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A run makes a file of so many rounds. Each side of each cell has a time with noise,
// times what worsens it.
type run struct {
	rounds int
	noise  float64                    // of a measurement, as a share
	cells  map[string]float64         // how much slower head is
	drift  func(k int) float64        // what the machine does to all, by the round
	more   func(f *file, k int)       // further lines of a round
	head   string                     // lines above
	skip   func(k int, s string) bool // measurements that are missing
}

func (r run) text(seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 9))
	var f file
	f.WriteString(r.head)
	var names []string
	for name := range r.cells {
		names = append(names, name)
	}
	slices.Sort(names)
	for k := 1; k <= r.rounds; k++ {
		f.round(k)
		d := 1.0
		if r.drift != nil {
			d = r.drift(k)
		}
		for _, name := range names {
			for _, side := range []string{Base, Again, Head} {
				v := 1e6 * d * math.Exp(r.noise*rng.NormFloat64())
				if side == Head {
					v *= r.cells[name]
				}
				if r.skip == nil || !r.skip(k, side) {
					f.line(side, name, fmt.Sprintf("%.0f", v), "ns/op")
				}
			}
		}
		if r.more != nil {
			r.more(&f, k)
		}
	}
	return f.String()
}

func judge(t testing.TB, first, second string, o Rules) *Judgement {
	t.Helper()
	var b *Sides
	if second != "" {
		b = sidesOfText(t, second)
	}
	j, err := Judge(sidesOfText(t, first), b, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func status(t testing.TB, j *Judgement, cell, unit string) Row {
	t.Helper()
	for _, r := range j.Rows {
		if r.Cell == cell && r.Unit == unit {
			return r
		}
	}
	t.Fatalf("no row %s %s among %d", cell, unit, len(j.Rows))
	return Row{}
}

func TestJudgeTime(t *testing.T) {
	cells := map[string]float64{"A": 1, "B": 1, "C": 1.1, "D": 0.8}
	same := map[string]float64{"A": 1, "B": 1, "C": 1, "D": 1}
	for _, test := range []struct {
		name          string
		first, second run
		status        map[string]Status
		outcome       Outcome
	}{
		{"slower, confirmed", run{rounds: 20, noise: 0.02, cells: cells}, run{rounds: 20, noise: 0.02, cells: cells},
			map[string]Status{"A": Unchanged, "B": Unchanged, "C": Regressed, "D": Improved}, Regression},
		{"slower, not confirmed", run{rounds: 20, noise: 0.02, cells: cells}, run{rounds: 20, noise: 0.02, cells: same},
			map[string]Status{"C": Unconfirmed, "D": Improved}, Fine},
		{"slower, second run too short", run{rounds: 20, noise: 0.02, cells: cells}, run{rounds: 3, noise: 0.02, cells: cells},
			map[string]Status{"C": Undecided}, Inconclusive},
		{"slower, second run disturbed", run{rounds: 20, noise: 0.02, cells: cells}, run{rounds: 20, noise: 0.02, cells: cells, head: "# noise: steal=12% psi-cpu=3.0% over 20 rounds\n"},
			map[string]Status{"C": Undecided}, Inconclusive},
		{"slower, no second run", run{rounds: 20, noise: 0.02, cells: cells}, run{},
			map[string]Status{"C": Regressed}, Regression},
		{"the same", run{rounds: 20, noise: 0.02, cells: same}, run{},
			map[string]Status{"A": Unchanged, "C": Unchanged}, Fine},
		{"within noise", run{rounds: 20, noise: 0.3, cells: cells}, run{},
			map[string]Status{"A": Unchanged, "C": Unchanged}, Fine},
		{"a change of one in a hundred does not count", run{rounds: 60, noise: 0.002, cells: map[string]float64{"A": 1.01, "B": 0.99}}, run{},
			map[string]Status{"A": Unchanged, "B": Unchanged}, Fine},
		{"too few rounds", run{rounds: 7, noise: 0.001, cells: cells}, run{},
			map[string]Status{"A": Undecided, "C": Undecided}, Inconclusive},
		{"steal", run{rounds: 20, noise: 0.02, cells: cells, head: "# noise: steal=7.1% psi-cpu=3.0% over 20 rounds\n"}, run{},
			map[string]Status{"C": Undecided, "A": Undecided}, Inconclusive},
		{"waiting for CPUs", run{rounds: 20, noise: 0.02, cells: cells, head: "# noise: steal=0.1% psi-cpu=64% over 20 rounds\n"}, run{},
			map[string]Status{"C": Undecided}, Inconclusive},
		{"noise that may be", run{rounds: 20, noise: 0.02, cells: same, head: "# noise: steal=1.1% psi-cpu=13% psi-io=9% over 20 rounds; 3 cells of 90% are steal=99%\n"}, run{},
			map[string]Status{"C": Unchanged}, Fine},
		{"drift that both sides share", run{rounds: 20, noise: 0.02, cells: cells, drift: func(k int) float64 { return 1 + float64(k)/10 }}, run{},
			map[string]Status{"A": Unchanged, "C": Regressed}, Regression},
		{"rounds that lack a side", run{rounds: 24, noise: 0.02, cells: cells, drift: func(k int) float64 { return 1 + float64(k%5) },
			skip: func(k int, s string) bool { return k == 4 && s == Head || k == 9 && s == Base || k == 10 && s == Again }}, run{},
			map[string]Status{"A": Unchanged, "C": Regressed, "D": Improved}, Regression},
	} {
		t.Run(test.name, func(t *testing.T) {
			second := ""
			if test.second.rounds > 0 {
				second = test.second.text(11)
			}
			j := judge(t, test.first.text(10), second, Rules{})
			for cell, want := range test.status {
				if r := status(t, j, cell, "sec/op"); r.Status != want {
					t.Errorf("%s is %s (%s; %+v, noise %+v), want %s", cell, r.Status, r.Why, r.Effect, r.Noise, want)
				}
			}
			if j.Outcome != test.outcome {
				t.Errorf("outcome %s (%s), want %s", j.Outcome, j.Sentence(), test.outcome)
			}
		})
	}
}

// What base differs from itself by hides as much.
func TestBoundIsTheNoise(t *testing.T) {
	r := run{rounds: 30, noise: 0.005, cells: map[string]float64{"A": 1.04}}
	text := r.text(1)
	if got := status(t, judge(t, text, "", Rules{}), "A", "sec/op"); got.Status != Regressed {
		t.Fatalf("4 %% slower is %s, want regressed", got.Status)
	}
	// Base again is 5 % off.
	var shifted strings.Builder
	side := ""
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, "side: "); ok {
			side = strings.TrimSpace(s)
		}
		if f := strings.Fields(line); side == Again && strings.HasPrefix(line, "BenchmarkA") {
			var v float64
			fmt.Sscan(f[2], &v)
			line = fmt.Sprintf("BenchmarkA 1 %.0f ns/op\n", v*1.05)
		}
		shifted.WriteString(line)
	}
	got := status(t, judge(t, shifted.String(), "", Rules{}), "A", "sec/op")
	if got.Status != Unchanged || got.Bound < 1.05 {
		t.Errorf("4 %% slower where base is 5 %% off itself: %s, bound %.3f; want unchanged, above 1.05", got.Status, got.Bound)
	}
}

// Of units of which more is better, less is worse.
func TestDirection(t *testing.T) {
	var f file
	f.WriteString("Unit req/s better=higher\nUnit odd/op better=lower\n")
	rng := rand.New(rand.NewPCG(1, 1))
	for k := 1; k <= 20; k++ {
		f.round(k)
		for _, side := range []string{Base, Again, Head} {
			rate, odd := 1000.0, 10.0
			if side == Head {
				rate, odd = 900, 9
			}
			f.line(side, "A", rate+rng.Float64(), "req/s", odd+rng.Float64()/100, "odd/op", 5, "unknown")
		}
	}
	j := judge(t, f.String(), "", Rules{})
	r := status(t, j, "A", "req/s")
	if r.Status != Regressed || math.Abs(r.Effect.Ratio-1/0.9) > 0.01 {
		t.Errorf("a tenth less req/s: %s, %+v; want regressed by 1.11", r.Status, r.Effect)
	}
	if ratio, lo, hi := r.change(r.Effect); math.Abs(ratio-0.9) > 0.01 || !(lo < ratio && ratio < hi) {
		t.Errorf("change of req/s = %v [%v, %v], want 0.9 within its interval", ratio, lo, hi)
	}
	if r := status(t, j, "A", "odd/op"); r.Status != Improved {
		t.Errorf("a tenth less odd/op: %s, want improved", r.Status)
	}
	if len(j.Rows) != 2 {
		t.Errorf("%d rows, want 2: a unit without a direction is none", len(j.Rows))
	}
	if _, err := Judge(sidesOfText(t, f.String()), nil, Rules{Units: []string{"unknown"}}); err == nil || !strings.Contains(err.Error(), "direction") {
		t.Errorf("a unit without direction, asked for: %v, want an error that says so", err)
	}
}

// A throughput that comes from the time is no row of its own, and tails are shown.
func TestLanes(t *testing.T) {
	var f file
	f.WriteString("Unit syscalls/op better=lower assume=exact\nUnit p99-ns better=lower\nUnit p50-ns better=lower\nUnit max-ns better=lower\nUnit cpu-ns/op better=lower\n")
	for k := 1; k <= 20; k++ {
		f.round(k)
		for _, side := range []string{Base, Again, Head} {
			slow := 1
			if side == Head {
				slow = 9
			}
			f.line(side, "Read/cache=warm", 1000+k, "ns/op", 50, "MB/s", 90+k, "cpu-ns/op", 7, "syscalls/op", 0, "majflt/op", 0, "minflt/op", 0, "allocs/op", slow*(100+k), "p99-ns", 5+k, "p50-ns", slow*500, "max-ns")
			f.line(side, "Read/cache=cold", 1000+k, "ns/op", 3*slow, "majflt/op")
		}
	}
	j := judge(t, f.String(), "", Rules{})
	got := map[string]Lane{}
	for _, r := range j.Rows {
		got[strings.TrimPrefix(r.Cell, "Read/cache=")+" "+r.Unit] = r.Lane
	}
	want := map[string]Lane{
		"warm sec/op": TimeLane, "warm cpu-sec/op": TimeLane, "cold sec/op": TimeLane,
		"warm syscalls/op": ExactLane, "warm majflt/op": ExactLane, "warm allocs/op": ExactLane,
		"warm p99-sec": ShownLane, "warm max-sec": ShownLane,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lanes %v, want %v", got, want)
	}
	if j.Outcome != Fine {
		t.Errorf("tails nine times as long: %s (%s), want fine: they are never judged", j.Outcome, j.Sentence())
	}
}

func TestJudgeExact(t *testing.T) {
	counts := func(base, again, head []int) string {
		var f file
		f.WriteString("Unit syscalls/op better=lower assume=exact\nUnit hits/op better=higher assume=exact\n")
		for k := range base {
			f.round(k + 1)
			f.line(Base, "A", base[k], "syscalls/op")
			f.line(Again, "A", again[k], "syscalls/op")
			f.line(Head, "A", head[k], "syscalls/op")
		}
		return f.String()
	}
	hits := strings.NewReplacer("Unit syscalls/op better=lower assume=exact\n", "", "syscalls/op", "hits/op")
	c := func(n ...int) []int { return n }
	for _, test := range []struct {
		name    string
		text    string
		second  string
		want    Status
		outcome Outcome
	}{
		{"the same", counts(c(7, 7), c(7, 7), c(7, 7)), "", Unchanged, Fine},
		{"one more", counts(c(7, 7), c(7, 7), c(8, 8)), counts(c(7), c(7), c(8)), Regressed, Regression},
		{"one more, and not again", counts(c(7, 7), c(7, 7), c(8, 8)), counts(c(7, 7), c(7, 7), c(7, 7)), Unconfirmed, Fine},
		{"one more now and then", counts(c(7, 7), c(7, 7), c(7, 8)), "", Undecided, Fine},
		{"one more mostly", counts(c(7, 7, 7), c(7, 7, 7), c(7, 8, 8)), "", Regressed, Regression},
		{"one less now and then", counts(c(7, 7, 7), c(7, 7, 7), c(7, 6, 6)), "", Undecided, Fine},
		{"one more without a second run", counts(c(7), c(7), c(8)), "", Regressed, Regression},
		{"from none", counts(c(0, 0), c(0, 0), c(1, 1)), "", Regressed, Regression},
		{"one less", counts(c(7, 7), c(7, 7), c(6, 6)), "", Improved, Fine},
		{"varies", counts(c(7, 9), c(8, 7), c(9, 8)), "", Undecided, Fine},
		{"varies, and head is beyond all", counts(c(7, 9), c(8, 7), c(10, 12)), "", Regressed, Regression},
		{"varies, and head is beyond most", counts(c(7, 9), c(8, 7), c(9, 12)), "", Undecided, Fine},
		{"a stray one on base hides nothing", counts(append([]int{8}, slices.Repeat(c(7), 19)...), slices.Repeat(c(7), 20), slices.Repeat(c(8), 20)), "", Regressed, Regression},
		{"two that base never had", counts(c(7, 7), c(7, 7), c(8, 9)), "", Regressed, Regression},
		{"more is better", hits.Replace(counts(c(7, 7), c(7, 7), c(8, 8))), "", Improved, Fine},
		{"less is worse", hits.Replace(counts(c(7, 7), c(7, 7), c(6, 6))), "", Regressed, Regression},
	} {
		j := judge(t, test.text, test.second, Rules{})
		if len(j.Rows) != 1 || j.Rows[0].Status != test.want || j.Outcome != test.outcome {
			t.Errorf("%s: %+v, outcome %s; want %s, %s", test.name, j.Rows, j.Outcome, test.want, test.outcome)
		}
	}
}

// Counts are judged on a machine whose times say nothing.
func TestExactBesideNoise(t *testing.T) {
	r := run{rounds: 20, noise: 0.1, cells: map[string]float64{"A": 1}, head: "Unit syscalls/op assume=exact better=lower\n# noise: steal=40% over 20 rounds\n",
		more: func(f *file, k int) {
			f.line(Base, "A", 7, "syscalls/op")
			f.line(Head, "A", 8, "syscalls/op")
		}}
	if j := judge(t, r.text(1), "", Rules{}); j.Outcome != Regression {
		t.Errorf("outcome %s, want regression", j.Outcome)
	}
}

func TestReferences(t *testing.T) {
	reference := func(move func(k int) float64) func(f *file, k int) {
		return func(f *file, k int) { f.line(Reference, "Floor/what=syscall", 130*move(k), "ns/op") }
	}
	r := run{rounds: 21, noise: 0.01, cells: map[string]float64{"A": 1}}
	for _, test := range []struct {
		name string
		move func(k int) float64
		want Outcome
	}{
		{"steady", func(k int) float64 { return 1 + float64(k%3)/100 }, Fine},
		{"a tenth slower in the end", func(k int) float64 { return 1 + 0.1*float64(k/15) }, Fine},
		{"a fifth slower in the end", func(k int) float64 { return 1 + 0.2*float64(k/15) }, Inconclusive},
		{"faster in the middle", func(k int) float64 { return 1 - 0.2*float64(k/8%2) }, Inconclusive},
		{"one wild round", func(k int) float64 { return 1 + 50*float64(k/21) }, Fine},
	} {
		r.more = reference(test.move)
		if j := judge(t, r.text(3), "", Rules{}); j.Outcome != test.want || len(j.Moved) != 1 {
			t.Errorf("%s: %s (%s), moved %+v; want %s", test.name, j.Outcome, j.Sentence(), j.Moved, test.want)
		}
	}
}

// Files of different times: pairs by place, references from both.
func TestJudgeFiles(t *testing.T) {
	text := func(seed uint64, slow, floor float64) string {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b strings.Builder
		for range 20 {
			fmt.Fprintf(&b, "BenchmarkA-2 1 %.0f ns/op\nBenchmarkFloor/what=syscall-2 1 %.2f ns/op\n", 1e6*slow*math.Exp(0.01*rng.NormFloat64()), floor)
		}
		return b.String()
	}
	for _, test := range []struct {
		name        string
		slow, floor float64
		want        Outcome
	}{{"the same", 1, 100, Fine}, {"slower", 1.1, 100, Regression}, {"slower, as the machine is", 1.3, 130, Inconclusive}} {
		results, err := summary.Read(
			summary.Input{Name: "old", Reader: strings.NewReader(text(1, 1, 100))},
			summary.Input{Name: "new", Reader: strings.NewReader(text(2, test.slow, test.floor))})
		if err != nil {
			t.Fatal(err)
		}
		s, err := SidesOfFiles(results, "*", "old", "", "new")
		if err != nil {
			t.Fatal(err)
		}
		j, err := Judge(s, nil, Rules{References: []string{"Floor"}, Filter: "*"})
		if err != nil {
			t.Fatal(err)
		}
		if j.Outcome != test.want {
			t.Errorf("%s: %s (%s), want %s", test.name, j.Outcome, j.Sentence(), test.want)
		}
	}
}

// Two kernels may be compared; two machines' times may not, in one file or in two.
func TestMachines(t *testing.T) {
	results := func(old, new string) *Sides {
		body := strings.Repeat("BenchmarkA 1 100 ns/op 1 allocs/op\n", 12)
		r, err := summary.Read(
			summary.Input{Name: "old", Reader: strings.NewReader(old + body)},
			summary.Input{Name: "new", Reader: strings.NewReader(new + body)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := SidesOfFiles(r, "*", "old", "", "new")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, test := range []struct {
		old, new string
		outcome  Outcome
		says     string
	}{
		{"cpu: a\nkernel: 5\n", "cpu: a\nkernel: 5\n", Fine, ""},
		{"cpu: a\nkernel: 5\n", "cpu: a\nkernel: 6\n", Fine, "kernel differs: 5 | 6"},
		{"cpu: a\n", "cpu: b\n", Inconclusive, "cpu differs: a | b"},
		{"cpu: a\n", "cpu: a\nBenchmarkA 1 100 ns/op 1 allocs/op\ncpu: b\n", Inconclusive, "cpu differs: a | b"},
	} {
		j, err := Judge(results(test.old, test.new), nil, Rules{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append(j.Notes, j.Doubts...), "; "); j.Outcome != test.outcome || got != test.says {
			t.Errorf("%q against %q: %s, %q; want %s, %q", test.new, test.old, j.Outcome, got, test.outcome, test.says)
		}
	}
}

func TestOneSided(t *testing.T) {
	var f file
	f.round(1)
	f.line(Base, "Gone", 1, "ns/op")
	f.line(Base, "Broken/x=1-2", 1, "ns/op")
	f.line(Base, "Both", 1, "ns/op", 1, "allocs/op")
	f.line(Head, "Both", 1, "ns/op", 1, "allocs/op")
	f.line(Head, "New", 1, "ns/op")
	j := judge(t, f.String(), "", Rules{})
	if fmt.Sprint(j.OnlyBase, j.OnlyHead, j.Failed) != "[Gone Broken/x=1-2] [New] []" || j.Outcome != Inconclusive {
		t.Errorf("only base %v, only head %v, failed %v: %s", j.OnlyBase, j.OnlyHead, j.Failed, j.Outcome)
	}
	for _, line := range []string{"# failed: head BenchmarkBroken/x=1: it broke\n", "--- FAIL: BenchmarkBroken/x=1-2\n"} {
		if strings.HasPrefix(line, "---") {
			line = "BenchmarkBroken/x=1-2 \t" + line // as go test prints it beside the name
		}
		j = judge(t, f.String()+line, "", Rules{})
		if fmt.Sprint(j.OnlyBase, j.Failed) != "[Gone] [Broken/x=1-2]" || j.Outcome != Regression {
			t.Errorf("with %q: only base %v, failed %v: %s; want a regression", line, j.OnlyBase, j.Failed, j.Outcome)
		}
	}
}

// A unit that head lacks is named; of a count, the gate would be off.
func TestLostUnit(t *testing.T) {
	text := func(head string) string {
		var f file
		f.WriteString("Unit syscalls/op assume=exact better=lower\n")
		for k := 1; k <= 8; k++ {
			f.round(k)
			f.line(Base, "A", 10+k, "ns/op", 7, "syscalls/op")
			f.line(Head, "A", 10+k, "ns/op", 3, head)
		}
		return f.String()
	}
	if j := judge(t, text("other"), "", Rules{}); j.Outcome != Inconclusive || fmt.Sprint(j.OnlyBase) != "[A syscalls/op]" {
		t.Errorf("head without syscalls/op: %s, only on base %q; want inconclusive, and it named", j.Outcome, j.OnlyBase)
	}
	if j := judge(t, text("allocs/op"), "", Rules{}); fmt.Sprint(j.OnlyHead) != "[A allocs/op]" {
		t.Errorf("only on head %q, want allocs/op", j.OnlyHead)
	}
}

// Head that fails now and then, or in a parent, is no fine head.
func TestFailsInPart(t *testing.T) {
	var f file
	for k := 1; k <= 8; k++ {
		f.round(k)
		for _, side := range []string{Base, Head} {
			f.line(side, "A/x-2", 10+k, "ns/op", 1, "allocs/op")
		}
		f.line(Base, "P/a-2", 10+k, "ns/op")
	}
	for _, test := range []struct {
		line string
		want string
	}{
		{"# failed: head BenchmarkA/x: it broke\n", "[A/x-2]"},
		{"# failed: head BenchmarkA/x: it broke\n# failed: base BenchmarkA/x: it broke\n", "[]"},
		{"# failed: head BenchmarkP\n", "[P/a-2]"},
		{"# failed: head BenchmarkP-2\n", "[P/a-2]"},
		{"# failed: head the command: panic: x\n", "[A/x-2 P/a-2]"},
		{"# failed: head BenchmarkPP\n", "[]"},
	} {
		j := judge(t, f.String()+test.line, "", Rules{})
		if got := fmt.Sprint(j.Failed); got != test.want || (got != "[]") != (j.Outcome == Regression) {
			t.Errorf("%q: failed %s, %s; want %s", test.line, got, j.Outcome, test.want)
		}
	}
}

func TestIsTail(t *testing.T) {
	for unit, want := range map[string]bool{
		"p50-sec": false, "p95-sec": false, "p98.9-ns": false, "p99-sec": true, "p99.9-sec": true, "p999-sec": true, "p9999-ns": true,
		"p100-ns": true, "max-sec": true, "sec/op": false, "p-sec": false, "p995-sec": true, "p500-sec": false, "maximum-ns": false,
	} {
		if got := isTail(unit); got != want {
			t.Errorf("isTail(%q) = %v, want %v", unit, got, want)
		}
	}
}

func TestZeros(t *testing.T) {
	zeros := func(head float64) string {
		var f file
		for k := 1; k <= 12; k++ {
			f.round(k)
			for _, side := range []string{Base, Again, Head} {
				v := 0.0
				if side == Head {
					v = head
				}
				f.line(side, "A", 100+k, "ns/op", v, "B/op")
			}
		}
		return f.String()
	}
	if r := status(t, judge(t, zeros(0), "", Rules{}), "A", "B/op"); r.Status != Unchanged {
		t.Errorf("0 B/op on both sides: %s (%s), want unchanged", r.Status, r.Why)
	}
	if r := status(t, judge(t, zeros(48), "", Rules{}), "A", "B/op"); r.Status != Regressed {
		t.Errorf("from 0 to 48 B/op: %s (%s), want regressed", r.Status, r.Why)
	}
	if r := status(t, judge(t, zeros(48), zeros(0), Rules{}), "A", "B/op"); r.Status != Unconfirmed {
		t.Errorf("from 0 to 48 B/op, and not in the second run: %s (%s), want unconfirmed", r.Status, r.Why)
	}
	// In fewer than half of the rounds, and in each of those: no chance.
	var often file
	for k := 1; k <= 24; k++ {
		often.round(k)
		for _, side := range []string{Base, Again, Head} {
			v := 16
			if k <= 11 {
				if v = 0; side == Head {
					v = 4096
				}
			}
			often.line(side, "A", 100+k, "ns/op", v, "B/op")
		}
	}
	if r := status(t, judge(t, often.String(), "", Rules{}), "A", "B/op"); r.Status != Regressed {
		t.Errorf("from 0 to 4096 B/op in 11 of 24 rounds: %s (%+v), want regressed", r.Status, r.Effect)
	}
	if r := status(t, judge(t, "# noise: steal=50%\n"+zeros(48), "", Rules{}), "A", "B/op"); r.Status != Undecided {
		t.Errorf("from 0 to 48 B/op beside noise: %s, want undecided", r.Status)
	}
	// What is there now and then, on either side, is no change and no doubt.
	now := strings.Replace(strings.Replace(zeros(0), " 0 B/op", " 700 B/op", 2), "103 ns/op 0 B/op", "103 ns/op 9 B/op", 2)
	if j := judge(t, now, "", Rules{}); j.Outcome != Fine {
		t.Errorf("700 B/op now and then: %s (%s), want fine", j.Outcome, j.Sentence())
	}
}

func TestWaivers(t *testing.T) {
	list, err := ReadWaivers(strings.NewReader("# why\n\n/method:pread .name:Read | sec/op | 2027-03-31 | slower | on purpose\n.name:Other | * | 2026-01-01 | gone\n"), "waivers")
	if err != nil || len(list) != 2 || list[0].Reason != "slower | on purpose" || list[0].Where != "waivers:3" {
		t.Fatalf("%+v, %v", list, err)
	}
	text := run{rounds: 20, noise: 0.01, cells: map[string]float64{"Read/method=pread": 1.2, "Read/method=mmap": 1}}.text(1)
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	j := judge(t, text, "", Rules{Waivers: list, Today: day("2027-03-31 23:59:00")})
	if r := status(t, j, "Read/method=pread", "sec/op"); r.Status != Waived || !strings.Contains(r.Why, "on purpose") || j.Outcome != Fine {
		t.Errorf("on its last day: %s (%s), %s; want waived, fine", r.Status, r.Why, j.Outcome)
	}
	if !slices.ContainsFunc(j.Notes, func(n string) bool { return strings.Contains(n, "waivers:4") && strings.Contains(n, "nothing") }) {
		t.Errorf("notes %q, want one on the waiver that is for nothing", j.Notes)
	}
	j = judge(t, text, "", Rules{Waivers: list, Today: day("2027-04-01 00:00:00")})
	if j.Outcome != Regression || !slices.ContainsFunc(j.Notes, func(n string) bool { return strings.Contains(n, "ended on 2027-03-31") }) {
		t.Errorf("a day later: %s, notes %q; want a regression, and that it ended", j.Outcome, j.Notes)
	}
	// Of one package alone, and of a unit as benchmarks print it.
	two := strings.ReplaceAll(text, "commit:", "pkg: m/a\ncommit:") + strings.ReplaceAll(text, "commit:", "pkg: m/b\ncommit:")
	list, err = ReadWaivers(strings.NewReader("pkg:m/a .name:Read | ns/op | 2027-03-31 | one\n"), "w")
	if err != nil {
		t.Fatal(err)
	}
	j = judge(t, two, "", Rules{Waivers: list, Today: day("2027-01-01 00:00:00")})
	got := map[string]Status{}
	for _, r := range j.Rows {
		if strings.Contains(r.Cell, "pread") {
			got[r.Pkg] = r.Status
		}
	}
	if got["m/a"] != Waived || got["m/b"] != Regressed {
		t.Errorf("waived for m/a alone: %v", got)
	}
	for _, bad := range []string{"a | b | 2027-03-31", "a | b | 2027-03-31 | ", "a | b | tomorrow | c", " | b | 2027-03-31 | c", "words"} {
		if _, err := ReadWaivers(strings.NewReader(bad), "w"); err == nil || !strings.Contains(err.Error(), "w:1") {
			t.Errorf("%q: %v, want an error at w:1", bad, err)
		}
	}
	if _, err := Judge(sidesOfText(t, text), nil, Rules{Waivers: []Waiver{{Filter: "(", Unit: "*", Where: "w:1"}}}); err == nil || !strings.Contains(err.Error(), "w:1") {
		t.Errorf("a filter that is none: %v", err)
	}
}

func TestAccepted(t *testing.T) {
	text := func(base, head int) string {
		var f file
		f.WriteString("pkg: p\nUnit syscalls/op better=lower assume=exact\n")
		f.round(1)
		f.line(Base, "A/x=1-2", base, "syscalls/op")
		f.line(Head, "A/x=1-2", head, "syscalls/op")
		return f.String()
	}
	j := judge(t, text(7, 5), "", Rules{})
	var written bytes.Buffer
	changed, err := j.Accept(&written, read(t, "pkg: p\nBenchmarkB 1 3 syscalls/op\n"))
	if err != nil || changed != 1 {
		t.Fatalf("%d accepted, %v; want 1", changed, err)
	}
	want := "\npkg: p\n\nBenchmarkA/x=1\t1\t5 syscalls/op\nBenchmarkB\t1\t3 syscalls/op\n"
	if !strings.HasSuffix(written.String(), want) {
		t.Errorf("written %q, want it to end %q", &written, want)
	}
	accepted := read(t, written.String())
	for _, test := range []struct {
		base, head int
		want       Status
	}{{7, 5, Improved}, {5, 5, Unchanged}, {6, 6, Regressed}, {7, 6, Regressed}, {5, 4, Improved}} {
		j := judge(t, text(test.base, test.head), "", Rules{Accepted: accepted})
		if r := j.Rows[0]; r.Status != test.want {
			t.Errorf("accepted 5, base %d, head %d: %s (%s), want %s", test.base, test.head, r.Status, r.Why, test.want)
		}
	}
	if changed, err := judge(t, text(7, 5), "", Rules{}).Accept(&bytes.Buffer{}, accepted); changed != 0 || err != nil {
		t.Errorf("accepted once more: %d, %v", changed, err)
	}
}

func TestNotComparable(t *testing.T) {
	for _, text := range []string{
		"BenchmarkA 1 1 ns/op\n",
		"side: base\nBenchmarkA 1 1 ns/op\n",
		"side: head\nBenchmarkA 1 1 ns/op\n",
	} {
		if _, err := SidesOf(read(t, text), "*"); err == nil || !strings.Contains(err.Error(), "side") {
			t.Errorf("%q: %v, want an error that names the side", text, err)
		}
	}
	s := sidesOfText(t, "side: base\nBenchmarkA 1 1 odd\nside: head\nBenchmarkA 1 1 odd\n")
	if _, err := Judge(s, nil, Rules{}); err == nil || !strings.Contains(err.Error(), "-units") {
		t.Errorf("no unit to judge by: %v", err)
	}
}

// What people, forges and machines get.
func TestRender(t *testing.T) {
	cells := map[string]float64{}
	for _, method := range []string{"pread", "mmap", "os.File"} {
		for _, block := range []string{"4KiB", "64KiB"} {
			cells["Read/pattern=rand/cache=warm/size=16MiB/block="+block+"/method="+method+"-2"] = 1
		}
	}
	cells["Read/pattern=rand/cache=warm/size=16MiB/block=4KiB/method=pread-2"] = 1.12
	cells["Read/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=mmap-2"] = 0.6
	r := run{rounds: 18, noise: 0.02, cells: cells, head: "machine: vm\nUnit syscalls/op assume=exact better=lower\nUnit p99-ns better=lower\n",
		more: func(f *file, k int) {
			for _, side := range []string{Base, Again, Head} {
				n, tail := 256, 9000
				if side == Head {
					n, tail = 257, 18000
				}
				f.line(side, "Read/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=os.File-2", n, "syscalls/op", tail+k, "p99-ns")
				f.line(side, "Read/pattern=rand/cache=warm/size=16MiB/block=4KiB/method=mmap-2", 2, "syscalls/op")
			}
			if k == 1 {
				f.line(Head, "Read/pattern=seq/method=<script>|`@everyone-2", 1, "ns/op")
			}
			f.line(Reference, "Floor/what=syscall-2", 130, "ns/op")
		}}
	j := judge(t, r.text(4), r.text(5), Rules{})
	title := Title{Base: "aaaaaaaaaaaa", Head: "bbbbbbbbbbbb", Machine: "vm"}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"gate-80.txt":  func(b *bytes.Buffer) error { return j.Text(b, title, 80, false) },
		"gate-120.txt": func(b *bytes.Buffer) error { return j.Text(b, title, 120, true) },
		"gate.md":      func(b *bytes.Buffer) error { return j.Markdown(b, title, "changes.svg") },
		"gate.json":    func(b *bytes.Buffer) error { return j.JSON(b, title) },
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs (go test -update rewrites it):\n%s", name, &got)
		}
		switch {
		case name == "gate-80.txt":
			for line := range strings.Lines(got.String()) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 && strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "   ") {
					t.Errorf("%d columns: %q", n, line)
				}
			}
		case name == "gate.md" && strings.Contains(got.String(), "<script>"):
			t.Error("a name is HTML")
		case name == "gate.json" && !json.Valid(got.Bytes()):
			t.Error("no JSON")
		}
	}
}

// Whatever the file holds, it is judged or refused.
func FuzzJudge(f *testing.F) {
	f.Add("side: base\nBenchmarkA 1 1 ns/op\nside: head\nBenchmarkA 1 2 ns/op\n", "a | * | 2027-01-01 | b")
	f.Add(run{rounds: 3, noise: 0.1, cells: map[string]float64{"A/x=1": 1}}.text(1), "")
	f.Add("Unit x assume=exact\nside: base\nBenchmarkA 1 NaN x\nBenchmarkA 1 -1 ns/op\nside: head\nBenchmarkA 1 Inf x\nBenchmarkA 1 1e308 ns/op\nside: reference\nBenchmarkR 1 0 ns/op\n", "* | x | 2020-01-01 | r")
	f.Add("# noise: steal=9999999999999999999999% psi-cpu=.%\nside: base\nBenchmarkA 1 1 B/op 0 allocs/op\nside: head\nBenchmarkA 1 0 B/op 1 allocs/op\n", "")
	f.Fuzz(func(t *testing.T, text, waivers string) {
		results, err := summary.Read(summary.Input{Name: "f", Reader: strings.NewReader(text)})
		if err != nil {
			return
		}
		s, err := SidesOf(results, "*")
		if err != nil {
			return
		}
		list, _ := ReadWaivers(strings.NewReader(waivers), "w")
		j, err := Judge(s, s, Rules{Waivers: list, Accepted: results})
		if err != nil {
			return
		}
		var b bytes.Buffer
		for _, err := range []error{
			j.Text(&b, Title{}, 80, true), j.Text(&b, Title{}, 20, false), j.Markdown(&b, Title{}), j.JSON(&b, Title{}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := j.Accept(&b, results); err != nil {
			t.Error(err)
		}
		for _, r := range j.Rows {
			if r.Effect != nil && !r.Effect.Zeros && !(r.Effect.Lo <= r.Effect.Ratio*(1+1e-9) && r.Effect.Ratio <= r.Effect.Hi*(1+1e-9) && r.Effect.P >= 0 && r.Effect.P <= 1) {
				t.Errorf("%+v", r.Effect)
			}
		}
	})
}
