package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"iopath/internal/atomicfile"
	"iopath/internal/regress"
	"iopath/internal/summary"
	"iopath/internal/verdict"
	"iopath/plots"
)

// selfTestOptions are the flags of iopath regress -self-test.
type selfTestOptions struct {
	on     bool
	runs   int
	method string
}

func (o *selfTestOptions) register(fs *flag.FlagSet) {
	fs.BoolVar(&o.on, "self-test", false, "measure how often a run here cries wolf, and which slowdowns it finds")
	fs.IntVar(&o.runs, "runs", 20, "with -self-test, so many `runs`")
	fs.StringVar(&o.method, "slow", "pread", "with -self-test, slow this `method`")
}

// selfTestRounds is of how many rounds a run of the self-test is where the user names
// no number: what iopath regress reaches on two CPUs by default, or a little less.
const selfTestRounds = 24

// A variant is what head is in one comparison of the self-test.
type variant struct {
	side     string
	slowdown float64 // a share; 0: none
	worsen   string  // as the environment of the slowed binary has it, behind METHOD=
}

// variants: the same binary once more, then copies that are made worse.
var variants = []variant{
	{verdict.Head, 0, ""},
	{"slow-3", 0.03, "3%"},
	{"slow-5", 0.05, "5%"},
	{"slow-10", 0.10, "10%"},
	{"slow-20", 0.20, "20%"},
	{"syscall", 0, "1syscall"},
}

// A tally is what the self-test found of one variant.
type tally struct {
	What         string  `json:"what"`
	Slowdown     float64 `json:"slowdown"`
	Runs         int     `json:"runs"`
	Found        int     `json:"found"` // runs that call it a regression
	Inconclusive int     `json:"inconclusive"`
	// Rows are those of the slowed method's sec/op in steady cells: whose base differs
	// from itself by less than 2 %.
	Rows      int `json:"steady_rows"`
	RowsFound int `json:"steady_rows_found"`

	worsen string // see variant
}

// decided is how many runs said anything.
func (t tally) decided() int { return t.Runs - t.Inconclusive }

// A selfTest is its outcome.
type selfTest struct {
	Machine  string    `json:"machine"`
	Version  string    `json:"commit"`
	Cells    int       `json:"cells"`
	Rounds   int       `json:"rounds"`
	Seconds  []float64 `json:"run_seconds"` // of the first runs of base, base again and head, without the slowed copies' share
	Spreads  []float64 `json:"spreads"`     // of sec/op of each cell in each run, as ratios
	Tallies  []tally   `json:"tallies"`
	Disturbs []string  `json:"disturbances,omitempty"`
}

func (o *regressOptions) doSelfTest(ctx context.Context, stdout, stderr io.Writer) error {
	if o.base != "" || o.baseCmd != "" || o.headCmd != "" {
		return usage("iopath regress -self-test compares one version with itself (leave -base, -base-cmd and -head-cmd out; -head names the version)")
	}
	if o.selfTest.runs < 1 || o.rounds < 0 {
		return usage("iopath regress -self-test: -runs %d, -rounds %d: not below one", o.selfTest.runs, o.rounds)
	}
	if o.rounds == 0 {
		o.rounds = selfTestRounds
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	rules, err := o.rules()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "iopath-selftest-")
	if err != nil {
		return usage("make a directory for the builds: %w (choose another place with TMPDIR)", err)
	}
	defer os.RemoveAll(work)
	tree, err := regress.Checkout(ctx, work, o.head)
	if err != nil {
		return o.interrupted(ctx, err)
	}
	defer tree.Close()
	plan := o.plan(work, stderr)
	if err := o.selfTestSides(ctx, tree, work, plan, stderr); err != nil {
		return o.interrupted(ctx, err)
	}
	dir, out, err := o.place.create("selftest")
	if err != nil {
		return err
	}
	out.Close()
	t := newSelfTest(plan, tree)
	plan.Progress = nil // a line a run will do
	var ended error     // before all runs were made
	for k := 1; k <= o.selfTest.runs; k++ {
		began := time.Now()
		plan.Seed = o.seed + 2*uint64(k) // the second run of each takes the next one
		place := filepath.Join(work, fmt.Sprintf("run-%d", k))
		if err := o.selfTestRun(ctx, plan, place, rules, t); err != nil {
			if t.Tallies[0].Runs == 0 {
				o.place.discard(dir)
				return o.interrupted(ctx, err)
			}
			ended = err
			break
		}
		os.RemoveAll(place)
		plan.Settle = 0 // the runs before have kept it busy
		fmt.Fprintf(stderr, "run %d of %d took %v: %s\n", k, o.selfTest.runs, time.Since(began).Round(time.Second), t.line())
	}
	if err := t.write(dir); err != nil {
		return err
	}
	if o.json {
		err = t.json(stdout)
	} else {
		err = t.markdown(stdout)
	}
	fmt.Fprintf(stderr, "results and chart: %s\n", dir)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s are kept in %s", errInterrupted, plural(t.Tallies[0].Runs, "run"), dir)
	case ended != nil:
		return fmt.Errorf("run %d: %w; %s before it are kept in %s", t.Tallies[0].Runs+1, ended, plural(t.Tallies[0].Runs, "run"), dir)
	}
	if why := t.complaint(); why != "" {
		fmt.Fprintf(stderr, "iopath: %s\n", why)
		return errNo
	}
	return nil
}

