// Package counters says why a method is as fast as it is: its system calls, its
// page faults, its context switches, its CPU time, the bytes it took from the
// device and gave to it, the processor's own events, and the TLB shootdowns.
//
// Two kinds are kept apart. [Usage] is what the kernel and the processor keep of
// each thread anyway; reading it before and after the timed jobs costs them
// nothing. A [Counter] makes the kernel, or a tracing parent, count system calls;
// that costs each call something, and so it runs only in a pass of its own.
//
// Everything is per thread. The caller locks its goroutine to its OS thread
// first, and stays on it.
package counters

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Usage is what one thread has used, since it started or in a stretch.
type Usage struct {
	CPU time.Duration // user and system, exact

	// UserCPU and SystemCPU add up to CPU. How it is split is sampled, by what
	// the thread was at when the timer ticked (1 to 10 ms, CONFIG_HZ), unless the
	// kernel accounts at every entry (CONFIG_VIRT_CPU_ACCOUNTING_GEN with
	// nohz_full, or _NATIVE): over few ticks it says nothing. The kernel scales
	// all of the thread's samples to all of its time, and lets neither half
	// shrink, and so what the thread did before weighs in: take the halves from a
	// fresh thread, or as a hint (cputime_adjust in kernel/sched/cputime.c).
	UserCPU, SystemCPU time.Duration

	MinorFaults int64
	MajorFaults int64 // those that waited for the device

	Switches               int64 // voluntary and involuntary
	Voluntary, Involuntary int64 // context switches to wait, and those by preemption

	DeviceBytes int64 // fetched from the block device on behalf of the thread

	// DeviceWritten is what the device is to write on account of the thread,
	// whenever that is and whoever does it: the bytes of the pages that the
	// thread made dirty, by write(2) or through a mapping, and what it wrote
	// past the page cache. A folio that was dirty counts no second time, and one
	// that was not counts whole. Dirty pages that the thread took back by
	// truncation are subtracted, whoever had made them dirty: it may be negative
	// (proc_pid_io(5): write_bytes, cancelled_write_bytes).
	DeviceWritten  int64
	HasDeviceBytes bool // whether this kernel tells either

	// Hardware is what the processor counted of the thread, by [Cycles] and so on,
	// in the scope that [ProbeHardware] tells; HasHardware says which figures
	// there are. There is none where the processor's counters were not the
	// thread's for the whole stretch, since others had use of them as well: to
	// scale up what was seen (perf_event_open(2), PERF_FORMAT_TOTAL_TIME_RUNNING)
	// would take the rest of a job for its like.
	Hardware    [NumHardware]int64
	HasHardware [NumHardware]bool

	enabled, running int64 // nanoseconds that Hardware was to be counted, and was
}

// The events that the processor counts, as indices of Usage.Hardware.
const (
	Cycles       = iota
	Instructions // retired
	LLCMisses    // loads that missed the last-level cache
	DTLBMisses   // loads that missed the data TLB: on x86 all its levels, on arm64 the first
	NumHardware
)

// HardwareNames are the names of those events.
var HardwareNames = [NumHardware]string{"cycles", "instructions", "llc-misses", "dtlb-misses"}

// add adds the stretch from begin to end.
func (u *Usage) add(begin, end *Usage) {
	u.CPU += end.CPU - begin.CPU
	// getrusage(2) cuts to microseconds, and could exceed the whole by one.
	u.SystemCPU = min(u.SystemCPU+end.SystemCPU-begin.SystemCPU, u.CPU)
	u.UserCPU = u.CPU - u.SystemCPU
	u.MinorFaults += end.MinorFaults - begin.MinorFaults
	u.MajorFaults += end.MajorFaults - begin.MajorFaults
	u.Voluntary += end.Voluntary - begin.Voluntary
	u.Involuntary += end.Involuntary - begin.Involuntary
	u.Switches = u.Voluntary + u.Involuntary
	u.DeviceBytes += end.DeviceBytes - begin.DeviceBytes
	u.DeviceWritten += end.DeviceWritten - begin.DeviceWritten
	u.HasDeviceBytes = end.HasDeviceBytes
	u.enabled += end.enabled - begin.enabled
	u.running += end.running - begin.running
	for i, has := range end.HasHardware {
		u.Hardware[i] += end.Hardware[i] - begin.Hardware[i]
		u.HasHardware[i] = has && u.running == u.enabled
	}
}

// Calls is how many system calls were made, or were made for each job.
type Calls struct {
	Total  float64
	ByName map[string]float64 // the named ones (see Names); zeros are left out

	// Shootdowns is how often the thread interrupted other CPUs to have them drop
	// translations from their TLBs, by munmap, mprotect and the like: once for
	// all of the CPUs that it asked.
	Shootdowns    float64
	HasShootdowns bool // whether they are counted: see ProbeShootdowns
}

