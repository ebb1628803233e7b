package counters

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestField(t *testing.T) {
	const io = "rchar: 7\nwchar: 8\nsyscr: 9\nsyscw: 10\nread_bytes: 4096\nwrite_bytes: 12\ncancelled_write_bytes: 3\n"
	for _, c := range []struct {
		name, field, io string
		want            int64
		ok              bool
	}{
		{"as the kernel writes it", "read_bytes", io, 4096, true},
		{"another field", "write_bytes", io, 12, true},
		{"one whose name ends like it", "cancelled_write_bytes", io, 3, true},
		{"zero", "read_bytes", "syscw: 1\nread_bytes: 0\nwrite_bytes: 5\n", 0, true},
		{"large", "read_bytes", "x: 1\nread_bytes: 9223372036854775807\n", 1<<63 - 1, true},
		{"last, without an end", "read_bytes", "x: 1\nread_bytes: 12", 12, true},
		{"empty", "read_bytes", "", 0, false},
		{"missing", "read_bytes", "rchar: 7\nwrite_bytes: 12\n", 0, false},
		{"only one whose name ends like it", "write_bytes", "x: 1\ncancelled_write_bytes: 5\n", 0, false},
		{"no number", "read_bytes", "x: 1\nread_bytes: many\n", 0, false},
		{"nothing", "read_bytes", "x: 1\nread_bytes: \n", 0, false},
	} {
		if got, ok := field([]byte(c.io), "\n"+c.field+": "); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: field %s = %d, %v, want %d, %v", c.name, c.field, got, ok, c.want, c.ok)
		}
	}
}

// measure returns what fn uses, on a thread that nothing else runs on.
func measure(t *testing.T, fn func()) Usage {
	t.Helper()
	m := OpenMeter()
	defer m.Close()
	for range 2 { // the first time pays for the meter's own pages
		m.Usage = Usage{}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		fn()
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	return m.Usage
}

func TestMeterCountsFaults(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const pages = 300
	size := pages * os.Getpagesize()
	var got Usage
	fn := func() {
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(b)
		if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Fatal(err)
		}
		for i := 0; i < size; i += os.Getpagesize() {
			b[i] = 1
		}
	}
	// A fault of the Go runtime's own may slip in: once is chance.
	for range 5 {
		if got = measure(t, fn); got.MinorFaults == pages {
			break
		}
	}
	if got.MinorFaults != pages {
		t.Errorf("minor faults of touching %d fresh pages = %d, want %d", pages, got.MinorFaults, pages)
	}
	if got.MajorFaults != 0 {
		t.Errorf("major faults of fresh pages = %d, want 0", got.MajorFaults)
	}
	for range 5 {
		if got = measure(t, func() {}); got.MinorFaults == 0 {
			break
		}
	}
	if got.MinorFaults != 0 || got.MajorFaults != 0 || got.HasDeviceBytes && got.DeviceBytes != 0 {
		t.Errorf("usage of nothing = %+v, want zeros", got)
	}
}

func TestMeterCountsSwitchesAndTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const naps = 5
	got := measure(t, func() {
		for range naps {
			ts := unix.NsecToTimespec(int64(2 * time.Millisecond))
			unix.Nanosleep(&ts, nil)
		}
	})
	if got.Switches < naps {
		t.Errorf("switches of %d sleeps = %d, want at least as many", naps, got.Switches)
	}
	if got.CPU <= 0 || got.CPU > naps*time.Millisecond {
		t.Errorf("CPU time of sleeping %v = %v, want little", naps*2*time.Millisecond, got.CPU)
	}
	var sum uint64
	got = measure(t, func() {
		for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
			sum++
		}
	})
	if got.CPU <= 0 || got.CPU > time.Second {
		t.Errorf("CPU time of 5 ms of work = %v, want about as much", got.CPU)
	}
}

// splitEnv makes the test binary spend CPU time, in user mode or in the kernel's,
// and judge how the meter splits it.
const splitEnv = "IOPATH_TEST_SPLIT"

