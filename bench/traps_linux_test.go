package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchunit"
	"golang.org/x/sys/unix"

	"iopath/internal/counters"
	"iopath/internal/host"
	"iopath/internal/pagecache"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// This file answers: what must not come out as a result? Each test walks into a
// trap on purpose.

// The methods that are wrong on purpose. They are registered by the test that
// wants them, and not in an init function, so that the benchmarks of this
// package do not measure them; a process that is traced runs no test, and may
// be asked for one of them.
func init() {
	if _, traced := os.LookupEnv(tracedEnv); traced {
		registerWrong()
	}
}

// A wrong is a reader or a sender by whatever function, and what it needs.
type wrong struct {
	f      *os.File
	copy   []byte // of all of the file
	buf    []byte
	socket int
	read   func(*wrong, *iomethod.Plan, iomethod.Consumer) error
	send   func(*wrong, *iomethod.Plan) error
}

func (w *wrong) Read(p *iomethod.Plan, consume iomethod.Consumer) error { return w.read(w, p, consume) }
func (w *wrong) Send(p *iomethod.Plan) error                            { return w.send(w, p) }

func (w *wrong) Close() error {
	if w.f == nil {
		return nil
	}
	return w.f.Close()
}

var wrongReaders = []struct {
	name, doc, calls string
	read             func(*wrong, *iomethod.Plan, iomethod.Consumer) error
}{
	{"wrong.read", "declares pread64, and seeks and reads", "pread64", (*wrong).seekAndRead},
	{"wrong.closed", "reads from a closed descriptor, and does not look at the error", "pread64",
		func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
			for i := range p.Pieces() {
				off, n := p.Piece(i)
				unix.Pread(-1, w.buf[:n], off)
				consume(off, w.buf[:n])
			}
			return nil
		}},
	{"wrong.collected", "keeps the descriptor, and lets the garbage collector close the file", "pread64",
		func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
			fd := int(w.f.Fd())
			w.f = nil
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				runtime.GC()
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
					break
				}
			}
			return w.preads(fd, p, consume)
		}},
	{"wrong.short", "gets half of each piece, and does not look at the count", "pread64",
		func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
			for i := range p.Pieces() {
				off, n := p.Piece(i)
				if _, err := unix.Pread(int(w.f.Fd()), w.buf[:n/2], off); err != nil {
					return err
				}
				consume(off, w.buf[:n])
			}
			return nil
		}},
	{"wrong.lazy", "reads nothing and says that all is well", "pread64",
		func(*wrong, *iomethod.Plan, iomethod.Consumer) error { return nil }},
	{"wrong.hasty", "awaits none of its pieces", "pread64",
		func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
			q := *p
			q.Pace = nil
			return w.preads(int(w.f.Fd()), &q, consume)
		}},
	{"wrong.warm", "keeps a copy of the file, and hands that out", "",
		func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
			for i := range p.Pieces() {
				p.Await(i)
				off, n := p.Piece(i)
				consume(off, w.copy[off:][:n])
			}
			return nil
		}},
	{"wrong.moved", "says that Go's scheduler has moved it", "pread64",
		func(*wrong, *iomethod.Plan, iomethod.Consumer) error { return errMoved }},
	{"wrong.disturbed", "reads as it should, amid a disturbance", "pread64",
		func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
			disturb.before()
			defer disturb.after()
			return w.preads(int(w.f.Fd()), p, consume)
		}},
}

// disturb is what happens right before and after each job of wrong.disturbed.
var disturb struct{ before, after func() }

