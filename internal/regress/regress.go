// Package regress measures two versions of a program against each other, so that what
// the machine does meanwhile happens to both:
//
//  1. Each version is a [Program]: benchmarks of a Go package at a commit, built in a
//     worktree of its own (Build), or any command that prints the Go benchmark format
//     (Command). A [Plan] has two of them as the sides base and head.
//  2. In each round every cell runs once on every side, each in a fresh process: base,
//     head, and base again, whose difference from itself is what noise alone brings
//     about. The order of the cells, and of the sides within a cell, is drawn from a
//     recorded seed. A further side, reference, measures the machine itself.
//  3. Results land in one file, whose configuration key "side" tells the sides apart:
//     benchstat -col side reads it.
//  4. internal/verdict judges the file. What it suspects is measured a second time,
//     by the same rules, into a file of its own.
//
// The package decides nothing itself, and knows no workload. The limit: two versions
// that cannot run on one machine at one time cannot be interleaved; for results of
// different times there is iopath gate.
package regress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"

	"iopath/internal/summary"
	"iopath/internal/trial"
	"iopath/internal/verdict"
)

// A Program prints results in the Go benchmark format.
type Program struct {
	// Version is what the results' commit line says; "" leaves it to what the program
	// prints.
	Version string
	// Cells are the full names of its results, without "Benchmark" and GOMAXPROCS.
	// nil: it prints all it has whenever it runs.
	Cells []string
	// Failed are its benchmarks that fail.
	Failed []string
	// Skipped is what it could not measure, and why.
	Skipped []string
	procs   int // the GOMAXPROCS that its names end in; 1: they do not
	// Config are the config lines of its results, where they are known beforehand.
	Config []benchfmt.Config
	// Command returns a process that measures the cell.
	Command func(cell string) *exec.Cmd
	// Count returns a process that counts what is the same each time, of all cells;
	// nil: what there is of that comes with the measurements.
	Count func() *exec.Cmd
}

// A Side is a program under the name that its results get.
type Side struct {
	Name string
	*Program
	// Only, where it is not nil, says which cells the side is measured in.
	Only func(cell string) bool
}

// countedRounds is in how many rounds of a run it is counted what is the same each
// time: twice, so that what varies after all is seen to.
const countedRounds = 2

// references is how often a round measures the machine itself. Where a process's pages
// happen to lie makes as much of a difference to one measurement of memory as the machine
// may move by in a run.
const references = 3

// A Plan is a run to be made.
type Plan struct {
	Sides  []Side
	Cells  []string // nil: those of all sides
	Rounds int      // at most; 0: as many as Time allows
	Time   time.Duration
	Limit  time.Duration // of a process, which is killed then, and has failed; 0: none
	Seed   uint64
	// Reference returns a process that measures the machine itself; nil: none.
	Reference func() (*exec.Cmd, error)
	Settle    time.Duration
	Watch     trial.Watch
	CPUs      []int
	// Facts are config lines of all results. Programs whose own are known beforehand
	// have theirs entered here (see AddFacts), and their results have no others: what
	// stands in a config line is the same throughout a run. Of commands, what they print
	// themselves goes before.
	Facts    []benchfmt.Config
	Progress *os.File
}

// AddFacts enters the config lines of a program, but for those that are there already.
func (p *Plan) AddFacts(program *Program) {
	for _, c := range program.Config {
		if !slices.ContainsFunc(p.Facts, func(have benchfmt.Config) bool { return have.Key == c.Key }) {
			p.Facts = append(p.Facts, c)
		}
	}
}

// Whole stands for all that a program prints, where it has no cells to ask for.
const Whole = ""

// A step is one process of a round.
type step struct {
	side, version string
	cell          string
	count         bool // only what is the same each time
	known         bool // its config lines are the plan's facts
	cmd           *exec.Cmd
}

// Run runs the plan and appends the results to the file. Interrupted, what it has
// written so far is a valid, shorter run.
func (p *Plan) Run(ctx context.Context, out *os.File) (trial.Result, error) {
	cells := p.cells()
	rec := newRecorder(p.Facts, cells)
	var steps []step
	run := trial.Run{
		Rounds: p.Rounds, Time: p.Time, Seed: p.Seed, Out: out, Progress: p.Progress,
		Watch: p.Watch, Settle: p.Settle, CPUs: p.CPUs, Limit: p.Limit,
		Results: p.Results(),
	}
	run.Round = func(k int, rng *rand.Rand) (cmds []*exec.Cmd, err error) {
		if steps, err = p.steps(k, cells, rng); err != nil {
			return nil, err
		}
		for _, s := range steps {
			cmds = append(cmds, s.cmd)
		}
		return cmds, nil
	}
	run.Keep = func(_ int, ran []trial.Ran) ([]byte, error) {
		rec.begin()
		for i, s := range steps {
			rec.take(s, ran[i])
		}
		return rec.lines(p.sideNames())
	}
	return run.Do(ctx)
}

