package counters

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadBytes(t *testing.T) {
	const io = "rchar: 7\nwchar: 8\nsyscr: 9\nsyscw: 10\nread_bytes: 4096\nwrite_bytes: 12\ncancelled_write_bytes: 0\n"
	for _, c := range []struct {
		name, io string
		want     int64
		ok       bool
	}{
		{"as the kernel writes it", io, 4096, true},
		{"zero", "syscw: 1\nread_bytes: 0\nwrite_bytes: 5\n", 0, true},
		{"large", "x: 1\nread_bytes: 9223372036854775807\n", 1<<63 - 1, true},
		{"last, without an end", "x: 1\nread_bytes: 12", 12, true},
		{"empty", "", 0, false},
		{"missing", "rchar: 7\nwrite_bytes: 12\n", 0, false},
		{"no number", "x: 1\nread_bytes: many\n", 0, false},
		{"nothing", "x: 1\nread_bytes: \n", 0, false},
		{"another line that ends like it", "x: 1\nthread_bytes: 5\n", 0, false},
	} {
		if got, ok := readBytes([]byte(c.io)); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: readBytes = %d, %v, want %d, %v", c.name, got, ok, c.want, c.ok)
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

func TestMeterAddsStretches(t *testing.T) {
	var u Usage
	u.add(&Usage{CPU: 1, MinorFaults: 10, MajorFaults: 5, Switches: 2, DeviceBytes: 100},
		&Usage{CPU: 3, MinorFaults: 14, MajorFaults: 6, Switches: 2, DeviceBytes: 612, HasDeviceBytes: true})
	u.add(&Usage{}, &Usage{CPU: 1, HasDeviceBytes: true})
	if want := (Usage{CPU: 3, MinorFaults: 4, MajorFaults: 1, DeviceBytes: 512, HasDeviceBytes: true}); u != want {
		t.Errorf("sum of two stretches = %+v, want %+v", u, want)
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
	c.Total, _ = c.Split(nil)
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
		}, Calls{1000, map[string]float64{"pread64": 1000}}},
		{"nothing again", func() {}, Calls{}},
		{"7 reads, as the counter's own", func() {
			for range 7 {
				unix.Read(fd, b[:])
			}
		}, Calls{7, map[string]float64{"read": 7}}},
		{"500 of a call that is not counted by name", raw(500, unix.SYS_GETPPID), Calls{500, nil}},
		{"calls that fail", raw(5, unix.SYS_MUNMAP), Calls{5, map[string]float64{"munmap": 5}}},
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
				unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
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
		got, err := Count(c, n, Job{Begin: calls(3, unix.SYS_MSYNC), Move: calls(10, unix.SYS_GETPPID), End: calls(4, unix.SYS_GETPPID)})
		if err != nil {
			t.Fatal(err)
		}
		got = withoutScheduler(got)
		if d := got.Total - 10; d > 1e-9 || d < -1e-9 || len(got.ByName) != 0 {
			t.Errorf("calls of one of %d jobs = %v: %v, want the 10 of Move alone", n, got.Total, got)
		}
	}
}
