package claims

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file has the claims on several processes, and on Go's own.

// answerTime is how long the other process may take for one answer, its start included.
const answerTime = 20 * time.Second

// pingPong stores numbers into the first word of b, and counts those that come back in
// the second.
func pingPong(b []byte, rounds uint32) (answered int) {
	ask, answer := words(b)
	for i := uint32(1); i <= rounds; i++ {
		atomic.StoreUint32(ask, i)
		for began := time.Now(); atomic.LoadUint32(answer) != i; {
			if time.Since(began) > answerTime {
				return answered
			}
			runtime.Gosched()
		}
		answered++
	}
	return answered
}

func words(b []byte) (ask, answer *uint32) {
	return (*uint32)(unsafe.Pointer(&b[0])), (*uint32)(unsafe.Pointer(&b[8]))
}

func init() {
	// Answers each number until it is killed.
	children["shared"] = func(path string) error {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		m, err := mapFile(file, 0, page, readWrite, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		ask, answer := words(m.bytes())
		for began := time.Now(); time.Since(began) < childTime; runtime.Gosched() {
			atomic.StoreUint32(answer, atomic.LoadUint32(ask))
		}
		return nil
	}
	children["fault"] = func(arg string) error {
		how, path, _ := strings.Cut(arg, " ")
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		m, err := mapFile(file, 0, page, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		at := uintptr(m.addr)
		switch how {
		case "plain":
			load(m.bytes())
		case "recovered":
			if addr, ok := faultsAt(func() { load(m.bytes()) }); !ok || addr != at {
				return fmt.Errorf("recovered %v at %#x, want %#x", ok, addr, at)
			}
		case "copied": // within the runtime's own memmove
			buf := make([]byte, page)
			if addr, ok := faultsAt(func() { copy(buf, m.bytes()); load(buf) }); !ok || addr < at || addr >= at+uintptr(page) {
				return fmt.Errorf("recovered %v at %#x, want it within the page at %#x", ok, addr, at)
			}
		case "other": // the setting is one goroutine's
			ended := make(chan bool)
			_, _ = faultsAt(func() {
				go func() { load(m.bytes()); ended <- true }()
				<-ended
			})
		}
		return nil
	}
	children["maps"] = func(string) error {
		maps, err := os.Open("/proc/self/maps")
		if err == nil {
			_, err = io.Copy(os.Stdout, maps)
		}
		return err
	}
	children["scheduler"] = schedulerChild
	children["fork"] = forkChild
}

// goFault has Go programs fault in four ways, in a mapping of a file that has been cut.
func goFault(ctx context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(0)
	if err != nil {
		return f, err
	}
	defer file.Close()
	died := map[string]bool{}
	for _, test := range []struct{ arg, what string }{
		{"plain", "by default, a fault where the file was cut (SIGBUS) ends it"},
		{"recovered", "with debug.SetPanicOnFault and recover, it ends it"},
		{"copied", "the same within copy, it ends it"},
		{"other", "with the setting in another goroutine than the one that faults, it ends it"},
	} {
		e, err := child(ctx, "fault", test.arg+" "+file.Name())
		if err != nil {
			return f, err
		}
		if e.err != nil && e.signal() != "SIGBUS" {
			return f, fmt.Errorf("child of fault: %w: %s", e.err, e.stderr)
		}
		died[test.arg] = f.is(test.what, e.err != nil)
	}
	switch {
	case !died["plain"]:
		f.Verdict, f.Because = Fails, "it lives"
	case died["recovered"] || died["copied"]:
		f.Verdict, f.Because = Holds, "not even SetPanicOnFault saves it"
	case !died["other"]:
		f.Verdict, f.Because = Depends, "unless any goroutine sets debug.SetPanicOnFault"
	default:
		f.Verdict, f.Because = Depends, "a reader of mappings sets debug.SetPanicOnFault in the goroutine that reads, recovers, takes Addr() for the place, and treats it as an I/O error; the setting is that goroutine's alone"
	}
	return f, nil
}

// scheduler runs, on one P, a goroutine that waits for the device and another that works,
// and measures how much of its work the second gets done meanwhile.
func scheduler(ctx context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(schedulerPages * int64(page) * schedulerStep)
	if err != nil {
		return f, err
	}
	defer file.Close()
	share := map[string]float64{}
	for _, how := range []string{"fault", "pread", "long pread"} {
		if err := cold(file); err != nil {
			return f, err
		}
		e, err := child(ctx, "scheduler", how+":"+file.Name())
		if err != nil {
			return f, err
		}
		var waited, worked float64
		var device int64
		if _, err := fmt.Sscan(e.stdout, &waited, &worked, &device); err != nil {
			return f, fmt.Errorf("child of scheduler said %q: %w", e.stdout+e.stderr, err)
		}
		if device < schedulerPages*int64(page)*9/10 {
			return f, unsupported("of 256 cold pages, %d bytes came from a device: it was not waited for", device)
		}
		share[how] = worked / waited
		what := "256 " + how + "s of a cold page each"
		if how == "long pread" {
			what = "one pread of 64MiB, cold"
		}
		f.see("time of "+what, waited, "s")
		f.see("bytes read from the device in it", float64(device), "B")
		f.see("share of it in which another goroutine ran, on one P", 100*share[how], "%")
	}
	switch most, least := max(share["pread"], share["long pread"]), min(share["pread"], share["long pread"]); {
	case share["fault"] > 0.02 && share["fault"] >= most/4:
		f.Verdict, f.Because = Fails, "the other goroutine runs beside faults as well"
	case most < 0.1:
		f.Verdict, f.Because = Depends, "system calls hold their P here too, even a long one"
	case least < 0.5:
		f.Verdict, f.Because = Depends, fmt.Sprintf("a fault is invisible to Go, and its P waits with it; a system call gives its P away only when sysmon finds it twice (it looks each 20 µs to 10 ms): others ran in %.0f %% of the time of preads of a page, and in %.0f %% of a long one's", 100*share["pread"], 100*share["long pread"])
	default:
		f.Verdict, f.Because = Holds, "a fault is invisible to Go, and its P waits with it; a system call gives its P away when sysmon finds it twice (it looks each 20 µs to 10 ms)"
	}
	return f, nil
}

const (
	schedulerPages = 256
	schedulerStep  = 64 // pages apart
)

// schedulerChild prints the seconds that cold pages took, and those of them in which the
// other goroutine ran, and the bytes that came from the device.
func schedulerChild(arg string) error {
	how, path, _ := strings.Cut(arg, ":")
	runtime.GOMAXPROCS(1)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() // and no finalizer closes it before
	size := schedulerPages * schedulerStep * page
	m, err := mapFile(file, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := m.advise(unix.MADV_RANDOM); err != nil {
		return err
	}
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		return err
	}
	fd := int(file.Fd())
	// The worker counts how much of the time it has been given: slices of 10 µs that
	// the clock shows no gap in.
	var worked atomic.Int64
	var stop atomic.Bool
	go func() {
		for last := time.Now(); !stop.Load(); {
			now := time.Now()
			if gap := now.Sub(last); gap < 10*time.Microsecond {
				worked.Add(int64(gap))
			}
			last = now
			runtime.Gosched()
		}
	}()
	var waited, beside time.Duration
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return err
	}
	step, buf := schedulerStep*page, make([]byte, page)
	if how == "long pread" {
		step = size
		buf = make([]byte, step)
		for i := 0; i < len(buf); i += page {
			buf[i] = 1 // the buffer's own faults come before
		}
	}
	for at := 0; at < size; at += step {
		runtime.Gosched()
		had, began := worked.Load(), time.Now()
		if how == "fault" {
			load(m.bytes()[at:])
		} else if _, err := unix.Pread(fd, buf, int64(at)); err != nil {
			return err
		}
		waited += time.Since(began)
		beside += time.Duration(worked.Load() - had)
	}
	stop.Store(true)
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return err
	}
	fmt.Println(waited.Seconds(), beside.Seconds(), 512*(after.Inblock-before.Inblock))
	return nil
}

