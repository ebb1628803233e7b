package uring

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringTest locks the test to its thread, whose the rings are, and skips it where the
// machine has none.
func ringTest(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	// A raw call that waits holds its P: others need one of their own, and nothing
	// may stop the world.
	gc, procs := debug.SetGCPercent(-1), runtime.GOMAXPROCS(4)
	t.Cleanup(func() { debug.SetGCPercent(gc); runtime.GOMAXPROCS(procs) })
	r, err := New(1)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

func newTestRing(t *testing.T, entries int) *Ring {
	t.Helper()
	r, err := New(entries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRingNopsWrap(t *testing.T) {
	ringTest(t)
	r := newTestRing(t, 8)
	// Batches of all sizes, so that they wrap at every place of both queues.
	next, taken := uint64(0), uint64(0)
	for round := range 1000 {
		for range 1 + round%8 {
			q := r.Request()
			q.Opcode, q.UserData = OpNop, next
			next++
		}
		if err := r.Enter(uint32(1 + round%8)); err != nil {
			t.Fatal(err)
		}
		for {
			c, ok := r.Completion()
			if !ok {
				break
			}
			if c.UserData != taken || c.Res != 0 {
				t.Fatalf("completion %d = %+v, want that of request %d with result 0", taken, c, taken)
			}
			taken++
		}
		if r.Busy() {
			t.Fatalf("round %d: %d requests queued, %d in flight; want none", round, r.queued, r.flying)
		}
	}
	if taken != next {
		t.Errorf("got %d completions, want %d", taken, next)
	}
}

func TestRingCompletionsBeyondTheQueue(t *testing.T) {
	ringTest(t)
	r := newTestRing(t, 4) // and 8 completions
	const total = 50
	for i := range uint64(total) {
		q := r.Request()
		q.Opcode, q.UserData = OpNop, i
		if err := r.Enter(0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(total) {
		c, ok := r.Completion()
		if !ok { // the kernel has kept it back
			if err := r.Enter(1); err != nil {
				t.Fatal(err)
			}
			c, ok = r.Completion()
		}
		if !ok || c.UserData != i {
			t.Fatalf("completion %d = %+v, %v, want that of request %d", i, c, ok, i)
		}
	}
	if r.Busy() {
		t.Errorf("%d requests in flight, want none", r.flying)
	}
}

func TestRingDrain(t *testing.T) {
	ringTest(t)
	r := newTestRing(t, 8)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	buffer := make([]byte, 2*os.Getpagesize())
	if err := errors.Join(r.RegisterBuffers([][]byte{buffer}), r.RegisterFile(pipe[0])); err != nil {
		t.Fatal(err)
	}
	read := func(at int) {
		q := r.Request()
		q.Opcode, q.Flags = OpReadFixed, SQEFixedFile
		q.Addr, q.Len, q.UserData = uint64(uintptr(unsafe.Pointer(&buffer[at]))), 1, 77
	}
	read(0)
	read(1)
	if err := r.Enter(0); err != nil {
		t.Fatal(err)
	}
	read(2) // the kernel is not told of this one
	var writer sync.WaitGroup
	writer.Go(func() {
		time.Sleep(10 * time.Millisecond)
		unix.Write(pipe[1], []byte("abc"))
	})
	if err := r.Drain(); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	if got := buffer[:3]; !bytes.ContainsAny(got[:2], "a") || got[2] != 0 {
		t.Errorf("after drain: the buffer is %q, want two bytes read and the third left alone", got)
	}
	q := r.Request()
	q.Opcode, q.UserData = OpNop, 1
	if err := r.Enter(1); err != nil {
		t.Fatal(err)
	}
	if c, ok := r.Completion(); !ok || c.UserData != 1 || r.Busy() {
		t.Errorf("after drain: got completion %+v, %v, busy %v; want that of request 1 alone", c, ok, r.Busy())
	}
}

// An enter that returns has submitted all, past a request that the kernel does not
// take, and waited in spite of signals.
func TestRingEnterGoesOn(t *testing.T) {
	ringTest(t)
	r := newTestRing(t, 8)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	buffer := make([]byte, os.Getpagesize())
	if err := errors.Join(r.RegisterBuffers([][]byte{buffer}), r.RegisterFile(pipe[0])); err != nil {
		t.Fatal(err)
	}
	const unknown = 255
	for i, op := range []uint8{OpNop, unknown, OpNop, OpReadFixed} {
		q := r.Request()
		q.Opcode, q.UserData = op, uint64(i)
		if op == OpReadFixed {
			q.Flags, q.Addr, q.Len = SQEFixedFile, uint64(uintptr(unsafe.Pointer(&buffer[0]))), 1
		}
	}
	if err := r.Enter(1); err != nil || r.queued != 0 {
		t.Fatalf("enter(1) = %v with %d requests still queued, want nil and none", err, r.queued)
	}
	r.Request().Opcode = OpNop
	pid, tid := unix.Getpid(), unix.Gettid()
	var writer sync.WaitGroup
	writer.Go(func() {
		for range 10 {
			time.Sleep(time.Millisecond)
			unix.Tgkill(pid, tid, unix.SIGURG)
		}
		unix.Write(pipe[1], []byte("a"))
	})
	if err := r.Enter(5); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	for i := range 5 {
		if c, ok := r.Completion(); !ok || (c.Err() == unix.EINVAL) != (c.UserData == 1) {
			t.Errorf("after enter(5), completion %d = %+v, %v; want 5, of which that of request 1 says EINVAL", i, c, ok)
		}
	}
}

func TestRingOfAnotherThread(t *testing.T) {
	ringTest(t)
	var flags uint32
	r, err := newBy(func(entries int, p *params) (int, error) {
		flags = p.flags
		return ioUringSetup(entries, p)
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if flags&setupSingleIssuer == 0 {
		t.Skip("the kernel has no IORING_SETUP_SINGLE_ISSUER: the ring is any thread's")
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r.Request().Opcode = OpNop
		failed <- r.Enter(1)
	}()
	err = <-failed
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(fmt.Sprint(err), "lock the goroutine") {
		t.Errorf("enter on another thread = %v, want EEXIST and a remedy", err)
	}
	if err := r.Enter(1); err != nil {
		t.Errorf("enter on the ring's thread = %v, want nil", err)
	}
	r.Completion()
}

func TestNewRingErrors(t *testing.T) {
	ringTest(t)
	for _, c := range []struct {
		name    string
		answers []error // the kernel's, to one call after another; then it obliges
		lacking bool
		want    string // part of the error; "" where there is none
	}{
		{name: "all is well"},
		{name: "before Linux 6.1", answers: []error{unix.EINVAL}},
		{name: "before Linux 5.19", answers: []error{unix.EINVAL, unix.EINVAL}},
		{name: "no flags will do", answers: []error{unix.EINVAL, unix.EINVAL, unix.EINVAL}, want: "invalid argument"},
		{name: "before Linux 5.1", answers: []error{unix.ENOSYS}, lacking: true, want: "take Linux"},
		{name: "forbidden", answers: []error{unix.EPERM}, lacking: true, want: "kernel.io_uring_disabled"},
		{name: "locked memory", answers: []error{unix.ENOMEM}, lacking: true, want: "ulimit -l"},
		{name: "no descriptor left", answers: []error{unix.EMFILE}, want: "too many open files"},
	} {
		calls := 0
		r, err := newBy(func(entries int, p *params) (int, error) {
			calls++
			if calls <= len(c.answers) {
				return -1, c.answers[calls-1]
			}
			return ioUringSetup(entries, p)
		}, 1)
		if err == nil {
			r.Close()
		}
		if got := errors.Is(err, errors.ErrUnsupported); got != c.lacking || (err == nil) != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: got error %v, want one with %q; ErrUnsupported: %v, want %v", c.name, err, c.want, got, c.lacking)
		}
		if want := min(len(c.answers)+1, len(setups)); c.want == "" && calls != want {
			t.Errorf("%s: got %d calls of io_uring_setup, want %d", c.name, calls, want)
		}
	}
	// A kernel before 5.4 maps the queues apart.
	before, err := openDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	_, err = newBy(func(entries int, p *params) (int, error) {
		fd, err := ioUringSetup(entries, p)
		p.features &^= featSingleMmap
		return fd, err
	}, 1)
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without IORING_FEAT_SINGLE_MMAP: got %v, want ErrUnsupported", err)
	}
	if after, err := openDescriptors(); err != nil || after != before {
		t.Errorf("after the errors: got %d descriptors open, want %d (%v)", after, before, err)
	}
}

func openDescriptors() (int, error) {
	entries, err := os.ReadDir("/proc/thread-self/fd")
	return len(entries), err
}
