package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"iopath/internal/counters"
)

// tracedJobs is how many jobs are counted in a cell under ptrace, where a call
// takes 20 µs.
const tracedJobs = 1

// openCounter finds out how calls can be counted.
func (s *Session) openCounter() {
	s.why = errors.New("-counter=none")
	if s.opt.Counter == "none" {
		return
	}
	if s.opt.Counter != "ptrace" {
		// One is kept open: the kernel takes 40 ms to let go of the last.
		if s.keep, s.why = counters.OpenTracepoint(); s.why == nil {
			s.counter = "tracepoint"
			return
		}
	}
	if s.opt.Counter != "tracepoint" {
		err := counters.ProbeTrace()
		if err == nil {
			s.counter, s.why = "ptrace", nil
			return
		}
		s.why = errors.Join(s.why, err)
	}
}

// Counter names how system calls are counted; where they are not, it is empty
// and the error says why.
func (s *Session) Counter() (string, error) { return s.counter, s.why }

// counts reports whether the cell is to be counted.
func (s *Session) counts(c Cell) bool {
	return s.counter != "" && (s.countAll ||
		s.counter == "tracepoint" && (c.Benchmark == "Ceiling" || c.Benchmark == "Read" && c.Cache == "warm"))
}

// count is the counted pass, over the same jobs, and the proof of the path.
func (s *Session) count(c Cell, t *task) (calls counters.Calls, err error) {
	if s.counter == "ptrace" {
		calls, err = s.countTraced(c)
	} else {
		calls, err = s.countHere(t)
	}
	if err != nil {
		return calls, fmt.Errorf("count the system calls: %w", err)
	}
	return calls, calls.Prove(t.declared)
}

func (s *Session) countHere(t *task) (counters.Calls, error) {
	c, err := counters.OpenTracepoint()
	if err != nil {
		return counters.Calls{}, err
	}
	defer c.Close()
	// Two jobs that agree are enough. Where they do not, the third decides: in
	// one cell of 200 the Go runtime maps memory on the job's thread.
	var all []counters.Calls
	for len(all) < 2 || len(all) == 2 && all[0].Total != all[1].Total {
		calls, err := counters.Count(c, 1, s.prepared(t))
		if err != nil {
			return calls, err
		}
		all = append(all, calls)
	}
	slices.SortFunc(all, func(a, b counters.Calls) int { return cmp.Compare(a.Total, b.Total) })
	return all[len(all)/2], nil
}

// prepared is the task's job with the cache state made before it.
func (s *Session) prepared(t *task) counters.Job {
	job := t.Job
	if t.cache == "cold" {
		job.Begin = func() error {
			if err := s.prepare(t.cache); err != nil {
				return err
			}
			return t.Begin()
		}
	}
	return job
}

// tracedEnv holds a tracedCell, as JSON, for a process that is to run its jobs
// with marks around them, and be counted by the parent that traces it.
const tracedEnv = "IOPATH_TRACED"

type tracedCell struct {
	Options Options
	Cell    Cell
}

// countTraced runs the cell's jobs in a process of their own under ptrace: the
// running program, started again.
func (s *Session) countTraced(c Cell) (counters.Calls, error) {
	spec := tracedCell{s.given, c}
	spec.Options.Counter = "none"
	env, err := json.Marshal(spec)
	if err != nil {
		return counters.Calls{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return counters.Calls{}, err
	}
	var calls []counters.Calls
	var complaint bytes.Buffer
	ended := make(chan error)
	// On a thread of its own: ours may have a descriptor table of its own, which
	// the goroutines that serve the child do not share.
	go func() {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Env = append(os.Environ(), tracedEnv+"="+string(env))
		cmd.Stderr = &complaint
		var err error
		calls, err = counters.Trace(context.Background(), cmd)
		ended <- err
	}()
	if err := <-ended; err != nil {
		if text := strings.TrimSpace(complaint.String()); text != "" {
			err = errors.New(text)
		}
		return counters.Calls{}, err
	}
	if len(calls) != tracedJobs {
		return counters.Calls{}, fmt.Errorf("the traced child marked off %d jobs, want %d", len(calls), tracedJobs)
	}
	return counters.Mean(calls), nil
}

// traced runs the jobs of a traced cell where this process was started for that.
// Whoever can be started so calls it before anything else.
func traced(ctx context.Context) (started bool, err error) {
	env, started := os.LookupEnv(tracedEnv)
	if !started {
		return false, nil
	}
	var spec tracedCell
	if err := json.Unmarshal([]byte(env), &spec); err != nil {
		return true, fmt.Errorf("read %s: %w", tracedEnv, err)
	}
	s, err := Open(ctx, spec.Options)
	if err != nil {
		return true, err
	}
	defer s.Close()
	// Not timed, and so not alone: a job that takes 20 µs a call gives Go's
	// scheduler every occasion to move it to another thread.
	return true, s.with(spec.Cell, false, func(t *task) error {
		// The parent has made the file warm, and holds it.
		if t.cache == "warm" {
			if err := s.stillWarm(); err != nil {
				return err
			}
		}
		if t.cache != "cold" {
			if err := t.once(); err != nil {
				return err
			}
		}
		marks, err := counters.OpenMarks()
		if err != nil {
			return err
		}
		defer marks.Close()
		_, err = counters.Count(marks, tracedJobs, s.prepared(t))
		return err
	})
}
