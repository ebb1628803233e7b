package counters

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// tally is a counter that is told what to count.
type tally struct {
	log              []string
	calls            []Calls
	beginErr, endErr error
}

func (*tally) Source() string { return "tally" }
func (*tally) Close() error   { return nil }
func (c *tally) Begin() error { c.log = append(c.log, "count"); return c.beginErr }
func (c *tally) End() (Calls, error) {
	c.log = append(c.log, "stop")
	next := c.calls[0]
	c.calls = c.calls[1:]
	return next, c.endErr
}

func (c *tally) job(beginErr, moveErr, endErr error) Job {
	step := func(name string, err error) func() error {
		return func() error { c.log = append(c.log, name); return err }
	}
	return Job{Begin: step("begin", beginErr), Move: step("move", moveErr), End: step("end", endErr)}
}

func TestCountIsTheMeanOfTheJobs(t *testing.T) {
	c := &tally{calls: []Calls{
		{Total: 10, ByName: map[string]float64{"read": 8, "futex": 2}},
		{Total: 8, ByName: map[string]float64{"read": 8}},
		{Total: 9, ByName: map[string]float64{"read": 8, "lseek": 1}},
		{Total: 9, ByName: map[string]float64{"read": 8}},
	}}
	got, err := Count(c, 4, c.job(nil, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Calls{Total: 9, ByName: map[string]float64{"read": 8, "futex": 0.5, "lseek": 0.25}}
	if got.Total != want.Total || got.String() != want.String() {
		t.Errorf("Count = %v: %v, want %v: %v", got.Total, got, want.Total, want)
	}
	one := "begin count move stop end"
	if log, want := strings.Join(c.log, " "), strings.Join([]string{one, one, one, one}, " "); log != want {
		t.Errorf("Count did %q, want %q", log, want)
	}
}

func TestMeanOfShootdowns(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []Calls
		want float64
		has  bool
	}{
		{"of some", []Calls{{Shootdowns: 2, HasShootdowns: true}, {Shootdowns: 1, HasShootdowns: true}}, 1.5, true},
		{"zero is a figure", []Calls{{HasShootdowns: true}, {HasShootdowns: true}}, 0, true},
		{"none are counted", []Calls{{}, {}}, 0, false},
		{"of nothing", nil, 0, false},
	} {
		if got := mean(c.all); got.Shootdowns != c.want || got.HasShootdowns != c.has {
			t.Errorf("%s: Mean has %v, %v shootdowns, want %v, %v", c.name, got.Shootdowns, got.HasShootdowns, c.want, c.has)
		}
	}
}

func TestUsageAddsStretches(t *testing.T) {
	const ms = time.Millisecond
	all := [NumHardware]bool{true, true, true, true}
	type usages []Usage // begin and end of each stretch
	for _, c := range []struct {
		name      string
		stretches usages
		want      Usage
	}{
		{"nothing", nil, Usage{}},
		{"two stretches", usages{
			{CPU: 1 * ms, MinorFaults: 10, MajorFaults: 5, Voluntary: 2, Involuntary: 3, DeviceBytes: 100, DeviceWritten: 7},
			{CPU: 4 * ms, SystemCPU: 1 * ms, MinorFaults: 14, MajorFaults: 6, Voluntary: 2, Involuntary: 4, DeviceBytes: 612, DeviceWritten: 4103, HasDeviceBytes: true},
			{},
			{CPU: 1 * ms, Voluntary: 1, HasDeviceBytes: true},
		}, Usage{CPU: 4 * ms, UserCPU: 3 * ms, SystemCPU: 1 * ms, MinorFaults: 4, MajorFaults: 1,
			Switches: 2, Voluntary: 1, Involuntary: 1, DeviceBytes: 512, DeviceWritten: 4096, HasDeviceBytes: true}},
		{"more taken back than written", usages{{HasDeviceBytes: true}, {DeviceWritten: -4096, HasDeviceBytes: true}},
			Usage{DeviceWritten: -4096, HasDeviceBytes: true}},
		{"system time cut up to a microsecond too far", usages{{CPU: 900, SystemCPU: 0}, {CPU: 1800, SystemCPU: 1000}},
			Usage{CPU: 900, SystemCPU: 900}},
		{"hardware", usages{
			{enabled: 10, running: 10, Hardware: [NumHardware]int64{100, 200, 300, 400}, HasHardware: all},
			{enabled: 15, running: 15, Hardware: [NumHardware]int64{101, 202, 303, 400}, HasHardware: all},
		}, Usage{enabled: 5, running: 5, Hardware: [NumHardware]int64{1, 2, 3, 0}, HasHardware: all}},
		{"one that the machine lacks", usages{
			{HasHardware: [NumHardware]bool{Cycles: true}},
			{enabled: 5, running: 5, Hardware: [NumHardware]int64{Cycles: 7}, HasHardware: [NumHardware]bool{Cycles: true}},
		}, Usage{enabled: 5, running: 5, Hardware: [NumHardware]int64{Cycles: 7}, HasHardware: [NumHardware]bool{Cycles: true}}},
		{"off the processor before the stretch", usages{
			{enabled: 10, running: 3, HasHardware: all}, {enabled: 15, running: 8, HasHardware: all},
		}, Usage{enabled: 5, running: 5, HasHardware: all}},
		{"off the processor for a while", usages{
			{HasHardware: all}, {enabled: 5, running: 4, HasHardware: all},
		}, Usage{enabled: 5, running: 4}},
		{"and on it in the next", usages{
			{HasHardware: all}, {enabled: 5, running: 4, HasHardware: all},
			{HasHardware: all}, {enabled: 5, running: 5, HasHardware: all},
		}, Usage{enabled: 10, running: 9}},
	} {
		var got Usage
		for i := 0; i < len(c.stretches); i += 2 {
			got.add(&c.stretches[i], &c.stretches[i+1])
		}
		if got != c.want {
			t.Errorf("%s: sum = %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestCountStopsAtTheFirstError(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name                               string
		begin, move, end, begins, endsWith error
		log                                string
	}{
		{name: "job cannot begin", begin: failed, log: "begin"},
		{name: "counter cannot begin", begins: failed, log: "begin count"},
		{name: "job fails", move: failed, log: "begin count move stop"},
		{name: "counter cannot end", endsWith: failed, log: "begin count move stop"},
		{name: "job cannot end", end: failed, log: "begin count move stop end"},
	} {
		counter := &tally{calls: make([]Calls, 2), beginErr: c.begins, endErr: c.endsWith}
		_, err := Count(counter, 2, counter.job(c.begin, c.move, c.end))
		if !errors.Is(err, failed) {
			t.Errorf("%s: Count = %v, want its error", c.name, err)
		}
		if log := strings.Join(counter.log, " "); log != c.log {
			t.Errorf("%s: Count did %q, want %q", c.name, log, c.log)
		}
	}
}

func TestProve(t *testing.T) {
	if Names() == nil {
		t.Skip("no call can be counted by name here")
	}
	type by = map[string]float64
	for _, c := range []struct {
		name     string
		calls    by
		declared []string
		want     string // part of the error's text; "" for none
	}{
		{"nothing of nothing", nil, nil, ""},
		{"fine", by{"pread64": 256}, []string{"pread64"}, ""},
		{"fine, and calls that move nothing", by{"read": 16, "lseek": 16, "futex": 3, "mmap": 1}, []string{"read"}, ""},
		{"several", by{"mmap": 1, "write": 16, "munmap": 1}, []string{"mmap", "write", "munmap"}, ""},
		{"declared and missing", by{"read": 256}, []string{"pread64"}, "pread64(2) is declared and was not made; seen: read=256"},
		{"one of several missing", by{"mmap": 1, "write": 16}, []string{"mmap", "write", "munmap"}, "munmap(2) is declared and was not made"},
		{"declared and made in some jobs", by{"pread64": 0.5}, []string{"pread64"}, "was not made"},
		{"undeclared in bulk", by{"sendfile": 1, "write": 256, "read": 256}, []string{"sendfile"}, "is not declared and was made"},
		{"undeclared in bulk by one that declares none", by{"copy_file_range": 1}, nil, "copy_file_range(2) is not declared and was made"},
		{"the runtime's poller is woken now and then", by{"sendfile": 1, "write": 0.5}, []string{"sendfile"}, ""},
		{"unknown", by{"read": 1}, []string{"teleport"}, `"teleport" is declared, and is not a system call that can be counted by name`},
		{"by the name of the library", by{"pread64": 1}, []string{"pread"}, "not a system call that can be counted"},
	} {
		var total float64
		for _, n := range c.calls {
			total += n
		}
		err := Calls{Total: total, ByName: c.calls}.Prove(c.declared)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: Prove = %v, want nil", c.name, err)
		case c.want != "" && (!errors.Is(err, ErrPath) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: Prove = %v, want ErrPath with %q", c.name, err, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	calls := Calls{Total: 110, ByName: map[string]float64{"read": 100, "futex": 4, "rt_sigreturn": 3, "tgkill": 1}} // and 2 others
	for _, c := range []struct {
		declared   []string
		own, sched float64
	}{
		{[]string{"read"}, 102, 8},
		{nil, 102, 8},
		{[]string{"read", "futex"}, 106, 4}, // a ring in shared memory wakes by it
	} {
		if own, sched := calls.Split(c.declared); own.Total != c.own || sched.Total != c.sched {
			t.Errorf("Split(%q) = %v, %v, want %v, %v", c.declared, own, sched, c.own, c.sched)
		}
	}
}

func TestCallsString(t *testing.T) {
	type by = map[string]float64
	for _, c := range []struct {
		calls Calls
		want  string
	}{
		{Calls{}, "none"},
		{Calls{Total: 3}, "other=3"},
		{Calls{Total: 5, ByName: by{"read": 5}}, "read=5"},
		{Calls{Total: 12, ByName: by{"write": 2, "read": 2, "mmap": 6}}, "mmap=6 read=2 write=2 other=2"},
		{Calls{Total: 0.5, ByName: by{"futex": 0.5}}, "futex=0.5"},
	} {
		if got := c.calls.String(); got != c.want {
			t.Errorf("String of %v = %q, want %q", c.calls.ByName, got, c.want)
		}
	}
}

// Prove can hold only what is counted by name.
func TestBulkCallsAreCountedByName(t *testing.T) {
	names := Names()
	if names == nil {
		t.Skip("no call can be counted by name here")
	}
	if !slices.IsSorted(names) {
		t.Errorf("Names() = %q, want them sorted", names)
	}
	for _, name := range slices.Concat(bulk, scheduler) {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among Names()", name)
		}
	}
}