func (p *Plan) cells() (cells []string) {
	if p.Cells != nil {
		return p.Cells
	}
	for _, s := range p.Sides {
		names := s.Cells
		if names == nil {
			names = []string{Whole}
		}
		for _, c := range names {
			if !slices.Contains(cells, c) {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// has reports whether the side measures the cell in a round. What one side alone has
// is measured once, to be named.
func (p *Plan) has(s Side, cell string, round int) bool {
	if s.Only != nil && !s.Only(cell) || s.Cells != nil && !slices.Contains(s.Cells, cell) {
		return false
	}
	return round == 1 || !slices.ContainsFunc(p.Sides, func(other Side) bool {
		return other.Cells != nil && !slices.Contains(other.Cells, cell)
	})
}

// Results is how many processes a round has, those of the reference left out, when
// nothing is counted any more.
func (p *Plan) Results() (n int) {
	for _, s := range p.Sides {
		for _, c := range p.cells() {
			if p.has(s, c, countedRounds+1) {
				n++
			}
		}
	}
	return max(n, 1)
}

func (p *Plan) sideNames() (names []string) {
	for _, s := range p.Sides {
		names = append(names, s.Name)
	}
	return append(names, verdict.Reference)
}

// steps are the processes of a round in their order: the cells shuffled, and within
// each the sides, so that the pair lies as close in time as it can.
func (p *Plan) steps(round int, cells []string, rng *rand.Rand) (steps []step, err error) {
	order := slices.Clone(cells)
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, cell := range order {
		sides := slices.Clone(p.Sides)
		rng.Shuffle(len(sides), func(i, j int) { sides[i], sides[j] = sides[j], sides[i] })
		for _, s := range sides {
			if p.has(s, cell, round) {
				steps = append(steps, step{side: s.Name, version: s.Version, cell: cell, known: s.Cells != nil, cmd: s.Command(cell)})
			}
		}
	}
	for _, s := range p.Sides {
		if round <= countedRounds && s.Count != nil {
			steps = append(steps, step{side: s.Name, version: s.Version, cell: Whole, count: true, known: true, cmd: s.Count()})
		}
	}
	if p.Reference == nil {
		return steps, nil
	}
	for range references {
		cmd, err := p.Reference()
		if err != nil {
			return nil, err
		}
		steps = slices.Insert(steps, rng.IntN(len(steps)+1), step{side: verdict.Reference, known: true, cmd: cmd})
	}
	return steps, nil
}

// Header returns what stands above the results: comment lines, and what each program
// had to skip or failed at.
func (p *Plan) Header(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	for _, s := range p.Sides {
		for _, f := range s.Failed {
			fmt.Fprintf(&b, "# failed: %s %s\n", s.Name, f)
		}
	}
	return b.String()
}

// Suspects returns the plan of the run that is to confirm what a judgement suspects:
// its cells alone, in an order of its own.
func (p *Plan) Suspects(suspects []string) *Plan {
	again := *p
	again.Seed = p.Seed + 1 // another stream, as far from the first one as any
	again.Settle = 0
	again.Cells = nil
	for _, cell := range p.cells() {
		if cell == Whole || slices.ContainsFunc(suspects, func(full string) bool { return IsCell(full, cell) }) {
			again.Cells = append(again.Cells, cell)
		}
	}
	return &again
}

// IsCell reports whether a full name is that of a cell, which lacks GOMAXPROCS.
func IsCell(full, cell string) bool {
	_, name, _ := strings.Cut(full, " ") // behind the package
	rest, is := strings.CutPrefix(name, cell)
	return is && (rest == "" || procsSuffix.MatchString(rest))
}

var procsSuffix = regexp.MustCompile(`^-[0-9]+$`)

// stem is a full name without GOMAXPROCS, which ends it where it is not 1.
func stem(name benchfmt.Name, procs int) string {
	if procs == 1 {
		return string(name)
	}
	return strings.TrimSuffix(string(name), fmt.Sprintf("-%d", procs))
}

// discover runs a program once, and enters the names of its results, what failed, what
// was skipped, and its config lines.
func (p *Program) discover(ctx context.Context, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var printed strings.Builder
	ended := trial.Process(ctx, cmd, &printed)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	reader := benchfmt.NewReader(strings.NewReader(printed.String()), "")
	for reader.Scan() {
		if res, ok := reader.Result().(*benchfmt.Result); ok {
			if name := stem(res.Name, p.procs); !slices.Contains(p.Cells, name) {
				p.Cells = append(p.Cells, name)
			}
			p.Config = res.Clone().Config
		}
	}
	for line := range strings.Lines(printed.String()) {
		line = strings.TrimSpace(line)
		if _, name, ok := strings.Cut(line, "--- FAIL: "); ok {
			p.Failed = append(p.Failed, strings.Fields(name + " ?")[0])
		}
		if text, ok := strings.CutPrefix(line, "# skipped: "); ok {
			p.Skipped = append(p.Skipped, text)
		}
	}
	switch {
	case ended == nil:
	case len(p.Cells) == 0 && len(p.Failed) == 0:
		return ended
	case len(p.Failed) == 0: // it died amid its benchmarks
		p.Failed = append(p.Failed, verdict.WholeCommand+": "+oneLine(ended.Error()))
	}
	return nil
}

// A recorder turns what programs print into the lines of a file with sides.
type recorder struct {
	facts   []benchfmt.Config
	cells   []string // others are left out
	units   map[string]bool
	exact   map[string]bool  // units, as first written
	state   *benchfmt.Writer // which knows the config lines so far
	out     strings.Builder
	results map[string][]*benchfmt.Result // of the round, by side
	notes   []string
}

func newRecorder(facts []benchfmt.Config, cells []string) *recorder {
	r := &recorder{facts: facts, cells: cells, units: map[string]bool{}, exact: map[string]bool{}}
	r.state = benchfmt.NewWriter(&r.out)
	return r
}

func (r *recorder) begin() {
	r.out.Reset()
	r.results = map[string][]*benchfmt.Result{}
	r.notes = nil
}

// take keeps the results that a process printed.
func (r *recorder) take(s step, ran trial.Ran) {
	kept := 0
	reader := benchfmt.NewReader(strings.NewReader(string(ran.Printed)), s.side)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.UnitMetadata:
			if line := rec.OrigUnit + " " + rec.Key; !r.units[line] {
				r.units[line] = true
				r.state.Write(rec) // into memory
			}
			if rec.Key == "assume" && rec.Value == "exact" {
				r.exact[rec.Unit], r.exact[rec.OrigUnit] = true, true
			}
		case *benchfmt.Result:
			if s.side != verdict.Reference && !r.has(string(rec.Name)) {
				continue
			}
			kept++
			res := rec.Clone()
			if s.count {
				// Its times are of one job, beside counters.
				res.Values = slices.DeleteFunc(res.Values, func(v benchfmt.Value) bool { return !r.exact[v.Unit] })
				if len(res.Values) == 0 {
					continue
				}
			}
			if s.known {
				res = &benchfmt.Result{Name: res.Name, Iters: res.Iters, Values: res.Values}
			}
			for _, fact := range r.facts {
				if i, ok := res.ConfigIndex(fact.Key); !ok || len(res.Config[i].Value) == 0 {
					res.SetConfig(fact.Key, string(fact.Value))
				}
			}
			res.SetConfig(verdict.SideKey, s.side)
			if s.version != "" {
				res.SetConfig("commit", s.version)
			}
			for i := range res.Config {
				res.Config[i].File = true
			}
			r.results[s.side] = append(r.results[s.side], res)
		}
	}
	if ran.Err == nil && kept == 0 {
		ran.Err = errors.New("it printed no result")
	}
	if ran.Err != nil {
		name := "Benchmark" + s.cell
		if s.cell == Whole {
			name = verdict.WholeCommand
		}
		r.notes = append(r.notes, fmt.Sprintf("# failed: %s %s: %s\n", s.side, name, oneLine(ran.Err.Error())))
	}
}

// has reports whether a result's full name is that of a cell of the run.
func (r *recorder) has(name string) bool {
	return slices.ContainsFunc(r.cells, func(cell string) bool { return cell == Whole || IsCell(" "+name, cell) })
}

// lines returns those of the round, side by side.
func (r *recorder) lines(sides []string) ([]byte, error) {
	for _, side := range sides {
		for _, res := range r.results[side] {
			if err := r.state.Write(res); err != nil {
				return nil, err
			}
		}
	}
	for _, note := range r.notes {
		r.out.WriteString(note)
	}
	return []byte(r.out.String()), nil
}

// oneLine keeps the end of what a program complained of, where Go says what failed.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(c rune) bool { return c == '\n' || c == '\r' })
	if len(lines) > 3 {
		lines = lines[len(lines)-3:]
	}
	return strings.Join(lines, "; ")
}

// Disturbed writes the line by which a judgement knows what others did meanwhile.
func Disturbed(w io.Writer, res trial.Result) error {
	if res.Noise == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "# noise: %v over %d rounds\n", res.Noise, res.Rounds)
	return err
}

// Read reads a file with sides, as SidesOf of internal/verdict has them.
func Read(path, filter string) (*summary.Results, *verdict.Sides, error) {
	results, err := summary.ReadFiles(path)
	if err != nil {
		return nil, nil, err
	}
	sides, err := verdict.SidesOf(results, filter)
	return results, sides, err
}