var wrongSenders = []struct {
	name, doc, calls string
	send             func(*wrong, *iomethod.Plan) error
}{
	{"wrong.sendfile", "declares sendfile, and reads and writes", "sendfile", (*wrong).readAndWrite},
	{"wrong.io.Copy", "declares sendfile, and hides the file from io.Copy behind a reader", "sendfile",
		func(w *wrong, _ *iomethod.Plan) error {
			conn, err := w.conn()
			if err != nil {
				return err
			}
			if _, err = w.f.Seek(0, io.SeekStart); err == nil {
				_, err = io.Copy(conn, struct{ io.Reader }{w.f})
			}
			return errors.Join(err, conn.Close(), unix.SetNonblock(w.socket, false))
		}},
	{"wrong.splice", "declares splice, and reads and writes", "splice", (*wrong).readAndWrite},
	{"wrong.spliced", "splices into a pipe, and copies out of it by read and write", "splice",
		func(w *wrong, p *iomethod.Plan) error {
			var pipe [2]int
			if err := unix.Pipe(pipe[:]); err != nil {
				return err
			}
			defer unix.Close(pipe[0])
			defer unix.Close(pipe[1])
			for off := int64(0); off < p.Bytes(); {
				n, err := unix.Splice(int(w.f.Fd()), &off, pipe[1], nil, 16<<10, 0)
				if err != nil {
					return err
				}
				if err := all(w.buf[:n], func(b []byte) (int, error) { return unix.Read(pipe[0], b) }); err != nil {
					return err
				}
				if err := w.write(w.buf[:n]); err != nil {
					return err
				}
			}
			return nil
		}},
	{"wrong.null", "sends the file to /dev/null", "sendfile",
		func(w *wrong, p *iomethod.Plan) error {
			null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer null.Close()
			for off := int64(0); off < p.Bytes(); {
				if _, err := unix.Sendfile(int(null.Fd()), int(w.f.Fd()), &off, int(p.Bytes()-off)); err != nil {
					return err
				}
			}
			return nil
		}},
	{"wrong.eager", "awaits none of its pieces", "pread64 write",
		func(w *wrong, p *iomethod.Plan) error {
			q := *p
			q.Pace = nil
			var failed error
			return errors.Join(w.preads(int(w.f.Fd()), &q, func(_ int64, b []byte) { failed = errors.Join(failed, w.write(b)) }), failed)
		}},
}

var registerWrong = sync.OnceFunc(func() {
	open := func(c iomethod.Config, w wrong) (_ *wrong, err error) {
		if w.f, err = os.Open(c.Path); err != nil {
			return nil, err
		}
		w.buf, w.socket = make([]byte, c.Block), c.Socket
		w.copy, err = io.ReadAll(w.f)
		return &w, err
	}
	for _, m := range wrongReaders {
		iomethod.Register(iomethod.Method{Name: m.name, Doc: m.doc, Idiomatic: true, Reader: iomethod.Role[iomethod.Reader]{
			Calls: strings.Fields(m.calls),
			New:   func(c iomethod.Config) (iomethod.Reader, error) { return open(c, wrong{read: m.read}) },
		}})
	}
	for _, m := range wrongSenders {
		iomethod.Register(iomethod.Method{Name: m.name, Doc: m.doc, Idiomatic: true, Sender: iomethod.Role[iomethod.Sender]{
			Calls: strings.Fields(m.calls),
			New:   func(c iomethod.Config) (iomethod.Sender, error) { return open(c, wrong{send: m.send}) },
		}})
	}
})

// all repeats a call until it has moved all of b.
func all(b []byte, call func([]byte) (int, error)) error {
	for len(b) > 0 {
		n, err := call(b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n == 0 && err == nil {
			return io.ErrUnexpectedEOF
		}
		b = b[max(n, 0):]
	}
	return nil
}

func (w *wrong) write(b []byte) error {
	return all(b, func(b []byte) (int, error) { return unix.Write(w.socket, b) })
}

// preads is what pread(2) does.
func (w *wrong) preads(fd int, p *iomethod.Plan, consume iomethod.Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		at := off
		if err := all(w.buf[:n], func(b []byte) (int, error) {
			n, err := unix.Pread(fd, b, at)
			at += int64(max(n, 0))
			return n, err
		}); err != nil {
			return os.NewSyscallError("pread", err)
		}
		consume(off, w.buf[:n])
	}
	return nil
}

// seekAndRead is what read(2) does.
func (w *wrong) seekAndRead(p *iomethod.Plan, consume iomethod.Consumer) error {
	fd := int(w.f.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if _, err := unix.Seek(fd, off, io.SeekStart); err != nil {
			return err
		}
		if err := all(w.buf[:n], func(b []byte) (int, error) { return unix.Read(fd, b) }); err != nil {
			return err
		}
		consume(off, w.buf[:n])
	}
	return nil
}

// readAndWrite is what read+write does.
func (w *wrong) readAndWrite(p *iomethod.Plan) (err error) {
	return errors.Join(w.seekAndRead(p, func(_ int64, b []byte) { err = errors.Join(err, w.write(b)) }), err)
}

