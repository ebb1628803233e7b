package bench

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"iopath/internal/counters"
	"iopath/internal/pagecache"
	"iopath/workloads/iomethod"
)

// A task is a cell made ready: its job, and what is known of it.
type task struct {
	counters.Job
	cache     string         // state to prove before each job; "" where no file is read
	bytes     int64          // moved by a job; 0: the job has no throughput
	declared  []string       // system calls that the job must be seen to make
	idiomatic bool           // see iomethod.Method
	peerCPU   *time.Duration // added up by End; nil without a peer
	close     func() error
}

// Run measures the cell: b is told its time and its metrics. An error means that
// there is no result; b is then neither failed nor skipped.
//
// b's goroutine stays locked to its thread, which is not fit for others any more,
// and must end.
func (s *Session) Run(b *testing.B, c Cell) error {
	return s.with(c, true, func(t *task) error {
		if t.cache == "warm" {
			if err := s.prepare(t.cache); err != nil {
				return err
			}
		}
		if t.cache != "cold" {
			// The first job pays for the process: page tables, buffers, sockets.
			if err := t.once(); err != nil {
				return err
			}
		}
		used, peerUsed, err := s.time(b, t)
		if err != nil {
			return err
		}
		var calls counters.Calls
		counted := s.counts(c)
		if counted {
			if calls, err = s.count(c, t); err != nil {
				return err
			}
		}
		if t.cache == "warm" {
			if err := s.stillWarm(); err != nil {
				return err
			}
			// Stricter than residency: one page in a hundred read from the
			// device would be a tenth of the job's time.
			if used.DeviceBytes > 0 {
				return fmt.Errorf("%w: %d bytes came from the device in %d jobs", pagecache.ErrNotWarm, used.DeviceBytes, b.N)
			}
		}

		jobs := float64(b.N)
		b.ReportMetric(float64(used.CPU)/jobs, "cpu-ns/op")
		b.ReportMetric(float64(used.MinorFaults)/jobs, "minflt/op")
		b.ReportMetric(float64(used.MajorFaults)/jobs, "majflt/op")
		b.ReportMetric(float64(used.Switches)/jobs, "ctxsw/op")
		if used.HasDeviceBytes {
			b.ReportMetric(float64(used.DeviceBytes)/jobs, "device-B/op")
		}
		if t.peerCPU != nil {
			b.ReportMetric(float64(peerUsed)/jobs, "peer-cpu-ns/op")
		}
		if counted {
			own, scheduler := calls.Split(t.declared)
			b.ReportMetric(own, "syscalls/op")
			// A traced raw job is not alone, as the timed one is.
			if t.idiomatic || s.counter != "ptrace" {
				b.ReportMetric(scheduler, "sched-syscalls/op")
			}
		}
		return nil
	})
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
	switch c.Benchmark {
	case "Read":
		return s.readTask(c)
	case "Send":
		return s.sendTask(c)
	case "Ceiling":
		return s.ceilingTask(c)
	}
	return nil, fmt.Errorf("benchmark %q is unknown", c.Benchmark)
}

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
		return fmt.Errorf("the job moved from thread %d to %d: Go's scheduler was let in (a method that goes through it must be registered as idiomatic)", from, now)
	}
	return nil
}

// once runs one job, untimed.
func (t *task) once() error {
	if err := t.Begin(); err != nil {
		return err
	}
	if err := t.Move(); err != nil {
		return err
	}
	return t.End()
}

// time is the timed pass: nothing is traced, nothing of ours allocates.
func (s *Session) time(b *testing.B, t *task) (used counters.Usage, peerUsed time.Duration, err error) {
	meter := counters.OpenMeter()
	defer meter.Close()
	if t.peerCPU != nil {
		*t.peerCPU = 0 // forget the first job
	}
	if t.bytes > 0 {
		b.SetBytes(t.bytes)
	}
	b.ReportAllocs()
	for b.Loop() {
		if t.cache == "cold" {
			b.StopTimer()
			if err := s.prepare(t.cache); err != nil {
				return used, 0, err
			}
			b.StartTimer()
		}
		if err := meter.Start(); err != nil {
			return used, 0, err
		}
		if err := t.once(); err != nil {
			return used, 0, err
		}
		if err := meter.Stop(); err != nil {
			return used, 0, err
		}
	}
	if t.peerCPU != nil {
		peerUsed = *t.peerCPU
	}
	return meter.Usage, peerUsed, nil
}
