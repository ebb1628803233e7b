package counters

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// software are events that every kernel counts, in place of the processor's, and
// one that none has.
var software = [NumHardware]event{
	{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_MAX + 1000},
	{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_PAGE_FAULTS},
	{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_TASK_CLOCK},
	{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CONTEXT_SWITCHES},
}

const missing, faults, clock, switches = 0, 1, 2, 3

func softwareMeter(t *testing.T) *Meter {
	t.Helper()
	g, err := openGroup(software, perfEventOpen)
	if errors.Is(err, os.ErrPermission) {
		t.Skip(err)
	}
	if !errors.Is(err, errors.ErrUnsupported) || g.scope == "" {
		t.Fatalf("openGroup = scope %q, %v, want the one event that is missing to be unsupported", g.scope, err)
	}
	m := OpenMeter()
	m.hardware.close()
	m.hardware = g
	t.Cleanup(func() { m.Close() })
	return m
}

func TestGroupCounts(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := softwareMeter(t)
	const pages, naps = 200, 3
	size := pages * os.Getpagesize()
	var got Usage
	began := time.Now()
	for range 5 { // a fault of the Go runtime's own may slip in
		m.Usage = Usage{}
		for range 2 { // stretches
			b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
				t.Fatal(err)
			}
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			for i := 0; i < size; i += os.Getpagesize() {
				b[i] = 1
			}
			for range naps {
				ts := unix.NsecToTimespec(int64(time.Millisecond))
				unix.Nanosleep(&ts, nil)
			}
			if err := m.Stop(); err != nil {
				t.Fatal(err)
			}
			unix.Munmap(b)
		}
		if got = m.Usage; got.Hardware[faults] == 2*pages {
			break
		}
	}
	if want := [NumHardware]bool{faults: true, clock: true, switches: true}; got.HasHardware != want {
		t.Fatalf("HasHardware = %v (%d ns of %d), want %v", got.HasHardware, got.running, got.enabled, want)
	}
	if got.Hardware[missing] != 0 || got.Hardware[faults] != 2*pages {
		t.Errorf("missing event = %d, faults = %d, want 0, %d", got.Hardware[missing], got.Hardware[faults], 2*pages)
	}
	// Unlike the CPU time, it holds the time that a hypervisor took away.
	if c := got.Hardware[clock]; c <= 0 || c > time.Since(began).Nanoseconds() {
		t.Errorf("task clock = %d ns, want up to %v", c, time.Since(began))
	}
	// The usage is read around the group, and one switch more may come between.
	least, most := int64(2*naps), got.Switches
	if m.hardware.scope == "user" {
		least, most = 0, 0 // the kernel switches
	}
	if n := got.Hardware[switches]; n < least || n > most {
		t.Errorf("context switches in scope %s = %d, want %d to %d", m.hardware.scope, n, least, most)
	}
}