// A Counter counts the system calls of the calling thread, and where it can its
// TLB shootdowns. It is used by that thread alone.
type Counter interface {
	// Source names how it counts: "tracepoint" or "ptrace".
	Source() string
	// Begin begins a stretch.
	Begin() error
	// End ends it and returns what was called in it. The counter's own calls
	// are not among them.
	End() (Calls, error)
	Close() error
}

// A Job is one unit of work in three parts, of which the middle one is counted.
type Job struct {
	// Begin readies the job: the cache state, the other side.
	Begin func() error
	// Move moves the job's bytes. Only its calls are counted.
	Move func() error
	// End waits for the other side and verifies.
	End func() error
}

// Count runs n jobs under the counter and returns the mean calls of one. Every
// job is a stretch of its own, so that nothing which happens between jobs, while
// the next is readied, is counted.
func Count(c Counter, n int, j Job) (Calls, error) {
	var all []Calls
	for range n {
		if err := j.Begin(); err != nil {
			return Calls{}, err
		}
		if err := c.Begin(); err != nil {
			return Calls{}, err
		}
		moveErr := j.Move()
		calls, err := c.End()
		if err := errors.Join(moveErr, err); err != nil {
			return Calls{}, err
		}
		if err := j.End(); err != nil {
			return Calls{}, err
		}
		all = append(all, calls)
	}
	return mean(all), nil
}

// mean is that of calls which were counted in several stretches.
func mean(all []Calls) Calls { return Sum(all).Over(max(len(all), 1)) }

// Over divides the calls by n.
func (c Calls) Over(n int) Calls {
	c.Total /= float64(n)
	c.Shootdowns /= float64(n)
	c.ByName = maps.Clone(c.ByName)
	for name := range c.ByName {
		c.ByName[name] /= float64(n)
	}
	return c
}

// Sum adds up calls that several threads have made.
func Sum(all []Calls) Calls {
	sum := Calls{ByName: map[string]float64{}, HasShootdowns: len(all) > 0}
	for _, c := range all {
		sum.Total += c.Total
		sum.Shootdowns += c.Shootdowns
		sum.HasShootdowns = sum.HasShootdowns && c.HasShootdowns
		for name, n := range c.ByName {
			sum.ByName[name] += n
		}
	}
	return sum
}

// bulk names the calls that move data in bulk. A method that declares one and
// is seen to make another has taken a path that is not its own.
var bulk = strings.Fields(`
	read readv pread64 preadv preadv2 recvfrom recvmsg recvmmsg
	write writev pwrite64 pwritev pwritev2 sendto sendmsg sendmmsg
	sendfile splice tee vmsplice copy_file_range
	io_uring_enter io_submit process_vm_readv process_vm_writev`)

// ErrPath is matched by the error of a job that did not take the path it is
// named after.
var ErrPath = errors.New("not the declared path")

// Prove checks the calls of one job against those that its method declares:
// each was made, and no other call that moves data in bulk was.
func (c Calls) Prove(declared []string) error {
	for _, name := range declared {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("%w: %q is declared, and is not a system call that can be counted by name", ErrPath, name)
		}
		if c.ByName[name] < 1 {
			return fmt.Errorf("%w: %s(2) is declared and was not made; seen: %s", ErrPath, name, c)
		}
	}
	for _, name := range bulk {
		// Less than one a job is the Go runtime's: it wakes its poller by write.
		if c.ByName[name] >= 1 && !slices.Contains(declared, name) {
			return fmt.Errorf("%w: %s(2) is not declared and was made; seen: %s", ErrPath, name, c)
		}
	}
	return nil
}

// scheduler names the calls by which Go's runtime puts threads to sleep and
// wakes them. How often it does depends on the clock, not on the job.
var scheduler = []string{"futex", "nanosleep", "sched_yield", "rt_sigreturn", "tgkill", "getpid"}

// Split tells the calls that are the job's from those that Go's scheduler made on
// the same thread, unless the method declares them.
func (c Calls) Split(declared []string) (own, sched Calls) {
	own, sched = c, Calls{ByName: map[string]float64{}}
	own.ByName = maps.Clone(c.ByName)
	for _, name := range scheduler {
		if n := c.ByName[name]; n > 0 && !slices.Contains(declared, name) {
			sched.ByName[name] = n
			sched.Total += n
			delete(own.ByName, name)
		}
	}
	own.Total -= sched.Total
	return own, sched
}

// String lists the calls by name, most frequent first.
func (c Calls) String() string {
	names := make([]string, 0, len(c.ByName))
	other := c.Total
	for name, n := range c.ByName {
		names = append(names, name)
		other -= n
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(c.ByName[b], c.ByName[a]), strings.Compare(a, b))
	})
	var out []string
	for _, name := range names {
		out = append(out, fmt.Sprintf("%s=%.4g", name, c.ByName[name]))
	}
	if other > 0 {
		out = append(out, fmt.Sprintf("other=%.4g", other))
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, " ")
}