// conn is a net.Conn over a duplicate of the socket.
func (w *wrong) conn() (net.Conn, error) {
	fd, err := unix.Dup(w.socket)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	return net.FileConn(f)
}

func TestWrongMethodsFail(t *testing.T) {
	registerWrong()
	const (
		fellBack = "not the declared path: %s(2) is declared and was not made; seen: "
		copied   = "not the declared path: read(2) is not declared and was made; seen: "
		hurried  = "time each block: 0 of 16 were awaited (a method calls Plan.Await before each piece"
	)
	for _, c := range []struct {
		method, want string
		counted      bool // it is found out by its calls
	}{
		{"wrong.read", fmt.Sprintf(fellBack, "pread64"), true},
		{"wrong.closed", "verification failed: sum ", false},
		{"wrong.collected", "pread: bad file descriptor", false},
		{"wrong.short", "verification failed: sum ", false},
		{"wrong.lazy", "verification failed: 0 bytes arrived, want 1048576", false},
		{"wrong.hasty", hurried, false},
		{"wrong.sendfile", fmt.Sprintf(fellBack, "sendfile"), true},
		{"wrong.io.Copy", fmt.Sprintf(fellBack, "sendfile"), true},
		{"wrong.splice", fmt.Sprintf(fellBack, "splice"), true},
		{"wrong.spliced", copied, true},
		{"wrong.null", "verification failed: 0 bytes arrived, want 1048576", false},
		{"wrong.eager", hurried, false},
	} {
		t.Run(c.method, func(t *testing.T) {
			o := Options{Dir: disk(t), Size: 1 << 20, Methods: []string{c.method}, Caches: []string{"warm"}, Counter: "none"}
			if c.counted {
				o.Counter = ""
				if source, why := open(t, o).Counter(); source == "" {
					t.Skip(why)
				}
			}
			for i, line := range round(t, o, true, cellsOf(c.method)...) {
				head := fmt.Sprintf("# failed: Benchmark%s: ", cellsOf(c.method)[i].Name())
				if !strings.HasPrefix(line, head) || !strings.Contains(line, c.want) {
					t.Errorf("got %q, want %s…%s…", line, head, c.want)
				}
			}
		})
	}
}

// once measures one job of the cell.
func once(t *testing.T, s *Session, c Cell) (err error) {
	t.Helper()
	before := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", before)
	flag.Set("test.benchtime", "1x")
	err = errors.New("the benchmark did not run")
	testing.Benchmark(func(b *testing.B) {
		if err = s.Run(b, c); err != nil {
			b.SkipNow()
		}
	})
	return err
}

// needCold skips where a file cannot be evicted.
func needCold(t *testing.T, s *Session) {
	t.Helper()
	if err := s.provable("cold"); err != nil {
		t.Skip(err)
	}
}

func readCell(cache, method string, size int64) Cell {
	return Cell{Benchmark: "Read", Pattern: "seq", Cache: cache, Consume: "sum", Size: size, Block: 64 << 10, Method: method}
}

// Mapped pages cannot be evicted: a cold cell must not start while somebody has
// them mapped.
func TestMappedFileIsNotCold(t *testing.T) {
	const size = 4 << 20
	s := open(t, Options{Size: size, Counter: "none"})
	needCold(t, s)
	release, err := pagecache.Hold(s.files["cold"].f)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"pread", "mmap"} {
		if err := once(t, s, readCell("cold", method, size)); err == nil || !strings.Contains(err.Error(), "not cold: ") {
			t.Errorf("%s while the file is mapped: %v, want not cold", method, err)
		}
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := once(t, s, readCell("cold", "pread", size)); err != nil {
		t.Errorf("once it is not: %v", err)
	}
}

// Pages that go away amid a warm cell are seen whether they stay away or come
// back in time, from the device.
func TestPagesTakenAwayAreNotWarm(t *testing.T) {
	registerWrong()
	const size = 4 << 20
	s := open(t, Options{Size: size, Methods: []string{"wrong.disturbed"}, Counter: "none"})
	needCold(t, s)
	nothing := func() {}
	takeAway := func() {
		if err := errors.Join(s.files["warm"].letGo(), pagecache.Evict(s.files["warm"].f)); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name          string
		before, after func()
		want          string
	}{
		{"never", nothing, nothing, ""},
		{"after a job", nothing, takeAway, "not warm: 0 of 1024 pages"},
		{"before a job, which brings them back", takeAway, nothing, "bytes came from the device"},
	} {
		disturb.before, disturb.after = c.before, c.after
		err := once(t, s, readCell("warm", "wrong.disturbed", size))
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, pagecache.ErrNotWarm) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("pages taken away %s: %v, want %q", c.name, err, c.want)
		}
	}
}

