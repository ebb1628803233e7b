package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/workloads/crash"
)

// explainCommand shows one crash step by step.
func explainCommand(stdout io.Writer) *cli.Command {
	var dir string
	return &cli.Command{
		Name:      "explain",
		Usage:     "show one crash step by step: what was written, what was dirty, what came back",
		ArgsUsage: "METHOD/POLICY",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&dir, "dir", "", "`directory` for the file (default: .iopath beside go.mod)")
		}),
		Action: func(ctx context.Context, c *cli.Command) (err error) {
			if c.Args().Len() != 1 {
				return usage("iopath crash explain: %d arguments, want one (name it as mmap.shared/none)", c.Args().Len())
			}
			m, p, err := crash.ParseCell(c.Args().First())
			if err != nil {
				return usage("iopath crash explain: %w (name it as mmap.shared/none)", err)
			}
			if dir == "" {
				if dir, err = bench.DefaultDir(); err != nil {
					return err
				}
			}
			scratch, remove, err := crashScratch(dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, remove()) }()
			return explain(ctx, stdout, scratch, m, p)
		},
	}
}

func explain(ctx context.Context, w io.Writer, dir string, m crash.Method, p crash.Policy) error {
	e := crash.Experiment{Dir: dir, Method: m.Name, Policy: p.Name, Layout: usualLayout(m.Name, p.Name), Size: crashSize, Seed: rand.Uint64()}
	fmt.Fprintf(w, "A writer appends records of %d bytes by %s; it syncs by: %s.\n", crash.RecordSize, m.Doc, p.Doc)
	for _, l := range crash.Layouts {
		if l.Name == e.Layout {
			fmt.Fprintf(w, "The file is %s.\n", l.Doc)
		}
	}
	e.Time = processTime
	c, err := e.Process(ctx, "sigkill")
	if m.DAX && errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintf(w, "\nKilling its process: not measured: %s\n", whyNot(err))
	} else if err != nil {
		return fmt.Errorf("kill the writer: %w", err)
	} else {
		tellCycle(w, "Its process is killed (SIGKILL). The page cache is the kernel's, and lives on.", c)
	}
	for _, b := range crash.Backends {
		if m.DAX && !b.DAX {
			continue
		}
		e.Time, e.Seed = machineTime, e.Seed+1
		cycles, err := b.Machine(ctx, e, "ext4")
		if errors.Is(err, errors.ErrUnsupported) {
			fmt.Fprintf(w, "\n%s (%s): not measured: %s\n", b.Models, b.Name, whyNot(err))
			continue
		}
		if err != nil {
			return fmt.Errorf("lose the machine by %s: %w", b.Name, err)
		}
		if len(cycles) == 1 {
			tellCycle(w, fmt.Sprintf("The machine is lost (%s). %s.", b.Name, strings.ToUpper(b.Models[:1])+b.Models[1:]), cycles[0])
			continue
		}
		fmt.Fprintf(w, "\nThe power is cut (%s). %s.\n", b.Name, strings.ToUpper(b.Models[:1])+b.Models[1:])
		tellBefore(w, cycles[0])
		for _, c := range cycles {
			fmt.Fprintf(w, "  came back     %s; the disk had written %s of what it had in its cache\n", cameBack(c), kept(c.Kept))
		}
	}
	return nil
}

func tellCycle(w io.Writer, head string, c crash.Cycle) {
	fmt.Fprintf(w, "\n%s\n", head)
	tellBefore(w, c)
	fmt.Fprintf(w, "  came back     %s\n", cameBack(c))
	if n := c.Unacknowledged + c.TornInFlight; n > 0 {
		fmt.Fprintf(w, "  in flight     %s not acknowledged, %d of them torn\n", plural(int(n), "record"), c.TornInFlight)
	}
}

func tellBefore(w io.Writer, c crash.Cycle) {
	fmt.Fprintf(w, "  acknowledged  %d records, %s a second; each took %s (p50), %s (p99)\n", c.Acknowledged, short(c.Rate), duration(c.P50), duration(c.P99))
	if c.Dirty >= 0 {
		fmt.Fprintf(w, "  dirty         %s in memory alone\n", plural(int(c.Dirty), "page"))
	}
}

func cameBack(c crash.Cycle) string {
	return fmt.Sprintf("%d intact, %d lost, %d torn, %d holes", c.Intact, c.Lost, c.Torn, c.Holes)
}

func kept(share float64) string {
	switch share {
	case 0:
		return "none"
	case 1:
		return "all"
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}
