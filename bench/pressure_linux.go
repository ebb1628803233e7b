package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/cgroup"
	"iopath/internal/datafile"
	"iopath/internal/host"
	"iopath/workloads"
)

// pressureEnv marks a process that is to hold a file, or to be the neighbour of one
// that does.
const pressureEnv = "IOPATH_PRESSURE"

// A pressureJob is what such a process is told first.
type pressureJob struct {
	Method string // how to hold the file, or "neighbour"
	Path   string
	Size   int64            // of the file; of a neighbour, what it takes at the most
	Want   workloads.Digest // of the file
}

// A pressureTask is what it is asked then.
type pressureTask struct {
	Grow int64 // of a neighbour: how many bytes to have
	Read bool  // of a holder: read all, else tell what is resident
}

type pressureAnswer struct {
	Resident int64 // bytes
	Took     time.Duration
}

// Run measures each way to hold the file, one after the other, and writes a header and
// each step's result line as it comes. tell is told what is under way. What it returns
// when the context is cancelled is what there is by then.
//
// The processes, the group, and the swap that was made for the run are gone when Run
// returns. An error matches errors.ErrUnsupported where the machine has no such group
// or no swap to be had.
func (p Pressure) Run(ctx context.Context, out io.Writer, o host.Options, tell func(string)) (steps []Step, err error) {
	p, err = p.resolve()
	if err != nil {
		return nil, err
	}
	f, err := openOnDisk(ctx, p.Dir, p.Size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	want, err := workloads.Reference("sum", workloads.Sequential(p.Size, heldBlock), datafile.Content(p.Size))
	if err != nil {
		return nil, err
	}
	off, err := ensureSwap(ctx, p.Dir, p.Swap)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, off()) }()
	for i, method := range PressureMethods {
		if ctx.Err() != nil {
			break
		}
		tell(method)
		job := pressureJob{Method: method, Path: f.Name(), Size: p.Size, Want: want}
		err := p.hold(ctx, job, f, func(g *cgroup.Group) error {
			if i > 0 {
				return nil
			}
			return p.writeHeader(out, g.String(), o)
		}, func(s Step) error {
			steps = append(steps, s)
			_, err := fmt.Fprintln(out, p.line(s))
			return err
		})
		if err != nil && ctx.Err() == nil {
			return steps, fmt.Errorf("%s: %w", method, err)
		}
	}
	return steps, nil
}

// heldBlock is the bytes of a piece of what is held.
const heldBlock = 1 << 20

// hold measures one way to hold the file beside a growing neighbour.
func (p Pressure) hold(ctx context.Context, job pressureJob, f *os.File, begin func(*cgroup.Group) error, each func(Step) error) (err error) {
	if err := evict(f); err != nil {
		return err
	}
	// The processes die with the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g, err := cgroup.New(cgroup.Limit{Memory: p.Limit, Swap: p.Swap})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Remove()) }()
	if err := begin(g); err != nil {
		return err
	}
	holder, err := lodge(g, pressureEnv)
	if err != nil {
		return err
	}
	defer holder.end()
	neighbour, err := lodge(g, pressureEnv)
	if err != nil {
		return err
	}
	defer neighbour.end()
	// What waits for an answer is woken by the end of who should give it.
	defer context.AfterFunc(ctx, func() {
		holder.cmd.Process.Kill()
		neighbour.cmd.Process.Kill()
	})()
	if err := holder.tell(job, new(pressureAnswer)); err != nil {
		return err
	}
	if job.Method == "heap" {
		// It has its copy: what is left of the file in the page cache is not it.
		if err := evict(f); err != nil {
			return err
		}
	}
	if err := neighbour.tell(pressureJob{Method: "neighbour", Size: p.Limit}, new(pressureAnswer)); err != nil {
		return err
	}
	for i := range p.Steps + 1 {
		s := Step{Method: job.Method, Neighbour: p.Limit / touched * int64(i) / int64(p.Steps) * touched}
		err := p.step(&s, g, holder, neighbour)
		if errors.Is(err, errKilled) && ctx.Err() == nil {
			return each(s)
		}
		if err != nil {
			return err
		}
		if err := each(s); err != nil {
			return err
		}
	}
	return nil
}

