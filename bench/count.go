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
	"runtime"
	"slices"
	"strings"
	"sync"

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
	if w, ok := workloadOf(c.Benchmark); ok && w.name == "parallel" && s.counter == "ptrace" {
		return false // marks are one thread's
	}
	return s.counter != "" && (s.countAll ||
		s.counter == "tracepoint" && (c.Benchmark == "Ceiling" || c.Benchmark == "Read" && c.Cache == "warm"))
}

// countTries is how often an idiomatic cell is counted whose path is not proven: of a
// hundred files that Go's runtime opens, one makes it wake its poller by write(2).
const countTries = 3

// count is the counted pass, over the same jobs, and the proof of the path.
func (s *Session) count(c Cell, t *task) (calls counters.Calls, err error) {
	for try := 1; ; try++ {
		if s.counter == "ptrace" {
			calls, err = s.countTraced(c)
		} else {
			calls, err = s.countHere(t)
		}
		if err != nil {
			return calls, fmt.Errorf("count the system calls: %w", err)
		}
		if err = t.prove(calls); err == nil || !t.idiomatic || try == countTries {
			return calls, err
		}
	}
}

// prove proves the path of a job that made those calls.
func (t *task) prove(calls counters.Calls) error {
	if err := calls.Over(max(t.parts, 1)).Prove(t.declared); err != nil {
		return err
	}
	for _, name := range t.each {
		if want := t.plan.Pieces(); calls.ByName[name] < float64(want) {
			return fmt.Errorf("%w: %s(2) is due after each of %d pieces; seen: %s", counters.ErrPath, name, want, calls)
		}
	}
	return nil
}

// warmUp brings the file into its state and runs the first job, as before the
// timed ones.
func (s *Session) warmUp(t *task) error {
	if t.cache == "warm" {
		if _, err := s.prepare(t.cache); err != nil {
			return err
		}
	}
	if t.cache == "cold" {
		return nil
	}
	return t.once()
}

func (s *Session) countHere(t *task) (counters.Calls, error) {
	if t.count != nil {
		return t.count()
	}
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

// prepared is the task's job with the cache state made before it, and what is
// untimed before and after it.
func (s *Session) prepared(t *task) counters.Job {
	job := t.Job
	job.Begin = func() error {
		if t.cache == "cold" {
			if _, err := s.prepare(t.cache); err != nil {
				return err
			}
		}
		if err := call(t.before); err != nil {
			return err
		}
		return t.Begin()
	}
	job.End = func() error {
		if err := t.End(); err != nil {
			return err
		}
		return call(t.after)
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

// countTraced runs the cell's job in a process of its own under ptrace: the
// running program, started again.
func (s *Session) countTraced(c Cell) (counters.Calls, error) {
	spec := tracedCell{s.given, c}
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
	return calls[0], nil
}

// Child does what this process was started for, where that was by another one of ours: to
// run the jobs of a traced cell, or to be the other side of an experiment.
// A program that counts cells calls it before anything else, and ends where it
// was.
func Child(ctx context.Context) (started bool, err error) {
	for _, child := range []func() (bool, error){channelChild, largerChild, pressureChild} {
		if started, err := child(); started {
			return true, err
		}
	}
	env, started := os.LookupEnv(tracedEnv)
	if !started {
		return false, nil
	}
	var spec tracedCell
	if err := json.Unmarshal([]byte(env), &spec); err != nil {
		return true, fmt.Errorf("read %s: %w", tracedEnv, err)
	}
	s, err := newSession(ctx, spec.Options)
	if err != nil {
		return true, err
	}
	defer s.Close()
	// The parent has made the file warm, and holds it.
	return true, s.marked(spec.Cell, tracedJobs)
}

// marked runs the cell's jobs, each between two marks, and counts nothing. They
// are not timed, and so not alone: one that takes 20 µs a call gives Go's
// scheduler every occasion to move it to another thread.
func (s *Session) marked(c Cell, jobs int) error {
	return s.with(c, false, func(t *task) error {
		if t.cache == "warm" {
			if _, err := s.stillWarm(); err != nil {
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
		spareThreads()
		_, err = counters.Count(marks, jobs, s.prepared(t))
		return err
	})
}

// spareThreads leaves Go's scheduler some idle threads. It wants one where a job
// holds the processor for long, and would else map the memory for a new one on the
// job's thread.
func spareThreads() {
	const threads = 8
	var started, ended sync.WaitGroup
	started.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread() // each is on a thread of its own
			defer runtime.UnlockOSThread()
			started.Done()
			started.Wait()
		})
	}
	ended.Wait()
}

// find returns the first cell of the matrix that has the name's keys. Where the
// name leaves them out, the cell is a sequential, warm one.
func (s *Session) find(name string) (Cell, error) {
	want, err := ParseCell(name)
	if err != nil {
		return want, err
	}
	if _, ok := workloadOf(want.Benchmark); ok && want.Method == "" {
		return want, usage("cell %q names no method (write it as %s)", name, exampleCell)
	}
	cells, skips := s.Cells()
	for _, c := range cells {
		if c.matches(want) && (want.Consume != "" || c.Consume == usualConsumer || c.Consume == "") {
			return c, nil
		}
	}
	for _, skip := range skips {
		return want, usage("cell %q is not to be had here: %v", name, skip)
	}
	return want, usage("there is no cell %q (see iopath methods for the roles of a method, and iopath bench -h for the keys' values)", name)
}

// A Breakdown is what the jobs of one cell call, by name and per job. What has no
// name here is "other".
type Breakdown struct {
	Cell      string             // its full name
	Source    string             // "tracepoint" or "ptrace"
	Bytes     int64              // of a job; 0 where it moves none
	Calls     map[string]float64 // the job's own
	Scheduler map[string]float64 // by which Go's scheduler put the thread to sleep and woke it
}

// CountCell counts the system calls of the cell that name stands for (see
// [ParseCell]), and proves its path.
func CountCell(ctx context.Context, o Options, name string) (b Breakdown, err error) {
	err = onCell(ctx, o, name, func(s *Session, c Cell) error {
		if s.counter == "" {
			return fmt.Errorf("count the system calls: %w", s.why)
		}
		return s.with(c, true, func(t *task) error {
			if err := s.warmUp(t); err != nil {
				return err
			}
			calls, err := s.count(c, t)
			if err != nil {
				return err
			}
			own, sched := calls.Split(t.own())
			b = Breakdown{c.Name(), s.counter, t.bytes, own.ByName, sched.ByName}
			for _, n := range own.ByName {
				own.Total -= n
			}
			if own.Total > 0 {
				b.Calls["other"] = own.Total
			}
			return nil
		})
	})
	return b, err
}

// RunJobs runs jobs of the cell that name stands for, and neither times nor counts
// them: for strace, perf or bpftrace to look at. Each job is between two signals
// (rt_tgsigqueueinfo) that its thread sends itself.
func RunJobs(ctx context.Context, o Options, name string, jobs int) error {
	o.Counter = "none"
	return onCell(ctx, o, name, func(s *Session, c Cell) error {
		if c.Cache == "warm" {
			if _, err := s.prepare(c.Cache); err != nil {
				return err
			}
		}
		return s.marked(c, jobs)
	})
}

// onCell opens a session for one cell and hands it over, on a goroutine that ends
// with its thread.
func onCell(ctx context.Context, o Options, name string, do func(*Session, Cell) error) error {
	want, err := ParseCell(name)
	if err != nil {
		return err
	}
	s, err := Open(ctx, o.narrowed(want))
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := s.find(name)
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- do(s, c) }()
	return <-ended
}
