package claims

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if Child() {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newLab is below this package: the system's temporary directory may be a tmpfs, of which
// nothing can be evicted.
func newLab(t *testing.T) *Lab {
	t.Helper()
	dir, err := os.MkdirTemp(".", "testdata-*")
	if err != nil {
		t.Skipf("no directory to write to: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := NewLab(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("the lab leaves %v, %v", left, err)
		}
	})
	return l
}

// What is not up to speed, load or privilege comes out the same on each Linux machine.
func TestVerdicts(t *testing.T) {
	l := newLab(t)
	yes := func(what string) Evidence { return Evidence{What: what, Value: 1, Unit: YesNo} }
	no := func(what string) Evidence { return Evidence{What: what, Unit: YesNo} }
	number := func(what string, value float64, unit string) Evidence {
		return Evidence{What: what, Value: value, Unit: unit}
	}
	for _, test := range []struct {
		name string
		want Verdict
		sees []Evidence
	}{
		{"length", Holds, []Evidence{
			number("page cache that mmap of a cold file of 64MiB adds", 0, "B"),
			number("resident memory of that mapping", 0, "B"),
			number("resident memory of it when each page was touched", 64<<20, "B"),
		}},
		{"first-touch", Depends, []Evidence{number("bytes that they read from the device", 64<<20, "B")}},
		{"sync", Depends, []Evidence{
			number("stores that read(2) saw at once, of 1000", 1000, ""),
			number("stores that are in the file after SIGKILL of their process, of 64", 64, ""),
		}},
		{"alignment", Depends, []Evidence{
			yes("length 1 at offset 0 is mapped"), no("offset 512 is mapped (else EINVAL)"),
			yes("offset of one page is mapped"), no("length 0 is mapped (else EINVAL)"),
		}},
		{"tail", Depends, []Evidence{
			yes("the last bytes of the file are there"), yes("the rest of its last page reads zero"), yes("a store there is seen in the mapping"),
			yes("the next page is a fault at its address"), yes("by default that ends a process, by SIGBUS"),
			yes("pread into it fails with EFAULT"), yes("write from it fails with EFAULT"), yes("the store behind the end is gone when the file grows"),
		}},
		{"outlives", Holds, []Evidence{yes("a store after close reaches the file"), yes("loads and stores after unlink"), yes("/proc/self/maps calls it deleted")}},
		{"resize", Holds, []Evidence{
			yes("behind the end of the file it faults"), yes("bytes that the file gained are seen in the old mapping"),
			yes("it faults again where the file was cut"), yes("bytes before the new end stay"), yes("even a copied page of a private mapping is gone"),
		}},
		{"append", Depends, []Evidence{
			yes("the bytes are appended"), yes("munmap by the moved pointer fails with EINVAL"), number("mappings of the file left then", 1, ""),
			number("mappings of the file left after munmap by the pointer that mmap gave", 0, ""),
			yes("where the file ended with a page, munmap by the moved pointer works"), number("mappings of the file left then, of the pages before it", 1, ""),
		}},
		{"protection", Holds, []Evidence{
			yes("a load after munmap is SIGSEGV"), yes("a store into a read-only mapping is SIGSEGV"),
			yes("shared and writable, of a file opened for reading: EACCES"), yes("private and writable, of the same file, is mapped"),
		}},
		{"shared", Holds, []Evidence{
			number("memory that is the process's own then, and not the file's", float64(64*page), "B"),
			number("stores of 1000 that another process answered by stores of its own", 1000, ""),
			yes("the shared store is in the file"), yes("the private stores are not, and stay"),
		}},
		{"go-fault", Depends, []Evidence{
			yes("by default, a fault where the file was cut (SIGBUS) ends it"), no("with debug.SetPanicOnFault and recover, it ends it"),
			no("the same within copy, it ends it"), yes("with the setting in another goroutine than the one that faults, it ends it"),
		}},
		{"fork", Holds, []Evidence{
			yes("a store by a forked process is seen through MAP_SHARED"), no("a store by a forked process is seen through MAP_PRIVATE"),
			yes("a forked process has the mapping"), no("with MADV_DONTFORK it has it"), no("after exec the mapping is there"),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "fork" && raceEnabled {
				t.Skip("skipped: a bare clone under the race detector, whose runtime has locks and threads of its own: the forked process may hang")
			}
			c, err := Lookup([]string{test.name})
			if err != nil {
				t.Fatal(err)
			}
			var f Finding
			// What is timed, or reclaimed by a busy machine meanwhile, has another try.
			for range 3 {
				if f, err = c[0].Run(t.Context(), l); err != nil || f.Verdict == test.want {
					break
				}
			}
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip("skipped: " + Why(err))
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Verdict != test.want || f.Because == "" {
				t.Errorf("it %s: %s; want %s; %+v", f.Verdict, f.Because, test.want, f.Evidence)
			}
			for _, want := range test.sees {
				if !slices.Contains(f.Evidence, want) {
					t.Errorf("no evidence %+v in %+v", want, f.Evidence)
				}
			}
		})
	}
}

