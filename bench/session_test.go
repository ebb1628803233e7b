package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/perf/benchfmt"

	"iopath/internal/host"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// disk returns a new directory on a real disk, if there is one: below this
// package, since the system's temporary directory may be a tmpfs.
func disk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(".", "testdata-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tmpfs returns a new directory on a tmpfs.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "iopath-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if is, err := host.IsTmpfs(dir); err != nil || !is {
		t.Skipf("%s is not on tmpfs (%v)", dir, err)
	}
	return dir
}

func open(t *testing.T, o Options) *Session {
	t.Helper()
	if o.Dir == "" && o.File == "" {
		o.Dir = disk(t)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// round runs the cells once, each for one job, and returns the lines printed.
func round(t *testing.T, o Options, countAll bool, cells ...Cell) []string {
	t.Helper()
	return roundOf(t, "1x", o, countAll, cells...)
}

// roundOf is a round of cells that are timed for longer.
func roundOf(t *testing.T, benchTime string, o Options, countAll bool, cells ...Cell) []string {
	t.Helper()
	// Under the race detector, each receiver would sleep for a second at its end.
	t.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// The benchmarks that run after the tests are to take as long as they would.
	before := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", before)
	spec, err := json.Marshal(Round{Options: o, Cells: cells, BenchTime: benchTime, CountAll: countAll})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := RunRound(t.Context(), bytes.NewReader(spec), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(cells) {
		t.Fatalf("%d cells gave %d lines:\n%s", len(cells), len(lines), out.String())
	}
	return lines
}

// parsed reads a line as every tool of the Go benchmark format does.
func parsed(t *testing.T, line string) *benchfmt.Result {
	t.Helper()
	r := benchfmt.NewReader(strings.NewReader(line+"\n"), "round")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			return rec.Clone()
		default:
			t.Errorf("%q is %v, want a result", line, rec)
			return nil
		}
	}
	t.Errorf("%q: no result (%v)", line, r.Err())
	return nil
}

// registered are the methods there were before a test added wrong ones.
func registered() (names []string) {
	for _, m := range iomethod.All() {
		if !strings.HasPrefix(m.Name, "wrong.") {
			names = append(names, m.Name)
		}
	}
	return names
}

func TestEveryCell(t *testing.T) {
	o := Options{Profile: "paths", Dir: disk(t), Size: 1 << 20, Methods: registered(), Patterns: []string{"seq", "rand", appending}, Threads: []int{2}}
	if testing.Short() {
		o.Patterns, o.Syncs = []string{"rand", appending}, []string{"none", "end"}
	}
	s := open(t, o)
	cells, skips := s.Cells()
	t.Logf("%d cells, skipped: %v", len(cells), skips)
	source, _ := s.Counter()
	// By ptrace, each count is a process: TestCallsAreExact has a few of them.
	for i, line := range round(t, o, source == "tracepoint", cells...) {
		c := cells[i]
		if strings.HasPrefix(line, "# skipped: ") {
			t.Log(line)
			continue
		}
		if strings.HasPrefix(line, "#") {
			t.Error(line)
			continue
		}
		r := parsed(t, line)
		if r == nil {
			continue
		}
		if base, _ := r.Name.Parts(); !strings.HasPrefix(string(r.Name.Full()), c.Name()) || string(base) != c.Benchmark {
			t.Errorf("result is named %q, want %q", r.Name.Full(), c.Name())
		}
		if r.Iters != 1 {
			t.Errorf("%s: %d jobs, want 1", c.Name(), r.Iters)
		}
		m, _ := iomethod.Lookup(c.Method)
		has := func(unit string) bool { _, ok := r.Value(unit); return ok }
		for unit, want := range map[string]bool{
			"sec/op": true, "minflt/op": true,
			"majflt/op": c.Benchmark != "Floor", "ctxsw/op": c.Benchmark != "Floor", "cpu-sec/op": c.Benchmark != "Floor",
			"B/s": !m.Idle && c.Benchmark != "Floor", "peer-cpu-sec/op": c.Transport != "" || c.Benchmark == "Channel",
			"p50-sec": timed(c, m) && blocks(t, c) > 1, "max-sec": timed(c, m),
			"read-amplification": c.Cache == "cold" && !m.Idle, "resident-before-%": c.Cache != "" && !m.Idle, "resident-after-%": c.Cache != "" && !m.Idle,
		} {
			// Of "cpu-ns/op" benchfmt may or may not make seconds.
			if has(unit) != want && has(strings.Replace(unit, "sec/", "ns/", 1)) != want {
				t.Errorf("%s: has %s: %v, want %v: %s", c.Name(), unit, !want, want, line)
			}
		}
		if n, ok := r.Value("device-B/op"); ok && c.Cache == "warm" && n != 0 {
			t.Errorf("%s: %v bytes came from the device, want 0", c.Name(), n)
		} else if ok && c.Cache == "cold" && n < float64(c.Size) && !strings.HasPrefix(c.Benchmark, "Send") {
			t.Logf("%s: only %v bytes came from the device", c.Name(), n)
		}
		if source == "tracepoint" {
			checkCalls(t, c, r)
		}
	}
}

// timed reports whether the blocks of the cell's jobs are timed.
func timed(c Cell, m iomethod.Method) bool {
	_, isWorkload := workloadOf(c.Benchmark)
	return isWorkload && c.Block != 0 && c.Workers == 0 && !m.Whole && !m.Unordered
}

// blocks is how many blocks a job has.
func blocks(t *testing.T, c Cell) int {
	t.Helper()
	plan, err := workloads.NewPlan(cmp.Or(strings.TrimPrefix(c.Pattern, appending), "seq"), c.Size, c.Block)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Pieces()
}

// instrumented reports whether the race detector is built in: it maps and gives
// back memory of its own now and then, on whatever thread, a few calls at a time.
var instrumented = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// checkCalls holds the calls of a warm read against what the plan comes to.
func checkCalls(t *testing.T, c Cell, r *benchfmt.Result) {
	t.Helper()
	got, ok := r.Value("syscalls/op")
	if !ok {
		t.Errorf("%s: no syscalls/op: they were counted", c.Name())
		return
	}
	if c.Benchmark != "Read" && (c.Benchmark != "Ceiling" || c.Transport != "") || c.Cache == "cold" {
		return // how often a socket takes a part depends on the other side
	}
	plan, err := workloads.NewPlan(c.Pattern, c.Size, c.Block)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Pieces() == 0 {
		return
	}
	seeks, at := 0, int64(-1)
	for i := range plan.Pieces() {
		off, n := plan.Piece(i)
		if off != at {
			seeks++
		}
		at = off + int64(n)
	}
	for method, want := range map[string]int{
		"": 0, "null": 0, "pread": plan.Pieces(), "read": plan.Pieces() + seeks, "os.File": plan.Pieces() + seeks,
		"mmap": 3, // fstat, mmap, munmap
	} {
		slack := 0.0
		if instrumented() {
			slack = 8
		}
		if over := got - float64(want); c.Method == method && (over < 0 || over > slack) {
			t.Errorf("%s: %v syscalls/op, want %d", c.Name(), got, want)
		}
	}
}

// By whatever way calls can be counted here.
func TestCallsAreExact(t *testing.T) {
	o := Options{Dir: disk(t), Size: 1 << 20, Workloads: []string{"read"}, Caches: []string{"warm"}, Blocks: []int{4 << 10}, Methods: registered()}
	s := open(t, o)
	if source, why := s.Counter(); source == "" {
		t.Skip(why)
	}
	cells, _ := s.Cells()
	for range 2 {
		for i, line := range round(t, o, true, cells...) {
			if strings.HasPrefix(line, "#") {
				t.Error(line)
			} else if r := parsed(t, line); r != nil {
				checkCalls(t, cells[i], r)
			}
		}
	}
}

func TestWithoutACounterThereAreNoCounts(t *testing.T) {
	o := Options{Dir: disk(t), Size: 1 << 20, Counter: "none"}
	for _, line := range round(t, o, true, Cell{Benchmark: "Read", Pattern: "seq", Cache: "warm", Consume: "sum", Size: 1 << 20, Block: 4096, Method: "pread"}) {
		if r := parsed(t, line); r == nil || strings.Contains(line, "syscalls/op") {
			t.Errorf("got %q, want a result without syscalls/op", line)
		}
	}
}

// cellsOf is a cell for each role of the methods, warm and of one block.
func cellsOf(methods ...string) (cells []Cell) {
	for _, name := range methods {
		m, _ := iomethod.Lookup(name)
		c := Cell{Cache: "warm", Consume: "sum", Size: 1 << 20, Block: 64 << 10, Method: name}
		if m.Reader.New != nil {
			c := c
			c.Benchmark, c.Pattern = "Read", "seq"
			cells = append(cells, c)
			c.Pattern = "rand"
			cells = append(cells, c)
		}
		if m.Sender.New != nil {
			c.Benchmark, c.Transport = "Send", "tcp" // which all of them have
			cells = append(cells, c)
		}
	}
	return cells
}

func TestCorruptedFileFails(t *testing.T) {
	o := Options{Dir: disk(t), Size: 1 << 20, Methods: registered(), Caches: []string{"warm"}, Counter: "none"}
	s := open(t, o)
	f, err := os.OpenFile(s.files["warm"].path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flip := func() {
		var b [1]byte
		if _, err := f.ReadAt(b[:], 777_777); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1 << 3
		if _, err := f.WriteAt(b[:], 777_777); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	var methods []string
	lacks := Lacks(o.Dir, "")
	for _, name := range registered() {
		if m, _ := iomethod.Lookup(name); !m.Idle && m.Cache != "cold" && lacks[name] == nil {
			methods = append(methods, name)
		}
	}
	for i, line := range round(t, o, false, cellsOf(methods...)...) {
		want := "# failed: Benchmark" + cellsOf(methods...)[i].Name() + ": verification failed: sum "
		if !strings.HasPrefix(line, want) {
			t.Errorf("one bit flipped: got %q, want %q…", line, want)
		}
	}
	flip()
	for _, line := range round(t, o, false, cellsOf(methods...)...) {
		if strings.HasPrefix(line, "#") {
			t.Errorf("the bit flipped back: got %q, want a result", line)
		}
	}
}

// A file of the user's own is never changed, whatever it holds.
func TestFileIsNotChanged(t *testing.T) {
	dir := disk(t)
	path := filepath.Join(dir, "mine")
	content := bytes.Repeat([]byte("somebody's only copy\n"), 60_000)
	if err := os.WriteFile(path, content, 0o444); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// By ptrace as well, whose child opens the same file by the same options.
	for _, counter := range []string{"none", "ptrace"} {
		o := Options{File: path, Methods: registered(), Blocks: []int{64 << 10}, Counter: counter}
		s := open(t, o)
		cells, _ := s.Cells()
		for _, line := range round(t, o, true, cells...) {
			if strings.HasPrefix(line, "# failed") {
				t.Error(line)
			}
		}
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file's content was changed (%v)", err)
	}
	if !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() || !os.SameFile(before, after) {
		t.Errorf("the file was changed: %v, %v, want %v, %v", after.ModTime(), after.Mode(), before.ModTime(), before.Mode())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v, %v, want nothing", entries, err)
	}
}

func TestHeader(t *testing.T) {
	s := open(t, Options{Size: 1 << 20, Counter: "none"})
	var out bytes.Buffer
	if err := s.WriteHeader(&out, host.Options{}); err != nil {
		t.Fatal(err)
	}
	out.WriteString("BenchmarkX 1 1 ns/op\n")
	r := benchfmt.NewReader(&out, "header")
	units := 0
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.UnitMetadata:
			units++
		case *benchfmt.Result:
			if got := rec.GetConfig("counter"); got != "none" {
				t.Errorf("counter: %q, want none", got)
			}
		default:
			t.Errorf("the header holds %v, want config and units alone", rec)
		}
	}
	if err := r.Err(); err != nil || units < len(Units) {
		t.Errorf("%d units (%v), want the metadata of %d", units, err, len(Units))
	}
}

func TestRunRoundRefuses(t *testing.T) {
	benchTime := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", benchTime)
	for _, spec := range []string{"", "{", `{"BenchTime":"soon"}`, `{"BenchTime":"1x","Options":{"Profile":"hasty"}}`} {
		var out bytes.Buffer
		if err := RunRound(t.Context(), strings.NewReader(spec), &out); err == nil || out.Len() > 0 {
			t.Errorf("RunRound(%q) = %v, printed %q, want an error and nothing printed", spec, err, out.String())
		}
	}
}