// The bytes are right, and the file is cold: but no device gave them.
func TestFasterThanTheDeviceFails(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector a copy in memory takes as long as a fast device")
	}
	registerWrong()
	const size = 64 << 20
	s := open(t, Options{Size: size, Caches: []string{"cold"}, Consumers: []string{"touch"}, Counter: "none"})
	needCold(t, s)
	c := readCell("cold", "wrong.warm", size)
	c.Consume = "touch" // faster than any device
	if err := s.canMeasure(Cell{Benchmark: "Device", Block: c.Block, Depth: 1}); err != nil {
		t.Skip(err)
	}
	err := once(t, s, c)
	for try := 1; err == nil && try < 5; try++ { // others' tests may have held it up
		err = once(t, s, c)
	}
	if !errors.Is(err, ErrTooFast) {
		t.Errorf("a warm copy: %v, want %v", err, ErrTooFast)
	}
	c.Method = "pread"
	if err := once(t, s, c); err != nil {
		t.Errorf("the file: %v", err)
	}
}

// variety is cells of every benchmark and cache state.
func variety(s *Session) (cells []Cell) {
	all, _ := s.Cells()
	for _, c := range all {
		m, _ := iomethod.Lookup(c.Method)
		if c.Method == "" || m.Idle || c.Method == "pread" || c.Method == "mmap" || c.Method == "sendfile" {
			cells = append(cells, c)
		}
	}
	return cells
}

// Metrics that are reported before the loop are lost, and b.N is 1 there: so
// several jobs must give the units and the counts of one.
func TestSeveralJobsReportAsOne(t *testing.T) {
	o := Options{Dir: disk(t), Size: 2 << 20, Blocks: []int{64 << 10}, Patterns: []string{"seq"}, Consumers: []string{"sum"}}
	s := open(t, o)
	cells := variety(s)
	one, three := roundOf(t, "1x", o, s.counter == "tracepoint", cells...), roundOf(t, "3x", o, s.counter == "tracepoint", cells...)
	for i, c := range cells {
		a, b := values(t, one[i]), values(t, three[i])
		if a == nil || b == nil {
			continue
		}
		for unit := range a {
			if _, ok := b[unit]; !ok {
				t.Errorf("%s: 1 job has %s, and 3 jobs have not: %s", c.Name(), unit, three[i])
			}
		}
		exact := []string{"minflt/op", "device-B/op"}
		if c.Benchmark == "Read" || c.Benchmark == "Floor" || c.Benchmark == "Ceiling" {
			exact = append(exact, "syscalls/op")
		}
		if c.Benchmark == "Send" || c.Benchmark == "Device" || instrumented() {
			exact = []string{"device-B/op"} // how often the other side is waited for is its business
		}
		for _, unit := range exact {
			// A job may have a fault of the process's own. One job's count over
			// three, or three over one, is far off.
			if a, b := a[unit], b[unit]; a-b > a/4+2 || b-a > a/4+2 {
				t.Errorf("%s: 1 job has %v %s, each of 3 has %v", c.Name(), a, unit, b)
			}
		}
		if speed, ok := b["MB/s"]; ok {
			if want := float64(c.Size) / b["ns/op"] * 1e3; speed < 0.98*want-0.02 || speed > 1.02*want+0.02 {
				t.Errorf("%s: %v MB/s, and by ns/op %.2f: %s", c.Name(), speed, want, three[i])
			}
		}
	}
}

// values is the figures of a line by unit, as they are printed.
func values(t *testing.T, line string) map[string]float64 {
	t.Helper()
	if !strings.HasPrefix(line, "Benchmark") {
		t.Errorf("got %q, want a result", line)
		return nil
	}
	all := map[string]float64{}
	fields := strings.Fields(line)[2:]
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		all[fields[i+1]] = v
	}
	return all
}