func init() {
	mode := os.Getenv(splitEnv)
	if mode == "" {
		return
	}
	runtime.LockOSThread()
	if err := spend(mode); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func spend(mode string) error {
	buf := make([]byte, 1<<20)
	fd, err := unix.Open("/dev/zero", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	m := OpenMeter()
	for m.CPU < 100*time.Millisecond { // 25 ticks at CONFIG_HZ=250
		if err := m.Start(); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < 10*time.Millisecond; {
			if mode == "system" { // raw, for the race detector looks at what Read has read
				unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
			}
		}
		if err := m.Stop(); err != nil {
			return err
		}
		if m.UserCPU < 0 || m.SystemCPU < 0 || m.UserCPU+m.SystemCPU != m.CPU {
			return fmt.Errorf("user %v + system %v, want them to be the CPU time, %v", m.UserCPU, m.SystemCPU, m.CPU)
		}
	}
	if (m.SystemCPU > m.UserCPU) != (mode == "system") {
		return fmt.Errorf("user %v, system %v, want more %s", m.UserCPU, m.SystemCPU, mode)
	}
	return nil
}

// In processes of their own: a thread's past weighs in the split.
func TestMeterSplitsTheTime(t *testing.T) {
	for _, mode := range []string{"user", "system"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), splitEnv+"="+mode)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("100 ms of %s time: %v: %s", mode, err, out)
		}
	}
}

// That is why the meter reads the clock first.
func TestClockBringsGetrusageUpToDate(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ts unix.Timespec
	var ru unix.Rusage
	best := time.Hour
	for range 5 { // the thread may be put aside between the two
		for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
		}
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Duration(ts.Nano()-ru.Utime.Nano()-ru.Stime.Nano()).Abs())
	}
	if best > 100*time.Microsecond {
		t.Errorf("user and system time after the clock are %v from it, want microseconds", best)
	}
}

func TestMeterTellsSwitchesApart(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const naps = 5
	got := measure(t, func() {
		for range naps {
			ts := unix.NsecToTimespec(int64(time.Millisecond))
			unix.Nanosleep(&ts, nil)
		}
	})
	if got.Voluntary < naps || got.Voluntary+got.Involuntary != got.Switches {
		t.Errorf("%d sleeps = %d voluntary + %d involuntary switches of %d, want at least %d voluntary, and their sum", naps, got.Voluntary, got.Involuntary, got.Switches, naps)
	}
}

// What a thread makes dirty is charged to it at once, and taken back where it
// truncates before it was written.
func TestMeterCountsDeviceWritten(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const size = 1 << 20
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		t.Skip("the temporary directory is a tmpfs, which nothing is written back from (set TMPDIR to a disk)")
	}
	buf := make([]byte, size)
	write := func() {
		if _, err := f.WriteAt(buf, 0); err != nil {
			t.Fatal(err)
		}
	}
	truncate := func() {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
	}
	m := OpenMeter()
	defer m.Close()
	for _, c := range []struct {
		name string
		run  func()
		want int64
	}{
		{"write", write, size},
		{"truncate what is dirty", truncate, -size},
		{"write and truncate", func() { write(); truncate() }, 0},
	} {
		m.Usage = Usage{}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		c.run()
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		if !m.HasDeviceBytes {
			t.Skip("/proc/thread-self/io does not tell the bytes of the device")
		}
		// The filesystem's own blocks may come on top.
		if d := m.DeviceWritten - c.want; d < -size/8 || d > size/8 {
			t.Errorf("%s: DeviceWritten = %d, want about %d", c.name, m.DeviceWritten, c.want)
		}
	}
}

func TestMeterDoesNotAllocate(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := OpenMeter()
	defer m.Close()
	got := testing.AllocsPerRun(100, func() {
		if m.Start() != nil || m.Stop() != nil {
			t.Error("the meter fails")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a stretch, want 0", got)
	}
}

// thread locks the test to its thread and keeps Go's preemption signals from it.
func thread(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	var block, mask unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGURG - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &mask); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil)
		runtime.UnlockOSThread()
	})
}

// withoutScheduler leaves out what Go's runtime may call on any thread, when its
// clock says so.
func withoutScheduler(c Calls) Calls {
	c, _ = c.Split(nil)
	for _, name := range scheduler {
		delete(c.ByName, name)
	}
	return c
}

