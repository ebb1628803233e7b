package main

import (
	"context"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v3"
)

// Help is read in 80 columns, of which a description has three less.
func TestHelpFits(t *testing.T) {
	fits := func(command, text string, most int) {
		for line := range strings.SplitSeq(text, "\n") {
			if n := utf8.RuneCountInString(line); n > most {
				t.Errorf("iopath %s -h has a line of %d characters, want at most %d: %s", command, n, most, line)
			}
		}
	}
	each(command(strings.NewReader(""), io.Discard, io.Discard), func(c *cli.Command) { fits(c.Name, c.Description, 77) })
	for _, name := range []string{"table", "advise", "plot", "report", "history", "history add", "history check", "history plot"} {
		_, stdout, _ := iopath(t, append(strings.Fields(name), "-h")...)
		fits(name, stdout, 80)
	}
}

// A flag is set as package flag has it, and one that is on or off takes no value.
func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		on   bool
		n    int
		rest []string
	}{
		{nil, true, 1, nil},
		{[]string{"-on", "-n", "2", "a"}, true, 2, []string{"a"}},
		{[]string{"--on=false", "--n=3"}, false, 3, nil},
		{[]string{"-on=false", "a", "-n=4"}, false, 4, []string{"a"}},
		{[]string{"-on=false", "-on"}, true, 1, nil},
	} {
		var on bool
		var n int
		c := &cli.Command{
			Flags: flags(func(fs *flag.FlagSet) {
				fs.BoolVar(&on, "on", true, "be on")
				fs.IntVar(&n, "n", 1, "so `many`")
			}),
			Action: func(_ context.Context, c *cli.Command) error {
				if rest := c.Args().Slice(); on != tt.on || n != tt.n || !slices.Equal(rest, tt.rest) {
					t.Errorf("%q: on %v, n %d, arguments %q; want %v, %d, %q", tt.args, on, n, rest, tt.on, tt.n, tt.rest)
				}
				return nil
			},
		}
		if err := c.Run(t.Context(), append([]string{"x"}, tt.args...)); err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
	}
	status, stdout, _ := iopath(t, "plot", "-h")
	if status != 0 || !strings.Contains(stdout, "--ratio  ") || !strings.Contains(stdout, "--out directory") || strings.Contains(stdout, " value ") {
		t.Errorf("plot -h: status %d,\n%s\nwant no value of --ratio", status, stdout)
	}
	if status, _, stderr := iopath(t, "table", "-json=maybe", madeUp); status != exitUsage || !strings.Contains(stderr, "maybe") {
		t.Errorf("table -json=maybe: status %d, %q; want %d, and the value named", status, stderr, exitUsage)
	}
}
