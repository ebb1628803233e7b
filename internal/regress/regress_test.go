package regress

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"iopath/internal/trial"
	"iopath/internal/verdict"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct{ cell, want string }{
		{"Sort", `^BenchmarkSort$`},
		{"Read/block=4KiB/method=os.File", `^BenchmarkRead$/^block=4KiB$/^method=os\.File$`},
		{"A/b/c_d#01", `^BenchmarkA$/^b$/^c_d#01$`},
		{"A/(x|y)+", `^BenchmarkA$/^\(x\|y\)\+$`},
	} {
		if got := Pattern(test.cell); got != test.want {
			t.Errorf("Pattern(%q) = %s, want %s", test.cell, got, test.want)
		}
	}
}

func TestIsCell(t *testing.T) {
	for _, test := range []struct {
		full, cell string
		want       bool
	}{
		{"pkg A/x=1-2", "A/x=1", true},
		{" A/x=1", "A/x=1", true},
		{"pkg A/x=1-2", "A/x=12", false},
		{"pkg A/x=-1", "A/x=-1", true},
		{"pkg A-2", "A", true},
		{"pkg A-2", "B", false},
	} {
		if got := IsCell(test.full, test.cell); got != test.want {
			t.Errorf("IsCell(%q, %q) = %v, want %v", test.full, test.cell, got, test.want)
		}
	}
}

// program has these cells; its commands name what they are for.
func program(counts bool, cells ...string) *Program {
	p := &Program{Version: "v", Cells: cells, Command: func(cell string) *exec.Cmd { return exec.Command("measure", cell) }}
	if counts {
		p.Count = func() *exec.Cmd { return exec.Command("count") }
	}
	return p
}

func TestSteps(t *testing.T) {
	base, head := program(true, "A", "B", "C", "gone"), program(true, "A", "B", "C", "new")
	p := &Plan{
		Sides:     []Side{{Name: "base", Program: base}, {Name: "again", Program: base}, {Name: "head", Program: head}, {Name: "slow", Program: head, Only: func(cell string) bool { return cell == "B" }}},
		Reference: func() (*exec.Cmd, error) { return exec.Command("reference"), nil },
	}
	orders := map[string]bool{}
	for seed := range uint64(40) {
		for round := 1; round <= 3; round++ {
			steps, err := p.steps(round, p.cells(), rand.New(rand.NewPCG(seed, uint64(round))))
			if err != nil {
				t.Fatal(err)
			}
			again, _ := p.steps(round, p.cells(), rand.New(rand.NewPCG(seed, uint64(round))))
			var order, counted []string
			at := map[string][]int{}
			measured := 0
			for i, s := range steps {
				if s.side != again[i].side || s.cell != again[i].cell {
					t.Fatalf("seed %d draws another order the second time", seed)
				}
				switch {
				case s.side == verdict.Reference:
					measured++
				case s.count:
					counted = append(counted, s.side)
				default:
					order = append(order, s.side+" "+s.cell)
					at[s.cell] = append(at[s.cell], len(order))
				}
			}
			orders[strings.Join(order, ",")] = true
			// A pair lies together: nothing is between the sides of a cell.
			for cell, places := range at {
				if places[len(places)-1]-places[0] != len(places)-1 {
					t.Errorf("round %d: %s is at %v: not together", round, cell, places)
				}
			}
			want := []string{"again A", "again B", "again C", "base A", "base B", "base C", "head A", "head B", "head C", "slow B"}
			if round == 1 { // what one side alone has is measured once
				want = append(want, "again gone", "base gone", "head new")
			}
			slices.Sort(want)
			slices.Sort(order)
			if !slices.Equal(order, want) {
				t.Errorf("round %d measures %q, want %q", round, order, want)
			}
			if wantCounts := 4 * min(1, max(0, countedRounds+1-round)); len(counted) != wantCounts || measured != references {
				t.Errorf("round %d counts %q and has %d references, want %d and %d", round, counted, measured, wantCounts, references)
			}
		}
	}
	if len(orders) < 100 {
		t.Errorf("%d orders of 120 rounds: they are not drawn", len(orders))
	}
	if got := p.Results(); got != 10 {
		t.Errorf("a round has %d results, want 10", got)
	}
}

