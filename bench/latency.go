package bench

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"iopath/internal/counters"
	"iopath/workloads"
)

// The latency pass times each block of one more job, after the timed pass: two
// readings of the clock a block are too many for that one. A block's time is from
// when the method asks for it to when the consumer has had it; of a send, to when
// the kernel has taken it. What one reading of the clock costs is measured by
// Floor/what=clock, and what both add to a block by the null method.
//
// With a rate, blocks are due at fixed times whether or not the ones before them
// are done, and each is timed from when it was due (an open loop): otherwise a
// stall would put off the blocks behind it and be counted once ("coordinated
// omission", G. Tene, How NOT to Measure Latency, 2013).

const (
	// latencyBlocks is how many blocks are timed at the most: enough for a p99.9.
	latencyBlocks = 1 << 13
	// openLoop is for how long blocks come due at a rate.
	openLoop = time.Second
	// longest is the longest time that a block may take.
	longest = time.Hour
)

// A percentile is reported of so many blocks and more: of fewer, it would be the
// maximum by another name.
var percentiles = []struct {
	unit  string
	at    float64
	least int64
}{{"p50-ns", 50, 2}, {"p99-ns", 99, 100}, {"p999-ns", 99.9, 1000}}

// A stopwatch times the blocks of one job.
type stopwatch struct {
	every time.Duration // from one block's due time to the next's; 0: a closed loop
	began time.Time
	from  []time.Duration // when each block was asked for, or due
	done  int             // blocks that have ended
	late  int             // blocks that were begun after they were due
	times *hdrhistogram.Histogram
}

func newStopwatch(blocks int, every time.Duration) *stopwatch {
	return &stopwatch{every: every, from: make([]time.Duration, 0, blocks), times: hdrhistogram.New(1, int64(longest), 3)}
}

// begin notes that the i-th block is asked for, once it is due.
func (w *stopwatch) begin(i int) {
	now := time.Since(w.began)
	if w.every > 0 {
		due := time.Duration(i) * w.every
		if now > due {
			w.late++
		}
		for now < due { // a sleep would oversleep
			now = time.Since(w.began)
		}
		now = due
	}
	w.from = append(w.from, now)
}

// end notes that the next block is done.
func (w *stopwatch) end() {
	if w.done == len(w.from) {
		return // see report
	}
	took := time.Since(w.began) - w.from[w.done]
	w.done++
	w.times.RecordValue(int64(max(took, 1))) // no error below an hour, and see report
}

// latency is the pass. It returns how many bytes came from the device meanwhile.
func (s *Session) latency(b *testing.B, t *task) (fetched int64, err error) {
	if t.plan == nil || t.whole {
		return 0, nil // there are no blocks
	}
	blocks, every := latencyBlocks, time.Duration(0)
	if s.opt.Rate > 0 {
		every = time.Duration(float64(time.Second) / s.opt.Rate)
		blocks = max(1, min(blocks, int(openLoop/every)))
	}
	whole, want, consume := t.plan, t.want, t.consume
	defer func() { t.plan, t.want, t.consume = whole, want, consume }()
	plan := *workloads.Head(whole, blocks)
	w := newStopwatch(plan.Pieces(), every)
	if t.want, err = t.reference(&plan); err != nil {
		return 0, err
	}
	if consume != nil {
		plan.Pace = w.begin
		t.consume = func(off int64, b []byte) { consume(off, b); w.end() }
	} else {
		// A sender has no consumer: a block ends where the next is asked for.
		plan.Pace = func(i int) {
			if i > 0 {
				w.end()
			}
			w.begin(i)
		}
	}
	t.plan = &plan
	if t.cache == "cold" {
		if _, err := s.prepare(t.cache); err != nil {
			return 0, err
		}
	}
	if err := call(t.before); err != nil {
		return 0, err
	}
	if err := t.Begin(); err != nil {
		return 0, err
	}
	meter := counters.OpenMeter()
	defer meter.Close()
	if err := meter.Start(); err != nil {
		return 0, err
	}
	w.began = time.Now()
	if err := t.Move(); err != nil {
		return 0, fmt.Errorf("time each block: %w", err)
	}
	if consume == nil && len(w.from) > 0 {
		w.done++ // whose end is the job's, and not its own: a munmap, an fdatasync
	}
	if err := errors.Join(meter.Stop(), t.End(), call(t.after)); err != nil {
		return 0, fmt.Errorf("time each block: %w", err)
	}
	return meter.DeviceBytes, w.report(b, plan.Pieces())
}

// report reports the times of that many blocks, if there were any.
func (w *stopwatch) report(b *testing.B, blocks int) error {
	n := w.times.TotalCount()
	switch {
	case w.done != blocks:
		return fmt.Errorf("time each block: %d of %d were awaited (a method calls Plan.Await before each piece, or is registered as Whole)", w.done, blocks)
	case n == 0:
		return nil
	case n < int64(w.done)-1:
		return fmt.Errorf("time each block: %d of %d took more than %v", int64(w.done)-n, w.done, longest)
	}
	for _, p := range percentiles {
		if n >= p.least {
			b.ReportMetric(float64(w.times.ValueAtPercentile(p.at)), p.unit)
		}
	}
	b.ReportMetric(float64(w.times.Max()), "max-ns")
	if w.every > 0 {
		b.ReportMetric(100*float64(w.late)/float64(w.done), "late-%")
	}
	return nil
}
