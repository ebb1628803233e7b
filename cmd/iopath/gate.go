package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/perf/benchunit"

	"iopath/internal/atomicfile"
	"iopath/internal/regress"
	"iopath/internal/summary"
	"iopath/internal/verdict"
	"iopath/plots"
)

// judgeOptions are the flags of a comparison's rules and of how it is told.
type judgeOptions struct {
	filter            string
	units             string
	waivers, accepted string
	accept            bool
	all               bool
	markdown, json    bool
}

func (o *judgeOptions) register(fs *flag.FlagSet) {
	fs.StringVar(&o.filter, "filter", "*", "`cells` to judge, in benchstat's filter syntax")
	fs.StringVar(&o.units, "units", "", "judge these `units` by time, separated by commas (default: "+strings.Join(verdict.DefaultUnits, ",")+", else all whose direction is known)")
	fs.StringVar(&o.waivers, "waivers", "", "`file` of what may be worse, until when and why")
	fs.StringVar(&o.accepted, "accepted", "", "`file` of reviewed counts, which head may not be worse than")
	fs.BoolVar(&o.accept, "accept", false, "write counts that improved to the -accepted file")
	fs.BoolVar(&o.all, "all", false, "print all rows")
	fs.BoolVar(&o.markdown, "markdown", false, "print Markdown, as for $GITHUB_STEP_SUMMARY")
	fs.BoolVar(&o.json, "json", false, "print JSON")
}

// references are the benchmarks of a run that measure the machine itself.
var references = []string{"Ceiling", "Floor"}

// rules reads the files that the flags name.
func (o *judgeOptions) rules() (r verdict.Rules, err error) {
	r.Filter, r.References, r.Today = o.filter, references, time.Now().UTC()
	for _, unit := range strings.FieldsFunc(o.units, func(c rune) bool { return c == ',' || c == ' ' }) {
		_, unit = benchunit.Tidy(1, unit)
		r.Units = append(r.Units, unit)
	}
	if o.accept && o.accepted == "" {
		return r, usage("-accept: where to? (name the file with -accepted)")
	}
	if o.waivers != "" {
		f, err := os.Open(o.waivers)
		if err != nil {
			return r, usage("-waivers: %w (an empty file waives nothing)", err)
		}
		defer f.Close()
		if r.Waivers, err = verdict.ReadWaivers(f, o.waivers); err != nil {
			return r, err
		}
	}
	if o.accepted != "" {
		if r.Accepted, err = readAccepted(o.accepted); err != nil {
			return r, err
		}
	}
	return r, nil
}

// readAccepted reads reviewed counts; a file that is not there yet, or has none, is nil.
func readAccepted(path string) (*summary.Results, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, usage("-accepted: %w", err)
	}
	if !strings.Contains(string(text), "\nBenchmark") && !strings.HasPrefix(string(text), "Benchmark") {
		return nil, nil
	}
	return summary.ReadFiles(path)
}

