package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/perf/benchfmt"

	"iopath/bench"
	"iopath/internal/atomicfile"
	"iopath/internal/host"
	"iopath/internal/regress"
	"iopath/internal/summary"
	"iopath/internal/trial"
	"iopath/internal/verdict"
)

// regressOptions are the flags of iopath regress.
type regressOptions struct {
	judgeOptions
	place            runPlace
	base, head       string
	baseCmd, headCmd string
	pkg, bench       string
	benchTime        string
	tags             string
	rounds           int
	time, settle     time.Duration
	seed             uint64
	selfTest         selfTestOptions
	args             []string // for the benchmarks' binaries
}

func (o *regressOptions) register(fs *flag.FlagSet) {
	fs.StringVar(&o.base, "base", "", "measure against this `commit`: a branch, a tag, a hash")
	fs.StringVar(&o.head, "head", "", "measure this `commit` (default: the work tree as it is)")
	fs.StringVar(&o.baseCmd, "base-cmd", "", "in place of -base, a `command` for the shell that prints results in the Go benchmark format")
	fs.StringVar(&o.headCmd, "head-cmd", "", "in place of -head, a `command` for the shell")
	fs.StringVar(&o.pkg, "pkg", "", "`package` with the benchmarks (default: ./bench where there is one, else .)")
	fs.StringVar(&o.bench, "bench", "", "`regexp` of the benchmarks, as of go test (default: all; of this suite, 20 cells)")
	fs.StringVar(&o.benchTime, "benchtime", "20ms", "`time` of a cell in a round on each side, such as 20ms or 3x")
	fs.StringVar(&o.tags, "tags", "", "build `tags`")
	fs.IntVar(&o.rounds, "rounds", 0, "at most so many `rounds` (default: as many as end in time)")
	fs.DurationVar(&o.time, "time", 170*time.Second, "be done within about this `time` from the first round on, the second run of suspects included; a process that takes as long, and 2m at least, is killed and has failed")
	fs.DurationVar(&o.settle, "settle", 2*time.Second, "wait at most this `time` for the machine to come to rest before the first round")
	fs.Uint64Var(&o.seed, "seed", 0, "`seed` of the order of cells and sides (default: drawn, and recorded)")
	o.place.register(fs)
	o.judgeOptions.register(fs)
	o.selfTest.register(fs)
}

func regressCommand(stdout, stderr io.Writer) *cli.Command {
	var o regressOptions
	return &cli.Command{
		Name:      "regress",
		Usage:     "measure two commits, or two commands, in turn, and decide whether the second is worse",
		ArgsUsage: "[-- ARGUMENTS of the benchmarks]",
		Description: "Builds the benchmarks of both commits, and runs each cell on both sides in\n" +
			"turn, in random order, each time in a fresh process; and base once more, to\n" +
			"learn what noise alone brings about. What looks worse is measured a second\n" +
			"time. Counts are compared exactly, times by pairs: see iopath gate -h.\n" +
			"Works in any Go module; behind --, arguments for its test binary.\n\n" +
			"   iopath regress -base main\n" +
			"   iopath regress -base v1.2 -pkg ./codec -bench 'Decode|Encode'\n" +
			"   iopath regress -base-cmd 'GOROOT/bin/go test -bench .' -head-cmd '…'\n\n" +
			"With -self-test, measures how often it cries wolf here, and what it finds.\n\n" +
			"Results, verdict and chart land in results/MACHINE/RUN. Exit status: 0 fine,\n" +
			"1 regression, 2 bad input, 3 inconclusive.",
		Flags: flags(o.register),
		Action: func(ctx context.Context, c *cli.Command) error {
			o.args = c.Args().Slice()
			if o.selfTest.on {
				return o.doSelfTest(ctx, stdout, stderr)
			}
			return o.do(ctx, stdout, stderr)
		},
	}
}

