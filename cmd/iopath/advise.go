package main

import (
	"context"
	"flag"
	"io"

	"github.com/urfave/cli/v3"

	"iopath/internal/advice"
)

func adviseCommand(stdout io.Writer) *cli.Command {
	var o struct {
		filter         string
		markdown, json bool
	}
	return &cli.Command{
		Name:      "advise",
		Usage:     "say which method to take for which workload, and why",
		ArgsUsage: "RUN or FILE...",
		Description: "For each workload of a run: the best method, how many times better it is than\n" +
			"the one that one begins with (pread, pwrite, read+write, pipe), with the\n" +
			"interval of that, and what it saves and costs beside. A method wins only\n" +
			"where the rounds prove it; six are the least that can. Exit status 3: nothing\n" +
			"is told apart.",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&o.filter, "filter", "*", "`cells` to compare, in benchstat's filter syntax")
			fs.BoolVar(&o.markdown, "markdown", false, "print Markdown")
			fs.BoolVar(&o.json, "json", false, "print JSON")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			results, err := readResults(c)
			if err != nil {
				return err
			}
			found, err := advice.Select(results, o.filter)
			if err != nil {
				return err
			}
			switch {
			case o.json:
				err = advice.JSON(stdout, results, found)
			case o.markdown:
				err = advice.Markdown(stdout, results, found)
			default:
				err = advice.Text(stdout, results, found, width(stdout))
			}
			if err == nil && !advice.Told(found) {
				return errInconclusive
			}
			return err
		},
	}
}
