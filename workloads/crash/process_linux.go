package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/cgroup"
	"iopath/internal/pagecache"
)

// A Fault ends a writer's process, or takes its file away.
type Fault struct {
	Name, Doc string
}

// Faults of the process.
var Faults = []Fault{
	{"sigkill", "SIGKILL by another process"},
	{"sigsegv", "a store where nothing is mapped: SIGSEGV"},
	{"wild", "a stray store into what the writer has mapped or buffered, of one byte, then SIGSEGV"},
	{"panic", "a Go panic that nobody recovers"},
	{"exit", "os.Exit without closing or flushing anything"},
	{"sigabrt", "SIGABRT, as by abort(3)"},
	{"truncate", "another process cuts the file in half: SIGBUS for who has it mapped"},
	{"oom", "the kernel's OOM killer, in a memory cgroup"},
}

// control is the memory that the writer shares with its parent: acknowledgements, and
// what the parent wants. It lies in a memfd, which no fault of the writer's takes away.
type control struct {
	acknowledged atomic.Uint64
	command      atomic.Uint64 // 1 + index of the fault that the writer is to commit by itself
	stored       atomic.Uint64 // 1 + number of the record that a stray store has hit
	latencies    atomic.Uint64 // so many have been noted
	ready        atomic.Uint64 // when the first record was begun, in ns of the clock; 0: not yet
	latest       atomic.Uint64 // when the latest was acknowledged, in ns of the clock
	latency      [latencySlots]uint32
}

const latencySlots = 1 << 16

// A shared control, as one of two processes has it.
type sharedControl struct {
	*control
	mem []byte
	f   *os.File
}

func newControl() (*sharedControl, error) {
	fd, err := unix.MemfdCreate("iopath-crash", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	size := int(unsafe.Sizeof(control{}))
	if err := f.Truncate(int64(size)); err != nil {
		f.Close()
		return nil, err
	}
	return mapControl(f)
}

func mapControl(f *os.File) (*sharedControl, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(control{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("mmap", err)
	}
	return &sharedControl{(*control)(unsafe.Pointer(&mem[0])), mem, f}, nil
}

func (c *sharedControl) close() {
	unix.Munmap(c.mem)
	c.f.Close()
}

// percentiles of the latencies noted, in seconds; 0 where there are none.
func (c *sharedControl) percentiles() (p50, p99 float64) {
	n := min(c.latencies.Load(), latencySlots)
	if n == 0 {
		return 0, 0
	}
	v := slices.Clone(c.latency[:n])
	slices.Sort(v)
	return float64(v[n/2]) / 1e9, float64(v[n*99/100]) / 1e9
}

// A spec is what a writer's process is to do. It travels as JSON.
type spec struct {
	Path, Method, Policy, Layout string
	Size                         int64
	Run                          uint64
	Seed                         uint64
	Pace                         int
}

// childEnv makes this program a writer.
const childEnv = "IOPATH_CRASH_WRITER"

// Child writes where this process is a writer, until a fault. A program that crashes
// writers calls it before anything else.
func Child() bool {
	if serveDisk() || serveGuest() || serveKeeper() {
		return true
	}
	env, ok := os.LookupEnv(childEnv)
	if !ok {
		return false
	}
	var s spec
	err := json.Unmarshal([]byte(env), &s)
	if err == nil {
		err = s.write()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitBroken)
	}
	return true
}

// exitBroken is the status of a writer that could not do what it was there for.
const exitBroken = 4

// write writes as the control says: until the file is full, or a fault is asked for.
func (s spec) write() error {
	c, err := mapControl(os.NewFile(3, "control"))
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(s.Seed, 1))
	err = s.records(func(w writer, n uint64) {
		if n == 0 {
			c.ready.Store(uint64(time.Now().UnixNano()))
		}
		if what := c.command.Load(); what != 0 {
			commit(Faults[what-1].Name, c, w, rng)
		}
	}, func(n uint64, took time.Duration) {
		k := c.latencies.Load()
		c.latency[k%latencySlots] = uint32(min(took, 4*time.Second))
		c.latencies.Store(k + 1)
		c.latest.Store(uint64(time.Now().UnixNano()))
		c.acknowledged.Store(n)
	})
	return err
}