// check finds what is wrong before anything is made.
func (o *regressOptions) check() error {
	commands := o.baseCmd != "" || o.headCmd != ""
	switch {
	case commands && (o.baseCmd == "" || o.headCmd == ""):
		return usage("iopath regress: -base-cmd and -head-cmd go together (give both)")
	case commands && (o.base != "" || o.head != ""):
		return usage("iopath regress: commits and commands exclude each other (give -base, or -base-cmd and -head-cmd)")
	case commands && len(o.args) > 0:
		return usage("iopath regress: arguments behind -- are for the binaries of -base (write them into the commands)")
	case !commands && o.base == "":
		return usage("iopath regress: against what? (give -base COMMIT, or -base-cmd and -head-cmd)")
	case o.rounds < 0 || o.time < 0 || o.settle < 0:
		return usage("iopath regress: -rounds %d, -time %v, -settle %v: not below zero", o.rounds, o.time, o.settle)
	case o.rounds == 0 && o.time == 0:
		return usage("iopath regress: how long? (give -time or -rounds)")
	}
	return bench.SetBenchTime(o.benchTime)
}

func (o *regressOptions) do(ctx context.Context, stdout, stderr io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	rules, err := o.rules()
	if err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	work, err := os.MkdirTemp("", "iopath-regress-")
	if err != nil {
		return usage("make a directory for the builds: %w (choose another place with TMPDIR)", err)
	}
	defer os.RemoveAll(work)
	plan := o.plan(work, stderr)
	skipped, closing, err := o.programs(ctx, work, plan, stderr)
	defer closing()
	if err != nil {
		return o.interrupted(ctx, err)
	}
	dir, out, err := o.place.create("regress")
	if err != nil {
		return err
	}
	defer out.Close()
	head := []string{
		fmt.Sprintf("iopath regress: seed=%d benchtime=%s", o.seed, o.benchTime),
		"command: iopath " + commandLine(os.Args[min(1, len(os.Args)):]),
		"date: " + time.Now().UTC().Format(time.RFC3339),
	}
	for _, s := range skipped {
		head = append(head, "skipped: "+s)
	}
	j, title, err := o.measure(ctx, plan, out, plan.Header(head...), rules, stderr)
	if err != nil {
		if st, statErr := out.Stat(); statErr == nil && (st.Size() == 0 || !hasResults(out.Name())) {
			o.place.discard(dir)
			return o.interrupted(ctx, err)
		}
		return fmt.Errorf("%w; what was measured is kept in %s (iopath gate)", o.interrupted(ctx, err), dir)
	}
	if err := writeJudgement(j, title, dir); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "results, verdict and chart: %s\n", dir)
	return o.tell(j, title, rules, stdout, stderr)
}

// interrupted is the error of a command that Ctrl-C cut short, where that is the cause.
func (o *regressOptions) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, errInterrupted) {
		return fmt.Errorf("%w: nothing is decided", errInterrupted)
	}
	return err
}

func hasResults(file string) bool {
	_, err := summary.ReadFiles(file)
	return err == nil
}

// watchMachine watches what others do to the machine.
var watchMachine trial.Watch = watchNoise

// measureReference returns a process that measures the machine itself.
var measureReference = referenceProcess

// plan is what both kinds of programs have in common.
func (o *regressOptions) plan(work string, stderr io.Writer) *regress.Plan {
	progress, _ := stderr.(*os.File)
	p := &regress.Plan{
		Rounds: o.rounds, Seed: o.seed, Settle: o.settle, Watch: watchMachine, CPUs: measuringCPUs(), Progress: progress,
		Reference: func() (*exec.Cmd, error) { return measureReference(work) },
	}
	for _, f := range append(host.TestHeader(""), host.Facts(".", host.Options{Machine: o.place.machine})...) {
		p.Facts = append(p.Facts, benchfmt.Config{Key: f.Key, Value: []byte(f.Value), File: true})
	}
	return p
}

