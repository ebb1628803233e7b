package counters

import (
	"bytes"
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
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracedEnv makes the test binary the child of a test: "name argument".
const tracedEnv = "IOPATH_TEST_TRACED"

func init() {
	// Under the race detector each child would take a second to exit.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	spec := os.Getenv(tracedEnv)
	if spec == "" {
		return
	}
	name, arg, _ := strings.Cut(spec, " ")
	n, _ := strconv.Atoi(arg)
	// As a counted pass does it: one thread, no collection.
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if err := tracedChildren[name](n); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// tracedChildren are what the test binary does as a child.
var tracedChildren = map[string]func(n int) error{
	"nothing":    func(int) error { return nil },
	"stretches":  func(int) error { return elsewhere(childStretches) },
	"storm":      childStorm,
	"both":       childBoth,
	"unmarked":   func(n int) error { return work(n) },
	"marked":     func(n int) error { return markedOff(func() error { return work(n) }) },
	"grandchild": childGrandchild,
	"tracer":     func(int) error { return printTracer() },
	"stop":       func(int) error { return markedOff(func() error { return unix.Kill(unix.Getpid(), unix.SIGSTOP) }) },
	"hang":       func(int) error { return markedOff(func() error { fmt.Println("hangs"); select {} }) },
	"kill":       func(int) error { return markedOff(func() error { return unix.Kill(unix.Getpid(), unix.SIGKILL) }) },
	"exit":       func(n int) error { fmt.Fprintln(os.Stderr, "goes away"); os.Exit(n); return nil },
	"nested": func(int) error {
		return markedOff(func() error { return markedOff(func() error { return nil }) })
	},
	"endless": func(int) error { return markedOff(func() error { os.Exit(0); return nil }) },
	"unbegun": func(int) error {
		m, _ := OpenMarks()
		_, err := m.End()
		return err
	},
	"copy": func(int) error { _, err := io.Copy(os.Stdout, os.Stdin); return err },
	"calls": func(n int) error {
		if err := quiet(); err != nil {
			return err
		}
		return markedOff(func() error { repeat(n, unix.SYS_GETEUID, 0, 0, 0, 0); return nil })
	},
}

// repeat makes a call n times, as the methods do: raw.
func repeat(n int, number, a, b, c, d uintptr) {
	for range n {
		unix.RawSyscall6(number, a, b, c, d, 0, 0)
	}
}

// elsewhere runs f on a thread that is not the process's first.
func elsewhere(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func markedOff(f func() error) error {
	m, err := OpenMarks()
	if err != nil {
		return err
	}
	if err := m.Begin(); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	_, err = m.End()
	return err
}

// quiet pins the thread, and keeps the preemption signal from it.
func quiet() error {
	var cpus, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return err
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if cpus.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return unix.PthreadSigmask(unix.SIG_BLOCK, &unix.Sigset_t{Val: sigurg.Val}, nil)
}

var sigurg = func() (set unix.Sigset_t) {
	set.Val[0] = 1 << (unix.SIGURG - 1)
	return set
}()

// childStretches makes known calls in three stretches, while other threads make
// calls of their own, come and go.
func childStretches() error {
	if err := quiet(); err != nil {
		return err
	}
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	fd := f.Fd()
	stop := make(chan struct{})
	var others sync.WaitGroup
	defer others.Wait()
	defer close(stop)
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var thread sync.WaitGroup
				thread.Go(func() {
					runtime.LockOSThread() // and end: the thread ends too
					repeat(100, unix.SYS_GETEUID, 0, 0, 0, 0)
					repeat(100, unix.SYS_LSEEK, fd, 0, 0, 0)
				})
				thread.Wait()
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	var buf [64]byte
	for _, f := range []func(){
		func() {
			repeat(1000, unix.SYS_PREAD64, fd, uintptr(unsafe.Pointer(&buf)), uintptr(len(buf)), 0)
			repeat(7, unix.SYS_LSEEK, fd, 0, 0, 0)
		},
		func() {},
		func() { repeat(10_000, unix.SYS_GETEUID, 0, 0, 0, 0) },
	} {
		if err := markedOff(func() error { f(); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// childStorm makes n calls while the thread is sent n preemption signals.
func childStorm(n int) error {
	pid, tid := unix.Getpid(), unix.Gettid()
	begin, stop := make(chan struct{}), make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		<-begin
		for {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(pid, tid, unix.SIGURG)
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	close(begin)
	err := markedOff(func() error { repeat(n, unix.SYS_LSEEK, ^uintptr(0), 0, 0, 0); return nil })
	close(stop)
	storm.Wait()
	return err
}

// work calls each of a few often: calls that the runtime does not make itself, so
// that they stand out where the whole process is counted.
func work(n int) error {
	f, err := os.CreateTemp("", "iopath-work")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for i := range n {
		off := int64(i%8) * int64(len(buf))
		if _, err := unix.Pwrite(int(f.Fd()), buf, off); err != nil {
			return err
		}
		for range 2 {
			if _, err := unix.Pread(int(f.Fd()), buf, off); err != nil {
				return err
			}
		}
		for range 3 {
			if _, err := unix.Seek(int(f.Fd()), off, io.SeekStart); err != nil {
				return err
			}
		}
	}
	return nil
}

// perWork are the calls of work(1).
var perWork = map[string]float64{"pwrite64": 1, "pread64": 2, "lseek": 3}

// childBoth counts one stretch by both counters and prints what the tracepoints
// say.
func childBoth(n int) error {
	c, err := OpenTracepoint()
	if err != nil {
		return err
	}
	defer c.Close()
	var calls Calls
	if err := markedOff(func() error {
		if err := c.Begin(); err != nil {
			return err
		}
		if err := work(n); err != nil {
			return err
		}
		calls, err = c.End()
		return err
	}); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(calls)
}

// childGrandchild prints who traces it, and has a child do the same, before and
// within a stretch.
func childGrandchild(int) error {
	start := func() error {
		cmd := childOf(context.Background(), "tracer", 0)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	}
	return errors.Join(printTracer(), start(), markedOff(start))
}

func printTracer() error {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(b), "TracerPid:\t")
	pid, _, _ := strings.Cut(rest, "\n")
	_, err = fmt.Println(pid)
	return err
}

func childOf(ctx context.Context, name string, n int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", tracedEnv, name, n))
	return cmd
}

// child returns the command of a child that writes its errors to the test's log.
func child(t testing.TB, name string, n int) *exec.Cmd {
	t.Helper()
	if err := ProbeTrace(); errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	cmd := childOf(context.Background(), name, n)
	cmd.Stderr = os.Stderr
	return cmd
}

// traced runs a child to its end.
func traced(t testing.TB, name string, n int) []Calls {
	t.Helper()
	cmd := child(t, name, n)
	calls, err := Trace(t.Context(), cmd)
	if err != nil {
		t.Fatalf("Trace(%s): %v", name, err)
	}
	gone(t, cmd)
	return calls
}

// gone checks that nothing is left of a child.
func gone(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.ProcessState == nil {
		t.Error("the child has not been waited for")
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", cmd.Process.Pid)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the child's process is still there: %v", err)
	}
}

func TestTrace(t *testing.T) {
	calls := traced(t, "stretches", 0)
	want := []map[string]float64{
		{"pread64": 1000, "lseek": 7},
		{},
		{"other": 10_000}, // geteuid has no name
	}
	if len(calls) != len(want) {
		t.Fatalf("%d stretches, want %d", len(calls), len(want))
	}
	for i := range want {
		if got, _ := split(calls[i]); !maps.Equal(got, want[i]) {
			t.Errorf("stretch %d: %v, want %v and the runtime's", i, calls[i], want[i])
		}
	}
}

// split tells the job's calls from those that Go's runtime makes on any thread
// and at any time: the scheduler's, and those for its memory. Calls without a
// name are "other".
func split(c Calls) (job, runtime map[string]float64) {
	job, runtime = map[string]float64{}, map[string]float64{}
	other := c.Total
	for name, n := range c.ByName {
		other -= n
		if slices.Contains(scheduler, name) || slices.Contains([]string{"mmap", "munmap", "madvise"}, name) {
			runtime[name] = n
		} else {
			job[name] = n
		}
	}
	if other != 0 {
		job["other"] = other
	}
	return job, runtime
}

func TestTraceSignals(t *testing.T) {
	const n = 5000
	calls := traced(t, "storm", n)
	if len(calls) != 1 {
		t.Fatalf("%d stretches, want 1", len(calls))
	}
	c := calls[0]
	if got, _ := split(c); !maps.Equal(got, map[string]float64{"lseek": n}) {
		t.Errorf("%v, want lseek=%d and the runtime's", c, n)
	}
	if c.ByName["rt_sigreturn"] == 0 {
		t.Errorf("%v: no rt_sigreturn: no signal arrived", c)
	}
}

func TestTraceEmpty(t *testing.T) {
	if calls := traced(t, "nothing", 0); len(calls) != 0 {
		t.Errorf("%v, want no stretch", calls)
	}
}

func TestTraceErrors(t *testing.T) {
	tests := []struct {
		name, want string
	}{
		{"exit", "exit status 3"},
		{"kill", "signal: killed"},
		{"nested", "within another"},
		{"unbegun", "had not begun"},
		{"endless", "ended within a counted stretch"},
	}
	for _, test := range tests {
		cmd := child(t, test.name, 3)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		calls, err := Trace(t.Context(), cmd)
		if err == nil || !strings.Contains(err.Error(), test.want) || calls != nil {
			t.Errorf("%s: %v, %v; want an error with %q", test.name, calls, err, test.want)
		}
		gone(t, cmd)
		var exit *exec.ExitError
		if test.name == "exit" && (!errors.As(err, &exit) || exit.ExitCode() != 3 || stderr.String() != "goes away\n") {
			t.Errorf("exit: %v, stderr %q; want an ExitError with 3 and what the child wrote", err, &stderr)
		}
	}

	cmd := child(t, "nothing", 0)
	cmd.Path = filepath.Join(t.TempDir(), "nothing")
	if _, err := Trace(t.Context(), cmd); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v, want os.ErrNotExist", err)
	}
}

func TestTraceCancel(t *testing.T) {
	cmd := child(t, "hang", 0)
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer w.Close()
	cmd.Stdout = w
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		out.Read(make([]byte, 1)) // it hangs
		cancel()
	}()
	if _, err := Trace(ctx, cmd); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled within a stretch: %v, want context.Canceled", err)
	}
	gone(t, cmd)

	cmd = child(t, "nothing", 0)
	if _, err := Trace(ctx, cmd); !errors.Is(err, context.Canceled) || cmd.Process != nil {
		t.Errorf("cancelled before: %v, %v; want context.Canceled and no process", err, cmd.Process)
	}
}

// However early or late it is cancelled, Trace returns and leaves nothing.
func TestTraceCancelAnyTime(t *testing.T) {
	for delay := time.Duration(0); delay < 30*time.Millisecond; delay += time.Millisecond {
		cmd := child(t, "marked", 100)
		ctx, cancel := context.WithTimeout(t.Context(), delay)
		if _, err := Trace(ctx, cmd); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled after %v: %v", delay, err)
		}
		cancel()
		if cmd.Process != nil {
			gone(t, cmd)
		}
	}
}

// The caller's attributes are kept, and the caller's own copy is not written to.
func TestTraceAttributes(t *testing.T) {
	cmd := child(t, "nothing", 0)
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.SysProcAttr = attr
	if _, err := Trace(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if attr.Ptrace || !cmd.SysProcAttr.Setpgid || cmd.SysProcAttr.Pdeathsig != syscall.SIGKILL {
		t.Errorf("attributes %+v, given %+v", cmd.SysProcAttr, attr)
	}
}

// Input and output that exec.Cmd copies arrive whole.
func TestTraceCopies(t *testing.T) {
	cmd := child(t, "copy", 0)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var got bytes.Buffer
	cmd.Stdin, cmd.Stdout = bytes.NewReader(want), &got
	if _, err := Trace(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes came back, want the %d that went in", got.Len(), len(want))
	}
}

func TestTraceLeavesGrandchildren(t *testing.T) {
	cmd := child(t, "grandchild", 0)
	var out strings.Builder
	cmd.Stdout = &out
	if _, err := Trace(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(out.String()); len(got) != 3 || got[0] == "0" || got[1] != "0" || got[2] != "0" {
		t.Errorf("tracers of the child and of two grandchildren: %v, want ours, 0, 0", got)
	}
}

// A child stopped by SIGSTOP stays so until SIGCONT.
func TestTraceStop(t *testing.T) {
	cmd := child(t, "stop", 0)
	type result struct {
		calls []Calls
		err   error
	}
	done := make(chan result, 1)
	started := make(chan int, 1)
	cmd.Stdin = &pidTeller{cmd: cmd, started: started}
	go func() {
		calls, err := Trace(t.Context(), cmd)
		done <- result{calls, err}
	}()
	pid := <-started
	// The kernel shows a stop under a tracer as "t", as long as nobody lets the
	// thread go on; when it stands still for long it is SIGSTOP's.
	for still := 0; still < 50; {
		select {
		case r := <-done:
			t.Fatalf("Trace = %v, %v, before SIGCONT", r.calls, r.err)
		case <-time.After(time.Millisecond):
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if still++; !bytes.Contains(b, []byte(") t ")) {
			still = 0
		}
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.err != nil || len(r.calls) != 1 {
		t.Errorf("Trace = %v, %v, after SIGCONT", r.calls, r.err)
	}
}

// pidTeller is an input that tells the process's id once the process reads it.
type pidTeller struct {
	cmd     *exec.Cmd
	started chan<- int
}

func (r *pidTeller) Read([]byte) (int, error) {
	r.started <- r.cmd.Process.Pid
	return 0, io.EOF
}

// Trace waits for its own child alone: others' are left to those who wait for
// them, and two traces do not meet.
func TestTraceAmongOthers(t *testing.T) {
	child(t, "nothing", 0) // skips
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 10 {
				if err := childOf(t.Context(), "nothing", 0).Run(); err != nil {
					t.Errorf("an untraced child: %v", err)
				}
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for range 5 {
				calls, err := Trace(t.Context(), childOf(t.Context(), "marked", 10))
				if err != nil || len(calls) != 1 || calls[0].ByName["pread64"] != 20 {
					t.Errorf("Trace = %v, %v; want one stretch with pread64=20", calls, err)
				}
			}
		})
	}
	all.Wait()
}

// Marks do nothing where nobody traces.
func TestMarksUntraced(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := OpenMarks()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if err := c.Begin(); err != nil {
			t.Fatal(err)
		}
		calls, err := c.End()
		if err != nil || calls.Total != 0 || calls.ByName == nil {
			t.Errorf("End() = %#v, %v; want no calls", calls, err)
		}
	}
	if c.Source() != "ptrace" {
		t.Errorf("Source() = %q", c.Source())
	}
}

func TestTraceAgreesWithTracepoint(t *testing.T) {
	if c, err := OpenTracepoint(); err != nil {
		t.Skip(err)
	} else {
		c.Close()
	}
	cmd := child(t, "both", 500)
	var out bytes.Buffer
	cmd.Stdout = &out
	calls, err := Trace(t.Context(), cmd)
	if err != nil || len(calls) != 1 {
		t.Fatalf("Trace = %v, %v", calls, err)
	}
	var want Calls
	if err := json.Unmarshal(out.Bytes(), &want); err != nil {
		t.Fatalf("%q: %v", &out, err)
	}
	// The other counter reads itself at its begin and end.
	want.Total += 2
	want.ByName["read"] += 2
	gotJob, gotRuntime := split(calls[0])
	wantJob, wantRuntime := split(want)
	if !maps.Equal(gotJob, wantJob) {
		t.Errorf("ptrace counted %v, the tracepoints %v", calls[0], want)
	}
	// The runtime may have made some between the one's begin and the other's.
	for name, n := range wantRuntime {
		if gotRuntime[name] < n {
			t.Errorf("%s: ptrace counted %v, the tracepoints %v within", name, gotRuntime[name], n)
		}
	}
}

// strace counts the whole process, so that the slope of n and 2n is compared.
func TestTraceAgreesWithStrace(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip(err)
	}
	const n = 500
	byStrace := func(n int) map[string]float64 {
		out := filepath.Join(t.TempDir(), "counts")
		cmd := child(t, "unmarked", n)
		cmd.Path, cmd.Args = strace, []string{"strace", "-c", "-f", "-o", out, self}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		// % time, seconds, usecs/call, calls, [errors,] syscall
		counts := map[string]float64{}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 5 {
				counts[f[len(f)-1]], _ = strconv.ParseFloat(f[3], 64)
			}
		}
		return counts
	}
	first, second := byStrace(n), byStrace(2*n)
	ours := [2]Calls{traced(t, "marked", n)[0], traced(t, "marked", 2*n)[0]}
	for name, per := range perWork {
		got := ours[1].ByName[name] - ours[0].ByName[name]
		want := second[name] - first[name]
		// Go's own threads make a call more or less from run to run.
		if got != per*n || math.Abs(want-got) > 3 {
			t.Errorf("%s: ptrace counted %v, strace %v, want %v", name, got, want, per*n)
		}
	}
}

func TestProbeTrace(t *testing.T) {
	start := time.Now()
	err := ProbeTrace()
	t.Logf("ProbeTrace() = %v, in %v", err, time.Since(start))
	if err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// BenchmarkTracedCall is the time that a counted call takes, on one CPU with its
// tracer.
func BenchmarkTracedCall(b *testing.B) {
	calls := traced(b, "calls", b.N)
	if job, _ := split(calls[0]); job["other"] != float64(b.N) {
		b.Errorf("%v, want %d calls", calls[0], b.N)
	}
}