// tell writes the accepted file where that is asked for, prints the judgement, and
// returns the error that the exit status comes from.
func (o *judgeOptions) tell(j *verdict.Judgement, t verdict.Title, rules verdict.Rules, stdout, stderr io.Writer) error {
	if o.accept {
		changed := 0
		err := atomicfile.WriteFile(o.accepted, func(w io.Writer) (err error) {
			changed, err = j.Accept(w, rules.Accepted)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(stderr, "accepted: %s in %s\n", plural(changed, "new count"), o.accepted)
	}
	var err error
	switch {
	case o.json:
		err = j.JSON(stdout, t)
	case o.markdown:
		err = j.Markdown(stdout, t)
	default:
		err = j.Text(stdout, t, width(stdout), o.all)
	}
	if err != nil {
		return err
	}
	switch j.Outcome {
	case verdict.Regression:
		return errNo
	case verdict.Inconclusive:
		return errInconclusive
	}
	return nil
}

func gateCommand(stdout, stderr io.Writer) *cli.Command {
	var (
		o     judgeOptions
		again string
	)
	return &cli.Command{
		Name:      "gate",
		Usage:     "decide whether a result is worse than another one, by files that exist",
		ArgsUsage: "OLD NEW, or a RUN of iopath regress",
		Description: "Pairs the measurements of OLD and NEW by their rounds, or by their place in\n" +
			"the file. Counts are compared exactly; times by a sign-flip test, corrected\n" +
			"for the number of rows, and where the effect is beyond 2 % and, with -again,\n" +
			"beyond what OLD differs from itself by. Any files in the Go benchmark format.\n" +
			"Files of different times also differ by what the machine did meanwhile, which\n" +
			"no test sees: iopath regress measures both at once.\n\n" +
			"Exit status: 0 fine, 1 regression, 2 bad input, 3 inconclusive.",
		Flags: flags(func(fs *flag.FlagSet) {
			o.register(fs)
			fs.StringVar(&again, "again", "", "`file` of OLD measured once more: what noise alone brings about")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			rules, err := o.rules()
			if err != nil {
				return err
			}
			files, err := resultFiles(c)
			if err != nil {
				return err
			}
			switch {
			case len(files) == 1 && again == "":
				j, title, err := judgeRun(files[0], rules)
				if err != nil {
					return err
				}
				return o.tell(j, title, rules, stdout, stderr)
			case len(files) != 2:
				return usage("iopath gate: which results? (name OLD and NEW, or one run of iopath regress)")
			}
			all := files
			if again != "" {
				if st, err := os.Stat(again); err == nil && st.IsDir() {
					again = resultFile(again)
				}
				all = append(all, again)
			}
			results, err := summary.ReadFiles(all...)
			if err != nil {
				return err
			}
			sides, err := verdict.SidesOfFiles(results, o.filter, files[0], again, files[1])
			if err != nil {
				return err
			}
			j, err := verdict.Judge(sides, nil, rules)
			if err != nil {
				return err
			}
			title := verdict.Title{Base: summary.RunName(files[0]), Head: summary.RunName(files[1])}
			return o.tell(j, title, rules, stdout, stderr)
		},
	}
}

// confirmFile is where a run of iopath regress keeps the second run of its suspects.
const confirmFile = "confirm.txt"

// judgeRun judges a run of iopath regress by its file, and by that of its second run
// where there is one.
func judgeRun(file string, rules verdict.Rules) (*verdict.Judgement, verdict.Title, error) {
	results, first, err := regress.Read(file, rules.Filter)
	if err != nil {
		return nil, verdict.Title{}, err
	}
	var second *verdict.Sides
	confirm := filepath.Join(filepath.Dir(file), confirmFile)
	if _, err := os.Stat(confirm); err == nil && filepath.Base(file) == summary.ResultFile {
		if _, second, err = regress.Read(confirm, rules.Filter); err != nil {
			return nil, verdict.Title{}, err
		}
	}
	j, err := verdict.Judge(first, second, rules)
	if err != nil {
		return nil, verdict.Title{}, err
	}
	title := verdict.Title{Machine: results.ConfigValue("machine")}
	title.Base, title.Head = first.Versions()
	return j, title, nil
}

// drawChanges draws the ratios of a judgement with their intervals into a directory.
func drawChanges(j *verdict.Judgement, t verdict.Title, dir string) ([]string, error) {
	e := plots.Effects{
		Headline: plots.Headline{Name: "changes", Title: "What is slower, and by how much?"},
		Notes:    t.String() + ". " + j.Sentence() + ".",
		Caption: fmt.Sprintf("Filled: Hodges–Lehmann estimates of head over base within rounds (n=%d), with 95 %% intervals. "+
			"Band: what does not count (2 %%, or what base differs from itself by). Above 0 is worse.", j.Pairs),
	}
	if j.Second > 0 {
		e.Caption += fmt.Sprintf(" Open: the second run of what the first one suspected (n=%d).", j.Second)
	}
	names, common := j.Names()
	if common != "" {
		e.Notes += " All with " + common + "."
	}
	for i := range j.Rows {
		r := &j.Rows[i]
		if r.Lane != verdict.TimeLane {
			continue
		}
		ratio, lo, hi, ok := r.Effect.Oriented()
		if !ok {
			continue
		}
		row := plots.Effect{Name: names[i] + " " + r.Unit, Ratio: ratio, Lo: lo, Hi: hi, Bound: max(1, r.Bound), Verdict: string(r.Status)}
		if ratio, lo, hi, ok := r.Second.Oriented(); ok {
			row.Again = &plots.Span{Ratio: ratio, Lo: lo, Hi: hi}
		}
		e.Rows = append(e.Rows, row)
	}
	paths, err := plots.Drawings{e}.Draw(nil, dir)
	if errors.Is(err, plots.ErrNoData) {
		return nil, nil
	}
	return paths, err
}
