// Iopath measures the paths that bytes take on Linux: it compares mmap with
// read, write, sendfile and splice, and says why one wins.
//
// The commands are thin; what they do is in the packages that they import. Exit
// status: 0 as asked, 1 the answer is no, 2 wrong use or bad input, 3
// inconclusive, 130 interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"iopath/bench"
	"iopath/internal/summary"
	"iopath/workloads/claims"
	"iopath/workloads/crash"
)

func main() {
	if crash.Child() || claims.Child() {
		os.Exit(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if started, err := bench.Child(ctx); started {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitNo)
		}
		os.Exit(0)
	}
	status := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// The exit statuses beside 0.
const (
	exitNo          = 1
	exitUsage       = 2
	exitUndecided   = 3
	exitInterrupted = 130 // as a shell reports a process that Ctrl-C ended
)

// errNo is matched by an error that is the answer: something was measured, and
// it failed. What failed has been printed.
var errNo = errors.New("the answer is no")

// errInconclusive is matched by an error where there is no answer. What was found
// has been printed.
var errInconclusive = errors.New("inconclusive")

// errInterrupted is matched by the error of a command that Ctrl-C cut short.
var errInterrupted = errors.New("interrupted")

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := command(stdin, stdout, stderr).Run(ctx, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNo):
		return exitNo
	case errors.Is(err, errInconclusive):
		return exitUndecided
	case errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "iopath: %v\n", err)
		return exitInterrupted
	default:
		fmt.Fprintf(stderr, "iopath: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitUsage
	}
}

func command(stdin io.Reader, stdout, stderr io.Writer) *cli.Command {
	root := &cli.Command{
		Name:      "iopath",
		Usage:     "measure the paths that bytes take on Linux: mmap, read/write, sendfile, splice",
		Writer:    stdout,
		ErrWriter: stderr,
		Commands: []*cli.Command{
			benchCommand(stdout, stderr),
			tableCommand(stdout),
			adviseCommand(stdout),
			plotCommand(stdout),
			reportCommand(stdout),
			countCommand(stdout, stderr),
			historyCommand(stdout),
			crossoverCommand(stdout, stderr),
			largerCommand(stdout, stderr),
			pressureCommand(stdout, stderr),
			regressCommand(stdout, stderr),
			gateCommand(stdout, stderr),
			crashCommand(stdout, stderr),
			claimsCommand(stdout, stderr),
			methodsCommand(stdout),
			doctorCommand(stdout),
			roundCommand(stdin, stdout),
		},
		// Errors are printed by run, in one line.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("command %q is unknown (see iopath -h)", c.Args().First())
			}
			return cli.ShowRootCommandHelp(c)
		},
	}
	each(root, func(c *cli.Command) {
		c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
			return usage("%s: %w (see %s -h)", c.FullName(), err, c.FullName())
		}
		c.HideHelpCommand = true
	})
	return root
}

// each goes to a command and all below it.
func each(c *cli.Command, do func(*cli.Command)) {
	do(c)
	for _, sub := range c.Commands {
		each(sub, do)
	}
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %w", bench.ErrUsage, fmt.Errorf(format, args...))
}

// flags hands the flags of a standard flag set to the command line's library:
// package bench declares its own once, for go test and for us.
func flags(declare func(*flag.FlagSet)) []cli.Flag {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	declare(set)
	var all []cli.Flag
	set.VisitAll(func(f *flag.Flag) {
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			// As a generic one it would have a value in -h.
			all = append(all, &cli.BoolFlag{Name: f.Name, Usage: f.Usage, HideDefault: true, Action: func(_ context.Context, _ *cli.Command, on bool) error {
				return f.Value.Set(strconv.FormatBool(on))
			}})
			return
		}
		all = append(all, &cli.GenericFlag{
			Name:        f.Name,
			Usage:       f.Usage,
			Value:       f.Value.(cli.Value),
			DefaultText: f.DefValue,
			HideDefault: f.DefValue == "" || f.DefValue == "0" || f.DefValue == "0s",
		})
	})
	return all
}

// width is how many columns the writer's terminal has; 80 where it has none.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 80
}

// readResults reads the result files that are named as arguments; a directory
// stands for the bench.txt in it.
func readResults(c *cli.Command) (*summary.Results, error) {
	paths, err := resultFiles(c)
	if err != nil {
		return nil, err
	}
	return summary.ReadFiles(paths...)
}

// resultFiles are the files that the arguments name.
func resultFiles(c *cli.Command) ([]string, error) {
	if !c.Args().Present() {
		return nil, usage("%s: which results? (name a run's directory, or files in the Go benchmark format)", c.FullName())
	}
	var paths []string
	seen := map[string]bool{}
	for _, path := range c.Args().Slice() {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			path = resultFile(path)
		}
		// The same results twice would count as twice as many.
		if whole, err := filepath.Abs(path); err == nil && seen[whole] {
			return nil, usage("%s: %s is named twice (name each run once)", c.FullName(), path)
		} else if err == nil {
			seen[whole] = true
		}
		paths = append(paths, path)
	}
	return paths, nil
}
