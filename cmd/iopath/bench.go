package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/internal/host"
	"iopath/internal/summary"
	"iopath/internal/trial"
	"iopath/plots"
)

// benchOptions are the flags of iopath bench beside those of the matrix.
type benchOptions struct {
	bench.Options
	place        runPlace
	rounds       roundsFlag
	precision    precisionFlag
	time, settle time.Duration
	benchTime    string
	seed         uint64
	json         bool
}

func (o *benchOptions) register(fs *flag.FlagSet) {
	o.Options.Register(fs)
	o.place.register(fs)
	fs.Var(&o.rounds, "rounds", "at most so many `rounds`, or auto: as many for each cell as its -precision takes (default: the profile's)")
	fs.Var(&o.precision, "precision", "with -rounds auto, a cell is done when the 95 % interval of its median time is within ± this `share` (default: 3%)")
	fs.DurationVar(&o.time, "time", 0, "start no round that would not end in this `time`, such as 4m (default: the profile's)")
	fs.DurationVar(&o.settle, "settle", 5*time.Second, "wait at most this `time` for the machine to come to rest before the first round; 0: do not wait")
	fs.StringVar(&o.benchTime, "benchtime", "", "`time` of a cell in a round, such as 200ms or 3x (default: the profile's)")
	fs.Uint64Var(&o.seed, "seed", 0, "`seed` of the order of cells (default: drawn, and recorded)")
	fs.BoolVar(&o.json, "json", false, "print the table as JSON")
}

func benchCommand(stdout, stderr io.Writer) *cli.Command {
	var o benchOptions
	return &cli.Command{
		Name:  "bench",
		Usage: "measure, print the methods side by side, draw the charts",
		Description: "Runs every cell of the matrix once a round, in random order, each round in a\n" +
			"fresh process. Results, tables and charts land in results/MACHINE/RUN.\n" +
			"Ctrl-C keeps the rounds that have ended.",
		Flags: flags(o.register),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath bench takes no arguments, got %q", c.Args().First())
			}
			return o.do(ctx, stdout, stderr)
		},
	}
}