// fork tries what becomes of mappings in other processes, and mlock.
func fork(ctx context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(int64(lockedPages * page))
	if err != nil {
		return f, err
	}
	defer file.Close()
	holds := true
	for _, test := range []struct {
		arg, what string
		want      bool
	}{
		{"shared", "a store by a forked process is seen through MAP_SHARED", true},
		{"private", "a store by a forked process is seen through MAP_PRIVATE", false},
		{"dofork", "a forked process has the mapping", true},
		{"dontfork", "with MADV_DONTFORK it has it", false},
	} {
		e, err := child(ctx, "fork", test.arg+" "+file.Name())
		if err != nil {
			return f, err
		}
		if e.stdout != "true\n" && e.stdout != "false\n" {
			return f, fmt.Errorf("child of fork: %v, it said %q", e.err, e.stdout+e.stderr)
		}
		holds = f.is(test.what, e.stdout == "true\n") == test.want && holds
	}
	m, err := mapFile(file, 0, lockedPages*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	own, err := mappedTimes(file.Name())
	if err != nil {
		return f, err
	}
	e, err := child(ctx, "maps", "")
	if err != nil {
		return f, err
	}
	if own != 1 || !strings.Contains(e.stdout, "[stack]") {
		return f, fmt.Errorf("look for the mapping in /proc/self/maps: found %d times before exec; after it: %q", own, e.stdout+e.stderr)
	}
	holds = !f.is("after exec the mapping is there", mapsOf(e.stdout, file.Name()) > 0) && holds
	locked, err := f.locked(m)
	if err != nil {
		return f, err
	}
	f.Verdict, f.Because = Holds, "as the man pages say"
	if !holds || !locked {
		f.Verdict, f.Because = Fails, "one of them does not"
	}
	return f, nil
}

const lockedPages = 8

// locked tries mlock on a mapping of lockedPages that are in the page cache: it makes them
// resident untouched, and MADV_PAGEOUT, which takes them away otherwise, is refused.
// FADV_DONTNEED would show nothing: it spares mapped pages in any case.
func (f *Finding) locked(m mapping) (ok bool, err error) {
	size := int64(lockedPages * page)
	touch(m.bytes(), 1)
	out := unix.Madvise(m.bytes(), unix.MADV_PAGEOUT)
	left, _, err := m.held()
	if err != nil {
		return false, err
	}
	control := out == nil && left == 0
	before, err := status("VmLck")
	if err != nil {
		return false, err
	}
	err = unix.Mlock(m.bytes())
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAGAIN) {
		f.untried("mlock", "this user may lock no memory ("+err.Error()+")")
		return true, nil
	}
	if err != nil {
		return false, os.NewSyscallError("mlock", err)
	}
	defer unix.Munlock(m.bytes())
	after, err := status("VmLck")
	if err != nil {
		return false, err
	}
	rss, _, err := m.held()
	if err != nil {
		return false, err
	}
	f.see("memory that mlock of 8 pages locks", float64(after-before), "B")
	f.see("resident memory of them then", float64(rss), "B")
	ok = after-before == size && rss == size
	if !control {
		f.untried("MADV_PAGEOUT of locked pages", "here it does not take away unlocked ones either")
		return ok, nil
	}
	f.see("resident memory after MADV_PAGEOUT, unlocked", float64(left), "B")
	refused := unix.Madvise(m.bytes(), unix.MADV_PAGEOUT)
	if rss, _, err = m.held(); err != nil {
		return false, err
	}
	f.see("after MADV_PAGEOUT, locked", float64(rss), "B")
	f.is("which fails with EINVAL", errors.Is(refused, unix.EINVAL))
	return ok && rss == size, nil
}