// step lets the neighbour grow, looks at the holder, and has it read all again. An
// error that matches errKilled is of the one that Killed names.
func (p Pressure) step(s *Step, g *cgroup.Group, holder, neighbour *lodger) error {
	s.Killed = "neighbour"
	if err := neighbour.tell(pressureTask{Grow: s.Neighbour}, new(pressureAnswer)); err != nil {
		return err
	}
	s.Killed = "holder"
	var held, read pressureAnswer
	if err := holder.tell(pressureTask{}, &held); err != nil {
		return err
	}
	pid := holder.cmd.Process.Pid
	swapped, err := named(fmt.Sprintf("/proc/%d/status", pid), "VmSwap:") // in KiB
	if err != nil {
		return err
	}
	before, beforeGroup, err := usageAndStat(pid, g)
	if err != nil {
		return err
	}
	if err := holder.tell(pressureTask{Read: true}, &read); err != nil {
		return err
	}
	after, afterGroup, err := usageAndStat(pid, g)
	if err != nil {
		return err
	}
	s.Killed = ""
	s.Resident, s.Swapped, s.Took = held.Resident, swapped<<10, read.Took
	s.GroupAnon, s.GroupFile, s.InUse = beforeGroup.Anon, beforeGroup.File, beforeGroup.Swap
	s.Minor, s.Major, s.Device = after.minor-before.minor, after.major-before.major, after.device-before.device
	s.SwapIn = (afterGroup.SwapIns - beforeGroup.SwapIns) * int64(os.Getpagesize())
	return nil
}

func usageAndStat(pid int, g *cgroup.Group) (procUsage, cgroup.Stat, error) {
	u, err := usageOf(pid)
	if err != nil {
		return u, cgroup.Stat{}, err
	}
	s, err := g.Stat()
	return u, s, err
}

// pressureChild holds a file, or is the neighbour, where this process was started for
// that.
func pressureChild() (bool, error) {
	return lodged(pressureEnv, func(requests *json.Decoder, answers *json.Encoder) error {
		var job pressureJob
		if err := requests.Decode(&job); err != nil {
			return err
		}
		debug.SetGCPercent(-1)
		serve, err := job.take()
		if err != nil {
			return err
		}
		if err := answers.Encode(pressureAnswer{}); err != nil {
			return err
		}
		for {
			var task pressureTask
			if err := requests.Decode(&task); err != nil {
				return err
			}
			answer, err := serve(task)
			if err != nil {
				return err
			}
			if err := answers.Encode(answer); err != nil {
				return err
			}
		}
	})
}

// take takes the memory, and returns what to do with it.
func (j pressureJob) take() (serve func(pressureTask) (pressureAnswer, error), err error) {
	var mem []byte
	switch j.Method {
	case "neighbour":
		// Taken is what is touched.
		mem, err = unix.Mmap(-1, 0, int(j.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		have := int64(0)
		return func(t pressureTask) (pressureAnswer, error) {
			grow(mem, have, t.Grow)
			have = t.Grow
			return pressureAnswer{}, nil
		}, os.NewSyscallError("mmap", err)
	case "mapping", "heap":
		f, err := os.Open(j.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if j.Method == "heap" {
			mem = make([]byte, j.Size)
			_, err = io.ReadFull(f, mem)
		} else {
			mem, err = unix.Mmap(int(f.Fd()), 0, int(j.Size), unix.PROT_READ, unix.MAP_SHARED)
		}
		if err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("hold the file by %q: there is no such way", j.Method)
	}
	vector := make([]byte, (j.Size+int64(os.Getpagesize())-1)/int64(os.Getpagesize()))
	clear(vector)
	consumer, err := workloads.NewConsumer("sum", heldBlock)
	if err != nil {
		return nil, err
	}
	read := func() (took time.Duration, err error) {
		consumer.Reset()
		began := time.Now()
		for off := int64(0); off < j.Size; off += heldBlock {
			consumer.Consume(off, mem[off:min(off+heldBlock, j.Size)])
		}
		return time.Since(began), workloads.Verify(consumer.Digest, j.Want)
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	return func(t pressureTask) (a pressureAnswer, err error) {
		if t.Read {
			a.Took, err = read()
			return a, err
		}
		a.Resident, err = residentOf(mem, vector)
		return a, err
	}, nil
}

// grow fills what is new with bytes that no swap can compress or share, and writes to
// each page that is not: a neighbour that uses what it has.
func grow(mem []byte, have, to int64) {
	for off := int64(0); off < have; off += touched {
		mem[off]++
	}
	datafile.Content(len(mem)).ReadAt(mem[have:to], have)
}

// residentOf counts the bytes of memory whose pages are resident, by mincore(2): of a
// mapping those in the page cache, of a heap those that are not in swap alone.
func residentOf(mem, vector []byte) (n int64, err error) {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&vector[0])))
	if errno != 0 {
		return 0, os.NewSyscallError("mincore", errno)
	}
	for _, v := range vector {
		n += int64(v & 1)
	}
	return n * int64(os.Getpagesize()), nil
}
