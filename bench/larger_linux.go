package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/cgroup"
	"iopath/internal/counters"
	"iopath/internal/datafile"
	"iopath/internal/host"
	"iopath/internal/pagecache"
	"iopath/workloads/iomethod"
)

// largerEnv marks a process that is to read for a [Larger].
const largerEnv = "IOPATH_LARGER"

// A largerJob is what such a process is told.
type largerJob struct {
	Method, Path   string
	Size           int64
	Block, Threads int
	Draws          int // that each thread has
}

// Run measures every method with every pattern once a round, and writes a header and
// each sample's result line as it comes: a cell's k-th line belongs to round k. A method
// that failed or is not to be had has a line that says so, and the rest goes on. tell
// is told what is under way. What it returns when the context is cancelled is what
// there is by then.
//
// The group, and the process in it, are gone when Run returns. An error matches
// errors.ErrUnsupported where the machine has no such group to be had.
func (l Larger) Run(ctx context.Context, out io.Writer, o host.Options, tell func(string)) (all []Series, err error) {
	l, err = l.resolve()
	if err != nil {
		return nil, err
	}
	f, err := openOnDisk(ctx, l.Dir, l.Size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := cgroup.New(cgroup.Limit{Memory: l.Limit})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(l.writeHeader(out, g.String(), o), g.Remove()); err != nil {
		return nil, err
	}
	draws := map[string]*os.File{}
	for _, pattern := range l.Patterns {
		if draws[pattern], err = l.draw(pattern); err != nil {
			return nil, err
		}
		defer draws[pattern].Close()
	}
	for round := range l.Rounds {
		for _, s := range l.order(round + 1) {
			if ctx.Err() != nil {
				return all, nil
			}
			tell(fmt.Sprintf("round %d of %d: %s %s, for %v", s.Round, l.Rounds, s.Pattern, s.Method, l.Time))
			s.Err = l.series(ctx, &s, f, draws[s.Pattern], func(at Sample) error {
				_, err := fmt.Fprintln(out, l.line(s, at))
				return err
			})
			all = append(all, s)
			if s.Err == nil {
				continue
			}
			if _, err := fmt.Fprintln(out, failure(l.name(s.Pattern)+"/method="+s.Method, s.Err)); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// order is what a round measures, in its order.
func (l Larger) order(round int) (list []Series) {
	for _, pattern := range l.Patterns {
		for _, method := range l.Methods {
			list = append(list, Series{Round: round, Pattern: pattern, Method: method, limit: l.Limit, block: int64(l.Block)})
		}
	}
	rand.New(rand.NewPCG(l.Seed, uint64(round))).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// openOnDisk opens the data file of that size, which is made where it is missing.
func openOnDisk(ctx context.Context, dir string, size int64) (*os.File, error) {
	if tmpfs, err := host.IsTmpfs(dir); err == nil && tmpfs {
		return nil, usage("%s is on tmpfs, whose files are memory (choose a disk with -dir)", dir)
	}
	path, err := datafile.Ensure(ctx, dir, "cold", size)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, &usageError{err}
	}
	return os.Open(path)
}

// evict takes the file out of the page cache, and proves it: what stayed would be
// charged to somebody else.
func evict(f *os.File) error {
	if err := pagecache.Evict(f); err != nil {
		return err
	}
	r, err := pagecache.Resident(f)
	if err != nil {
		return err
	}
	return r.Cold()
}

// allDraws is how many blocks are drawn for all threads together: at 100,000 a second
// each of them has enough for 40 s, and begins anew where it has not.
const allDraws = 1 << 24

func (l Larger) draws() int { return allDraws / l.Threads }

// draw draws the blocks that the threads will ask for, one thread after the other,
// in a file of memory. It is made and touched here, outside the group, so that it is
// not charged to it.
func (l Larger) draw(pattern string) (*os.File, error) {
	f, err := memory("iopath-draws", int64(l.draws())*int64(l.Threads)*4)
	if err != nil {
		return nil, err
	}
	mem, free, err := shared[uint32](f, l.draws()*l.Threads)
	if err != nil {
		f.Close()
		return nil, err
	}
	defer free()
	pieces := int(l.Size / int64(l.Block))
	rng := rand.New(rand.NewPCG(1, uint64(l.Size)))
	for t := range l.Threads {
		mine := mem[t*l.draws():][:l.draws()]
		for i := range mine {
			if pattern == "rand" {
				mine[i] = rng.Uint32N(uint32(pieces))
			} else {
				mine[i] = uint32((t*pieces/l.Threads + i) % pieces)
			}
		}
	}
	return f, nil
}

// memory returns a file of so many bytes that is memory alone.
func memory(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// shared maps the first n values of the file.
func shared[T uint32 | slot](f *os.File, n int) (v []T, free func() error, err error) {
	var one T
	mem, err := unix.Mmap(int(f.Fd()), 0, n*int(unsafe.Sizeof(one)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[0])), n), func() error { return unmap(mem) }, nil
}

// A slot is where a thread tells the bytes that it has read. No two share a cache
// line, or a pair of lines that the processor fetches together.
type slot struct {
	bytes atomic.Int64
	_     [15]int64
}

// series measures one method.
func (l Larger) series(ctx context.Context, s *Series, f, draws *os.File, each func(Sample) error) (err error) {
	m, _ := iomethod.Lookup(s.Method) // resolve has seen it
	if err := m.Available(iomethod.Config{Path: f.Name(), Block: l.Block}); err != nil {
		return err
	}
	if err := evict(f); err != nil {
		return err
	}
	// The child dies with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g, err := cgroup.New(cgroup.Limit{Memory: l.Limit})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Remove()) }()
	told, err := memory("iopath-bytes", int64(l.Threads)*int64(unsafe.Sizeof(slot{})))
	if err != nil {
		return err
	}
	defer told.Close()
	slots, free, err := shared[slot](told, l.Threads)
	if err != nil {
		return err
	}
	defer free()
	clear(slots) // touched here: charged to us
	child, err := lodge(g, largerEnv, told, draws)
	if err != nil {
		return err
	}
	defer child.end()
	job := largerJob{Method: s.Method, Path: f.Name(), Size: l.Size, Block: l.Block, Threads: l.Threads, Draws: l.draws()}
	var ready bool
	if err := child.tell(job, &ready); err != nil {
		return err
	}
	return l.sample(ctx, s, g, child, slots, each)
}

// sample lets the child go and watches it until time is up.
func (l Larger) sample(ctx context.Context, s *Series, g *cgroup.Group, child *lodger, slots []slot, each func(Sample) error) error {
	// It answers no more, unless it fails.
	failed := make(chan error, 1)
	go func() { failed <- child.tell(true, new(bool)) }()
	defer func() {
		child.cmd.Process.Kill()
		<-failed
	}()
	tells := counters.ProbeShootdowns() == nil
	began := time.Now()
	before, err := readState(g, child.cmd.Process.Pid, slots, tells)
	if err != nil {
		return err
	}
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	last := time.Duration(0)
	for last < l.Time {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			failed <- err
			return err
		case <-tick.C:
		}
		// One that comes late makes the next one short: both are of the time that
		// they took, and a sample's name is that of the nearest tick.
		at := time.Since(began).Round(l.Every)
		if at == last {
			continue
		}
		now, err := readState(g, child.cmd.Process.Pid, slots, tells)
		if err != nil {
			select {
			case died := <-failed: // which is why
				failed <- died
				return died
			case <-time.After(time.Second):
				return err
			}
		}
		sample := now.since(before)
		sample.At, last, before = at, at, now
		s.Samples = append(s.Samples, sample)
		if err := each(sample); err != nil {
			return err
		}
	}
	return nil
}

// A state is all that a sample is the difference of.
type state struct {
	at         time.Time
	bytes      int64
	usage      procUsage
	group      cgroup.Stat
	interrupts int64 // negative where they are not told
}

func readState(g *cgroup.Group, pid int, slots []slot, tells bool) (s state, err error) {
	s.at = time.Now()
	for i := range slots {
		s.bytes += slots[i].bytes.Load()
	}
	if s.usage, err = usageOf(pid); err != nil {
		return s, err
	}
	if s.group, err = g.Stat(); err != nil {
		return s, err
	}
	s.interrupts = -1
	if tells {
		s.interrupts = tlbInterrupts()
	}
	return s, nil
}

// since is the sample from an earlier state to s.
func (s state) since(b state) Sample {
	at := Sample{
		Took: s.at.Sub(b.at), Bytes: s.bytes - b.bytes, CPU: s.usage.cpu - b.usage.cpu,
		Minor: s.usage.minor - b.usage.minor, Major: s.usage.major - b.usage.major, Device: s.usage.device - b.usage.device,
		Scanned: s.group.Scanned - b.group.Scanned, Stolen: s.group.Stolen - b.group.Stolen, Refault: s.group.Refaults - b.group.Refaults,
		Interrupts: -1, Resident: s.group.File, Charged: s.group.Charged,
	}
	if s.interrupts >= 0 && b.interrupts >= 0 {
		at.Interrupts = s.interrupts - b.interrupts
	}
	return at
}

// tlbInterrupts adds up the line of /proc/interrupts that x86 has, a number for each
// CPU; it is negative where there is none.
func tlbInterrupts() int64 {
	text, err := os.ReadFile("/proc/interrupts")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "TLB:" {
			continue
		}
		var total int64
		for _, word := range words[1:] {
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				break // the words that say what it is
			}
			total += n
		}
		return total
	}
	return -1
}

// largerChild reads where this process was started for that, until it is killed.
func largerChild() (bool, error) {
	return lodged(largerEnv, func(requests *json.Decoder, answers *json.Encoder) error {
		var job largerJob
		if err := requests.Decode(&job); err != nil {
			return err
		}
		told, draws := os.NewFile(3, "bytes"), os.NewFile(4, "draws")
		slots, _, err := shared[slot](told, job.Threads)
		if err != nil {
			return err
		}
		orders, _, err := shared[uint32](draws, job.Threads*job.Draws)
		if err != nil {
			return err
		}
		// A thread that waits for a page holds its P: there is one for each, and
		// one for who waits here.
		runtime.GOMAXPROCS(job.Threads + 1)
		debug.SetGCPercent(-1)
		goes, failed := make(chan struct{}), make(chan error)
		for i := range job.Threads {
			r, err := job.open()
			if err != nil {
				return err
			}
			go func() { failed <- job.read(r, orders[i*job.Draws:][:job.Draws], &slots[i].bytes, goes) }()
		}
		if err := answers.Encode(true); err != nil {
			return err
		}
		if err := requests.Decode(new(bool)); err != nil {
			return err
		}
		close(goes)
		return <-failed
	})
}

func (j largerJob) open() (iomethod.Reader, error) {
	m, ok := iomethod.Lookup(j.Method)
	if !ok {
		return nil, fmt.Errorf("method %q is unknown", j.Method)
	}
	return m.Reader.New(iomethod.Config{Path: j.Path, Block: j.Block})
}

// read reads the blocks in that order over and over, on a thread of its own. A job
// is as long as the order: a mapping is made once, and stays.
func (j largerJob) read(r iomethod.Reader, order []uint32, bytes *atomic.Int64, goes <-chan struct{}) error {
	runtime.LockOSThread()
	if _, err := quieten(-1); err != nil {
		return err
	}
	content := datafile.Content(j.Size)
	var want [8]byte
	var wrong error
	plan := &iomethod.Plan{Length: j.Size, Block: j.Block, Order: order}
	consume := func(off int64, b []byte) {
		for i := 0; i < len(b); i += touched {
			content.ReadAt(want[:], off+int64(i))
			if [8]byte(b[i:]) != want && wrong == nil {
				wrong = fmt.Errorf("verification failed: at offset %d there is %x, want %x", off+int64(i), b[i:i+8], want)
			}
		}
		bytes.Add(int64(len(b)))
	}
	plan.Pace = func(int) {
		if wrong != nil {
			fmt.Fprintln(os.Stderr, wrong)
			os.Exit(1) // a job cannot be broken off
		}
	}
	<-goes
	for {
		if err := r.Read(plan, consume); err != nil {
			return err
		}
	}
}
