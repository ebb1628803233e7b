package crash

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	forbidRings()
	if Child() || loseMachines() {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func experiment(t *testing.T, method, policy, layout string, seed uint64) Experiment {
	return Experiment{Dir: t.TempDir(), Method: method, Policy: policy, Layout: layout, Size: 16 << 20, Time: 50 * time.Millisecond, Seed: seed}
}

// Each fault of the process, on a mapping, a private one, write and a buffer.
func TestProcessFaults(t *testing.T) {
	for i, fault := range Faults {
		if testing.Short() && slices.Contains([]string{"sigsegv", "panic", "sigabrt"}, fault.Name) {
			continue
		}
		for _, test := range []struct {
			method, policy, layout string
			loses                  bool // whatever the fault
		}{
			{"mmap.shared", "none", "sparse", false},
			{"mmap.shared", "each", "prealloc", false},
			{"mmap.private", "none", "sparse", true},
			{"write", "none", "append", false},
			{"pwrite", "each", "append", false},
			{"os.File", "none", "append", false},
			{"bufio", "flush", "append", false},
			{"odirect", "none", "append", false},
			{"io_uring", "none", "append", false},
			{"io_uring", "each", "append", false},
			{"io_uring", "64", "append", false},
			{"io_uring", "dsync", "sparse", false},
		} {
			if testing.Short() && (test.policy != "none" || strings.HasPrefix(test.method, "o")) {
				continue
			}
			e := experiment(t, test.method, test.policy, test.layout, uint64(i)+1)
			c, err := e.Process(t.Context(), fault.Name)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Logf("%s of %s/%s: %v", fault.Name, test.method, test.policy, err)
				continue
			}
			if err != nil {
				t.Errorf("%s of %s/%s: %v", fault.Name, test.method, test.policy, err)
				continue
			}
			switch {
			case c.Acknowledged == 0:
				t.Errorf("%s of %s/%s: nothing was acknowledged", fault.Name, test.method, test.policy)
			case fault.Name == "truncate":
				if c.LostOrTorn() == 0 && !test.loses {
					t.Errorf("truncate of %s/%s: nothing lost", test.method, test.policy)
				}
				// Go dies of SIGBUS as of what nobody recovers.
				if mapped := test.method[:4] == "mmap"; mapped == c.StillWriting || mapped && c.Died != "exit status 2" {
					t.Errorf("truncate of %s/%s: still writing: %v, died of %s", test.method, test.policy, c.StillWriting, c.Died)
				}
			case fault.Name == "wild":
				// A stray store into a shared mapping is in the file.
				if want := test.method == "mmap.shared"; want != c.Corrupted {
					t.Errorf("wild store of %s/%s: in the file: %v, want %v (%+v)", test.method, test.policy, c.Corrupted, want, c)
				}
				if bad := c.LostOrTorn(); !test.loses && (c.Corrupted && bad != 1 || !c.Corrupted && bad != 0) {
					t.Errorf("wild store of %s/%s: %+v, want no loss beside it", test.method, test.policy, c)
				}
			case test.loses && c.Lost != c.Acknowledged:
				t.Errorf("%s of %s/%s: %+v, want all lost", fault.Name, test.method, test.policy, c.Counts)
			case !test.loses && c.LostOrTorn() > 0:
				t.Errorf("%s of %s/%s: %+v, want none lost", fault.Name, test.method, test.policy, c.Counts)
			}
		}
	}
}

// What bufio has not flushed is lost with the process.
func TestBufferIsLost(t *testing.T) {
	var all uint64
	for seed := range uint64(5) {
		c, err := experiment(t, "bufio", "none", "append", seed).Process(t.Context(), "sigkill")
		if err != nil {
			t.Fatal(err)
		}
		lost := c.LostOrTorn() * RecordSize
		if lost > 64<<10+2*RecordSize {
			t.Errorf("lost %d bytes, want no more than the buffer has: %+v", lost, c.Counts)
		}
		all += lost
	}
	if all == 0 { // one may be killed just when it has flushed
		t.Error("lost nothing in 5 cycles, want some")
	}
}

