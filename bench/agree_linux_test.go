package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"iopath/internal/counters"
)

// This file answers: is a count the same whoever counts? The kernel's
// tracepoints, ptrace and strace are held against each other, cell by cell and
// call by call.

// stracedEnv holds a straced, as JSON, for a process that strace is to look at.
const stracedEnv = "IOPATH_STRACED"

// A straced is jobs of each of the cells, one cell after the other.
type straced struct {
	Options Options
	Cells   []Cell
	Jobs    int
}

func init() {
	env, started := os.LookupEnv(stracedEnv)
	if !started {
		return
	}
	var spec straced
	err := json.Unmarshal([]byte(env), &spec)
	for _, c := range spec.Cells {
		if err == nil {
			err = RunJobs(context.Background(), spec.Options, c.Name(), spec.Jobs)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// strace runs the jobs under strace -f with the arguments, and returns its log.
func strace(t *testing.T, spec straced, args ...string) io.Reader {
	t.Helper()
	env, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", slices.Concat([]string{"-f", "-o", log}, args, []string{self})...)
	cmd.Env = append(os.Environ(), stracedEnv+"="+string(env))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace: %v\n%s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// stretches returns the calls between the marks in a log of strace -f, in the
// order in which the stretches ended. A call without a name in package counters
// counts in the total alone, as there.
func stretches(log io.Reader) (all []counters.Calls, err error) {
	named := counters.Names()
	open := map[string]*counters.Calls{} // by thread
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		thread, event, _ := strings.Cut(lines.Text(), " ")
		name, _, ok := strings.Cut(strings.TrimLeft(event, " "), "(")
		// A call that another thread's interrupts has two lines, and that of its
		// end begins with "<..."; signals and exits begin with "---" and "+++".
		if !ok || strings.ContainsAny(name, " <+-") {
			continue
		}
		calls := open[thread]
		switch {
		case name == "rt_tgsigqueueinfo" && calls == nil:
			open[thread] = &counters.Calls{ByName: map[string]float64{}}
		case name == "rt_tgsigqueueinfo":
			all = append(all, *calls)
			delete(open, thread)
		case calls != nil:
			calls.Total++
			if slices.Contains(named, name) {
				calls.ByName[name]++
			}
		}
	}
	if len(open) > 0 {
		err = fmt.Errorf("%d stretches do not end", len(open))
	}
	return all, errors.Join(lines.Err(), err)
}

func TestStretches(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"no marks", "7 read(3, \"\"..., 5) = 5\n", "[]"},
		{"two jobs", `7 openat(AT_FDCWD, "f", O_RDONLY) = 3
7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {si_signo=SIGCHLD}) = 0
7 read(3, ""..., 5) = 5
7 umask(022) = 022
7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {si_signo=SIGCHLD}) = 0
7 fsync(3) = 0
7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {si_signo=SIGCHLD}) = 0
7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {si_signo=SIGCHLD}) = 0
7 exit_group(0) = ?
`, "[read=1 other=1 none]"},
		{"threads cut into each other", `7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {} <unfinished ...>
8     read(4,  <unfinished ...>
7 <... rt_tgsigqueueinfo resumed>) = 0
7 pread64(3,  <unfinished ...>
8 <... read resumed>""..., 5) = 5
7 <... pread64 resumed>""..., 5, 0) = 5
7 --- SIGCHLD {si_signo=SIGCHLD (x)} ---
8 +++ exited with 0 +++
7 pread64(3, "("..., 5, 0) = 5
7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {}) = 0
`, "[pread64=2]"},
		{"no end", "7 rt_tgsigqueueinfo(7, 7, SIGCHLD, {}) = 0\n", "[] 1 stretches do not end"},
	} {
		all, err := stretches(strings.NewReader(c.log))
		got := fmt.Sprint(all)
		if err != nil {
			got += " " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// needStrace skips where strace is not to be had, or would count what is not the
// job's.
func needStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	if instrumented() {
		t.Skip("the race detector maps memory on the job's thread")
	}
}

// countBy counts one job of the cell by the source, as a run does.
func (s *Session) countBy(source string, c Cell) (calls counters.Calls, declared []string, err error) {
	ended := make(chan error)
	go func() {
		s.counter = source
		ended <- s.with(c, true, func(t *task) error {
			if err := s.warmUp(t); err != nil {
				return err
			}
			declared = t.declared
			calls, err = s.count(c, t)
			return err
		})
	}()
	return calls, declared, errors.Join(<-ended, err)
}

// A cellCounts is what the sources say of one job of a cell, without the calls of
// Go's scheduler, whose number depends on the clock.
type cellCounts struct {
	Cell
	source []string
	calls  []counters.Calls
}

func (n *cellCounts) add(source string, calls counters.Calls, declared []string) {
	own, _ := calls.Split(declared)
	n.source, n.calls = append(n.source, source), append(n.calls, own)
}

// differ says in what the counts do, or returns nil.
func (n *cellCounts) differ() error {
	var seen []string
	same := true
	for i, calls := range n.calls {
		seen = append(seen, fmt.Sprintf("%s: %s", n.source[i], calls))
		bounds := n.bounds(calls)
		for _, name := range counters.Names() {
			got := calls.ByName[name]
			if b, ok := bounds[name]; ok {
				same = same && got >= b.least && got <= b.most
			} else {
				same = same && got == n.calls[0].ByName[name]
			}
		}
		same = same && unnamed(calls) == unnamed(n.calls[0])
	}
	if same {
		return nil
	}
	return fmt.Errorf("%s:\n\t%s", n.Name(), strings.Join(seen, "\n\t"))
}

// unnamed is how many calls there are that have no name.
func unnamed(calls counters.Calls) float64 {
	for _, n := range calls.ByName {
		calls.Total -= n
	}
	return calls.Total
}

type bound struct{ least, most float64 }

// bounds are what must be true of those calls whose number the other side decides,
// from job to job: they need not be the same. There are two such cells.
//
//   - A Device cell asks again for as many pieces as have arrived, which is at
//     least one and at most as many as it has room to hear of at once (device.Open:
//     a quarter of the depth). So it waits as often as that takes, and submits
//     once at the start and after each wait for as long as pieces are left.
//   - Send with io.Copy: the socket of a net.Conn does not block. Each sendfile
//     takes what the socket has room for, a page at least, or finds no room and is
//     made again when there is some; the last one finds the end of the file.
//
// All other sockets block: a call returns when the kernel has taken all of it.
func (n *cellCounts) bounds(calls counters.Calls) map[string]bound {
	switch pieces := float64(n.Size) / float64(max(n.Block, 1)); {
	case n.Benchmark == "Device":
		depth := float64(n.Depth)
		atOnce := max(1, math.Floor(depth/4))
		later := max(0, pieces-depth)
		return map[string]bound{
			"io_getevents": {math.Ceil(pieces / atOnce), pieces},
			"io_submit":    {1 + math.Ceil(later/atOnce), min(1+later, calls.ByName["io_getevents"])},
		}
	case n.Benchmark == "Send" && n.Method == "io.Copy":
		return map[string]bound{"sendfile": {2, 2 * (float64(n.Size)/float64(os.Getpagesize()) + 1)}}
	}
	return nil
}

func TestDifferencesAreSeen(t *testing.T) {
	calls := func(total float64, names ...any) counters.Calls {
		c := counters.Calls{Total: total, ByName: map[string]float64{}}
		for i := 0; i < len(names); i += 2 {
			c.ByName[names[i].(string)] = float64(names[i+1].(int))
		}
		return c
	}
	read := Cell{Benchmark: "Read", Size: 8 << 10, Block: 4 << 10, Method: "pread"}
	device := Cell{Benchmark: "Device", Size: 2 << 20, Block: 4 << 10, Depth: 32} // 512 pieces, 8 at once
	send := Cell{Benchmark: "Send", Size: 2 << 20, Block: 4 << 10, Method: "io.Copy"}
	for _, c := range []struct {
		name string
		cell Cell
		a, b counters.Calls
		same bool
	}{
		{"alike", read, calls(2, "pread64", 2), calls(2, "pread64", 2), true},
		{"but for the scheduler's", read, calls(2, "pread64", 2), calls(5, "pread64", 2, "futex", 3), true},
		{"one more", read, calls(2, "pread64", 2), calls(3, "pread64", 3), false},
		{"another name", read, calls(2, "pread64", 2), calls(2, "read", 2), false},
		{"one name more", read, calls(2, "pread64", 2), calls(3, "pread64", 2, "fstat", 1), false},
		{"one name less", read, calls(3, "pread64", 2, "fstat", 1), calls(2, "pread64", 2), false},
		{"one without a name", read, calls(2, "pread64", 2), calls(3, "pread64", 2), false},
		{"device: within bounds", device, calls(141, "io_getevents", 80, "io_submit", 61), calls(700, "io_getevents", 400, "io_submit", 300), true},
		{"device: too few waits", device, calls(124, "io_getevents", 63, "io_submit", 61), calls(124, "io_getevents", 63, "io_submit", 61), false},
		{"device: more waits than pieces", device, calls(913, "io_getevents", 513, "io_submit", 400), calls(913, "io_getevents", 513, "io_submit", 400), false},
		{"device: submits without a wait", device, calls(165, "io_getevents", 80, "io_submit", 85), calls(165, "io_getevents", 80, "io_submit", 85), false},
		{"device: another call", device, calls(141, "io_getevents", 80, "io_submit", 61), calls(142, "io_getevents", 80, "io_submit", 61, "read", 1), false},
		{"io.Copy: within bounds", send, calls(17, "sendfile", 15, "fstat", 1, "lseek", 1), calls(9, "sendfile", 7, "fstat", 1, "lseek", 1), true},
		{"io.Copy: no end", send, calls(3, "sendfile", 1, "fstat", 1, "lseek", 1), calls(9, "sendfile", 7, "fstat", 1, "lseek", 1), false},
		{"io.Copy: no sendfile", send, calls(9, "sendfile", 7, "fstat", 1, "lseek", 1), calls(2, "fstat", 1, "lseek", 1), false},
		{"io.Copy: other than sendfile", send, calls(9, "sendfile", 7, "fstat", 1, "lseek", 1), calls(9, "sendfile", 7, "fstat", 2), false},
	} {
		n := cellCounts{Cell: c.cell}
		n.add("ptrace", c.a, nil)
		n.add("strace", c.b, nil)
		if err := n.differ(); (err == nil) != c.same {
			t.Errorf("%s: %v, want them to be the same: %v", c.name, err, c.same)
		} else if err != nil && !(strings.Contains(err.Error(), c.cell.Name()) && strings.Contains(err.Error(), "ptrace: ") && strings.Contains(err.Error(), "strace: ")) {
			t.Errorf("%s: %v, want the cell and both counts", c.name, err)
		}
	}
}

// Every cell of a run comes to the same calls, by name, whoever counts them.
func TestCountersAgree(t *testing.T) {
	needStrace(t)
	o := Options{Profile: "standard", Size: 2 << 20, Dir: disk(t), Workloads: []string{"read", "send", "write", "copy", "map"}}
	s := open(t, o)
	if err := counters.ProbeTrace(); errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	sources := []string{"ptrace"}
	if s.keep != nil {
		sources = append(sources, "tracepoint")
	} else {
		t.Log("without tracepoints, which ordinary users may not use")
	}
	cells, skips := s.Cells()
	t.Logf("%d cells, skipped: %v", len(cells), skips)
	// Once in some hundred jobs the Go runtime maps memory on the job's thread, or
	// starts another: counts that differ are taken again (see countHere).
	for try := range 3 {
		log := strace(t, straced{o, cells, 1}, "-qq", "-s", "0", "-e", "signal=none")
		byStrace, err := stretches(log)
		if err != nil || len(byStrace) != len(cells) {
			t.Fatalf("strace saw %d jobs (%v), want %d", len(byStrace), err, len(cells))
		}
		var again []Cell
		for i, c := range cells {
			n := cellCounts{Cell: c}
			for _, source := range sources {
				calls, declared, err := s.countBy(source, c)
				if err != nil {
					t.Fatalf("%s by %s: %v", c.Name(), source, err)
				}
				n.add(source, calls, declared)
				if source == sources[len(sources)-1] {
					n.add("strace", byStrace[i], declared)
				}
			}
			if err := n.differ(); err != nil && try == 2 {
				t.Error(err)
			} else if err != nil {
				t.Logf("to be counted again: %v", err)
				again = append(again, c)
			}
		}
		if cells = again; len(cells) == 0 {
			break
		}
	}
}

// betweenJobs are what is called between two jobs of a cache state, so that it has
// a slope too: the marks, and for a cold job the eviction and its proof
// (pagecache.Resident by either way). Other threads of Go's runtime poll now and
// then: no job of these cells does.
var betweenJobs = map[string][]string{
	"warm": {"rt_tgsigqueueinfo", "epoll_pwait"},
	"cold": {"rt_tgsigqueueinfo", "fsync", "fadvise64", "fstat", "cachestat", "mmap", "mincore", "munmap", "epoll_pwait"},
}

// The totals of a process that nobody traces but strace -c have the same slope:
// what the jobs call is not an effect of the marks, or of how the log is read.
func TestSlopeAgrees(t *testing.T) {
	needStrace(t)
	o := Options{Size: 2 << 20, Dir: disk(t)}
	const jobs = 64 // so many that threads which Go starts in one run alone do not show
	for _, cell := range []string{
		"Read/pattern=seq/cache=warm/block=64KiB/method=pread",
		"Read/pattern=rand/cache=warm/block=64KiB/method=read",
		"Read/pattern=seq/cache=warm/block=64KiB/method=mmap",
		"Read/pattern=seq/cache=warm/block=1MiB/method=os.File",
		"Read/pattern=seq/cache=cold/block=64KiB/method=pread",
	} {
		want, err := CountCell(t.Context(), o, cell)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCell(cell)
		if err != nil {
			t.Fatal(err)
		}
		var totals [2]map[string]float64
		for i := range totals {
			totals[i] = summary(t, strace(t, straced{o, []Cell{c}, (i + 1) * jobs}, "-c"))
		}
		slope := counters.Calls{ByName: map[string]float64{}}
		for name, n := range totals[1] {
			// Less than one in two jobs is the Go runtime's.
			if n = math.Round((n - totals[0][name]) / jobs); n > 0 && !slices.Contains(betweenJobs[c.Cache], name) {
				slope.ByName[name] = n
			}
		}
		got, _ := slope.Split(nil)
		if !maps.Equal(got.ByName, want.Calls) {
			t.Errorf("%s: strace -c counted %v a job, %s %v", cell, got.ByName, want.Source, want.Calls)
		}
	}
}

// summary reads the table of strace -c: % time, seconds, usecs/call, calls, errors
// where there were any, and the name.
func summary(t *testing.T, table io.Reader) map[string]float64 {
	t.Helper()
	calls := map[string]float64{}
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 5 || f[len(f)-1] == "total" {
			continue
		}
		if n, err := strconv.ParseFloat(f[3], 64); err == nil {
			calls[f[len(f)-1]] = n
		}
	}
	if err := lines.Err(); err != nil || len(calls) == 0 {
		t.Fatalf("strace -c: %v, %d names", err, len(calls))
	}
	return calls
}
