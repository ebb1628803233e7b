package claims

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/cgroup"
	"iopath/internal/pagecache"
)

var page = os.Getpagesize()

// file makes a file of so many bytes, none of them zero, which are on the device.
func (l *Lab) file(size int64) (*os.File, error) {
	f, err := os.CreateTemp(l.dir, "file-")
	if err != nil {
		return nil, err
	}
	buf := bytes.Repeat([]byte("iopath! "), 1<<17)
	for at := int64(0); at < size; at += int64(len(buf)) {
		if _, err := f.WriteAt(buf[:min(int64(len(buf)), size-at)], at); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sparse makes a file of so many bytes that takes no room.
func (l *Lab) sparse(size int64) (*os.File, error) {
	f, err := os.CreateTemp(l.dir, "sparse-")
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// A mapping is memory that mmap(2) gave out. unix.Mmap would refuse what is to be tried.
type mapping struct {
	addr   unsafe.Pointer
	length uintptr
}

func mapFile(f *os.File, offset int64, length int, prot, flags int) (mapping, error) {
	fd := -1
	if f != nil {
		fd = int(f.Fd())
	}
	addr, err := unix.MmapPtr(fd, offset, nil, uintptr(length), prot, flags)
	if err != nil {
		return mapping{}, os.NewSyscallError("mmap", err)
	}
	return mapping{addr, uintptr(length)}, nil
}

func (m mapping) unmap() error { return unmapAt(m.addr, m.length) }

func unmapAt(addr unsafe.Pointer, length uintptr) error {
	return os.NewSyscallError("munmap", unix.MunmapPtr(addr, length))
}

func (m mapping) bytes() []byte { return unsafe.Slice((*byte)(m.addr), m.length) }

// advise calls madvise(2) on all of it.
func (m mapping) advise(advice int) error {
	return os.NewSyscallError("madvise", unix.Madvise(m.bytes(), advice))
}

// touched is what the loads come to, so that none of them is left out.
var touched atomic.Uint64

// load reads the first byte.
func load(b []byte) { touched.Add(uint64(b[0])) }

// touch reads one byte of a page, and of those that are step pages apart from it.
func touch(b []byte, step int) {
	sum := uint64(0)
	for i := 0; i < len(b); i += step * page {
		sum += uint64(b[i])
	}
	touched.Add(sum)
}

// A toll is what a thread paid for its pages.
type toll struct {
	faults int64 // minor and major
	major  int64 // those of them for which the kernel says that it waited for a device
	device int64 // bytes read from devices
}

// paid runs do on a locked thread and returns what the thread paid.
func paid(do func() error) (toll, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		return toll{}, os.NewSyscallError("getrusage", err)
	}
	if err := do(); err != nil {
		return toll{}, err
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		return toll{}, os.NewSyscallError("getrusage", err)
	}
	major := after.Majflt - before.Majflt
	return toll{after.Minflt - before.Minflt + major, major, 512 * (after.Inblock - before.Inblock)}, nil
}

// held is how much of a mapping is resident for this process, and how much of that is
// not the file's, in bytes: from the page tables, by /proc/self/smaps. The sums of
// /proc/self/status have the whole program in them, and lag behind on some kernels.
func (m mapping) held() (resident, anonymous int64, err error) {
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, 0, err
	}
	found, ours := false, false
	for line := range strings.Lines(string(text)) {
		first, rest, _ := strings.Cut(line, " ")
		if lo, hi, ok := strings.Cut(first, "-"); ok {
			from, err := strconv.ParseUint(lo, 16, 64)
			to, err2 := strconv.ParseUint(hi, 16, 64)
			if err != nil || err2 != nil {
				return 0, 0, fmt.Errorf("read /proc/self/smaps: what is %q?", line)
			}
			begin := uint64(uintptr(m.addr))
			ours = from >= begin && to <= begin+(uint64(m.length)+uint64(page)-1)/uint64(page)*uint64(page)
			found = found || ours
			continue
		}
		var into *int64
		switch first {
		case "Rss:":
			into = &resident
		case "Anonymous:":
			into = &anonymous
		default:
			continue
		}
		var kib int64
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			return 0, 0, fmt.Errorf("read /proc/self/smaps: what is %q?", line)
		}
		if ours {
			*into += kib << 10
		}
	}
	if !found {
		return 0, 0, fmt.Errorf("/proc/self/smaps has nothing of what is mapped at %p", m.addr)
	}
	return resident, anonymous, nil
}

// status returns a line of /proc/self/status in bytes, such as VmLck.
func status(key string) (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				return 0, fmt.Errorf("read %s of /proc/self/status: %w", key, err)
			}
			return kib << 10, nil
		}
	}
	return 0, unsupported("/proc/self/status has no %s", key)
}