// forkChild forks by the bare system call. The forked process has one thread, no Go
// scheduler, and makes nothing but raw calls until it exits.
func forkChild(arg string) error {
	what, path, _ := strings.Cut(arg, " ")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	flags := unix.MAP_SHARED
	if what == "private" {
		flags = unix.MAP_PRIVATE
	}
	m, err := mapFile(file, 0, page, readWrite, flags)
	if err != nil {
		return err
	}
	b := m.bytes()
	b[0] = 'a'
	if what == "dontfork" {
		if err := m.advise(unix.MADV_DONTFORK); err != nil {
			return err
		}
	}
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	runtime.LockOSThread()
	// No preemption signal may reach the child, whose runtime is cut off.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return err
	}
	pid, errno := forkAndPoke(m.addr, uintptr(pipe[0]), uintptr(pipe[1]), what == "shared" || what == "private")
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return err
	}
	if errno != 0 {
		return os.NewSyscallError("clone", errno)
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(int(pid), &ws, 0, nil); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("wait4", err)
		}
	}
	if !ws.Exited() {
		return fmt.Errorf("the forked process ended by %v", ws.Signal())
	}
	switch what {
	case "shared", "private":
		fmt.Println(b[0] == 'b')
	default:
		fmt.Println(ws.ExitStatus() == 0) // it could read the mapping
	}
	return nil
}

// forkAndPoke forks. The child stores 'b' at the address, or has the kernel read there,
// which tells by EFAULT what a load would die of, and exits: 0 where that worked.
//
//go:norace
//go:nosplit
//go:noinline
func forkAndPoke(addr unsafe.Pointer, from, to uintptr, store bool) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	status := uintptr(0)
	if store {
		*(*byte)(addr) = 'b'
	} else if _, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, to, uintptr(addr), 1); errno != 0 {
		status = 1
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, status, 0, 0)
	}
}