// records appends records until the file is full, and then waits for the fault. before is
// called before each, acknowledged when n records are as safe as the policy makes them:
// took is the time since the oldest of them was begun that had not been acknowledged.
func (s spec) records(before func(w writer, n uint64), acknowledged func(n uint64, took time.Duration)) error {
	m, p, err := ParseCell(s.Method + "/" + s.Policy)
	if err != nil {
		return err
	}
	w, err := m.open(&setup{path: s.Path, policy: s.Policy, layout: s.Layout, size: s.Size})
	if err != nil {
		return err
	}
	rec := make([]byte, RecordSize)
	waiting, records := 0, uint64(s.Size/RecordSize)
	var began time.Time
	for n, first := uint64(0), time.Now(); n < records; n++ {
		if s.Pace > 0 {
			time.Sleep(time.Until(first.Add(time.Duration(n) * time.Second / time.Duration(s.Pace))))
		}
		before(w, n)
		Record(rec, s.Run, n)
		if waiting == 0 {
			began = time.Now()
		}
		if err := w.append(rec, int64(n)*RecordSize); err != nil {
			return err
		}
		if waiting++; waiting < p.Each {
			continue
		}
		if p.Each > 0 {
			if err := w.sync(); err != nil {
				return err
			}
		}
		waiting = 0
		acknowledged(n+1, time.Since(began))
	}
	for ; ; time.Sleep(time.Millisecond) { // full: wait for the fault
		before(w, records)
		if m.Mapped {
			// The same bytes again: who has a file mapped finds out that it was cut.
			if err := w.append(rec, int64(records-1)*RecordSize); err != nil {
				return err
			}
		}
	}
}

// commit ends this process.
func commit(fault string, c *sharedControl, w writer, rng *rand.Rand) {
	switch fault {
	case "sigsegv":
		crashNow()
	case "wild":
		if mem := w.region(); len(mem) > 0 {
			at := rng.IntN(len(mem))
			c.stored.Store(1 + uint64(at)/RecordSize)
			mem[at] ^= 0xff
		}
		crashNow()
	case "panic":
		panic("as was asked for")
	case "exit":
		os.Exit(0)
	case "sigabrt":
		unhandled(unix.SIGABRT)
		syscall.Kill(os.Getpid(), syscall.SIGABRT)
		select {}
	case "oom":
		for {
			mem, err := unix.Mmap(-1, 0, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				fmt.Fprintln(os.Stderr, os.NewSyscallError("mmap", err))
				os.Exit(exitBroken)
			}
			for i := 0; i < len(mem); i += os.Getpagesize() {
				mem[i] = 1
			}
		}
	}
}

// unhandled takes Go's handler of a signal away: the process dies of it, as one of a
// program in C does, without a core. What os/signal resets is but its own.
func unhandled(signal syscall.Signal) {
	// A limit of the core's size is not asked where cores go to a program (core(5)).
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	var standard [4]uint64 // struct sigaction: SIG_DFL, no flags, no restorer, empty mask
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0); errno != 0 {
		fmt.Fprintln(os.Stderr, os.NewSyscallError("rt_sigaction", errno))
		os.Exit(exitBroken)
	}
}

// crashNow dies of SIGSEGV.
func crashNow() {
	nowhere, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		fmt.Fprintln(os.Stderr, os.NewSyscallError("mmap", err))
		os.Exit(exitBroken)
	}
	unhandled(unix.SIGSEGV)
	nowhere[0] = 1
	os.Exit(exitBroken) // not reached
}

// An Experiment is what a cycle needs.
type Experiment struct {
	Dir    string // of the file
	Method string
	Policy string
	Layout string
	Size   int64         // bytes that the records take at most
	Time   time.Duration // from the first record to the fault, about: the seed varies it
	Seed   uint64
	Pace   int    // records a second at most; 0: as fast as it can
	Kernel string // of an emulated machine; "": the newest in /boot
}

// path is the file's.
func (e Experiment) path() string { return filepath.Join(e.Dir, fmt.Sprintf("records-%x", e.Seed)) }

// moment is when the fault comes, drawn from the seed: faults at one moment alone would find
// the filesystem in one state alone.
func (e Experiment) moment() time.Duration {
	if e.Pace > 0 {
		return e.Time
	}
	return time.Duration((0.2 + 1.6*rand.New(rand.NewPCG(e.Seed, 3)).Float64()) * float64(e.Time))
}

// prepare makes the file as the layout says.
func (e Experiment) prepare() (path string, err error) {
	return e.path(), e.prepareAt(e.path())
}