func (o *benchOptions) do(ctx context.Context, stdout, stderr io.Writer) error {
	profile, err := bench.ProfileNamed(o.Profile)
	if err != nil {
		return err
	}
	if o.time < 0 || o.settle < 0 {
		return usage("-time %v, -settle %v: not below zero", o.time, o.settle)
	}
	if o.precision != 0 && !o.rounds.auto {
		return usage("-precision is for -rounds auto")
	}
	if o.precision == 0 {
		o.precision = 0.03
	}
	if o.time == 0 {
		o.time = profile.Time
	}
	if !o.rounds.auto && o.rounds.n == 0 {
		o.rounds.n = profile.Rounds
	} else if o.rounds.auto && o.time == 0 {
		o.rounds.n = maxRounds
	}
	if o.benchTime == "" {
		o.benchTime = profile.BenchTime
	}
	if err := bench.SetBenchTime(o.benchTime); err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if err := o.Options.Check(); err != nil {
		return err
	}
	dir, out, err := o.place.create(profile.Name)
	if err != nil {
		return err
	}
	defer out.Close()
	res, closing, err := o.measure(ctx, out, stderr)
	if res.Rounds == 0 {
		// Nothing was measured: leave nothing behind.
		o.place.discard(dir)
		if err == nil {
			err = fmt.Errorf("%w: no round had ended, nothing is kept", errInterrupted)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("%w; %d rounds are kept in %s", err, res.Rounds, dir)
	}
	if ctx.Err() != nil {
		fmt.Fprint(stderr, closing)
		return fmt.Errorf("%w: %d rounds are kept in %s (iopath table, iopath plot)", errInterrupted, res.Rounds, dir)
	}
	if err := o.show(dir, stdout); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%d rounds: %s\n%sresults, tables and charts: %s\n", res.Rounds, res.Stopped, closing, dir)
	if len(res.Failed) > 0 {
		fmt.Fprintf(stderr, "iopath: %d results failed, and are left out; the first: %s\n", len(res.Failed), res.Failed[0])
		return errNo
	}
	return nil
}

// measure makes the data files, writes the header, runs the rounds, and closes
// the file with what is to be known of all of them; closing is what to tell the
// user of that, in whole lines.
func (o *benchOptions) measure(ctx context.Context, out *os.File, stderr io.Writer) (res trial.Result, closing string, err error) {
	fmt.Fprintf(stderr, "preparing the data files\n")
	s, err := bench.Open(ctx, o.Options)
	if err != nil {
		return res, "", err
	}
	defer s.Close()
	cells, skips := s.Cells()
	if len(cells) == 0 {
		why := []string{"none of -methods can do one of -workloads (see iopath methods)"}
		for _, skip := range skips {
			why = append(why, skip.String())
		}
		return res, "", usage("nothing to measure with these flags: %s", strings.Join(why, "; "))
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "# iopath bench: profile=%s seed=%d benchtime=%s rounds=%v", o.Profile, o.seed, o.benchTime, &o.rounds)
	if o.rounds.auto {
		fmt.Fprintf(&head, " precision=%v", &o.precision)
	}
	fmt.Fprintf(&head, "\n# command: iopath %s\n", commandLine(os.Args[min(1, len(os.Args)):]))
	fmt.Fprintf(&head, "# date: %s\n", time.Now().UTC().Format(time.RFC3339))
	if err := host.WriteConfig(&head, host.TestHeader("iopath/bench")); err != nil {
		return res, "", err
	}
	if err := s.WriteHeader(&head, host.Options{Machine: o.place.machine}); err != nil {
		return res, "", err
	}
	for _, skip := range skips {
		fmt.Fprintf(&head, "# skipped: %v\n", skip)
		fmt.Fprintf(stderr, "skipped: %v\n", skip)
	}
	if _, err := out.Write(head.Bytes()); err != nil {
		return res, "", usage("write the results: %w (choose another place with -results)", err)
	}
	if llc, ok := host.LLC(); ok && s.Size("warm") != 0 && s.Size("warm") < llc*3/2 {
		fmt.Fprintf(stderr, "note: the warm file has %s and the last-level cache %s: warm figures are the cache's, not memory's (take a larger -size)\n",
			units.Base2Bytes(s.Size("warm")), units.Base2Bytes(llc))
	}
	fmt.Fprintf(stderr, "measuring %d cells, %s\n", len(cells), o.effort())
	progress, _ := stderr.(*os.File)
	run := trial.Run{
		Rounds: o.rounds.n, Time: o.time, Seed: o.seed, Results: len(cells), Out: out, Progress: progress,
		Watch: watchNoise, Settle: o.settle, CPUs: measuringCPUs(),
	}
	var auto *autoStop
	if o.rounds.auto {
		names := make([]string, len(cells))
		for i, c := range cells {
			names[i] = c.Name()
		}
		auto = newAutoStop(float64(o.precision), names)
		run.Ended = auto.ended
	}
	run.Round = func(k int, rng *rand.Rand) ([]*exec.Cmd, error) {
		r := bench.Round{Options: o.Options, BenchTime: o.benchTime, CountAll: k == 1}
		for _, i := range order(rng, len(cells), auto) {
			r.Cells = append(r.Cells, cells[i])
		}
		cmd, err := roundProcess(r)
		return []*exec.Cmd{cmd}, err
	}
	res, err = run.Do(ctx)
	if res.Rounds == 0 {
		return res, "", err
	}
	tail, closing := o.closing(ctx, out.Name(), res, err, auto)
	return res, closing, errors.Join(err, trial.Append(out, tail))
}

// closing returns what a run's file ends with, and what to tell the user of it.
func (o *benchOptions) closing(ctx context.Context, file string, res trial.Result, failure error, auto *autoStop) (tail, told string) {
	if auto != nil {
		cause, by := "time is up", fmt.Sprintf("-time %v", o.time)
		switch {
		case ctx.Err() != nil:
			cause, by = "interrupted", "the interruption"
		case failure != nil:
			cause, by = "the run failed", "a failure"
		case res.Rounds == o.rounds.n:
			cause, by = "the last round ended", "the limit of "+plural(res.Rounds, "round")
		}
		tail, told = auto.cut(cause), auto.summary(by)+"\n"
	}
	var warm []*summary.Cell
	// A file without a result is for who reads it next to complain of.
	if results, err := summary.ReadFiles(file); err == nil {
		warm, _ = results.Cells("/cache:warm") // which parses
	}
	noise := noiseLine(res.Noise, res.Rounds, warm)
	return tail + noise, told + strings.TrimPrefix(noise, "# ")
}

// effort says how long the measurement goes on, in words.
func (o *benchOptions) effort() string {
	s := plural(o.rounds.n, "round") + " at most"
	if o.rounds.auto {
		s = "each to ±" + percent(float64(o.precision))
	}
	if o.time > 0 {
		s += fmt.Sprintf(", for %v at most", o.time)
	}
	return s
}

// order is the order of a round: which cells, by their number. The same seed
// draws the same order for the same cells; those that were stopped are left out
// of it.
func order(rng *rand.Rand, cells int, auto *autoStop) []int {
	return slices.DeleteFunc(rng.Perm(cells), func(i int) bool { return auto != nil && !auto.goesOn(i) })
}

// show prints the table and writes the charts and the run's README.
func (o *benchOptions) show(dir string, stdout io.Writer) error {
	results, err := summary.ReadFiles(resultFile(dir))
	if err != nil {
		return err
	}
	table, err := results.Table("*")
	if err != nil {
		return err
	}
	charts, err := plots.Spine().Draw(results, dir)
	if err != nil && !errors.Is(err, plots.ErrNoData) {
		return err
	}
	if err := writeReport(dir, results, charts); err != nil {
		return err
	}
	if o.json {
		return table.JSON(stdout)
	}
	return table.Text(stdout, width(stdout))
}

// roundName is the command that a round's process is started with.
const roundName = "round"

// roundProcess is a process that measures the round.
func roundProcess(r bench.Round) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, roundName)
	cmd.Stdin = bytes.NewReader(spec)
	return cmd, nil
}

func roundCommand(stdin io.Reader, stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:   roundName,
		Usage:  "measure one round, as the JSON on standard input says: started by iopath bench",
		Hidden: true,
		Action: func(ctx context.Context, _ *cli.Command) error {
			err := bench.RunRound(ctx, stdin, stdout)
			var unfit *bench.Unfit
			if !errors.As(err, &unfit) {
				return err
			}
			// As our child it is in our process group, and killed with it.
			cmd, err := roundProcess(unfit.Rest)
			if err != nil {
				return err
			}
			cmd.Stdout, cmd.Stderr = stdout, os.Stderr
			return cmd.Run()
		},
	}
}
