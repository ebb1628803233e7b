package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/internal/counters"
	"iopath/workloads"
)

func countCommand(stdout, stderr io.Writer) *cli.Command {
	var o struct {
		bench.Options
		jobs int
		json bool
	}
	return &cli.Command{
		Name:      "count",
		Usage:     "print the system calls of one cell by name",
		ArgsUsage: "CELL",
		Description: "CELL is a cell's name as results have it. What it leaves out is the usual:\n\n" +
			"   iopath count Read/method=mmap\n" +
			"   iopath count Send/transport=tcp/cache=warm/block=64KiB/method=splice\n\n" +
			"With -jobs, runs so many jobs and counts nothing, for another tool to see:\n\n" +
			"   strace -f -o calls iopath count -jobs 2 Read/method=mmap\n\n" +
			"Each job is then between two signals (rt_tgsigqueueinfo) that its thread\n" +
			"sends itself.",
		Flags: flags(func(fs *flag.FlagSet) {
			o.RegisterPlaces(fs)
			fs.IntVar(&o.jobs, "jobs", 0, "run so many `jobs` and count nothing")
			fs.BoolVar(&o.json, "json", false, "print JSON: cell, source, and calls per job by name")
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return usage("iopath count takes the name of one cell, got %d arguments (see iopath count -h)", c.Args().Len())
			}
			cell := c.Args().First()
			if c.IsSet("jobs") {
				if o.jobs < 1 || o.json || c.IsSet("counter") {
					return usage("-jobs wants a number above zero, and neither -counter nor -json")
				}
				return bench.RunJobs(ctx, o.Options, cell, o.jobs)
			}
			b, err := bench.CountCell(ctx, o.Options, cell)
			if err != nil {
				if errors.Is(err, counters.ErrPath) || errors.Is(err, workloads.ErrVerification) {
					fmt.Fprintf(stderr, "iopath: %v\n", err)
					return errNo
				}
				return err
			}
			if o.json {
				return writeJSON(stdout, struct {
					Cell      string             `json:"cell"`
					Source    string             `json:"source"`
					Bytes     int64              `json:"bytes"` // of a job
					Calls     map[string]float64 `json:"calls"` // per job
					Scheduler map[string]float64 `json:"scheduler_calls"`
				}{b.Cell, b.Source, b.Bytes, b.Calls, b.Scheduler})
			}
			return writeBreakdown(stdout, b)
		},
	}
}

// writeBreakdown prints the calls, the most frequent first, per job and per GiB.
func writeBreakdown(w io.Writer, b bench.Breakdown) error {
	rows := [][3]string{{"call", "per job", "per GiB"}}
	row := func(name string, n float64) {
		perGiB := "-"
		if b.Bytes > 0 {
			perGiB = number(n * (1 << 30) / float64(b.Bytes))
		}
		rows = append(rows, [3]string{name, number(n), perGiB})
	}
	list := func(calls map[string]float64, mark, sum string) {
		total := 0.0
		for _, name := range slices.SortedFunc(maps.Keys(calls), func(x, y string) int {
			return cmp.Or(cmp.Compare(calls[y], calls[x]), cmp.Compare(x, y))
		}) {
			row(mark+name, calls[name])
			total += calls[name]
		}
		row(sum, total)
	}
	list(b.Calls, "", "total")
	if len(b.Scheduler) > 0 {
		list(b.Scheduler, "(scheduler) ", "(scheduler) total")
	}
	var widths [3]int
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len(cell))
		}
	}
	_, err := fmt.Fprintf(w, "%s   counted by %s\n", b.Cell, b.Source)
	for _, r := range rows {
		if err == nil {
			_, err = fmt.Fprintf(w, "  %-*s  %*s  %*s\n", widths[0], r[0], widths[1], r[1], widths[2], r[2])
		}
	}
	return err
}

// number writes a count, whole where it is.
func number(v float64) string {
	return strconv.FormatFloat(float64(int64(v*100+0.5))/100, 'f', -1, 64)
}