func (e Experiment) prepareAt(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	switch e.Layout {
	case "append":
	case "sparse":
		err = f.Truncate(e.Size)
	case "prealloc":
		zeros := make([]byte, 1<<20)
		for at := int64(0); at < e.Size && err == nil; at += int64(len(zeros)) {
			_, err = f.WriteAt(zeros[:min(int64(len(zeros)), e.Size-at)], at)
		}
	default:
		err = fmt.Errorf("layout %q is unknown", e.Layout)
	}
	// The file itself is there after any fault: what is lost is records.
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(e.Dir)
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// A running writer.
type running struct {
	path   string // of its file
	cmd    *exec.Cmd
	c      *sharedControl
	stderr strings.Builder
	ended  chan error
}

// start starts a writer and waits for its first record. The calling thread is locked: the
// writer is killed when that ends.
func (e Experiment) start(ctx context.Context, path string) (*running, error) {
	c, err := newControl()
	if err != nil {
		return nil, err
	}
	s, err := json.Marshal(spec{Path: path, Method: e.Method, Policy: e.Policy, Layout: e.Layout, Size: e.Size, Run: e.Seed, Seed: e.Seed, Pace: e.Pace})
	if err != nil {
		c.close()
		return nil, err
	}
	r := &running{path: path, cmd: exec.Command("/proc/self/exe"), c: c, ended: make(chan error, 1)}
	r.cmd.Env = append(os.Environ(), childEnv+"="+string(s))
	r.cmd.Stderr = &r.stderr
	r.cmd.ExtraFiles = []*os.File{c.f}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		c.close()
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	for began := time.Now(); c.ready.Load() == 0; time.Sleep(100 * time.Microsecond) {
		select {
		case err := <-r.ended:
			r.ended <- err
			text := strings.TrimSpace(r.stderr.String())
			c.close()
			if strings.Contains(text, errors.ErrUnsupported.Error()) || strings.Contains(text, "operation not supported") {
				return nil, fmt.Errorf("%w: %s", errors.ErrUnsupported, text)
			}
			return nil, fmt.Errorf("the writer ended before its first record: %v: %s", err, text)
		case <-ctx.Done():
			r.stop()
			return nil, context.Cause(ctx)
		default:
		}
		if time.Since(began) > 30*time.Second {
			r.stop()
			return nil, errors.New("the writer has not begun after 30 s")
		}
	}
	return r, nil
}

// kill ends the writer and waits.
func (r *running) kill() error {
	r.cmd.Process.Kill()
	err := <-r.ended
	r.ended <- err
	return err
}

// stop kills the writer, where it is not dead, and lets go of what it shared.
func (r *running) stop() {
	r.kill()
	r.c.close()
}

// wait waits until the writer has had its time, or has filled a quarter of the file: the
// fault is to find it at work. Until then it has acknowledged something.
func (r *running) wait(ctx context.Context, d time.Duration, size int64) error {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case err := <-r.ended:
			r.ended <- err
			return fmt.Errorf("the writer ended before the fault: %v: %s", err, strings.TrimSpace(r.stderr.String()))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		n, took := r.c.acknowledged.Load(), time.Since(began)
		if n > 0 && took >= d || n >= uint64(size/RecordSize/4) {
			return nil
		}
		if took > d+faultTime {
			return fmt.Errorf("the writer has acknowledged nothing after %v", took)
		}
	}
}

// acknowledged is how many records are, at this moment.
func (r *running) acknowledged() uint64 { return r.c.acknowledged.Load() }

// note fills in how fast the writer was until now, and how much of its file is dirty.
func (r *running) note(c *Cycle) {
	if f, err := os.Open(r.path); err == nil {
		if res, err := pagecache.Resident(f); err == nil && res.Source == "cachestat" {
			c.Dirty = int64(res.Dirty)
		}
		f.Close()
	}
	c.After = float64(uint64(time.Now().UnixNano())-r.c.ready.Load()) / 1e9
	// Not until now: a writer whose file is full waits.
	took := float64(r.c.latest.Load()-r.c.ready.Load()) / 1e9
	if n := r.c.acknowledged.Load(); n > 0 && took > 0 {
		c.Rate = float64(n) / took
	}
	c.P50, c.P99 = r.c.percentiles()
}

// oomLimit is the memory of a group in which a writer is killed for want of it.
const oomLimit = 256 << 20

// faultTime is how long a writer may take to die of what it was told to do.
const faultTime = 20 * time.Second

// truncatedTime is how long a mapped writer may take to come to where its file was cut.
const truncatedTime = 5 * time.Second