// complaint says what of the self-test is not as it should be, as far as so many runs can
// tell; "" where all is.
func (t *selfTest) complaint() string {
	same := t.Tallies[0]
	// The chance of k or more in n runs at 1 % is below 5 %.
	most := distuv.Binomial{N: float64(same.decided()), P: 0.01}
	if same.Found > 0 && 1-most.CDF(float64(same.Found-1)) < 0.05 {
		return fmt.Sprintf("%d false alarms in %s: more than a rate of 1 %% explains", same.Found, plural(same.decided(), "run"))
	}
	for _, one := range t.Tallies[1:] {
		switch {
		case one.worsen == "1syscall" && one.Found < one.Runs:
			return fmt.Sprintf("one system call more was found in %d of %s", one.Found, plural(one.Runs, "run"))
		case one.Slowdown >= 0.1 && one.decided() > 0:
			// The chance of k or fewer in n at 95 % is below 5 %.
			if found := (distuv.Binomial{N: float64(one.decided()), P: 0.95}); found.CDF(float64(one.Found)) < 0.05 {
				return fmt.Sprintf("%s was found in %d of %s", one.What, one.Found, plural(one.decided(), "run"))
			}
		}
	}
	if 2*same.Inconclusive > same.Runs {
		return fmt.Sprintf("%d of %s are inconclusive: the machine is too busy", same.Inconclusive, plural(same.Runs, "run"))
	}
	return ""
}

// selfTestSides enters the sides into the plan: base, base again and head, which are
// one binary, and where the benchmarks are this suite's, its slowed copies, which have
// a part in the cells of one method alone.
func (o *regressOptions) selfTestSides(ctx context.Context, tree *regress.Tree, work string, plan *regress.Plan, stderr io.Writer) error {
	g := o.goBench(ctx, tree)
	fmt.Fprintf(stderr, "building %s\n", tree.Version)
	plain, err := g.Build(ctx, tree, filepath.Join(work, "plain.test"))
	if err != nil {
		return err
	}
	plan.Sides = sides(plain, plain)
	plan.AddFacts(plain)
	if !regress.Measures(ctx, tree, g.Pkg, "iopath/bench") {
		fmt.Fprintf(stderr, "skipped: slowed copies: the benchmarks of %s do not know the build tag iopath_slow\n", g.Pkg)
		return nil
	}
	if !slices.ContainsFunc(plain.Cells, o.isSlow) {
		return usage("-slow %s: no cell has this method", o.selfTest.method)
	}
	g.Tags = strings.Trim(g.Tags+",iopath_slow", ",")
	for _, v := range variants[1:] {
		slow := g
		slow.Env = []string{"IOPATH_SLOW=" + o.selfTest.method + "=" + v.worsen}
		p, err := slow.Build(ctx, tree, filepath.Join(work, "slow.test"))
		if err != nil {
			return err
		}
		side := regress.Side{Name: v.side, Program: p, Only: o.isSlow}
		if v.worsen == "1syscall" {
			side.Only = func(string) bool { return false } // it is counted alone
		} else {
			p.Count = nil
		}
		plan.Sides = append(plan.Sides, side)
	}
	return nil
}

func (o *regressOptions) isSlow(cell string) bool {
	return strings.HasSuffix(cell, "/method="+o.selfTest.method)
}

func newSelfTest(plan *regress.Plan, tree *regress.Tree) *selfTest {
	t := &selfTest{Version: tree.Version, Cells: len(plan.Sides[0].Cells), Rounds: plan.Rounds}
	for _, f := range plan.Facts {
		if f.Key == "machine" {
			t.Machine = string(f.Value)
		}
	}
	for _, v := range variants {
		if slices.ContainsFunc(plan.Sides, func(s regress.Side) bool { return s.Name == v.side }) {
			what := "the same binary"
			if v.worsen != "" {
				what = v.worsen + " slower"
			}
			if v.worsen == "1syscall" {
				what = "one system call more"
			}
			t.Tallies = append(t.Tallies, tally{What: what, Slowdown: v.slowdown, worsen: v.worsen})
		}
	}
	return t
}

