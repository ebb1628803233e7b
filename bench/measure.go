package bench

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"iopath/internal/counters"
	"iopath/internal/device"
	"iopath/internal/pagecache"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// A task is a cell made ready: its job, and what is known of it.
type task struct {
	counters.Job
	cache     string       // state to prove before each job; "" where no file is read
	bytes     int64        // moved by a job; 0: the job has no throughput
	declared  []string     // system calls that the job must be seen to make
	sometimes []string     // others that are its own: see iomethod.Role
	each      []string     // those of declared that it must make once a piece
	idiomatic bool         // see iomethod.Method
	peer      *peer.Report // CPU times added up by End; nil without a peer
	close     func() error

	// What is done before and after each job while the clock stands: to make the
	// file that it writes what it was, and to read back what it wrote. Either may
	// be nil.
	before, after func() error

	// figures returns what the task itself has to tell, of all jobs since it was
	// called last. It may be nil.
	figures func() []iomethod.Figure

	// parts is how many times a job does what its method declares; 0 is once.
	parts int

	// writes says that the job writes a file.
	writes bool

	// loaded says that the job reads files which are in the page cache, and that no
	// byte of them may come from the device.
	loaded bool

	// process says that other threads than the calling one do the job, or a part of
	// it, so that the whole process is metered; count, where it is not nil, is how
	// their calls are counted.
	process bool
	count   func() (counters.Calls, error)

	// The blocks of a Read or a Send, which the latency pass times: what the job
	// does, what it must come to, and who gets the bytes (nil for a Send). The
	// job looks at them anew each time.
	whole     bool // see iomethod.Method
	plan      *iomethod.Plan
	want      workloads.Digest
	reference func(*iomethod.Plan) (workloads.Digest, error)
	consume   iomethod.Consumer

	// Of a Floor: how many steps a job has (else 0), how many of them must be
	// minor faults, and how long all of them took so far.
	steps, faults int
	moving        time.Duration
}

// Run measures the cell: b is told its time and its metrics. An error means that
// there is no result; b is then neither failed nor skipped.
//
// b's goroutine stays locked to its thread, which is not fit for others any more,
// and must end.
func (s *Session) Run(b *testing.B, c Cell) error {
	return s.with(c, true, func(t *task) error {
		var before, after residency
		if t.cache == "warm" {
			if err := before.note(s.prepare(t.cache)); err != nil {
				return err
			}
		}
		// The first job pays for the process: page tables, buffers, sockets.
		if t.cache != "cold" {
			if err := t.once(); err != nil {
				return err
			}
		}
		used, err := s.time(b, t, &before, &after)
		if err != nil {
			return err
		}
		var peerUsed peer.Report
		if t.peer != nil {
			peerUsed = *t.peer
		}
		var figures []iomethod.Figure
		if t.figures != nil {
			figures = t.figures()
		}
		elapsed := b.Elapsed()
		var calls counters.Calls
		counted := s.counts(c)
		if counted {
			if calls, err = s.count(c, t); err != nil {
				return err
			}
		}
		fetched, err := s.latency(b, t)
		if err != nil {
			return err
		}
		if t.cache == "warm" {
			if err := after.note(s.stillWarm()); err != nil {
				return err
			}
		}
		// Stricter than residency: one page in a hundred read from the device would
		// be a tenth of the job's time, and one the p99.9.
		if fetched += used.DeviceBytes; fetched > 0 && (t.cache == "warm" || t.loaded) {
			clear(s.loaded) // the machine took pages away: see load
			return fmt.Errorf("%w: %d bytes came from the device in %d jobs", pagecache.ErrNotWarm, fetched, b.N)
		}
		// By Zipf's law, most of a job's bytes are in the page cache when it wants them;
		// and a clone does not want them at all.
		clones := c.Benchmark == "Copy" && s.lacks()["reflink"] == nil
		if t.cache == "cold" && c.Pattern != "zipf" && !clones {
			if err := s.slowEnough(t.bytes, float64(t.bytes)*float64(b.N)/elapsed.Seconds()); err != nil {
				return err
			}
		}
		if c.Benchmark == "Device" {
			if err := device.Served(used, t.bytes*int64(b.N)); err != nil {
				return err
			}
			s.deviceRate = max(s.deviceRate, float64(t.bytes)*float64(b.N)/elapsed.Seconds())
		}
		if t.steps > 0 {
			return t.reportStep(b, used, calls, counted)
		}
		for _, f := range figures {
			b.ReportMetric(f.Value, f.Unit)
		}
		jobs := float64(b.N)
		report := func(v float64, unit string) { b.ReportMetric(v/jobs, unit) }
		report(float64(used.CPU), "cpu-ns/op")
		report(float64(used.UserCPU), "user-cpu-ns/op")
		report(float64(used.SystemCPU), "sys-cpu-ns/op")
		report(float64(used.MinorFaults), "minflt/op")
		report(float64(used.MajorFaults), "majflt/op")
		report(float64(used.Voluntary+used.Involuntary), "ctxsw/op")
		report(float64(used.Voluntary), "voluntary-ctxsw/op")
		report(float64(used.Involuntary), "involuntary-ctxsw/op")
		// Nothing is said of what has no file, nor where the kernel does not tell.
		d := s.files[t.cache]
		if used.HasDeviceBytes && t.writes && s.mapped().untold == nil {
			report(float64(used.DeviceWritten), "dirtied-B/op")
		}
		if used.HasDeviceBytes && (c.Benchmark == "Device" || d != nil && d.untold == nil) {
			report(float64(used.DeviceBytes), "device-B/op")
			if t.cache == "cold" {
				report(float64(used.DeviceBytes)/float64(t.bytes), "read-amplification")
			}
		}
		for i, has := range used.HasHardware {
			if has {
				report(float64(used.Hardware[i]), counters.HardwareNames[i]+"/op")
			}
		}
		if t.peer != nil {
			report(float64(peerUsed.CPU), "peer-cpu-ns/op")
			report(float64(peerUsed.UserCPU), "peer-user-cpu-ns/op")
			report(float64(peerUsed.SystemCPU), "peer-sys-cpu-ns/op")
		}
		before.report(b, "resident-before-%")
		after.report(b, "resident-after-%")
		if counted {
			own, scheduler := calls.Split(t.own())
			b.ReportMetric(own.Total, "syscalls/op")
			// A traced raw job is not alone, as the timed one is.
			if t.idiomatic || s.counter != "ptrace" {
				b.ReportMetric(scheduler.Total, "sched-syscalls/op")
			}
			if calls.HasShootdowns {
				b.ReportMetric(calls.Shootdowns, "tlb-shootdowns/op")
			}
		}
		return nil
	})
}

