package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/plots"
)

func pressureCommand(stdout, stderr io.Writer) *cli.Command {
	var p bench.Pressure
	e := experiment{name: "pressure"}
	return &cli.Command{
		Name:  "pressure",
		Usage: "hold a file as a mapping, and as a copy on the heap, beside a hungry neighbour",
		Description: "Two processes share a control group with a memory limit. One holds a file,\n" +
			"the other takes more and more memory, step by step. After each step: what of\n" +
			"the file is resident, what is in swap, and how long reading all of it again\n" +
			"takes.\n\n" +
			"Wants to make control groups, and swap: run as root, or in a group of your\n" +
			"own with -swap 0. Where it cannot, it says so and ends with status 3. A swap\n" +
			"file that is made for the run is gone after it; Ctrl-C keeps the steps that\n" +
			"there are.",
		Flags: flags(func(fs *flag.FlagSet) { p.Register(fs); e.register(fs) }),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath pressure takes no arguments, got %q", c.Args().First())
			}
			if err := p.Check(); err != nil {
				return err
			}
			var steps []bench.Step
			dir, err := e.measure(ctx, stderr, func(out io.Writer) (measured int, err error) {
				fmt.Fprintf(stderr, "preparing the file and the swap\n")
				steps, err = p.Run(ctx, out, e.host(), func(what string) { fmt.Fprintln(stderr, what) })
				for _, s := range steps {
					if s.Killed == "" {
						measured++
					}
				}
				return measured, err
			})
			if errors.Is(err, errors.ErrUnsupported) {
				fmt.Fprintf(stderr, "skipped: %s: %v\n", e.name, err)
				return errInconclusive
			}
			if err != nil {
				return err
			}
			rows, verdict := pressureRows(steps), p.Verdict(steps)
			return e.show(ctx, dir, stdout, stderr, plots.Pressure(), func(w io.Writer) error { return writePressure(w, rows, verdict) }, struct {
				Steps   []pressureRow `json:"steps"`
				Verdict []string      `json:"verdict"`
			}{rows, verdict})
		},
	}
}

// A pressureRow is what the table says of a step. Sizes are in bytes.
type pressureRow struct {
	Method    string  `json:"method"`
	Neighbour int64   `json:"neighbour"`
	Killed    string  `json:"killed,omitempty"`
	Resident  int64   `json:"resident"`
	Swapped   int64   `json:"swapped"`
	Anon      int64   `json:"group_anonymous"`
	File      int64   `json:"group_page_cache"`
	Swap      int64   `json:"group_swap"`
	Seconds   float64 `json:"reading_seconds"`
	Minor     int64   `json:"minor_faults"`
	Major     int64   `json:"major_faults"`
	Device    int64   `json:"device_bytes"`
	SwapIn    int64   `json:"swapped_in"`
}

func pressureRows(steps []bench.Step) []pressureRow {
	var rows []pressureRow
	for _, s := range steps {
		rows = append(rows, pressureRow{
			s.Method, s.Neighbour, s.Killed, s.Resident, s.Swapped, s.GroupAnon, s.GroupFile, s.InUse,
			s.Took.Seconds(), s.Minor, s.Major, s.Device, s.SwapIn,
		})
	}
	return rows
}

func writePressure(w io.Writer, rows []pressureRow, verdict []string) error {
	table := [][]string{
		{"", "neighbour", "resident", "swapped", "reading", "minor", "major", "device", "swap-in", "group: anon", "file", "swap"},
		{"method", "MiB", "MiB", "MiB", "again", "faults", "faults", "MiB", "MiB", "MiB", "MiB", "MiB"},
	}
	mib := func(n int64) string { return fmt.Sprint(n >> 20) }
	for _, r := range rows {
		if r.Killed != "" {
			table = append(table, []string{r.Method, mib(r.Neighbour), r.Killed, "killed"})
			continue
		}
		took := time.Duration(r.Seconds * float64(time.Second))
		table = append(table, []string{
			r.Method, mib(r.Neighbour), mib(r.Resident), mib(r.Swapped), took.Round(time.Millisecond).String(), fmt.Sprint(r.Minor), fmt.Sprint(r.Major),
			mib(r.Device), mib(r.SwapIn), mib(r.Anon), mib(r.File), mib(r.Swap),
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