// selfTestRun is one run: all variants share the measurements of base, base again and
// of the cells that are not slowed, and each is judged as iopath regress would.
func (o *regressOptions) selfTestRun(ctx context.Context, plan *regress.Plan, place string, rules verdict.Rules, t *selfTest) error {
	if err := os.Mkdir(place, 0o755); err != nil {
		return err
	}
	measure := func(p *regress.Plan, name string) (*summary.Results, error) {
		out, err := os.Create(filepath.Join(place, name))
		if err != nil {
			return nil, err
		}
		defer out.Close()
		if _, err := runInto(ctx, p, out, ""); err != nil {
			return nil, err
		}
		return summary.ReadFiles(out.Name())
	}
	judge := func(v variant, first, second *summary.Results) (*verdict.Judgement, error) {
		a, err := o.sidesFor(v, first, rules.Filter)
		if err != nil {
			return nil, err
		}
		var b *verdict.Sides
		if second != nil {
			if b, err = o.sidesFor(v, second, rules.Filter); err != nil {
				return nil, err
			}
		}
		return verdict.Judge(a, b, rules)
	}
	began := time.Now()
	first, err := measure(plan, summary.ResultFile)
	if err != nil {
		return err
	}
	took := time.Since(began)
	judged := make([]*verdict.Judgement, len(t.Tallies))
	suspects := make([][]string, len(t.Tallies))
	var all []string
	for i, v := range variants[:len(t.Tallies)] {
		if judged[i], err = judge(v, first, nil); err != nil {
			return err
		}
		suspects[i] = judged[i].Suspects()
		all = append(all, suspects[i]...)
	}
	if len(all) > 0 {
		again := plan.Suspects(all)
		again.Rounds = plan.Rounds
		again.Sides = slices.Clone(plan.Sides)
		for i, v := range variants[:len(t.Tallies)] {
			for k := range again.Sides {
				if side := &again.Sides[k]; side.Name == v.side {
					only := side.Only
					side.Only = func(cell string) bool {
						return (only == nil || only(cell)) &&
							slices.ContainsFunc(suspects[i], func(full string) bool { return regress.IsCell(full, cell) })
					}
				}
			}
		}
		second, err := measure(again, confirmFile)
		if err != nil {
			return err
		}
		for i, v := range variants[:len(t.Tallies)] {
			if len(suspects[i]) > 0 {
				if judged[i], err = judge(v, first, second); err != nil {
					return err
				}
			}
		}
	}
	t.add(judged, o.selfTest.method)
	// What base, base again and head alone would have taken.
	share := float64(3*t.Cells) / float64(plan.Results())
	t.Seconds = append(t.Seconds, took.Seconds()*min(1, share))
	return nil
}

// sidesFor takes the slowed method's cells of head from the variant's side.
func (o *regressOptions) sidesFor(v variant, results *summary.Results, filter string) (*verdict.Sides, error) {
	return verdict.SidesBy(results, filter, func(c *summary.Cell) string {
		side := c.Key(verdict.SideKey)
		slow := c.Key("/method") == o.selfTest.method
		switch {
		case side == v.side && (slow || v.side == verdict.Head):
			return verdict.Head
		case side == verdict.Head && (slow && v.side != verdict.Head):
			return ""
		case side == verdict.Base, side == verdict.Again, side == verdict.Head, side == verdict.Reference:
			return side
		}
		return ""
	})
}

// add counts the judgements of one run, one for each tally.
func (t *selfTest) add(judged []*verdict.Judgement, method string) {
	slow := func(r verdict.Row) bool { return strings.Contains(r.Cell, "/method="+method) }
	for i, j := range judged {
		one := &t.Tallies[i]
		one.Runs++
		found := false
		for _, r := range j.Rows {
			// A false alarm is one wherever it is; a slowdown is found where it is.
			if r.Status == verdict.Regressed && (i == 0 || slow(r)) {
				found = true
			}
			if r.Lane != verdict.TimeLane || r.Unit != "sec/op" || r.Noise == nil {
				continue
			}
			if i == 0 {
				t.Spreads = append(t.Spreads, r.Noise.Spread())
			}
			if slow(r) && r.Noise.Spread() < verdict.MinLead {
				one.Rows++
				if r.Status == verdict.Regressed {
					one.RowsFound++
				}
			}
		}
		if found {
			one.Found++
		} else if j.Outcome == verdict.Inconclusive {
			one.Inconclusive++
		}
	}
	t.Disturbs = append(t.Disturbs, judged[0].Doubts...)
}