// reportStep reports a Floor: one op is one step.
func (t *task) reportStep(b *testing.B, used counters.Usage, calls counters.Calls, counted bool) error {
	// One in a hundred may be the process's own.
	if want := float64(b.N) * float64(t.faults); t.faults > 0 && math.Abs(float64(used.MinorFaults)-want) > want/100 {
		return fmt.Errorf("%d minor faults in %d jobs, want %d in each", used.MinorFaults, b.N, t.faults)
	}
	steps := float64(b.N) * float64(t.steps)
	b.ReportMetric(float64(t.moving)/steps, "ns/op")
	b.ReportMetric(float64(used.MinorFaults)/steps, "minflt/op")
	if counted {
		own, _ := calls.Split(t.own())
		b.ReportMetric(own.Total/float64(t.steps), "syscalls/op")
	}
	return nil
}

// A residency is how much of the file was resident at a point of each job.
type residency struct {
	sum float64
	n   int
}

// note takes in one count of the pages, unless there is an error instead.
func (r *residency) note(now pagecache.Residency, err error) error {
	if err == nil {
		r.sum += now.Share()
		r.n++
	}
	return err
}

func (r *residency) report(b *testing.B, unit string) {
	if r.n > 0 {
		b.ReportMetric(100*r.sum/float64(r.n), unit)
	}
}