// A unit without metadata is taken for one whose lower values are better, and a
// config line between results splits benchstat's tables.
func TestRoundsPrintKnownUnitsAlone(t *testing.T) {
	known := map[string]bool{}
	for _, unit := range Units {
		name, _, _ := strings.Cut(unit, " ")
		known[name] = true
	}
	o := Options{Dir: disk(t), Size: 2 << 20, Blocks: []int{4 << 10}, Consumers: []string{"sum"}, Rate: 1e6}
	s := open(t, o)
	cells := variety(s)
	seen := map[string]bool{}
	for _, line := range round(t, o, s.counter == "tracepoint", cells...) {
		for unit := range values(t, line) { // which every line has, or it is a failure
			seen[unit] = true
			if !known[unit] {
				t.Errorf("%s has no metadata: %s", unit, line)
			}
		}
	}
	for _, unit := range []string{"ns/op", "MB/s", "p50-ns", "p99-ns", "max-ns", "late-%", "cpu-ns/op", "peer-cpu-ns/op", "minflt/op", "ctxsw/op", "B/op", "allocs/op"} {
		if !seen[unit] {
			t.Errorf("no line has %s", unit)
		}
	}
}

// Tools make seconds of nanoseconds, and bytes of megabytes: two units that come
// to the same would be taken for one, with twice the samples.
func TestUnitsStayApart(t *testing.T) {
	by := map[string]string{}
	for _, unit := range Units {
		name, _, _ := strings.Cut(unit, " ")
		_, tidied := benchunit.Tidy(1, name)
		if other, taken := by[tidied]; taken {
			t.Errorf("%s and %s are both read as %s", name, other, tidied)
		}
		by[tidied] = name
	}
}

// What the processor does not count is absent.
func TestHardwareIsAbsentNotZero(t *testing.T) {
	o := Options{Dir: disk(t), Size: 1 << 20, Counter: "none"}
	_, has, why := counters.ProbeHardware()
	t.Logf("the processor counts %v (%v)", has, why)
	v := values(t, round(t, o, false, readCell("warm", "pread", 1<<20))[0])
	for _, name := range counters.HardwareNames {
		if _, ok := v[name+"/op"]; ok && !slices.Contains(has, name) {
			t.Errorf("there is a figure %s/op = %v, and the processor does not count it", name, v[name+"/op"])
		}
	}
}

// Where the kernel does not tell what comes from the device, a 0 would be no
// figure, and nothing can be held against the device.
func TestDeviceBytesAreAbsentNotZero(t *testing.T) {
	const size = 16 << 20
	s := open(t, Options{Size: size, Counter: "none", Workloads: []string{"read"}, Methods: []string{"pread"}, Patterns: []string{"seq"}, Blocks: []int{64 << 10}})
	needCold(t, s)
	told := func() (units []string, cells []Cell, skips []Skip) {
		line, err := s.line(readCell("cold", "pread", size))
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range []string{"device-B/op", "read-amplification"} {
			if strings.Contains(line, "\t"+unit) || strings.Contains(line, " "+unit) {
				units = append(units, unit)
			}
		}
		cells, skips = s.pick()
		return units, slices.DeleteFunc(cells, func(c Cell) bool { return c.Benchmark != "Device" }), skips
	}
	if s.files["cold"].untold != nil {
		t.Skip(s.files["cold"].untold)
	}
	if units, cells, _ := told(); len(units) != 2 || len(cells) == 0 {
		t.Errorf("on a disk: %q and Device cells %v, want both and some", units, cells)
	}
	s.files["cold"].untold = fmt.Errorf("not told: %w", errors.ErrUnsupported)
	units, cells, skips := told()
	if len(units) != 0 || len(cells) != 0 {
		t.Errorf("where it is not told: %q and Device cells %v, want none", units, cells)
	}
	if !slices.ContainsFunc(skips, func(s Skip) bool {
		return strings.HasPrefix(s.What, "Device/") && strings.Contains(s.Reason, "not told")
	}) {
		t.Errorf("skipped: %v, want the Device cell, with the reason", skips)
	}
	var head strings.Builder
	if err := s.WriteHeader(&head, host.Options{}); err != nil || !strings.Contains(head.String(), "# skipped: device-B/op, dirtied-B/op, read-amplification: not told") {
		t.Errorf("%v, %s: want a line for the units that are absent", err, head.String())
	}
}