// A cycle of the same seed does the same where the clock has no say: the file's records.
func TestUnknown(t *testing.T) {
	if _, err := experiment(t, "write", "none", "append", 1).Process(t.Context(), "flood"); err == nil {
		t.Error("an unknown fault is committed")
	}
	if _, err := experiment(t, "write", "none", "spiral", 1).Process(t.Context(), "exit"); err == nil {
		t.Error("an unknown layout is made")
	}
	for _, s := range []string{"write", "write/flush", "mmap/none", ""} {
		if _, _, err := ParseCell(s); err == nil {
			t.Errorf("%q is a cell", s)
		}
	}
}

// Each backend proves itself, where it can be had.
func TestMachines(t *testing.T) {
	for _, b := range Backends {
		t.Run(b.Name, func(t *testing.T) {
			if testing.Short() && b.Name == "voldisk" {
				t.Skip("takes long: TestNothingIsLeft has it")
			}
			if testing.Short() && b.Apart {
				// The program that is a guest's init may be another here: a dynamic one.
				c, err := b.Machine(t.Context(), experiment(t, "write", "each", "append", 5), "ext4")
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip(err)
				}
				if err != nil || len(c) != 1 || c[0].Acknowledged == 0 || c[0].LostOrTorn() > 0 {
					t.Errorf("%+v, %v", c, err)
				}
				return
			}
			before := mounts(t)
			err := b.SelfCheck(t.Context(), t.TempDir(), "ext4", b.DAX, 5, "")
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			type crashed struct {
				fs, method, policy, layout string
				loses                      bool
			}
			tests := []crashed{
				{"ext4", "io_uring", "none", "append", true},
				{"ext4", "io_uring", "each", "append", false},
				{"ext4", "io_uring", "64", "append", false},
				{"ext4", "io_uring", "dsync", "append", false},
			}
			if b.Apart { // which take long
				tests = nil
			}
			if b.DAX {
				tests = append(tests, crashed{"ext4", "mmap.dax", "none", "sparse", true}, crashed{"ext4", "mmap.sync", "store", "sparse", false})
			}
			for _, fs := range b.Filesystems[1:] {
				tests = append(tests, crashed{fs, "mmap.shared", "each", "prealloc", false})
			}
			for _, test := range tests {
				e := experiment(t, test.method, test.policy, test.layout, 6)
				e.Time = 200 * time.Millisecond
				cycles, err := b.Machine(t.Context(), e, test.fs)
				if errors.Is(err, errors.ErrUnsupported) {
					t.Logf("%+v: %v", test, err)
					continue
				}
				if err != nil {
					t.Errorf("%+v: %v", test, err)
				}
				for _, c := range cycles {
					if c.LostOrTorn() > 0 != test.loses || c.Acknowledged == 0 {
						t.Errorf("%+v: %+v", test, c)
					}
				}
			}
			if after := mounts(t); before != after {
				t.Errorf("mounts are left:\n%s", after)
			}
		})
	}
}

// A policy that lies is found out, and one that does not lie is not.
func TestPromises(t *testing.T) {
	cycles := []Cycle{
		{Fault: "power", Backend: "voldisk", Filesystem: "ext4", Promised: true, Counts: Counts{Acknowledged: 3, Intact: 3}},
		{Fault: "power", Backend: "voldisk", Filesystem: "ext4", Promised: true, Counts: Counts{Acknowledged: 3, Intact: 2, Torn: 1}},
		{Fault: "power", Backend: "voldisk", Filesystem: "ext4", Counts: Counts{Acknowledged: 3, Lost: 3}},
		// Of a writer at a pace, a broken promise alone.
		{Fault: "power", Backend: "voldisk", Filesystem: "ext4", Promised: true, Pace: 500, Counts: Counts{Acknowledged: 3, Intact: 3}},
		{Fault: "power", Backend: "voldisk", Filesystem: "ext4", Pace: 500, Counts: Counts{Acknowledged: 3, Lost: 3}},
		{Fault: "power", Backend: "voldisk", Filesystem: "ext4", Promised: true, Pace: 500, Counts: Counts{Acknowledged: 3, Lost: 3}},
		{Fault: "sigkill", Backend: ByProcess, Filesystem: "ext4", Promised: true, Counts: Counts{Acknowledged: 3, Lost: 3}},
		{Fault: "wild", Backend: ByProcess, Filesystem: "ext4", Promised: true, Counts: Counts{Acknowledged: 3, Torn: 1}},
	}
	want := []Promise{{Backend: "voldisk", Filesystem: "ext4", Promised: 3, Broken: 2, Unpromised: 1, LossyOthers: 1},
		{Backend: ByProcess, Filesystem: "ext4", Promised: 1, Broken: 1}}
	if got := PromisesKept(cycles); !slices.Equal(got, want) {
		t.Errorf("PromisesKept = %+v, want %+v", got, want)
	}
	for _, m := range Methods {
		for _, p := range m.Policies {
			want := m.Name != "mmap.private" && slices.Contains([]string{"each", "64", "dsync", "store"}, p)
			if got := Promises(m.Name, p); got != want {
				t.Errorf("Promises(%s, %s) = %v, want %v", m.Name, p, got, want)
			}
		}
	}
}

func mounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRows(t *testing.T) {
	process := Cycle{Method: "m", Policy: "p", Layout: "l", Backend: ByProcess, Filesystem: "btrfs", Counts: Counts{Acknowledged: 10, Intact: 10}}
	process.DeviceBytes = -1
	killed, panicked, wild, other := process, process, process, process
	killed.Fault, killed.Rate = "sigkill", 5
	panicked.Fault, panicked.Rate = "panic", 7
	wild.Fault, wild.Counts = "wild", Counts{Acknowledged: 10, Torn: 1, Intact: 9}
	other.Method, other.Rate = "n", 3
	power := Cycle{Method: "m", Policy: "p", Layout: "l", Backend: "voldisk", Filesystem: "ext4", Fault: "power", Counts: Counts{Acknowledged: 10, Intact: 10}, Rate: 1000}
	torn, xfs := power, power
	torn.Counts, torn.DeviceBytes = Counts{Acknowledged: 10, Intact: 5, Lost: 4, Torn: 1}, 30000
	power.DeviceBytes, xfs.DeviceBytes = 10000, -1
	xfs.Filesystem, xfs.Backend = "xfs", "uml"
	rows := Rows([]Cycle{killed, panicked, wild, other, torn, power, xfs})
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 3", len(rows))
	}
	r := rows[0]
	if got := r.Loss[ByProcess].String(); got != "0 of 2 <100%" {
		t.Errorf("process: %s", got)
	}
	if got := r.Loss["voldisk"].String(); got != "25≤50% of 2†" {
		t.Errorf("power: %s", got)
	}
	// Costs are those on this machine's own disk.
	if r.Rate != 6 || r.PerByte != 2 || r.Filesystem != "ext4" {
		t.Errorf("row: %+v", r)
	}
	// Nothing written is a figure, too.
	if r = rows[1]; r.PerByte != -1 || r.Filesystem != "xfs" || r.Loss["uml"].Cycles != 1 || r.Loss[ByProcess].Cycles != 2 {
		t.Errorf("row: %+v", r)
	}
	if r = rows[2]; r.Method != "n" || r.Filesystem != "" || r.Rate != 3 {
		t.Errorf("row: %+v", r)
	}
}

// Without faults of the process, costs are those before the first cut, by one backend.
func TestCosts(t *testing.T) {
	first := Cycle{Method: "m", Policy: "p", Layout: "l", Backend: "voldisk", Filesystem: "ext4", Fault: "power", Seed: 1, Rate: 100, Counts: Counts{Acknowledged: 1, Intact: 1}}
	later, other := first, first
	later.Rate = 10
	other.Backend, other.Seed, other.Rate = "uml", 2, 1
	if r := Rows([]Cycle{first, later, later, other, other})[0]; r.Rate != 100 || r.Loss["voldisk"].Cycles != 3 {
		t.Errorf("%+v, want the rate before the first cut", r)
	}
}

// What is not all is not told as all.
func TestShare(t *testing.T) {
	for v, want := range map[float64]string{1: "100%", 0.9999: "99.9%", 0.996: "99.6%", 0.5: "50%", 0.01: "1%", 0.0012: "0.12%", 0: "0%"} {
		if got := share(v); got != want {
			t.Errorf("share(%v) = %s, want %s", v, got, want)
		}
	}
}
