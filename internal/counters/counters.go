// Package counters says why a method is as fast as it is: its system calls, its
// page faults, its context switches, its CPU time and the bytes it took from
// the device.
//
// Two kinds are kept apart. [Usage] is what the kernel keeps of each thread
// anyway; reading it before and after the timed jobs costs them nothing. A
// [Counter] makes the kernel, or a tracing parent, count system calls; that
// costs each call something, and so it runs only in a pass of its own.
//
// Everything is per thread. The caller locks its goroutine to its OS thread
// first, and stays on it.
package counters

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Usage is what one thread has used, since it started or in a stretch.
type Usage struct {
	CPU            time.Duration // user and system
	MinorFaults    int64
	MajorFaults    int64 // those that waited for the device
	Switches       int64 // voluntary and involuntary
	DeviceBytes    int64 // fetched from the block device on behalf of the thread
	HasDeviceBytes bool  // whether this kernel tells them
}

// add adds the stretch from begin to end.
func (u *Usage) add(begin, end *Usage) {
	u.CPU += end.CPU - begin.CPU
	u.MinorFaults += end.MinorFaults - begin.MinorFaults
	u.MajorFaults += end.MajorFaults - begin.MajorFaults
	u.Switches += end.Switches - begin.Switches
	u.DeviceBytes += end.DeviceBytes - begin.DeviceBytes
	u.HasDeviceBytes = end.HasDeviceBytes
}

// Calls is how many system calls were made, or were made for each job.
type Calls struct {
	Total  float64
	ByName map[string]float64 // the named ones (see Names); zeros are left out
}

// A Counter counts the system calls of the calling thread. It is used by that
// thread alone.
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
	return Mean(all), nil
}

// Mean returns the mean of calls that were counted in several stretches.
func Mean(all []Calls) Calls {
	mean := Calls{ByName: map[string]float64{}}
	for _, c := range all {
		mean.Total += c.Total / float64(len(all))
		for name, k := range c.ByName {
			mean.ByName[name] += k / float64(len(all))
		}
	}
	return mean
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
func (c Calls) Split(declared []string) (own, sched float64) {
	for _, name := range scheduler {
		if !slices.Contains(declared, name) {
			sched += c.ByName[name]
		}
	}
	return c.Total - sched, sched
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