// cold evicts the file, which nobody has mapped, and proves it.
func cold(f *os.File) error {
	if err := pagecache.Evict(f); err != nil {
		return err
	}
	r, err := pagecache.Resident(f)
	if err != nil {
		return err
	}
	if err := r.Cold(); err != nil {
		return unsupported("%w (is it on tmpfs? choose a disk with -dir)", err)
	}
	return nil
}

// resident is how many bytes of the file are in the page cache.
func resident(f *os.File) (int64, error) {
	r, err := pagecache.Resident(f)
	return int64(r.Pages) * int64(page), err
}

// medianTimes runs each of do n times, in turn, and returns the median times they took.
func medianTimes(n int, do ...func() error) ([]time.Duration, error) {
	took := make([][]time.Duration, len(do))
	for range n {
		for i := range do {
			began := time.Now()
			if err := do[i](); err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	medians := make([]time.Duration, len(do))
	for i := range took {
		slices.Sort(took[i])
		medians[i] = took[i][n/2]
	}
	return medians, nil
}

// faultsAt runs do with faults as panics (debug.SetPanicOnFault), and returns the address
// of the one that ended it; ok is false where none did.
func faultsAt(do func()) (addr uintptr, ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, is := r.(interface{ Addr() uintptr })
			if !is {
				panic(r)
			}
			addr, ok = fault.Addr(), true
		}
	}()
	do()
	return 0, false
}

// childEnv makes this program an experiment's child process: "NAME ARGUMENT".
const childEnv = "IOPATH_CLAIM"

// Children by their names; each gets its argument, and an error ends it with status 3.
var children = map[string]func(arg string) error{}

// Child runs the child process of an experiment where this process is one. A program
// that runs claims calls it before anything else.
func Child() bool {
	name, arg, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		return false
	}
	do, known := children[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: no such experiment: %s\n", childEnv, name)
		os.Exit(2)
	}
	if err := do(arg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	return true
}

// An ended child, and what it printed.
type ended struct {
	stdout, stderr string
	err            error // nil where it ended well
}

// signal is what Go's runtime says ended it: "SIGSEGV", "SIGBUS"; "" for none.
func (e ended) signal() string {
	for _, name := range []string{"SIGSEGV", "SIGBUS"} {
		if strings.Contains(e.stderr, "[signal "+name) || strings.Contains(e.stderr, name+":") {
			return name
		}
	}
	var exit *exec.ExitError
	if errors.As(e.err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return unix.SignalName(ws.Signal())
		}
	}
	return ""
}

// childTime is how long a child may take.
const childTime = 60 * time.Second

// command is a child process that is to be started.
func command(ctx context.Context, name, arg string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, childTime)
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+name+" "+arg, "GOTRACEBACK=single")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cancel
}

// child runs one to its end.
func child(ctx context.Context, name, arg string) (ended, error) {
	// Pdeathsig kills it when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, cancel := command(ctx, name, arg)
	defer cancel()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return ended{}, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ended{}, fmt.Errorf("start the child of %s: %w", name, err)
	}
	if exit != nil && exit.ExitCode() == 3 {
		return ended{}, fmt.Errorf("child of %s: %s", name, strings.TrimSpace(stderr.String()))
	}
	return ended{stdout.String(), stderr.String(), err}, nil
}

// A guard is a process of its own session that removes the lab when this one is gone,
// killed or not.
type guard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

func startGuard(dir string) (io.Closer, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=guard "+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process that cleans up: %w", err)
	}
	return &guard{cmd, in}, nil
}

// Close ends the guard where all is removed already.
func (g *guard) Close() error {
	_, err := g.in.Write([]byte{1})
	return errors.Join(err, g.in.Close(), g.cmd.Wait())
}

// guardTime is how long the guard tries.
const guardTime = 10 * time.Second

func init() {
	children["guard"] = func(dir string) error {
		signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
		if n, _ := os.Stdin.Read(make([]byte, 1)); n > 0 {
			return nil
		}
		if !strings.HasPrefix(filepath.Base(dir), labPrefix) {
			return fmt.Errorf("%s is no lab", dir)
		}
		// The other children end with the parent (Pdeathsig), and that takes a moment.
		var err error
		for began := time.Now(); time.Since(began) < guardTime; time.Sleep(50 * time.Millisecond) {
			swapOff(dir)
			if err = os.RemoveAll(dir); err != nil {
				continue
			}
			// A new control group sweeps those of processes that are gone away.
			if probed := cgroup.Probe(); probed != nil || time.Since(began) > time.Second {
				break
			}
		}
		return err
	}
}

// swapOff switches off swap files below the directory.
func swapOff(dir string) {
	text, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(text)) {
		if path, _, _ := strings.Cut(line, " "); strings.HasPrefix(path, dir+"/") {
			if p, err := unix.BytePtrFromString(path); err == nil {
				unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0)
			}
		}
	}
}
