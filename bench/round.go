package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"iopath/internal/pagecache"
)

// A Round is what one fresh process is to measure: every cell once, in this
// order. It travels as JSON.
type Round struct {
	Options   Options
	Cells     []Cell
	BenchTime string // as of go test -benchtime
	// CountAll counts the system calls of every cell. Otherwise those of warm
	// reads alone are counted: the others are slow under the counters, and
	// their calls are known from the round that counted them all.
	CountAll bool
}

// Unfit is the error of a round that has to go on in another process, with Rest.
type Unfit struct {
	Rest  Round
	cause error
}

func (u *Unfit) Error() string { return "the process is not fit for more cells: " + u.cause.Error() }
func (u *Unfit) Unwrap() error { return u.cause }

// SetBenchTime sets how long a cell is timed, in the syntax of go test -benchtime. An
// error matches [ErrUsage].
func SetBenchTime(s string) error {
	testing.Init()
	if err := flag.Set("test.benchtime", s); err != nil {
		return usage("-benchtime %s: %w (write it as 200ms or 3x)", s, err)
	}
	return nil
}

// RunRound reads a round from in and writes its results to out, in the Go
// benchmark format, as they come. A cell without a result is a line that starts
// with "# failed:" or "# skipped:". The error may be an [*Unfit].
func RunRound(ctx context.Context, in io.Reader, out io.Writer) error {
	var r Round
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("read the round: %w", err)
	}
	if err := SetBenchTime(r.BenchTime); err != nil {
		return err
	}
	s, err := Open(ctx, r.Options)
	if err != nil {
		return err
	}
	defer s.Close()
	s.countAll = r.CountAll
	for i, c := range r.Cells {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, cellErr := s.line(c)
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		if errors.Is(cellErr, errMoved) && i+1 < len(r.Cells) {
			r.Cells = r.Cells[i+1:]
			return &Unfit{r, cellErr}
		}
	}
	return nil
}

// warmAttempts is how often a cell is tried whose pages the machine takes away
// meanwhile.
const warmAttempts = 3

// line measures a cell and returns its line, as go test would print it, and the
// error that the line tells of, if any.
func (s *Session) line(c Cell) (string, error) {
	name := "Benchmark" + c.Name()
	var res testing.BenchmarkResult
	err := pagecache.ErrNotWarm
	for range warmAttempts {
		if !errors.Is(err, pagecache.ErrNotWarm) {
			break
		}
		err = errors.New("the benchmark did not run")
		res = testing.Benchmark(func(b *testing.B) {
			if err = s.Run(b, c); err != nil {
				b.SkipNow()
			}
		})
	}
	if err != nil {
		what := "failed"
		if errors.Is(err, errors.ErrUnsupported) {
			what = "skipped"
		}
		return fmt.Sprintf("# %s: %s: %s", what, name, strings.ReplaceAll(err.Error(), "\n", "; ")), err
	}
	if procs := runtime.GOMAXPROCS(0); procs > 1 {
		name = fmt.Sprintf("%s-%d", name, procs)
	}
	return fmt.Sprintf("%s\t%s\t%s", name, res, res.MemString()), nil
}
