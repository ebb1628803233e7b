package counters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file counts for users who may not open tracepoints: a child process runs
// the jobs and marks off what is to be counted, and its parent counts by
// ptrace(2).
//
// A mark is a signal that a thread sends itself. A signal stops its thread for
// the tracer under PTRACE_CONT too, so that only a thread within its stretch
// stops at system calls (PTRACE_SYSCALL: at the entry of each and at its exit);
// all else runs at full speed.
//
// A seccomp filter of SECCOMP_RET_TRACE stops once a call and counts 1.9 times as
// many a second. It was tried and dropped: a thread cannot shed its filter, and
// hands it down to every thread and process that it starts. One that is not
// traced has then no system call left, not even exit(2).

// markSignal is what marks are sent by. Its default is to be ignored, Go's
// runtime never blocks it, and it comes before the preemption signal, SIGURG,
// should both be pending.
const markSignal = unix.SIGCHLD

// What a mark says, in its si_value.
const (
	markBegin int32 = 0x696f7042
	markEnd   int32 = 0x696f7045
)

// siginfo is siginfo_t where it speaks of a child (waitid(2)) or of a signal
// with a value (rt_tgsigqueueinfo(2)).
type siginfo struct {
	Signo, Errno, Code int32
	_                  [0]uintptr // the union is aligned to a pointer
	Pid, UID           int32
	Value              int32 // si_status or si_value
	_                  [128 - 7*4]byte
}

const siQueue = -1 // SI_QUEUE

// marks is the counter of a traced child.
type marks struct {
	pid, tid int
	info     siginfo
}

// OpenMarks returns the counter that a process run by [Trace] uses: it marks off
// the calling thread's stretches for the tracer, which counts, and so its End
// returns no calls. Without a tracer it does nothing.
func OpenMarks() (Counter, error) {
	return &marks{pid: unix.Getpid(), tid: unix.Gettid()}, nil
}

func (m *marks) Source() string { return "ptrace" }

func (m *marks) Begin() error { return m.mark(markBegin) }

func (m *marks) End() (Calls, error) { return Calls{ByName: map[string]float64{}}, m.mark(markEnd) }

func (m *marks) Close() error { return nil }

// mark stops the thread for the tracer before it returns to user mode.
func (m *marks) mark(value int32) error {
	m.info = siginfo{Signo: int32(markSignal), Code: siQueue, Pid: int32(m.pid), Value: value}
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(m.pid), uintptr(m.tid),
		uintptr(markSignal), uintptr(unsafe.Pointer(&m.info)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("mark a counted stretch: %w", os.NewSyscallError("rt_tgsigqueueinfo", errno))
	}
	return nil
}

// Trace runs the command as a traced child and returns the calls of each of the
// stretches that it marked off (see [OpenMarks]), in the order in which they
// ended. Its threads are followed, its child processes are not. The command's
// SysProcAttr is replaced by a copy with Ptrace set.
//
// The error wraps the command's *exec.ExitError where it ended badly, and the
// context's cause where that was cancelled, which kills the child. It matches
// os.ErrPermission where tracing is forbidden. Whatever the error, the child has
// been waited for, and as by exec.Cmd.Wait the copies of its input and output
// are finished, for which cmd.WaitDelay is the limit.
//
// Counting is fastest where the counted thread is pinned to one CPU.
func Trace(ctx context.Context, cmd *exec.Cmd) (calls []Calls, err error) {
	onOwnThread(func() { calls, err = trace(ctx, cmd) })
	return calls, err
}

// waitOptions ask for the stops and exits of the calling thread's own children
// and tracees. With WNOWAIT they are seen and not taken: a stop is over when
// ptrace ends it, and the child's exit is left for exec.Cmd.Wait.
const waitOptions = unix.WEXITED | unix.WSTOPPED | unix.WNOWAIT | unix.WALL | unix.WNOTHREAD

// wait waits for the next of them.
func wait(info *siginfo, options int) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0,
			uintptr(unsafe.Pointer(info)), uintptr(waitOptions|options), 0, 0)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return os.NewSyscallError("waitid", errno)
		}
	}
}

// onOwnThread runs f on an OS thread that nobody else uses meanwhile and that has
// no children, so that f may wait for any and never takes another's. It is not
// the main thread, which inherits the children of threads that end.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := wait(new(siginfo), unix.WNOHANG)
		if errors.Is(err, unix.ECHILD) && unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		onOwnThread(f) // holding on to this one
	}()
	<-done
}