// programs builds both sides, or takes the commands, and enters them into the plan.
// closing removes what was made, on every way out.
func (o *regressOptions) programs(ctx context.Context, work string, plan *regress.Plan, stderr io.Writer) (skipped []string, closing func(), err error) {
	closing = func() {}
	if o.baseCmd != "" {
		base := regress.Command(o.baseCmd, verdict.Base)
		plan.Sides = sides(base, regress.Command(o.headCmd, verdict.Head))
		plan.Facts = slices.DeleteFunc(plan.Facts, func(c benchfmt.Config) bool { return c.Key == "commit" })
		return nil, closing, nil
	}
	var trees []*regress.Tree
	closing = func() {
		for _, t := range trees {
			if err := t.Close(); err != nil {
				fmt.Fprintf(stderr, "iopath: remove the worktree %s: %v\n", t.Dir, err)
			}
		}
	}
	programs := map[string]*regress.Program{}
	for _, side := range []struct{ name, ref string }{{verdict.Base, o.base}, {verdict.Head, o.head}} {
		tree, err := regress.Checkout(ctx, work, side.ref)
		if err != nil {
			return nil, closing, err
		}
		trees = append(trees, tree)
		fmt.Fprintf(stderr, "building %s: %s\n", side.name, tree.Version)
		p, err := o.goBench(ctx, tree).Build(ctx, tree, filepath.Join(work, side.name+".test"))
		if err != nil {
			return nil, closing, err
		}
		programs[side.name] = p
		for _, s := range p.Skipped {
			if !slices.Contains(skipped, s) {
				skipped = append(skipped, s)
				fmt.Fprintf(stderr, "skipped: %s\n", s)
			}
		}
	}
	plan.Sides = sides(programs[verdict.Base], programs[verdict.Head])
	plan.AddFacts(programs[verdict.Head])
	plan.AddFacts(programs[verdict.Base])
	return skipped, closing, nil
}

// sides are the three of a comparison.
func sides(base, head *regress.Program) []regress.Side {
	return []regress.Side{{Name: verdict.Base, Program: base}, {Name: verdict.Again, Program: base}, {Name: verdict.Head, Program: head}}
}

// The cells of this suite that are compared where the user names none: 20 that a run
// of three minutes can judge.
var (
	suiteBench = `^BenchmarkRead$|^BenchmarkSend$/.*/.*/.*/block=64KiB`
	suiteArgs  = []string{
		"-workloads", "read,send", "-cache", "warm", "-patterns", "seq,rand", "-blocks", "4KiB,64KiB", "-transports", "unix", "-size", "16MiB",
		"-methods", "read,pread,mmap,os.File,read+write,mmap+write,sendfile,splice",
	}
)