// deaths are what a writer must die of, by fault: another death is a defect of ours.
var deaths = map[string]string{
	"sigkill": "signal: killed",
	"sigsegv": "signal: segmentation fault",
	"wild":    "signal: segmentation fault",
	"panic":   "exit status 2",
	"exit":    "exit status 0",
	"sigabrt": "signal: aborted",
	"oom":     "signal: killed",
}

// died says what the writer died of, once it has been waited for.
func (r *running) died() string {
	return strings.TrimSuffix(r.cmd.ProcessState.String(), " (core dumped)")
}

// Process runs one cycle: a writer, a fault of the process, a check of the file. The error
// matches errors.ErrUnsupported where the fault or the method cannot be had here.
func (e Experiment) Process(ctx context.Context, fault string) (Cycle, error) {
	// Pdeathsig kills the writer when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := Cycle{Method: e.Method, Policy: e.Policy, Layout: e.Layout, Fault: fault, Backend: ByProcess, Seed: e.Seed, Dirty: -1, DeviceBytes: -1, Promised: Promises(e.Method, e.Policy)}
	index := slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == fault })
	if index < 0 {
		return c, fmt.Errorf("fault %q is unknown", fault)
	}
	var group *cgroup.Group
	if fault == "oom" {
		var err error
		if group, err = cgroup.New(cgroup.Limit{Memory: oomLimit}); err != nil {
			return c, err
		}
		defer group.Remove()
	}
	path, err := e.prepare()
	if err != nil {
		return c, err
	}
	defer os.Remove(path)
	r, err := e.start(ctx, path)
	if err != nil {
		return c, err
	}
	defer r.stop()
	if group != nil {
		if err := group.Add(r.cmd.Process.Pid); err != nil {
			return c, err
		}
	}
	if err := r.wait(ctx, e.moment(), e.Size); err != nil {
		return c, err
	}
	r.note(&c)
	switch fault {
	case "sigkill":
		r.kill()
	case "truncate":
		err := e.truncated(ctx, r, path, &c)
		return c, err
	default:
		r.c.command.Store(uint64(index) + 1)
		select {
		case err := <-r.ended:
			r.ended <- err
		case <-time.After(faultTime):
			return c, fmt.Errorf("the writer lives %v after %s", faultTime, fault)
		case <-ctx.Done():
			return c, context.Cause(ctx)
		}
	}
	c.Died = r.died()
	if want := deaths[fault]; c.Died != want {
		return c, fmt.Errorf("the writer died of %s, want %s: %s", c.Died, want, strings.TrimSpace(r.stderr.String()))
	}
	// Whatever it acknowledged before it died counts.
	err = e.check(path, r, &c)
	return c, err
}

func (e Experiment) check(path string, r *running, c *Cycle) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c.Counts, err = Check(f, e.Seed, r.c.acknowledged.Load())
	if hit := r.c.stored.Load(); hit != 0 {
		c.StrayStore = true
		// It is the one record that is not what it was.
		rec, want := make([]byte, RecordSize), make([]byte, RecordSize)
		if _, err := f.ReadAt(rec, int64(hit-1)*RecordSize); err == nil {
			c.Corrupted = stateOf(rec, e.Seed, hit-1, want) == torn
		}
	}
	return err
}

// truncated cuts the file in half below the writer. Who has it mapped dies of SIGBUS where
// it stores behind the new end; who writes goes on.
func (e Experiment) truncated(ctx context.Context, r *running, path string, c *Cycle) error {
	acknowledged := r.c.acknowledged.Load()
	if err := os.Truncate(path, int64(acknowledged/2)*RecordSize); err != nil {
		return err
	}
	// Who writes goes on, and is seen to.
	at, deadline := r.c.acknowledged.Load(), time.After(truncatedTime)
	// One that makes its file longer by each record has the end again where it stores.
	mapped := strings.HasPrefix(e.Method, "mmap.") && e.Layout != "append"
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
wait:
	for {
		select {
		case err := <-r.ended:
			r.ended <- err
			break wait
		case <-deadline:
			c.StillWriting = true
			break wait
		case <-tick.C:
			if !mapped && (r.c.acknowledged.Load() > at || at >= uint64(e.Size/RecordSize)) {
				c.StillWriting = true
				break wait
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	r.kill()
	c.Died = r.died()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c.Counts, err = Check(f, e.Seed, acknowledged)
	return err
}