func TestGroupDoesNotAllocate(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := softwareMeter(t)
	got := testing.AllocsPerRun(100, func() {
		if m.Start() != nil || m.Stop() != nil {
			t.Error("the meter fails")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a stretch, want 0", got)
	}
}

// A machine is told by what its perf_event_open answers to each event.
func TestOpenGroup(t *testing.T) {
	const lacks = "not supported by this machine"
	const mayNot = "perf_event_open: permission denied (run as root"
	type answers [NumHardware]error // of each event
	all := func(err error) answers { return answers{err, err, err, err} }
	for _, c := range []struct {
		name    string
		kernel  error   // of events that are not confined to the user's part
		answers answers // of those that are allowed
		scope   string
		which   []int
		want    []string
		is      error
	}{
		{name: "all there", scope: "user+kernel", which: []int{0, 1, 2, 3}},
		{name: "an ordinary user", kernel: unix.EACCES, scope: "user", which: []int{0, 1, 2, 3}},
		{name: "no such counters", answers: all(unix.ENOENT),
			want: []string{"cycles, instructions, llc-misses, dtlb-misses: " + lacks}, is: errors.ErrUnsupported},
		{name: "no such counters, for an ordinary user", kernel: unix.EACCES, answers: all(unix.ENOENT),
			want: []string{"cycles, instructions, llc-misses, dtlb-misses: " + lacks}, is: errors.ErrUnsupported},
		{name: "no counters at all", answers: all(unix.EOPNOTSUPP), want: []string{lacks}, is: errors.ErrUnsupported},
		{name: "a kernel without perf events", answers: all(unix.ENOSYS), want: []string{lacks}, is: errors.ErrUnsupported},
		{name: "nothing allowed", kernel: unix.EACCES, answers: all(unix.EACCES), want: []string{mayNot}, is: os.ErrPermission},
		{name: "a container", kernel: unix.EPERM, answers: all(unix.EPERM),
			want: []string{"operation not permitted (run as root", "a container must allow the call"}, is: os.ErrPermission},
		{name: "one lacking", answers: answers{LLCMisses: unix.ENOENT}, scope: "user+kernel", which: []int{0, 1, 3},
			want: []string{"llc-misses: " + lacks}, is: errors.ErrUnsupported},
		{name: "the first lacking", kernel: unix.EACCES, answers: answers{Cycles: unix.ENOENT}, scope: "user", which: []int{1, 2, 3},
			want: []string{"cycles: " + lacks}, is: errors.ErrUnsupported},
		{name: "too many for one group", answers: answers{DTLBMisses: unix.EINVAL}, scope: "user+kernel", which: []int{0, 1, 2},
			want: []string{"dtlb-misses: " + lacks + " beside the others"}, is: errors.ErrUnsupported},
		{name: "several causes", answers: answers{LLCMisses: unix.ENOENT, DTLBMisses: unix.EMFILE}, scope: "user+kernel", which: []int{0, 1},
			want: []string{"llc-misses: " + lacks + "; dtlb-misses: perf_event_open: too many open files"}, is: unix.EMFILE},
		{name: "cannot be told", answers: all(unix.EBUSY), want: []string{"perf_event_open: device or resource busy"}, is: unix.EBUSY},
	} {
		leader := -1
		open := func(attr *unix.PerfEventAttr, led int) (int, error) {
			if led != leader {
				t.Errorf("%s: event of type %d, config %#x led by %d, want %d", c.name, attr.Type, attr.Config, led, leader)
			}
			if c.kernel != nil && attr.Bits&unix.PerfBitExcludeKernel == 0 {
				return -1, c.kernel
			}
			i := slices.Index(hardware[:], event{attr.Type, attr.Config})
			if c.answers[i] != nil {
				return -1, c.answers[i]
			}
			if leader < 0 {
				leader = 1000 + i
			}
			return 1000 + i, nil
		}
		g, err := openGroup(hardware, open)
		if g.scope != c.scope || !slices.Equal(g.which, c.which) {
			t.Errorf("%s: openGroup counts %v in scope %q, want %v in %q", c.name, g.which, g.scope, c.which, c.scope)
		}
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: openGroup = %v, want %v", c.name, err, c.is)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: openGroup = %q, want one line with %q", c.name, err, want)
			}
		}
	}
}

func TestProbeHardware(t *testing.T) {
	scope, names, err := ProbeHardware()
	t.Logf("scope %q, %q, absent: %v", scope, names, err)
	if (scope == "") != (names == nil) || len(names) < NumHardware && err == nil {
		t.Errorf("ProbeHardware = %q, %q, %v, want a scope with its names, and why others are absent", scope, names, err)
	}
	// What is told of is what a meter has.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	got := measure(t, func() {})
	for i, has := range got.HasHardware {
		if has != slices.Contains(names, HardwareNames[i]) && got.running == got.enabled {
			t.Errorf("the meter has %s: %v, and ProbeHardware tells of %q", HardwareNames[i], has, names)
		}
	}
}

func TestProbe(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g, absent := openGroup(software, perfEventOpen)
	if errors.Is(absent, os.ErrPermission) {
		t.Skip(absent)
	}
	scope, names, err := probe(g, absent)
	if scope == "" || !slices.Equal(names, HardwareNames[1:]) || err != absent {
		t.Errorf("probe of three of four events = %q, %q, %v, want %q and %v", scope, names, err, HardwareNames[1:], absent)
	}
	if g.fds != nil {
		t.Error("probe leaves the group open")
	}
}