// with makes the calling thread fit for the cell's jobs, opens its task, and
// calls do. Jobs that are timed run with Go's scheduler out of the way where
// their method allows it.
func (s *Session) with(c Cell, timed bool, do func(*task) error) (err error) {
	// One thread for the whole cell: counters and pinning are per thread.
	runtime.LockOSThread()
	restore, err := quieten(s.jobCPU())
	if err != nil {
		return err
	}
	defer restore()
	if m, ok := iomethod.Lookup(c.Method); s.ownTable && !(ok && m.Idiomatic) {
		if err := ownDescriptors(); err != nil {
			return err
		}
	}
	t, err := s.task(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	t.Job = slowed(c, t.Job)
	if timed && !t.idiomatic {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // see alone
		time.Sleep(settle)
		t.Job = alone(t.Job)
	}
	// No collection while the clock runs. What a cell allocates is freed after
	// the cell: the idiomatic methods allocate a little for each job.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	return do(t)
}

func (s *Session) task(c Cell) (*task, error) {
	if w, ok := workloadOf(c.Benchmark); ok {
		return w.task(s, c)
	}
	switch c.Benchmark {
	case "Ceiling":
		return s.ceilingTask(c)
	case "Device":
		return s.deviceTask(c)
	case "Floor":
		return s.floorTask(c)
	}
	return nil, fmt.Errorf("benchmark %q is unknown", c.Benchmark)
}

// own lists the calls that are the job's, whoever else may make them.
func (t *task) own() []string { return slices.Concat(t.declared, t.sometimes) }

// hasHelpers reports whether the kernel does a part of the job in threads of its own
// on the process's account: io_uring's, for what would block (io_uring(7), io-wq).
func hasHelpers(declared []string) bool { return slices.Contains(declared, "io_uring_enter") }

// settle lets goroutines that are waiting for their first turn have it before
// the jobs: one that then blocks (os/signal's does) hands the only P to another
// thread, and the job with it.
const settle = 2 * time.Millisecond

// alone keeps Go's scheduler out of a job that needs nothing of it. Sysmon asks
// a goroutine that has run for 10 ms to step aside. One that is locked to its
// thread then goes to sleep, and wakes another thread to be woken by it: three
// futex calls and two context switches in the midst of the job. One that is not
// locked, where there is but one P, is picked again on the spot. It cannot change
// its thread as long as it makes raw system calls alone; that is checked, since
// the counters are the thread's.
func alone(j counters.Job) counters.Job {
	var tid int
	return counters.Job{
		Begin: func() error {
			tid = threadID()
			return j.Begin()
		},
		Move: func() error {
			runtime.UnlockOSThread()
			defer runtime.LockOSThread()
			if err := j.Move(); err != nil {
				// On another thread the job's descriptors are not there.
				return errors.Join(moved(tid), err)
			}
			return nil
		},
		End: func() error {
			if err := moved(tid); err != nil {
				return err
			}
			return j.End()
		},
	}
}

func moved(from int) error {
	if now := threadID(); now != from {
		return fmt.Errorf("%w from %d to %d: Go's scheduler was let in (a method that goes through it must be registered as idiomatic)", errMoved, from, now)
	}
	return nil
}

// errMoved is matched by the error of a job that ended on another thread. The one
// it left, which may have descriptors of its own, is in Go's pool: the process is
// not fit for more cells.
var errMoved = errors.New("the job moved to another thread")

// once runs one job, untimed.
func (t *task) once() error {
	if err := call(t.before); err != nil {
		return err
	}
	if err := t.job(); err != nil {
		return err
	}
	return call(t.after)
}

// job runs the part of a job that is timed.
func (t *task) job() error {
	if err := t.Begin(); err != nil {
		return err
	}
	if err := t.Move(); err != nil {
		return err
	}
	return t.End()
}

// call calls what may be nil.
func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// time is the timed pass: nothing is traced, nothing of ours allocates.
func (s *Session) time(b *testing.B, t *task, before, after *residency) (used counters.Usage, err error) {
	open := counters.OpenMeter
	if t.process {
		open = counters.OpenProcessMeter
	}
	meter := open()
	defer meter.Close()
	// Forget the first job.
	if t.peer != nil {
		*t.peer = peer.Report{}
	}
	if t.figures != nil {
		t.figures()
	}
	t.moving = 0
	if t.bytes > 0 {
		b.SetBytes(t.bytes)
	}
	b.ReportAllocs()
	// What the job before has left in the page cache, if there was one.
	left := func() error {
		if t.cache != "cold" || after.n == before.n {
			return nil
		}
		return after.note(pagecache.Resident(s.files[t.cache].f))
	}
	for b.Loop() {
		if t.cache == "cold" || t.before != nil {
			b.StopTimer()
			if t.cache == "cold" {
				if err := errors.Join(left(), before.note(s.prepare(t.cache))); err != nil {
					return used, err
				}
			}
			if err := call(t.before); err != nil {
				return used, err
			}
			b.StartTimer()
		}
		if err := meter.Start(); err != nil {
			return used, err
		}
		if err := t.job(); err != nil {
			return used, err
		}
		if err := meter.Stop(); err != nil {
			return used, err
		}
		if t.after != nil {
			b.StopTimer()
			if err := t.after(); err != nil {
				return used, err
			}
			b.StartTimer()
		}
	}
	return meter.Usage, left()
}