func openTracepoint(t *testing.T) Counter {
	t.Helper()
	c, err := OpenTracepoint()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTracepointIsExact(t *testing.T) {
	thread(t)
	c := openTracepoint(t)
	if got := c.Source(); got != "tracepoint" {
		t.Errorf("Source() = %q, want tracepoint", got)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 10), 0o644); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var b [10]byte
	raw := func(n int, call uintptr) func() {
		return func() {
			for range n {
				unix.RawSyscall(call, 0, 0, 0)
			}
		}
	}
	for _, s := range []struct {
		name string
		run  func()
		want Calls
	}{
		{"nothing", func() {}, Calls{}},
		{"1000 preads", func() {
			for range 1000 {
				if _, err := unix.Pread(fd, b[:], 0); err != nil {
					t.Fatal(err)
				}
			}
		}, Calls{Total: 1000, ByName: map[string]float64{"pread64": 1000}}},
		{"nothing again", func() {}, Calls{}},
		{"7 reads, as the counter's own", func() {
			for range 7 {
				unix.Read(fd, b[:])
			}
		}, Calls{Total: 7, ByName: map[string]float64{"read": 7}}},
		{"500 of a call that is not counted by name", raw(500, unix.SYS_GETEUID), Calls{Total: 500}},
		{"calls that fail", raw(5, unix.SYS_MUNMAP), Calls{Total: 5, ByName: map[string]float64{"munmap": 5}}},
	} {
		if err := c.Begin(); err != nil {
			t.Fatal(err)
		}
		s.run()
		got, err := c.End()
		if err != nil {
			t.Fatal(err)
		}
		got = withoutScheduler(got)
		if got.Total != s.want.Total || got.String() != s.want.String() {
			t.Errorf("%s: %v calls: %v, want %v: %v", s.name, got.Total, got, s.want.Total, s.want)
		}
	}
}

// Other threads' calls are theirs.
func TestTracepointCountsOneThread(t *testing.T) {
	thread(t)
	c := openTracepoint(t)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				unix.RawSyscall(unix.SYS_GETEUID, 0, 0, 0)
			}
		}
	}()
	if err := c.Begin(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
	}
	got, err := c.End()
	close(end)
	<-ended
	if got = withoutScheduler(got); err != nil || got.Total != 0 {
		t.Errorf("calls while another thread calls = %v (%v), want none", got, err)
	}
}

func TestCountByTracepoint(t *testing.T) {
	thread(t)
	c := openTracepoint(t)
	calls := func(n int, number uintptr) func() error {
		return func() error {
			for range n {
				unix.RawSyscall(number, 0, 0, 0)
			}
			return nil
		}
	}
	for _, n := range []int{1, 2, 5} {
		got, err := Count(c, n, Job{Begin: calls(3, unix.SYS_MSYNC), Move: calls(10, unix.SYS_GETEUID), End: calls(4, unix.SYS_GETEUID)})
		if err != nil {
			t.Fatal(err)
		}
		got = withoutScheduler(got)
		if d := got.Total - 10; d > 1e-9 || d < -1e-9 || len(got.ByName) != 0 {
			t.Errorf("calls of one of %d jobs = %v: %v, want the 10 of Move alone", n, got.Total, got)
		}
	}
}

