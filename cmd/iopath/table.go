package main

import (
	"context"
	"flag"
	"io"

	"github.com/urfave/cli/v3"
)

func tableCommand(stdout io.Writer) *cli.Command {
	var o struct {
		filter         string
		markdown, json bool
	}
	return &cli.Command{
		Name:      "table",
		Usage:     "print results, the methods side by side",
		ArgsUsage: "RUN or FILE...",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&o.filter, "filter", "*", "`cells` to show, in benchstat's filter syntax")
			fs.BoolVar(&o.markdown, "markdown", false, "print Markdown")
			fs.BoolVar(&o.json, "json", false, "print JSON")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			results, err := readResults(c)
			if err != nil {
				return err
			}
			table, err := results.Table(o.filter)
			switch {
			case err != nil:
				return err
			case o.json:
				return table.JSON(stdout)
			case o.markdown:
				return table.Markdown(stdout)
			default:
				return table.Text(stdout, width(stdout))
			}
		},
	}
}
