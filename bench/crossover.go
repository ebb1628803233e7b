package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iopath/internal/counters"
	"iopath/internal/pagecache"
	"iopath/workloads/iomethod"
)

// A Contest times the jobs of two methods on small files in turn: see openTask.
type Contest struct {
	s    *Session
	a, b iomethod.Method
}

// OpenContest checks the options, of which Dir counts alone, and the two methods. An
// error that matches [ErrUsage] is the user's to mend.
func OpenContest(ctx context.Context, o Options, a, b string) (*Contest, error) {
	o.Workloads, o.Methods, o.Caches = []string{"open"}, []string{a, b}, []string{"warm"}
	o.Size, o.Counter = openBytes, "none"
	s, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	cells, skips := s.Cells()
	for _, name := range []string{a, b} {
		able := false
		for _, c := range cells {
			able = able || c.Method == name
		}
		switch {
		case !able && len(skips) > 0:
			err = usage("method %s is not to be had here: %v", name, skips[0])
		case !able:
			err = usage("method %s cannot open, read and close one file after another (those that can are the methods of iopath bench -workloads open)", name)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	c := &Contest{s: s}
	c.a, _ = iomethod.Lookup(a)
	c.b, _ = iomethod.Lookup(b)
	return c, nil
}

// Session is the contest's.
func (c *Contest) Session() *Session { return c.s }

// Close releases the contest.
func (c *Contest) Close() { c.s.Close() }

// Pairs times n jobs of each method on files of that size in bytes, in turn, and
// each method goes first in every other pair. It returns the cells and how long each
// job took.
func (c *Contest) Pairs(ctx context.Context, size int64, n int) (cells [2]Cell, took [2][]time.Duration, err error) {
	for i, m := range []iomethod.Method{c.a, c.b} {
		cells[i] = Cell{Benchmark: "Open", Size: size, Files: filesOf(size), Method: m.Name}
	}
	// Raw jobs are alone with one P, which would be none of Go's business as usual.
	alone := !c.a.Idiomatic && !c.b.Idiomatic
	ended := make(chan error)
	go func() { // on a thread that ends with it: see Session.with
		ended <- c.s.with(cells[0], alone, func(a *task) error {
			return c.s.with(cells[1], alone, func(b *task) error {
				took, err = timeInTurn(ctx, [2]*task{a, b}, n)
				return err
			})
		})
	}()
	if err = <-ended; errors.Is(err, pagecache.ErrNotWarm) {
		clear(c.s.loaded)
	}
	return cells, took, err
}

func timeInTurn(ctx context.Context, tasks [2]*task, n int) (took [2][]time.Duration, err error) {
	for _, t := range tasks {
		if err := t.once(); err != nil {
			return took, err
		}
	}
	meter := counters.OpenMeter()
	defer meter.Close()
	for pair := range n {
		if err := ctx.Err(); err != nil {
			return took, err
		}
		for k := range tasks {
			i := (pair + k) % 2
			if err := meter.Start(); err != nil {
				return took, err
			}
			began := time.Now()
			if err := tasks[i].job(); err != nil {
				return took, err
			}
			took[i] = append(took[i], time.Since(began))
			if err := meter.Stop(); err != nil {
				return took, err
			}
		}
	}
	if meter.DeviceBytes > 0 {
		return took, fmt.Errorf("%w: %d bytes came from the device in %d pairs", pagecache.ErrNotWarm, meter.DeviceBytes, n)
	}
	return took, nil
}