func trace(ctx context.Context, cmd *exec.Cmd) ([]Calls, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	attr := new(syscall.SysProcAttr)
	if cmd.SysProcAttr != nil {
		*attr = *cmd.SysProcAttr
	}
	attr.Ptrace = true
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a traced child: %w", remedy(err))
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()

	var cpus unix.CPUSet // begin changes them
	if err := unix.SchedGetaffinity(0, &cpus); err == nil {
		defer unix.SchedSetaffinity(0, &cpus)
	}
	t := &tracer{child: cmd.Process, open: map[int]*stretch{}}
	traceErr := t.run()
	waitErr := cmd.Wait()
	switch {
	case waitErr != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("traced child: %w", context.Cause(ctx))
	case traceErr != nil:
		return nil, fmt.Errorf("trace a child: %w", remedy(traceErr))
	case waitErr != nil:
		return nil, fmt.Errorf("traced child: %w", waitErr)
	case len(t.open) > 0:
		return nil, errors.New("traced child: it ended within a counted stretch")
	}
	return t.calls, nil
}

// remedy adds to an error what can be done about it.
func remedy(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (let the container use ptrace, as by --cap-add=SYS_PTRACE; "+
			"set /proc/sys/kernel/yama/ptrace_scope to 1 or 0; or leave the debugger: who is traced cannot trace; "+
			"or count as root with -counter=tracepoint)", err)
	case errors.Is(err, unix.EIO):
		return fmt.Errorf("%w (counting by ptrace wants Linux 5.3 or later; or count as root with -counter=tracepoint)", err)
	}
	return err
}

// A tracer follows the threads of one child.
type tracer struct {
	child  *os.Process
	seized bool
	open   map[int]*stretch // by thread
	calls  []Calls          // of the stretches that have ended
}

// A stretch is a thread's, from Begin to End.
type stretch struct {
	total  int
	number [1024]int // calls by number, which are below 512 so far
}

// The si_code of a tracee's stop, and of a child's that is not traced yet.
const (
	cldTrapped = 4
	cldStopped = 5
)

// run traces the child until it has ended, and leaves it to be waited for. At
// the first error it kills the child, and still sees it out.
func (t *tracer) run() (first error) {
	var info siginfo
	for {
		err := wait(&info, 0)
		if err != nil {
			return errors.Join(first, err) // ECHILD: somebody else has waited for it
		}
		tid, status := int(info.Pid), int(info.Value)
		switch {
		case info.Code == cldTrapped || info.Code == cldStopped:
			err = t.stopped(tid, status)
		case tid == t.child.Pid:
			return first // a process is seen to end after its last thread
		default:
			_, err = unix.Wait4(tid, nil, unix.WALL, nil)
			delete(t.open, tid)
			err = os.NewSyscallError("wait4", err)
		}
		if err != nil && first == nil {
			first = err
			t.child.Kill()
		}
	}
}

// stopped sees to a thread that has stopped, and lets it go on.
func (t *tracer) stopped(tid, status int) error {
	sig, event := unix.Signal(status&0xff), status>>8
	s := t.open[tid]
	switch {
	case !t.seized && sig == unix.SIGTRAP:
		t.seized = true
		return t.seize()
	case event == unix.PTRACE_EVENT_STOP && sig != unix.SIGTRAP:
		// Stopped as by SIGSTOP, until SIGCONT.
		return ptrace(unix.PTRACE_LISTEN, tid, 0)
	case event != 0:
		sig = 0 // a thread started, or was started
	case sig == unix.SIGTRAP|0x80:
		sig = 0
		if s != nil {
			if err := s.count(tid); err != nil {
				return err
			}
		}
	case sig == markSignal:
		var info siginfo
		if err := ptracePointer(unix.PTRACE_GETSIGINFO, tid, 0, unsafe.Pointer(&info)); err != nil {
			return err
		}
		if info.Code != siQueue || info.Value != markBegin && info.Value != markEnd {
			break // somebody's child
		}
		sig = 0
		if err := t.mark(tid, info.Value); err != nil {
			return err
		}
	}
	request := unix.PTRACE_CONT
	if t.open[tid] != nil {
		request = unix.PTRACE_SYSCALL
	}
	return ptrace(request, tid, uintptr(sig))
}