// line is how far the self-test has come, in a line.
func (t *selfTest) line() string {
	var words []string
	for _, one := range t.Tallies {
		words = append(words, fmt.Sprintf("%s %d", one.What, one.Found))
	}
	return fmt.Sprintf("called worse of %d: %s", t.Tallies[0].Runs, strings.Join(words, ", "))
}

// wilson is the 95 % interval of a share of which k of n were seen (Wilson, Probable
// Inference, the Law of Succession, and Statistical Inference, 1927).
func wilson(k, n int) (lo, hi float64) {
	if n == 0 {
		return 0, 1
	}
	z := distuv.UnitNormal.Quantile(0.975)
	p, m := float64(k)/float64(n), float64(n)
	center := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, center-half), min(1, center+half)
}

func ofRuns(k, n int) string {
	lo, hi := wilson(k, n)
	return fmt.Sprintf("%d of %d [%.0f %%, %.0f %%]", k, n, 100*lo, 100*hi)
}

func (t *selfTest) markdown(w io.Writer) error {
	var b strings.Builder
	spreads, seconds := slices.Clone(t.Spreads), slices.Clone(t.Seconds)
	slices.Sort(spreads)
	slices.Sort(seconds)
	fmt.Fprintf(&b, "# What iopath regress finds on %s\n\n", t.Machine)
	fmt.Fprintf(&b, "Commit %s against itself, and against copies of which one method is slowed: %d cells, %d rounds, %s. Shares of the runs that are conclusive, with 95 %% intervals (Wilson).\n\n",
		t.Version, t.Cells, t.Rounds, plural(t.Tallies[0].Runs, "run"))
	b.WriteString("| head is | called a regression | inconclusive | found in steady cells |\n|---|---:|---:|---:|\n")
	for _, one := range t.Tallies {
		steady := ""
		if one.Rows > 0 && one.Slowdown > 0 {
			steady = ofRuns(one.RowsFound, one.Rows)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %s |\n", one.What, ofRuns(one.Found, one.decided()), one.Inconclusive, steady)
	}
	b.WriteString("\nSteady cells are rows of the slowed method whose base differs from itself by less than 2 %.\n")
	if len(spreads) > 0 {
		under := 0
		for _, s := range spreads {
			if s < verdict.MinLead {
				under++
			}
		}
		fmt.Fprintf(&b, "Base differs from itself (time, the farther bound of its interval) by %.1f %% in the median of %d rows, by less than 2 %% in %.0f %% of them.\n",
			100*(spreads[len(spreads)/2]-1), len(spreads), 100*float64(under)/float64(len(spreads)))
	}
	if len(seconds) > 0 {
		fmt.Fprintf(&b, "A first run of base, base again and head took about %.0f s (median).\n", seconds[len(seconds)/2])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *selfTest) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(t)
}

// write leaves the table, the figures and the chart.
func (t *selfTest) write(dir string) error {
	os.Remove(resultFile(dir)) // what is kept is no run of benchmarks
	charts, err := plots.Drawings{t.chart()}.Draw(nil, dir)
	if err != nil {
		return err
	}
	readme := func(w io.Writer) error {
		if err := t.markdown(w); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\n![%s](%s)\n", t.chart().Title, filepath.Base(charts[0]))
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, "README.md"), readme); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, "selftest.json"), t.json)
}

func (t *selfTest) chart() plots.Power {
	runs, steady := plots.PowerLine{Name: "a run finds it"}, plots.PowerLine{Name: "a row of a steady cell shows it"}
	for _, one := range t.Tallies {
		if one.worsen == "1syscall" || one.decided() == 0 {
			continue
		}
		point := func(k, n int) plots.PowerPoint {
			lo, hi := wilson(k, n)
			return plots.PowerPoint{Slowdown: one.Slowdown, Found: float64(k) / float64(n), Lo: lo, Hi: hi, N: n}
		}
		runs.Points = append(runs.Points, point(one.Found, one.decided()))
		if one.Rows > 0 {
			steady.Points = append(steady.Points, point(one.RowsFound, one.Rows))
		}
	}
	lines := []plots.PowerLine{runs}
	if len(steady.Points) > 0 {
		lines = append(lines, steady)
	}
	return plots.Power{
		Headline: plots.Headline{Name: "power", Title: "Which slowdown of one method does iopath regress find here?"},
		Lines:    lines,
		Notes:    fmt.Sprintf("%d cells, %d rounds, base and head in turn; found: a regression that a second run confirms.", t.Cells, t.Rounds),
		Caption:  fmt.Sprintf("%s, commit %s. At 0: false alarms of a binary against itself.", t.Machine, t.Version),
	}
}
