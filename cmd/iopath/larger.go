package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/units"
	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/internal/cgroup"
	"iopath/internal/host"
	"iopath/internal/summary"
	"iopath/plots"
)

// An experiment is measured by a command of its own, and lands beside the runs of
// iopath bench.
type experiment struct {
	name  string
	place runPlace
	json  bool
}

func (e *experiment) register(fs *flag.FlagSet) {
	e.place.register(fs)
	fs.BoolVar(&e.json, "json", false, "print the table as JSON")
}

// host is what the machine cannot say itself.
func (e *experiment) host() host.Options { return host.Options{Machine: e.place.machine} }

// measure makes the run's directory and has do write the results; it returns how many
// there are. A run without any leaves nothing behind. Where no control group can be
// made, the experiment is skipped.
func (e *experiment) measure(ctx context.Context, stderr io.Writer, do func(out io.Writer) (results int, err error)) (dir string, err error) {
	if err := cgroup.Probe(); errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintf(stderr, "skipped: %s: %v\n", e.name, err)
		return "", errInconclusive
	} else if err != nil {
		return "", err
	}
	dir, out, err := e.place.create(e.name)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "# command: iopath %s\n# date: %s\n", commandLine(os.Args[min(1, len(os.Args)):]), time.Now().UTC().Format(time.RFC3339))
	results, err := do(out)
	err = errors.Join(err, out.Sync(), out.Close())
	if results == 0 {
		e.place.discard(dir)
		if interrupted := ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))); interrupted {
			err = fmt.Errorf("%w: nothing was measured, nothing is kept", errInterrupted)
		}
		return dir, err
	}
	if err != nil {
		return dir, fmt.Errorf("%w; %s are kept in %s", err, plural(results, "result"), dir)
	}
	return dir, nil
}

// show prints the table, and what follows from it, and draws the chart. The run's
// README has it all.
func (e *experiment) show(ctx context.Context, dir string, stdout, stderr io.Writer, chart plots.Stack, table func(io.Writer) error, asJSON any) error {
	results, err := summary.ReadFiles(resultFile(dir))
	if err != nil {
		return err
	}
	charts, err := plots.Drawings{chart}.Draw(results, dir)
	if err != nil && !errors.Is(err, plots.ErrNoData) {
		return err
	}
	var text bytes.Buffer
	if err := table(&text); err != nil {
		return err
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, "# %s\n\nMade by `iopath %s`; the results are in [bench.txt](bench.txt), in the Go benchmark format.\n\n", filepath.Base(dir), e.name)
	for _, c := range results.Config {
		fmt.Fprintf(&page, "- %v\n", c)
	}
	fmt.Fprintf(&page, "\n```\n%s```\n", text.Bytes())
	for _, path := range charts {
		if file := filepath.Base(path); strings.HasSuffix(file, ".svg") {
			fmt.Fprintf(&page, "\n![%s](%s)\n", chart.Title, file)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), page.Bytes(), 0o644); err != nil {
		return err
	}
	if e.json {
		err = writeJSON(stdout, asJSON)
	} else {
		_, err = stdout.Write(text.Bytes())
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "results, table and charts: %s\n", dir)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: what was measured is kept in %s", errInterrupted, dir)
	}
	if len(results.Failed) > 0 {
		fmt.Fprintf(stderr, "iopath: failed: %s\n", results.Failed[0])
		return errNo
	}
	return nil
}

// columns prints rows, whose cells stand flush right in their columns; a row may have
// fewer cells than the first one.
func columns(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		// A row that is short would end the columns that it does not have.
		short := strings.Repeat("\t", len(rows[0])-len(row))
		fmt.Fprintln(t, strings.Join(row, "\t")+short+"\t")
	}
	return t.Flush()
}