// Direct reads that a cache answers tell nothing of the device.
func TestDirectReadsFromACacheAreNoCeiling(t *testing.T) {
	const size = 1 << 20
	s := open(t, Options{Dir: tmpfs(t), Size: size, Counter: "none"})
	line, err := s.line(Cell{Benchmark: "Device", Pattern: "seq", Size: size, Block: 64 << 10, Depth: 4})
	if err == nil || !strings.HasPrefix(line, "# skipped: BenchmarkDevice") {
		t.Errorf("on a tmpfs: %q, %v, want it skipped", line, err)
	}
}

// A figure of the cache must not pass for one of memory: the header says how the
// file stands to it.
func TestHeaderTellsFileToCache(t *testing.T) {
	llc, ok := host.LLC()
	if !ok {
		t.Skip("the last-level cache is not known here")
	}
	for _, size := range []int64{1 << 20, 6 << 20} {
		s := open(t, Options{Size: size, Counter: "none"})
		var out bytes.Buffer
		if err := s.WriteHeader(&out, host.Options{}); err != nil {
			t.Fatal(err)
		}
		out.WriteString("BenchmarkX 1 1 ns/op\n")
		r := benchfmt.NewReader(&out, "header")
		for r.Scan() {
			rec, ok := r.Result().(*benchfmt.Result)
			if !ok {
				continue
			}
			want := float64(size) / float64(llc)
			if got, err := strconv.ParseFloat(rec.GetConfig("file-to-llc"), 64); err != nil || got < 0.9*want || got > 1.1*want {
				t.Errorf("a file of %d bytes, a cache of %d: file-to-llc: %v (%v), want %.3g", size, llc, got, err, want)
			}
		}
	}
}

// What readahead brings in beyond what was asked for is reported.
func TestReadAmplification(t *testing.T) {
	const size = 16 << 20
	o := Options{Dir: disk(t), Size: size, Caches: []string{"cold"}, Counter: "none"}
	s := open(t, o)
	needCold(t, s)
	plan, err := workloads.NewPlan("sparse", size, 4<<10)
	if err != nil {
		t.Fatal(err)
	}
	c := Cell{Benchmark: "Read", Pattern: "sparse", Cache: "cold", Consume: "sum", Size: size, Block: 4 << 10}
	got := map[string]float64{}
	for _, c.Method = range []string{"pread", "mmap"} {
		v := values(t, round(t, o, false, c)[0])
		device, ok := v["device-B/op"]
		if !ok {
			t.Skip("this kernel does not tell the bytes from the device")
		}
		amplification, ok := v["read-amplification"]
		if want := device / float64(plan.Bytes()); !ok || amplification < 0.99*want || amplification > 1.01*want {
			t.Errorf("%s: read-amplification = %v, want %v bytes of %v, %.4g", c.Method, amplification, device, plan.Bytes(), want)
		}
		got[c.Method] = amplification
	}
	t.Logf("bytes from the device for each that was asked for: %v", got)
	// A fault reads around itself, as wide as the window.
	if window, ok := host.ReadAhead(o.Dir); ok && window >= 64<<10 && got["mmap"] <= 1 {
		t.Errorf("mmap: read-amplification = %v with a read-ahead window of %d bytes, want more than 1", got["mmap"], window)
	}
}

// The global page cache is never dropped: it is not ours, and what is dirty or
// mapped stays in it.
func TestNobodyDropsCaches(t *testing.T) {
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Skipf("the source is not here: %v", err)
	}
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && path != ".." && strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci" {
				return filepath.SkipDir
			}
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch ext := filepath.Ext(path); {
		case strings.HasSuffix(path, "_test.go"):
		case ext == ".go":
			files++
			for _, text := range literals(b) {
				if strings.Contains(text, "drop_caches") {
					t.Errorf("%s has %s", path, text)
				}
			}
		case ext == ".sh" || ext == "" && d.Name() == "Makefile" || d.Name() == "run":
			for line := range strings.Lines(string(b)) {
				if code, _, _ := strings.Cut(line, "#"); strings.Contains(code, "drop_caches") {
					t.Errorf("%s has %s", path, strings.TrimSpace(line))
				}
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d Go files were looked at (%v)", files, err)
	}
}

// literals are the strings in a Go file: a comment may speak of what it does not do.
func literals(source []byte) (all []string) {
	var s scanner.Scanner
	files := token.NewFileSet()
	s.Init(files.AddFile("", -1, len(source)), source, nil, 0)
	for {
		_, kind, text := s.Scan()
		if kind == token.EOF {
			return all
		}
		if kind == token.STRING {
			all = append(all, text)
		}
	}
}