// Where nobody measures cells, what needs them is skipped, with a reason.
func TestNoBench(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"pressure", "crossings", "copies", "large-random", "anonymous", "ipc"} {
		c, err := Lookup([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if f, err := c[0].Run(t.Context(), l); !errors.Is(err, errors.ErrUnsupported) || Why(err) == "" {
			t.Errorf("%s: %+v, %v; want it skipped with a reason", name, f, err)
		}
	}
}

// A bench is measured by a table.
type bench struct {
	cells       map[string]Series
	above, upTo int64
	held        []Held
	noSwap      bool
	loss        KernelLoss
	err         error
}

func (b bench) KernelLoss(context.Context) (KernelLoss, error) { return b.loss, b.err }

func (b bench) Cells(_ context.Context, _ int, names ...string) (map[string]Series, error) {
	found := map[string]Series{}
	for _, name := range names {
		for part, s := range b.cells {
			if strings.HasSuffix(name, part) {
				found[name] = s
			}
		}
	}
	return found, b.err
}

func (b bench) Crossover(context.Context) (above, upTo int64, err error) { return b.above, b.upTo, nil }

func (b bench) Pressure(_ context.Context, _ string, swap bool) ([]Held, error) {
	if swap && b.noSwap {
		return nil, unsupported("no swap")
	}
	return b.held, b.err
}

// about is n figures around v, all told apart from others that are 10 % away.
func about(v float64) (all []float64) {
	for i := range 9 {
		all = append(all, v*(1+0.001*float64(i%3)))
	}
	return all
}

// The verdict follows the figures, both ways.
func TestVerdictsOfFigures(t *testing.T) {
	calls := func(rw, mw, sf float64) map[string]Series {
		return map[string]Series{"read+write": {"syscalls/op": about(rw)}, "mmap+write": {"syscalls/op": about(mw)}, "sendfile": {"syscalls/op": about(sf)}}
	}
	whole := func(blocks, whole float64) map[string]Series {
		all := calls(1, 1, 1)
		all["block=64KiB/method=mmap+write"], all["block=16MiB/method=mmap+write"] = Series{"syscalls/op": {blocks}}, Series{"syscalls/op": {whole}}
		delete(all, "mmap+write")
		return all
	}
	cpu := func(rw, mw, sf float64) map[string]Series {
		return map[string]Series{"read+write": {"cpu-sec/op": about(rw)}, "mmap+write": {"cpu-sec/op": about(mw)}, "sendfile": {"cpu-sec/op": about(sf)}}
	}
	times := func(of map[string]float64) map[string]Series {
		all := map[string]Series{}
		for name, v := range of {
			all[name] = Series{"sec/op": about(v)}
		}
		return all
	}
	const mib = 1 << 20
	l := newLab(t)
	for _, test := range []struct {
		claim string
		bench bench
		want  Verdict
		says  string
	}{
		{"crossings", bench{cells: whole(1, 3)}, Depends, "each block is one call"},
		{"crossings", bench{cells: whole(2, 3)}, Holds, "twice"},
		{"crossings", bench{cells: whole(1, 1)}, Fails, "no more"},
		{"copies", bench{cells: cpu(2, 1, 0.5)}, Depends, "the copy into a buffer is gone"},
		{"copies", bench{cells: cpu(1, 1, 0.5)}, Depends, "does not show"},
		{"copies", bench{cells: cpu(1, 2, 0.5)}, Fails, "less CPU time"},
		{"large-random", bench{cells: times(map[string]float64{"pread": 2, "mmap": 1}), upTo: 128 << 10}, Holds, "in order as well; a file that is opened, read once and closed must have 128KiB"},
		{"large-random", bench{cells: times(map[string]float64{"pread": 1, "mmap": 2})}, Fails, "pread is faster"},
		{"large-random", bench{cells: times(map[string]float64{"pread": 1, "mmap": 1})}, Depends, "no difference"},
		{"anonymous", bench{cells: times(map[string]float64{"map+anon": 1, "heap": 2})}, Holds, ""},
		{"anonymous", bench{cells: times(map[string]float64{"map+anon": 2, "heap": 1})}, Fails, ""},
		{"ipc", bench{cells: times(map[string]float64{"ring.memfd": 1, "pipe": 2, "unix": 3})}, Holds, "same pages"},
		{"ipc", bench{cells: times(map[string]float64{"ring.memfd": 1, "pipe": 1, "unix": 3})}, Depends, "no difference"},
		{"ipc", bench{cells: times(map[string]float64{"ring.memfd": 2, "pipe": 1, "unix": 3})}, Depends, "slower"},
		{"sync", bench{loss: KernelLoss{By: "axe", Unsynced: 9, UnsyncedLost: 8, Synced: 5}}, Depends, "took 8 of 9 records that were not synced, and 0 of 5 that msync had"},
		{"sync", bench{loss: KernelLoss{By: "axe", Unsynced: 9, UnsyncedLost: 9, Synced: 5, SyncedLost: 1}}, Fails, "of no use"},
		{"sync", bench{err: unsupported("no axe")}, Depends, "not tried"},
		{"pressure", bench{held: []Held{{How: "mapping", Resident: mib, Swapped: mib}, {How: "heap", Swapped: 60 * mib}}}, Holds, "nothing but swap"},
		{"pressure", bench{held: []Held{{How: "mapping", Resident: mib, Swapped: 40 * mib}, {How: "heap", Swapped: 60 * mib}}}, Fails, "swapped"},
		{"pressure", bench{held: []Held{{How: "mapping", Resident: 64 * mib}, {How: "heap", Swapped: 60 * mib}}}, Depends, "left the mapping alone"},
		{"pressure", bench{held: []Held{{How: "mapping", Resident: mib}, {How: "heap", Killed: "holder"}}, noSwap: true}, Depends, "no swap here"},
		{"pressure", bench{held: []Held{{How: "mapping", Killed: "holder"}, {How: "heap", Killed: "holder"}}, noSwap: true}, Fails, "killed"},
	} {
		l.Bench = test.bench
		c, err := Lookup([]string{test.claim})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c[0].Run(t.Context(), l)
		if err != nil || f.Verdict != test.want || !strings.Contains(f.Because, test.says) {
			t.Errorf("%s: %s: %s, %v; want %s: %s", test.claim, f.Verdict, f.Because, err, test.want, test.says)
		}
	}
	// What cannot be measured is no verdict.
	for _, test := range []struct {
		err         error
		unsupported bool
	}{{unsupported("no counter"), true}, {errors.New("broken"), false}} {
		l.Bench = bench{err: test.err}
		for _, name := range []string{"pressure", "crossings", "copies", "large-random", "anonymous", "ipc"} {
			c, _ := Lookup([]string{name})
			if _, err := c[0].Run(t.Context(), l); err == nil || errors.Is(err, errors.ErrUnsupported) != test.unsupported {
				t.Errorf("%s where cells end with %v: %v", name, test.err, err)
			}
		}
	}
}

func TestLookup(t *testing.T) {
	for _, test := range []struct {
		wanted []string
		want   []int // nil: an error
	}{
		{[]string{"2"}, []int{2}},
		{[]string{"tail", "2", "first-touch"}, []int{2, 11}},
		{[]string{"0"}, nil}, {[]string{"23"}, nil}, {[]string{"2", "nothing"}, nil}, {[]string{""}, nil},
	} {
		found, err := Lookup(test.wanted)
		var got []int
		for _, c := range found {
			got = append(got, c.Number)
		}
		if !slices.Equal(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("Lookup(%q) = %d, %v; want %d", test.wanted, got, err, test.want)
		}
	}
	for i, c := range All() {
		if c.Number != i+1 || c.Name == "" || c.Text == "" || c.Run == nil || strings.ContainsAny(c.Name, " 0123456789") {
			t.Errorf("claim %d is %+v", i+1, c)
		}
	}
}

func TestFaultsAt(t *testing.T) {
	l := newLab(t)
	file, err := l.file(int64(page))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := mapFile(file, 0, 2*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer m.unmap()
	b := m.bytes()
	if addr, ok := faultsAt(func() { load(b) }); ok {
		t.Errorf("a load within the file faults at %#x", addr)
	}
	for _, at := range []int{page, page + 17, 2*page - 1} {
		if addr, ok := faultsAt(func() { load(b[at:]) }); !ok || addr != uintptr(m.addr)+uintptr(at) {
			t.Errorf("a load at %d: %#x, %v; want a fault at %#x", at, addr, ok, uintptr(m.addr)+uintptr(at))
		}
	}
	// Another panic is not taken for a fault.
	defer func() {
		if r := recover(); r != "other" {
			t.Errorf("recovered %v, want the panic that is no fault", r)
		}
	}()
	faultsAt(func() { panic("other") })
	t.Error("a panic is lost")
}

func TestChild(t *testing.T) {
	l := newLab(t)
	file, err := l.file(int64(page))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct{ name, arg, signal string }{
		{"protection", "read-only", "SIGSEGV"},
		{"protection", "unmapped", "SIGBUS"}, // of a file of one page: its first load ends it
		{"protection", "nothing", ""},
	} {
		e, err := child(t.Context(), test.name, test.arg+" "+file.Name())
		if err != nil || e.signal() != test.signal || (e.err == nil) != (test.signal == "") {
			t.Errorf("%s %s: %v, %q, %v; want %q", test.name, test.arg, err, e.signal(), e.err, test.signal)
		}
	}
	// Its own error is ours, and no verdict.
	if _, err := child(t.Context(), "protection", "read-only "+file.Name()+".none"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a child without its file: %v", err)
	}
	if e, err := child(t.Context(), "nobody", ""); err != nil || e.err == nil || !strings.Contains(e.stderr, "no such experiment") {
		t.Errorf("a child that is none: %+v, %v", e, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	began := time.Now()
	long, err := l.file(int64(killedPages * page))
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	if _, err := child(ctx, "killed", long.Name()); !errors.Is(err, context.Canceled) || time.Since(began) > childTime/2 {
		t.Errorf("an interrupted child: %v after %v", err, time.Since(began))
	}
}

func TestMapsOf(t *testing.T) {
	const maps = `55d0c0e00000-55d0c0e21000 r--p 00000000 fe:00 1835 /a/file-1
7f0000000000-7f0000001000 rw-s 00001000 fe:00 1836                       /a/file-1
7f0000002000-7f0000003000 rw-s 00001000 fe:00 1836                       /a/file-12
7f0000004000-7f0000005000 rw-s 00001000 fe:00 1836                       /b/a/file-1
7f0000006000-7f0000007000 rw-s 00001000 fe:00 1837                       /a/file-1 (deleted)
7f0000008000-7f0000009000 rw-p 00000000 00:00 0
`
	for path, want := range map[string]int{"/a/file-1": 2, "/a/file-12": 1, "/a/file-1 (deleted)": 1, "file-1": 0, "/a/none": 0} {
		if got := mapsOf(maps, path); got != want {
			t.Errorf("mapsOf(%q) = %d, want %d", path, got, want)
		}
	}
}

func TestMappedTimesAndHeld(t *testing.T) {
	l := newLab(t)
	file, err := l.file(int64(8 * page))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	times := func(want int) {
		t.Helper()
		if n, err := mappedTimes(file.Name()); err != nil || n != want {
			t.Errorf("the file is mapped %d times, %v; want %d", n, err, want)
		}
	}
	times(0)
	m, err := mapFile(file, 0, 8*page, readWrite, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	times(1)
	held := func(resident, anonymous int) {
		t.Helper()
		if r, a, err := m.held(); err != nil || r != int64(resident*page) || a != int64(anonymous*page) {
			t.Errorf("held %d and %d bytes, %v; want %d and %d pages", r, a, err, resident, anonymous)
		}
	}
	held(0, 0)
	touch(m.bytes(), 1)
	held(8, 0)
	m.bytes()[0], m.bytes()[page] = 1, 1
	held(8, 2)
	// A mapping that was split is all of it.
	if err := unix.Mprotect(m.bytes()[2*page:4*page], unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	times(3)
	held(8, 2)
	if err := m.unmap(); err != nil {
		t.Fatal(err)
	}
	times(0)
	if _, _, err := m.held(); err == nil {
		t.Error("what is unmapped is held")
	}
}

// The guard removes the lab of a process that is gone, and nothing else.
func TestGuard(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name    string
		removed bool
	}{{labPrefix + "1", true}, {"other", false}} {
		place := filepath.Join(dir, test.name)
		if err := os.Mkdir(place, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, "file"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		g, err := startGuard(place)
		if err != nil {
			t.Fatal(err)
		}
		g.(*guard).in.Close() // as the kernel does it
		g.(*guard).cmd.Wait()
		if _, err := os.Stat(place); os.IsNotExist(err) != test.removed {
			t.Errorf("%s: %v; want it removed: %v", test.name, err, test.removed)
		}
	}
}

func TestPaid(t *testing.T) {
	m, err := mapFile(nil, 0, 64*page, readWrite, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer m.unmap()
	if err := m.advise(unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	store := func() error {
		for i := 0; i < 64*page; i += page {
			m.bytes()[i] = 1
		}
		return nil
	}
	if got, err := paid(store); err != nil || got.faults < 64 || got.faults > 64+someFaults {
		t.Errorf("64 pages paid for with %+v, %v; want 64 faults", got, err)
	}
	if got, err := paid(store); err != nil || got.faults > someFaults {
		t.Errorf("the second time %+v, %v; want none", got, err)
	}
	broken := errors.New("broken")
	if _, err := paid(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want what went wrong", err)
	}
}
