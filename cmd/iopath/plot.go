package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"iopath/plots"
)

// plotOptions are the flags of iopath plot.
type plotOptions struct {
	chart        plots.Chart // where it has a unit, the only one
	trend, ratio bool
	out, format  string
}

func (o *plotOptions) register(fs *flag.FlagSet) {
	usual, others := plots.Formats()
	fs.StringVar(&o.out, "out", "", "`directory` for the charts (default: that of the first run)")
	fs.StringVar(&o.format, "format", strings.Join(usual, ","), "`formats`: "+strings.Join(append(usual, others...), ", ")+" (the points)")
	fs.StringVar(&o.chart.Unit, "unit", "", "draw one chart of this `unit`")
	fs.StringVar(&o.chart.X, "x", "/block", "`key` of the x axis")
	fs.StringVar(&o.chart.Series, "series", "/method", "`key` that tells the lines apart")
	fs.StringVar(&o.chart.Filter, "filter", "*", "`cells` to draw, in benchstat's filter syntax")
	fs.StringVar(&o.chart.Title, "title", "", "the chart's `title` (default: from unit and filter)")
	fs.StringVar(&o.chart.Name, "name", "", "the chart's file `name` (default: from the unit)")
	fs.BoolVar(&o.chart.Log, "log", false, "draw the y axis in decades")
	fs.BoolVar(&o.trend, "trend", false, "draw what changes over several runs")
	fs.BoolVar(&o.ratio, "ratio", false, "draw the second of two runs against the first")
}

func plotCommand(stdout io.Writer) *cli.Command {
	var o plotOptions
	return &cli.Command{
		Name:      "plot",
		Usage:     "draw charts of results",
		ArgsUsage: "RUN or FILE...",
		Description: "Without -unit, draws the suite's own charts, and writes a run's README anew.\n" +
			"With -unit, draws one chart of any results in the Go benchmark format; -x,\n" +
			"-series, -filter, -title, -name and -log are for it alone:\n\n" +
			"   iopath plot -unit syscalls/op -filter '.name:Read /cache:warm' RUN\n\n" +
			"With -trend, draws throughput over runs, in the order they are named; with\n" +
			"-ratio, the second of two runs against the first. Runs of different times\n" +
			"differ by what the machine did meanwhile, too: the charts of -ratio note how\n" +
			"its memory and its system calls compare.",
		Flags:  flags(o.register),
		Action: func(_ context.Context, c *cli.Command) error { return o.do(c, stdout) },
	}
}

func (o *plotOptions) do(c *cli.Command, stdout io.Writer) error {
	files, err := resultFiles(c)
	if err != nil {
		return err
	}
	drawings, err := o.drawings(c, files)
	if err != nil {
		return err
	}
	results, err := readResults(c)
	if err != nil {
		return err
	}
	run := c.Args().First()
	if o.out == "" {
		o.out = run
		if st, err := os.Stat(o.out); err == nil && !st.IsDir() {
			o.out = filepath.Dir(o.out)
		}
	}
	// The README of a run shows its charts.
	whole := o.chart.Unit == "" && !o.trend && !o.ratio && strings.Contains(o.format, "svg")
	writes := whole && o.out == run && len(files) == 1
	if writes {
		if err := checkReadme(run); err != nil {
			return err
		}
	}
	paths, err := drawings.Draw(results, o.out, strings.FieldsFunc(o.format, func(c rune) bool { return c == ',' || c == ' ' })...)
	for _, path := range paths {
		fmt.Fprintln(stdout, path)
	}
	if err != nil || !writes {
		return err
	}
	return writeReport(run, results, paths)
}

// drawings are what the flags ask for.
func (o *plotOptions) drawings(c *cli.Command, files []string) (plots.Drawings, error) {
	n := 0
	for _, asked := range []bool{o.chart.Unit != "", o.trend, o.ratio} {
		if asked {
			n++
		}
	}
	idle := slices.DeleteFunc([]string{"x", "series", "filter", "title", "name", "log"}, func(flag string) bool { return !c.IsSet(flag) })
	switch {
	case n > 1:
		return nil, usage("iopath plot: -unit, -trend and -ratio each draw charts of their own (give one of them)")
	case o.chart.Unit == "" && len(idle) > 0:
		return nil, usage("iopath plot: -%s without -unit would do nothing (name the unit of a chart of your own)", strings.Join(idle, ", -"))
	case o.trend:
		return plots.Trends(), nil
	case o.ratio && (len(files) != 2 || files[0] == files[1]):
		return nil, usage("iopath plot -ratio: which two runs? (name the older and the newer one)")
	case o.ratio:
		return plots.Ratios(files[0], files[1]), nil
	case o.chart.Unit == "":
		return plots.Spine(), nil
	}
	chart := o.chart
	chart.Title = cmp.Or(chart.Title, fmt.Sprintf("%s by %s (%s)", chart.Unit, strings.TrimLeft(chart.X, "/."), chart.Filter))
	chart.Name = cmp.Or(chart.Name, strings.NewReplacer("/", "-per-").Replace(chart.Unit)+"-by-"+strings.Trim(chart.X, "/."))
	return plots.Drawings{chart}, nil
}
