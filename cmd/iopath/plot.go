package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v3"

	"iopath/plots"
)

func plotCommand(stdout io.Writer) *cli.Command {
	var (
		o             plots.Chart
		out, format   string
		usual, others = plots.Formats()
	)
	return &cli.Command{
		Name:      "plot",
		Usage:     "draw charts of results",
		ArgsUsage: "RUN or FILE...",
		Description: "Without -unit, draws the suite's own charts, and writes a run's README anew.\n" +
			"With -unit, draws one chart of any results in the Go benchmark format:\n\n" +
			"   iopath plot -x /block -series /method -unit syscalls/op -filter '.name:Read /cache:warm' RUN",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&out, "out", "", "`directory` for the charts (default: where the first results are)")
			fs.StringVar(&format, "format", strings.Join(usual, ","), "file `formats`, separated by commas; there are "+strings.Join(others, " and ")+" besides")
			fs.StringVar(&o.Unit, "unit", "", "draw one chart of this `unit`")
			fs.StringVar(&o.X, "x", "/block", "`key` of the x axis")
			fs.StringVar(&o.Series, "series", "/method", "`key` that tells the lines apart")
			fs.StringVar(&o.Filter, "filter", "*", "`cells` to draw, in benchstat's filter syntax")
			fs.StringVar(&o.Title, "title", "", "the chart's `title` (default: from unit and filter)")
			fs.StringVar(&o.Name, "name", "", "the chart's file `name`, without its ending (default: from the unit)")
			fs.BoolVar(&o.Log, "log", false, "draw the y axis in decades")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			results, err := readResults(c)
			if err != nil {
				return err
			}
			if out == "" {
				out = c.Args().First()
				if st, err := os.Stat(out); err == nil && !st.IsDir() {
					out = filepath.Dir(out)
				}
			}
			var paths []string
			if o.Unit == "" {
				paths, err = plots.Spine().Draw(results, out, strings.Split(format, ",")...)
			} else {
				o.Title = cmp.Or(o.Title, fmt.Sprintf("%s by %s (%s)", o.Unit, strings.TrimPrefix(o.X, "/"), o.Filter))
				o.Name = cmp.Or(o.Name, strings.NewReplacer("/", "-per-").Replace(o.Unit)+"-by-"+strings.Trim(o.X, "/."))
				paths, err = plots.Drawings{o}.Draw(results, out, strings.Split(format, ",")...)
			}
			for _, path := range paths {
				fmt.Fprintln(stdout, path)
			}
			// The README of a run shows its charts.
			if run := c.Args().First(); err == nil && o.Unit == "" && out == run && c.Args().Len() == 1 && strings.Contains(format, "svg") {
				table, err := results.Table("*")
				if err != nil {
					return err
				}
				return writeReport(run, table, paths)
			}
			return err
		},
	}
}