// goBench says how the benchmarks of the package are measured.
func (o *regressOptions) goBench(ctx context.Context, t *regress.Tree) regress.GoBench {
	b := regress.GoBench{Pkg: o.pkg, Bench: o.bench, BenchTime: o.benchTime, Tags: o.tags, Args: o.args}
	if o.time > 0 {
		b.Limit = max(o.time, leastLimit)
	}
	if b.Pkg == "" {
		b.Pkg = "."
		if st, err := os.Stat(filepath.Join(t.Dir, "bench")); err == nil && st.IsDir() {
			b.Pkg = "./bench"
		}
	}
	given := func(name string) bool {
		return slices.ContainsFunc(o.args, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") })
	}
	if regress.Measures(ctx, t, b.Pkg, "iopath/bench") {
		if len(o.args) == 0 {
			b.Args = suiteArgs
			if b.Bench == "" {
				b.Bench = suiteBench
			}
		}
		if !given("-dir") {
			// Both sides read the same files.
			if dir, err := bench.DefaultDir(); err == nil {
				b.Args = append(slices.Clone(b.Args), "-dir", dir)
			}
		}
		if !given("-counter") {
			b.Uncounted = []string{"-counter", "none"}
		}
		b.Narrow = narrow
	}
	if b.Bench == "" {
		b.Bench = "."
	}
	return b
}

// narrow are arguments with which this suite prepares one cell alone: to try what every
// method can do takes as long as to measure one.
func narrow(cell string) []string {
	c, err := bench.ParseCell(cell)
	if workload := strings.ToLower(c.Benchmark); err == nil && c.Method != "" && slices.Contains(bench.Workloads, workload) {
		return []string{"-workloads", workload, "-methods", c.Method}
	}
	return nil
}

// referenceProcess measures the machine itself, by this program: memory, an empty
// system call, reads of a cached file, which lies in the directory.
func referenceProcess(dir string) (*exec.Cmd, error) {
	return roundProcess(bench.Round{
		Options: bench.Options{
			Size: referenceSize, Caches: []string{"warm"}, Workloads: []string{"read"}, Methods: []string{"pread"}, Counter: "none", Dir: dir,
		},
		BenchTime: "10ms",
		Cells: []bench.Cell{
			{Benchmark: "Ceiling", Pattern: "seq", Consume: "sum", Size: referenceSize, Block: 64 << 10},
			{Benchmark: "Floor", What: "syscall"},
			{Benchmark: "Read", Pattern: "seq", Cache: "warm", Consume: "sum", Size: referenceSize, Block: 64 << 10, Method: "pread"},
		},
	})
}

const referenceSize = 16 << 20 // bytes

// shareOfFirst is how much of the time the first run may take; the rest is for the
// second one, of suspects alone.
const shareOfFirst = 0.75

// leastLimit is how long a process may take at least; -time, where that is longer.
var leastLimit = 2 * time.Minute

// measure makes the first run, and of what that suspects a second one, and judges.
func (o *regressOptions) measure(ctx context.Context, plan *regress.Plan, out *os.File, header string, rules verdict.Rules, stderr io.Writer) (*verdict.Judgement, verdict.Title, error) {
	began := time.Now()
	plan.Time = time.Duration(float64(o.time) * shareOfFirst)
	if o.time > 0 {
		plan.Limit = max(o.time, leastLimit)
	}
	res, err := runInto(ctx, plan, out, header)
	if err != nil {
		return nil, verdict.Title{}, err
	}
	j, title, err := judgeRun(out.Name(), rules)
	if err != nil {
		return nil, title, err
	}
	suspects := j.Suspects()
	if len(suspects) == 0 {
		return j, title, nil
	}
	fmt.Fprintf(stderr, "%s to be measured a second time\n", plural(len(suspects), "cell"))
	again := plan.Suspects(suspects)
	again.Rounds = res.Rounds // as many pairs will do
	if again.Time = o.time - time.Since(began); o.time == 0 {
		again.Time = 0
	} else {
		again.Time = max(again.Time, o.time/10)
	}
	confirm, err := os.OpenFile(filepath.Join(filepath.Dir(out.Name()), confirmFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, title, err
	}
	defer confirm.Close()
	if _, err := runInto(ctx, again, confirm, header); err != nil {
		if !hasResults(confirm.Name()) {
			os.Remove(confirm.Name())
		}
		return nil, title, err
	}
	return judgeRun(out.Name(), rules)
}

// runInto runs a plan into a file, from its header to the line of what others did.
func runInto(ctx context.Context, plan *regress.Plan, out *os.File, header string) (trial.Result, error) {
	if _, err := io.WriteString(out, header); err != nil {
		return trial.Result{}, usage("write the results: %w (choose another place with -results)", err)
	}
	res, err := plan.Run(ctx, out)
	if err == nil && res.Rounds > 0 {
		var tail strings.Builder
		if err = regress.Disturbed(&tail, res); err == nil {
			err = trial.Append(out, tail.String())
		}
	}
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%w after %s", errInterrupted, plural(res.Rounds, "round"))
	}
	return res, err
}

// writeJudgement writes the chart, the Markdown and the JSON of a judgement.
func writeJudgement(j *verdict.Judgement, t verdict.Title, dir string) error {
	charts, err := drawChanges(j, t, dir)
	if err != nil {
		return err
	}
	charts = slices.DeleteFunc(charts, func(path string) bool { return filepath.Ext(path) != ".svg" })
	for i := range charts {
		charts[i] = filepath.Base(charts[i])
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, "README.md"), func(w io.Writer) error { return j.Markdown(w, t, charts...) }); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, "verdict.json"), func(w io.Writer) error { return j.JSON(w, t) })
}