// Nagle's algorithm and delayed acknowledgements would stall small sends by 40 ms
// (RFC 896; tcp(7), TCP_NODELAY).
func TestSocketsDoNotWaitToFillSegments(t *testing.T) {
	a, b, err := peer.Pair("tcp")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{a, b} {
		defer f.Close()
		if on, err := unix.GetsockoptInt(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on == 0 {
			t.Errorf("TCP_NODELAY = %d, %v, want it set", on, err)
		}
	}
}

// Preemption by SIGURG would cut raw calls short, and be counted as rt_sigreturn.
func TestNoPreemptionInAJob(t *testing.T) {
	s := open(t, Options{Size: 1 << 20, Counter: "none", Caches: []string{"warm"}})
	ended := make(chan error)
	go func() {
		// The thread is to be the same all along.
		runtime.LockOSThread()
		blocked := func(when string, want bool) error {
			var mask unix.Sigset_t
			if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &mask); err != nil {
				return err
			}
			if got := mask.Val[0]>>(unix.SIGURG-1)&1 == 1; got != want {
				return fmt.Errorf("%s a job SIGURG is blocked: %v, want %v", when, got, want)
			}
			return nil
		}
		err := blocked("before", false)
		for _, timed := range []bool{true, false} {
			err = errors.Join(err, s.with(readCell("warm", "pread", 1<<20), timed, func(task *task) error {
				move := task.consume
				var inside error
				task.consume = func(off int64, b []byte) { inside = blocked("in", true); move(off, b) }
				return errors.Join(task.once(), inside)
			}), blocked("after", false))
		}
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// needTracepoints skips where calls cannot be counted by them.
func needTracepoints(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := counters.OpenTracepoint()
	if err != nil {
		t.Skip(err)
	}
	c.Close()
}

// The Go runtime's own calls leak into a job now and then: two jobs that agree are
// counted, or the third decides.
func TestOneJobOfSeveralDoesNotDecide(t *testing.T) {
	needTracepoints(t)
	s := open(t, Options{Size: 1 << 20, Caches: []string{"warm"}})
	const calls = 5
	for disturbed := range 4 { // the last is not reached
		ended := make(chan error)
		jobs := 0
		go func() {
			runtime.LockOSThread()
			nothing := func() error { return nil }
			got, err := s.countHere(&task{Job: counters.Job{Begin: nothing, End: nothing, Move: func() error {
				n := calls
				if jobs == disturbed {
					n++
				}
				for range n {
					unix.Umask(unix.Umask(0)) // which has no name
				}
				jobs++
				return nil
			}}})
			if own, _ := got.Split(nil); err == nil && own.Total != 2*calls && !instrumented() {
				err = fmt.Errorf("%v, want %d calls", got, 2*calls)
			}
			ended <- err
		}()
		if err := <-ended; err != nil {
			t.Errorf("of %d jobs, that with the number %d was disturbed: %v", jobs, disturbed, err)
		}
	}
}

// A counter's events are one thread's, and opening one takes many calls: the
// goroutine that does it must not be moved meanwhile.
func TestCounterOpensOnOneThread(t *testing.T) {
	o := Options{Dir: disk(t), Size: 1 << 20, Caches: []string{"warm"}, Counter: "tracepoint"}
	needTracepoints(t)
	done := make(chan struct{})
	defer close(done)
	for range 2 * runtime.GOMAXPROCS(0) { // others want the threads
		go func() {
			for {
				select {
				case <-done:
					return
				default:
					runtime.Gosched()
				}
			}
		}()
	}
	for range 50 {
		s := open(t, o)
		if _, err := s.Counter(); err != nil {
			t.Fatal(err)
		}
	}
}

// With a rate, a stall is in the times of all blocks that came due meanwhile;
// without, it is in one of them.
func TestStallDelaysTheBlocksBehindIt(t *testing.T) {
	const blocks, every, stall = 1000, 100 * time.Microsecond, 50 * time.Millisecond
	p99 := func(every time.Duration) (time.Duration, int) {
		w := newStopwatch(blocks, every)
		w.began = time.Now()
		for i := range blocks {
			w.begin(i)
			if i == 100 {
				time.Sleep(stall)
			}
			w.end()
		}
		return time.Duration(w.times.ValueAtPercentile(99)), w.late
	}
	closed, late := p99(0)
	if late != 0 {
		t.Errorf("closed loop: %d blocks were late, and none is due", late)
	}
	open, late := p99(every)
	// The block n behind the stall is due n × every after it began. The ten worst
	// of a thousand are the stalled one and the nine behind it.
	if want := stall - 10*every; open < want*99/100 {
		t.Errorf("open loop: p99 = %v, want %v or more", open, want)
	}
	if want := int(stall/every) - 1; late < want {
		t.Errorf("open loop: %d blocks were late, want %d or more", late, want)
	}
	if closed > open/5 {
		t.Errorf("closed loop: p99 = %v, open loop: %v; want it far below", closed, open)
	}
}

// A floor is of the step alone: were the load left out by the compiler, there
// would be no fault.
func TestFloorStepsAreTaken(t *testing.T) {
	o := Options{Dir: disk(t), Size: 1 << 20, Caches: []string{"warm"}}
	s := open(t, o)
	for what, want := range map[string]map[string]float64{
		"fault":   {"minflt/op": 1},
		"syscall": {"syscalls/op": 1, "minflt/op": 0},
		"clock":   {"minflt/op": 0},
	} {
		v := values(t, roundOf(t, "3x", o, true, Cell{Benchmark: "Floor", What: what})[0])
		for unit, want := range want {
			if got, ok := v[unit]; (ok || s.counter != "" || unit != "syscalls/op") && (got < want-0.01 || got > want+0.01) {
				t.Errorf("%s: %v %s, want %v", what, got, unit, want)
			}
		}
	}
}

// A job that has moved leaves behind a thread that other cells must not meet.
func TestRoundGoesOnInAnotherProcess(t *testing.T) {
	registerWrong()
	var cells []Cell
	for _, method := range []string{"pread", "wrong.moved", "pread"} {
		cells = append(cells, Cell{Benchmark: "Read", Pattern: "seq", Cache: "warm", Consume: "sum", Size: 1 << 20, Block: 64 << 10, Method: method})
	}
	spec, err := json.Marshal(Round{Options: Options{Dir: disk(t), Size: 1 << 20, Counter: "none"}, Cells: cells, BenchTime: "1x"})
	if err != nil {
		t.Fatal(err)
	}
	benchTime := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", benchTime)
	var out bytes.Buffer
	err = RunRound(t.Context(), bytes.NewReader(spec), &out)
	var unfit *Unfit
	if !errors.As(err, &unfit) || !slices.Equal(unfit.Rest.Cells, cells[2:]) || unfit.Rest.BenchTime != "1x" {
		t.Fatalf("RunRound = %v, want an Unfit with the last cell", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "# failed: Benchmark"+cells[1].Name()+": ") || !strings.Contains(lines[1], errMoved.Error()) {
		t.Errorf("the round printed %q, want a result and a cell that failed because its job moved", lines)
	}
}

// The trap: splice(2) with SPLICE_F_MOVE is taken to move pages from one file to
// another. Since Linux 2.6.21 it copies (splice(2), BUGS): the source keeps its pages.
func TestSpliceMoveCopies(t *testing.T) {
	const size = 64 << 10
	dir := disk(t)
	src, err := os.CreateTemp(dir, "src")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.CreateTemp(dir, "dst")
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := src.Write(bytes.Repeat([]byte("moved or not? "), size)[:size]); err != nil {
		t.Fatal(err)
	}
	if err := src.Sync(); err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	var off int64
	in, err := unix.Splice(int(src.Fd()), &off, pipe[1], nil, size, unix.SPLICE_F_MOVE)
	if err != nil || in == 0 {
		t.Fatalf("splice into the pipe: %d, %v", in, err)
	}
	off = 0
	if out, err := unix.Splice(pipe[0], nil, int(dst.Fd()), &off, int(in), unix.SPLICE_F_MOVE); err != nil || out != in {
		t.Fatalf("splice into the file: %d, %v, want %d", out, err, in)
	}
	for _, f := range []*os.File{src, dst} {
		r, err := pagecache.Resident(f)
		if err != nil {
			t.Skip(err)
		}
		if int64(r.Pages)*int64(os.Getpagesize()) < in {
			t.Errorf("%s has %d pages in the page cache after %d bytes were spliced, want all: were they moved?", f.Name(), r.Pages, in)
		}
	}
}