func largerCommand(stdout, stderr io.Writer) *cli.Command {
	var l bench.Larger
	e := experiment{name: "larger"}
	return &cli.Command{
		Name:  "larger",
		Usage: "read a file that is larger than memory, and watch what reclaim does to each method",
		Description: "Each method reads random blocks with several threads for some seconds, in a\n" +
			"control group with a memory limit, beginning without a page in the page\n" +
			"cache. What is read, what faults, what reclaim takes and what the device\n" +
			"gives is sampled ten times a second. Does a mapping fall off a cliff when\n" +
			"memory is full?\n\n" +
			"Wants to make control groups: run as root, or in a group of your own. Where\n" +
			"it cannot, it says so and ends with status 3. Ctrl-C keeps the samples that\n" +
			"there are.",
		Flags: flags(func(fs *flag.FlagSet) { l.Register(fs); e.register(fs) }),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath larger takes no arguments, got %q", c.Args().First())
			}
			if err := l.Check(); err != nil {
				return err
			}
			var all []bench.Series
			dir, err := e.measure(ctx, stderr, func(out io.Writer) (samples int, err error) {
				fmt.Fprintf(stderr, "preparing the file\n")
				all, err = l.Run(ctx, out, e.host(), func(what string) { fmt.Fprintln(stderr, what) })
				for _, s := range all {
					samples += len(s.Samples)
					if s.Err != nil {
						fmt.Fprintf(stderr, "%s %s: %v\n", s.Pattern, s.Method, s.Err)
					}
				}
				return samples, err
			})
			if err != nil {
				return err
			}
			sums := bench.Summaries(all)
			rows, verdict := largerRows(sums), bench.Verdict(sums)
			return e.show(ctx, dir, stdout, stderr, plots.Larger(), func(w io.Writer) error { return writeLarger(w, rows, verdict) }, struct {
				Methods []largerRow `json:"methods"`
				Verdict []string    `json:"verdict"`
			}{rows, verdict})
		},
	}
}

// A largerRow is what the table says of a method. Its rates are of when memory was
// full, a second, those of data in bytes.
type largerRow struct {
	Pattern    string   `json:"pattern"`
	Method     string   `json:"method"`
	Rounds     int      `json:"rounds"`
	First      float64  `json:"first_second"`
	Full       *float64 `json:"full_after_seconds,omitempty"`
	Steady     float64  `json:"steady"`
	Lowest     float64  `json:"lowest"`
	Odirect    *float64 `json:"to_odirect,omitempty"` // steady, as a multiple
	Pread      *float64 `json:"to_pread,omitempty"`
	Minor      float64  `json:"minor_faults"`
	Major      float64  `json:"major_faults"`
	Scanned    float64  `json:"scanned_pages"`
	Stolen     float64  `json:"reclaimed_pages"`
	Interrupts *float64 `json:"tlb_interrupts,omitempty"`
	Device     float64  `json:"device_bytes"`
	Resident   float64  `json:"page_cache"` // bytes, and no rate
	CPU        float64  `json:"cpu_seconds_per_block"`
}

func largerRows(sums []bench.Summary) []largerRow {
	var rows []largerRow
	for _, s := range sums {
		to := func(method string) *float64 {
			i := slices.IndexFunc(sums, func(ref bench.Summary) bool { return ref.Pattern == s.Pattern && ref.Method == method })
			if i < 0 || sums[i].Steady == 0 {
				return nil
			}
			ratio := s.Steady / sums[i].Steady
			return &ratio
		}
		row := largerRow{
			Pattern: s.Pattern, Method: s.Method, Rounds: s.Rounds, First: s.First, Steady: s.Steady, Lowest: s.Lowest,
			Odirect: to("odirect"), Pread: to("pread"),
			Minor: s.Minor, Major: s.Major, Scanned: s.Scanned, Stolen: s.Stolen, Device: s.Device, Resident: s.Resident, CPU: s.CPU,
		}
		if s.Full > 0 {
			row.Full = &s.Full
		}
		if s.Interrupts >= 0 {
			row.Interrupts = &s.Interrupts
		}
		rows = append(rows, row)
	}
	return rows
}

func writeLarger(w io.Writer, rows []largerRow, verdict []string) error {
	table := [][]string{
		{"", "first s", "full", "steady", "lowest", "×", "×", "minor", "major", "scanned", "reclaimed", "TLB", "CPU µs", "device", "cache"},
		{"pattern method", "MiB/s", "after s", "MiB/s", "MiB/s", "odirect", "pread", "faults/s", "faults/s", "pages/s", "pages/s", "ints/s", "a block", "MiB/s", "MiB"},
	}
	whole := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	mib := func(v float64) string { return fmt.Sprintf("%.1f", v/float64(units.MiB)) }
	maybe := func(v *float64, format string) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf(format, *v)
	}
	for _, r := range rows {
		table = append(table, []string{
			r.Pattern + " " + r.Method, mib(r.First), maybe(r.Full, "%.1f"), mib(r.Steady), mib(r.Lowest), maybe(r.Odirect, "%.2f"), maybe(r.Pread, "%.2f"),
			whole(r.Minor), whole(r.Major), whole(r.Scanned), whole(r.Stolen), maybe(r.Interrupts, "%.0f"), fmt.Sprintf("%.1f", 1e6*r.CPU), mib(r.Device), mib(r.Resident),
		})
	}
	if err := columns(w, table); err != nil {
		return err
	}
	for _, line := range verdict {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