func TestSymbol(t *testing.T) {
	const format = `name: tlb_flush
ID: 188
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

print fmt: "pages:%ld reason:%s (%d)", REC->pages, __print_symbolic(REC->reason, { 0, "flush on task switch" }, { 1, "remote shootdown" }, { 4, "remote IPI send" }, { TLB_X, "unresolved" }), REC->reason
`
	if id, err := formatID(format); id != 188 || err != nil {
		t.Errorf("formatID = %d, %v, want 188", id, err)
	}
	for _, bad := range []string{"", "name: x\nID: \n", "name: x\nID: -1\n"} {
		if id, err := formatID(bad); err == nil {
			t.Errorf("formatID(%q) = %d, want an error", bad, id)
		}
	}
	for _, c := range []struct {
		name, want string
		ok         bool
	}{
		{"remote IPI send", "4", true},
		{"flush on task switch", "0", true},
		{"shootdown", "", false}, // but the end of a name
		{"local shootdown", "", false},
		{"unresolved", "", false}, // as kernels before 4.1 print enums
	} {
		if got, ok := symbol(format, c.name); ok != c.ok || ok && got != c.want {
			t.Errorf("symbol(%q) = %q, %v, want %q, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

// An event that sees none of the shootdowns that were made to happen, as where the
// hypervisor makes them, has no figure.
func TestUnseenShootdownsAreAbsentNotZero(t *testing.T) {
	thread(t)
	openTracepoint(t).Close() // skips where there are no tracepoints
	if err := ProbeShootdowns(); err != nil {
		t.Skip(err)
	}
	format, err := tracefsFormat("tlb/tlb_flush")
	if err != nil {
		t.Fatal(err)
	}
	err = onThread(func() error {
		blind := new(tracepoint)
		defer blind.Close()
		if err := blind.open("tlb:tlb_flush", format, "reason == 99"); err != nil {
			return err
		}
		return sees(blind.events[0])
	})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an event that sees none: %v, want an error that matches errors.ErrUnsupported", err)
	}
	defer func(probe func() error) { probeShootdowns = probe }(probeShootdowns)
	probeShootdowns = func() error { return err }
	c := openTracepoint(t)
	if err := c.Begin(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.End(); err != nil || got.HasShootdowns {
		t.Errorf("%v, %v: want no figure", got, err)
	}
}

// A thread that unmaps while another of the process runs on another CPU
// interrupts that CPU, once for each munmap and each mprotect that takes rights.
func TestTracepointCountsShootdowns(t *testing.T) {
	thread(t)
	c := openTracepoint(t)
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if all.Count() < 2 {
		t.Skip("a shootdown wants a second CPU, and the process has one")
	}
	var cpus [2]unix.CPUSet
	for cpu, n := 0, 0; n < 2; cpu++ {
		if all.IsSet(cpu) {
			cpus[n].Set(cpu)
			n++
		}
	}
	if err := unix.SchedSetaffinity(0, &cpus[0]); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))

	var beat atomic.Int64
	var stop atomic.Bool
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its affinity
		err := unix.SchedSetaffinity(0, &cpus[1])
		for !stop.Load() {
			beat.Add(1)
		}
		ended <- err
	}()
	// The other thread must run, or its CPU has nothing to drop. To yield lets Go
	// stop the world meanwhile.
	seen := func() {
		for now := beat.Load(); beat.Load() < now+2; {
			unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
	const n = 20
	page := os.Getpagesize()
	mapped := func(do func(b []byte) error) {
		b, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		b[0] = 1
		seen()
		if err := errors.Join(do(b), unix.Munmap(b)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []struct {
		name     string
		run      func()
		min, max float64
	}{
		{"calls that unmap nothing", func() {
			for range n {
				seen()
				unix.RawSyscall(unix.SYS_GETEUID, 0, 0, 0)
			}
		}, 0, 0},
		{"munmap", func() {
			for range n {
				mapped(func([]byte) error { return nil })
			}
		}, n, n + n/2},
		{"mprotect and munmap", func() {
			for range n {
				mapped(func(b []byte) error { return unix.Mprotect(b, unix.PROT_READ) })
			}
		}, 2 * n, 2*n + n/2},
	} {
		var got Calls
		// Somebody else may have that CPU for a moment: once is chance.
		for range 5 {
			if err := c.Begin(); err != nil {
				t.Fatal(err)
			}
			s.run()
			var err error
			if got, err = c.End(); err != nil {
				t.Fatal(err)
			}
			if !got.HasShootdowns || got.Shootdowns >= s.min && got.Shootdowns <= s.max {
				break
			}
		}
		if !got.HasShootdowns {
			t.Log("this kernel has no tracepoint tlb:tlb_flush")
			break
		}
		if got.Shootdowns < s.min || got.Shootdowns > s.max {
			t.Errorf("%s: %v shootdowns of %d, want %v to %v", s.name, got.Shootdowns, n, s.min, s.max)
		}
	}
	stop.Store(true)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The process's meter sees what other threads do, and the thread's own does not.
func TestProcessMeterSeesAllThreads(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, all := OpenMeter(), OpenProcessMeter()
	defer own.Close()
	defer all.Close()
	if err := errors.Join(own.Start(), all.Start()); err != nil {
		t.Fatal(err)
	}
	const pages = 1000
	done := make(chan error)
	go func() {
		mem, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err == nil {
			err = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
		}
		for i := 0; err == nil && i < len(mem); i += os.Getpagesize() {
			mem[i] = 1
		}
		done <- err
	}()
	if err := <-done; err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	if err := errors.Join(own.Stop(), all.Stop()); err != nil {
		t.Fatal(err)
	}
	if all.MinorFaults < pages || own.MinorFaults >= pages {
		t.Errorf("minor faults of the process %d, of the thread %d; want %d or more, and less", all.MinorFaults, own.MinorFaults, pages)
	}
	if all.CPU <= own.CPU {
		t.Errorf("CPU time of the process %v, of the thread %v; want more", all.CPU, own.CPU)
	}
}