// seize ends the stop in which exec(2) leaves a child that asked to be traced,
// and attaches to it anew by PTRACE_SEIZE: only that tells SIGSTOP's effect from
// SIGSTOP (ptrace(2), "Group-stop"). In between, and until SIGCONT, the child is
// stopped and cannot start threads behind our back.
func (t *tracer) seize() error {
	if err := ptrace(unix.PTRACE_DETACH, t.child.Pid, uintptr(unix.SIGSTOP)); err != nil {
		return err
	}
	// Threads are followed. Child processes are not: Go starts them by vfork,
	// others by fork, and those have options of their own.
	const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD
	if err := ptrace(unix.PTRACE_SEIZE, t.child.Pid, options); err != nil {
		return err
	}
	return t.child.Signal(unix.SIGCONT)
}

// mark begins or ends a stretch.
func (t *tracer) mark(tid int, value int32) error {
	s := t.open[tid]
	switch {
	case value == markBegin && s == nil:
		t.open[tid] = new(stretch)
		// Where the thread is pinned, be on the same CPU: the one runs only while
		// the other waits, and a call counted across two CPUs takes five times
		// as long.
		var cpus unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &cpus); err == nil {
			unix.SchedSetaffinity(0, &cpus) // or else we are slower, no more
		}
		return nil
	case value == markEnd && s != nil:
		delete(t.open, tid)
		t.calls = append(t.calls, s.calls())
		return nil
	case value == markBegin:
		return fmt.Errorf("thread %d began a counted stretch within another", tid)
	default:
		return fmt.Errorf("thread %d ended a counted stretch that it had not begun", tid)
	}
}

// syscallInfo is struct ptrace_syscall_info as of a system call's entry.
type syscallInfo struct {
	Op                 uint8
	Arch               uint32
	Instruction, Stack uint64
	Number             uint64
	Args               [6]uint64
}

// count counts the call that the thread has stopped at, if it is at its entry.
func (s *stretch) count(tid int) error {
	// The one request that is alike on every architecture, and that knows an
	// entry from an exit by itself.
	var info syscallInfo
	if err := ptracePointer(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(info), unsafe.Pointer(&info)); err != nil {
		return err
	}
	if info.Op != unix.PTRACE_SYSCALL_INFO_ENTRY {
		return nil
	}
	s.total++
	if info.Number < uint64(len(s.number)) {
		s.number[info.Number]++
	}
	return nil
}

// calls returns what was counted, without the mark that ended the stretch. The
// one that began it came before.
func (s *stretch) calls() Calls {
	c := Calls{Total: float64(s.total - 1), ByName: map[string]float64{}}
	for name, number := range numbers {
		if n := s.number[number]; n > 0 {
			c.ByName[name] = float64(n)
		}
	}
	return c
}

func ptrace(request, tid int, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0)
	return ptraceError(request, errno)
}

func ptracePointer(request, tid int, addr uintptr, data unsafe.Pointer) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, uintptr(data), 0, 0)
	return ptraceError(request, errno)
}

func ptraceError(request int, errno syscall.Errno) error {
	// ESRCH: the thread was killed in its stop. How it ended is waited for.
	if errno == 0 || errno == unix.ESRCH {
		return nil
	}
	return fmt.Errorf("ptrace request %#x: %w", request, errno)
}

// probeEnv makes this program the child of [ProbeTrace].
const probeEnv = "IOPATH_PTRACE_PROBE"

// probeCalls is how many times that child calls lseek.
const probeCalls = 3

func init() {
	if os.Getenv(probeEnv) == "" {
		return
	}
	if err := probeChild(); err != nil {
		fmt.Fprintf(os.Stderr, "ptrace probe: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func probeChild() error {
	runtime.LockOSThread()
	marks, err := OpenMarks()
	if err != nil {
		return err
	}
	if err := marks.Begin(); err != nil {
		return err
	}
	for range probeCalls {
		unix.Seek(-1, 0, 0) // EBADF is a call too
	}
	_, err = marks.End()
	return err
}

// ProbeTrace tells whether calls can be counted by ptrace here: it runs this
// program as a traced child that makes a few. The error says what to do about
// it; it matches os.ErrPermission where tracing is forbidden.
func ProbeTrace() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("probe ptrace: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), probeEnv+"=1")
	cmd.Stderr = os.Stderr
	calls, err := Trace(ctx, cmd)
	if err != nil {
		return fmt.Errorf("probe ptrace: %w", err)
	}
	if len(calls) != 1 || calls[0].ByName["lseek"] != probeCalls {
		return fmt.Errorf("probe ptrace: counted %v, want one stretch of lseek=%d (count as root with -counter=tracepoint)", calls, probeCalls)
	}
	return nil
}