func TestSuspects(t *testing.T) {
	base := program(false, "A/x=1", "A/x=11", "B")
	p := &Plan{Sides: []Side{{Name: "base", Program: base}}, Seed: 7, Settle: 3}
	again := p.Suspects([]string{"pkg A/x=1-2", "pkg C-2"})
	if !slices.Equal(again.Cells, []string{"A/x=1"}) || again.Seed == p.Seed || again.Settle != 0 || p.Cells != nil {
		t.Errorf("the second run has %q, seed %d; the first %q", again.Cells, again.Seed, p.Cells)
	}
	// A command has no cells to ask for.
	p = &Plan{Sides: []Side{{Name: "base", Program: Command("true", "base")}}}
	if again := p.Suspects([]string{"pkg A"}); !slices.Equal(again.Cells, []string{Whole}) {
		t.Errorf("a command's second run has %q, want all of it", again.Cells)
	}
}

func TestRecorder(t *testing.T) {
	facts := []benchfmt.Config{{Key: "machine", Value: []byte("m"), File: true}, {Key: "kernel", Value: []byte("k"), File: true}}
	r := newRecorder(facts, []string{"A", "B"})
	r.begin()
	r.take(step{side: "head", version: "h", cell: "A", known: true}, trial.Ran{Printed: []byte("kernel: other\nUnit syscalls/op assume=exact\nBenchmarkA-2 5 10 ns/op 7 syscalls/op\nBenchmarkX-2 1 1 ns/op\nPASS\n")})
	r.take(step{side: "base", version: "b", cell: "A"}, trial.Ran{Printed: []byte("kernel: other\nUnit syscalls/op assume=exact\nBenchmarkA-2 6 11 ns/op\n")})
	r.take(step{side: "base", version: "b", cell: "B"}, trial.Ran{Printed: []byte("half a li"), Err: errors.New("exit status 2\npanic: it broke\ngoroutine 1\nmain.go:1")})
	r.take(step{side: "head", version: "h", count: true, known: true}, trial.Ran{Printed: []byte("BenchmarkA-2 1 999 ns/op 8 syscalls/op\nBenchmarkB-2 1 999 ns/op\n")})
	r.take(step{side: verdict.Reference, known: true}, trial.Ran{Printed: []byte("BenchmarkFloor/what=syscall-2 9 130 ns/op\n")})
	lines, err := r.lines([]string{"base", "head", verdict.Reference})
	if err != nil {
		t.Fatal(err)
	}
	want := `Unit syscalls/op assume=exact
kernel: other
machine: m
side: base
commit: b

BenchmarkA-2 6 11 ns/op

kernel: k
side: head
commit: h

BenchmarkA-2 5 10 ns/op 7 syscalls/op
BenchmarkA-2 1 8 syscalls/op

side: reference
commit:

BenchmarkFloor/what=syscall-2 9 130 ns/op
# failed: base BenchmarkB: panic: it broke; goroutine 1; main.go:1
`
	if got := string(lines); got != want {
		t.Errorf("the round is kept as\n%s\nwant\n%s", got, want)
	}
	// The next round repeats no more than it has to.
	r.begin()
	r.take(step{side: verdict.Reference, known: true}, trial.Ran{Printed: []byte("Unit syscalls/op assume=exact\nBenchmarkFloor/what=syscall-2 9 131 ns/op\n")})
	if lines, _ := r.lines([]string{verdict.Reference}); string(lines) != "BenchmarkFloor/what=syscall-2 9 131 ns/op\n" {
		t.Errorf("the next round is kept as %q", lines)
	}
}

func TestHeader(t *testing.T) {
	p := &Plan{Sides: []Side{{Name: "base", Program: &Program{}}, {Name: "head", Program: &Program{Failed: []string{"BenchmarkA-2"}}}}}
	if got, want := p.Header("date: today"), "# date: today\n# failed: head BenchmarkA-2\n"; got != want {
		t.Errorf("Header = %q, want %q", got, want)
	}
}

func TestAddFacts(t *testing.T) {
	p := &Plan{Facts: []benchfmt.Config{{Key: "kernel", Value: []byte("k")}}}
	p.AddFacts(&Program{Config: []benchfmt.Config{{Key: "kernel", Value: []byte("x")}, {Key: "pkg", Value: []byte("p")}}})
	if got := fmt.Sprintf("%s %s %d", p.Facts[0].Value, p.Facts[1].Value, len(p.Facts)); got != "k p 2" {
		t.Errorf("facts are %s, want k p 2", got)
	}
}
