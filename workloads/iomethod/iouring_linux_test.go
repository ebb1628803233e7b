package iomethod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uringTest locks the test to its thread, whose the rings are, and skips it where
// the machine has none.
func uringTest(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	// A raw call that waits holds its P: others need one of their own, and nothing
	// may stop the world.
	gc, procs := debug.SetGCPercent(-1), runtime.GOMAXPROCS(4)
	t.Cleanup(func() { debug.SetGCPercent(gc); runtime.GOMAXPROCS(procs) })
	r, err := newUring(1)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.close()
}

// uringContent writes a file of n random bytes.
func uringContent(t *testing.T, n int) (path string, content []byte) {
	t.Helper()
	path, content = filepath.Join(t.TempDir(), "file"), make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(content)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func newTestRing(t *testing.T, entries int) *uring {
	t.Helper()
	r, err := newUring(entries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	return r
}

func TestUringNopsWrap(t *testing.T) {
	uringTest(t)
	r := newTestRing(t, 8)
	// Batches of all sizes, so that they wrap at every place of both queues.
	next, taken := uint64(0), uint64(0)
	for round := range 1000 {
		for range 1 + round%8 {
			q := r.request()
			q.opcode, q.userData = opNop, next
			next++
		}
		if err := r.enter(uint32(1 + round%8)); err != nil {
			t.Fatal(err)
		}
		for {
			c, ok := r.completion()
			if !ok {
				break
			}
			if c.userData != taken || c.res != 0 {
				t.Fatalf("completion %d = %+v, want that of request %d with result 0", taken, c, taken)
			}
			taken++
		}
		if r.busy() {
			t.Fatalf("round %d: %d requests queued, %d in flight; want none", round, r.queued, r.flying)
		}
	}
	if taken != next {
		t.Errorf("got %d completions, want %d", taken, next)
	}
}

func TestUringCompletionsBeyondTheQueue(t *testing.T) {
	uringTest(t)
	r := newTestRing(t, 4) // and 8 completions
	const total = 50
	for i := range uint64(total) {
		q := r.request()
		q.opcode, q.userData = opNop, i
		if err := r.enter(0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(total) {
		c, ok := r.completion()
		if !ok { // the kernel has kept it back
			if err := r.enter(1); err != nil {
				t.Fatal(err)
			}
			c, ok = r.completion()
		}
		if !ok || c.userData != i {
			t.Fatalf("completion %d = %+v, %v, want that of request %d", i, c, ok, i)
		}
	}
	if r.busy() {
		t.Errorf("%d requests in flight, want none", r.flying)
	}
}

func TestUringDrain(t *testing.T) {
	uringTest(t)
	r := newTestRing(t, 8)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	buffer := make([]byte, 2*os.Getpagesize())
	if err := errors.Join(r.registerBuffers([][]byte{buffer}), r.registerFile(pipe[0])); err != nil {
		t.Fatal(err)
	}
	read := func(at int) {
		q := r.request()
		q.opcode, q.flags = opReadFixed, sqeFixedFile
		q.addr, q.len, q.userData = uint64(uintptr(unsafe.Pointer(&buffer[at]))), 1, 77
	}
	read(0)
	read(1)
	if err := r.enter(0); err != nil {
		t.Fatal(err)
	}
	read(2) // the kernel is not told of this one
	var writer sync.WaitGroup
	writer.Go(func() {
		time.Sleep(10 * time.Millisecond)
		unix.Write(pipe[1], []byte("abc"))
	})
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	if got := buffer[:3]; !bytes.ContainsAny(got[:2], "a") || got[2] != 0 {
		t.Errorf("after drain: the buffer is %q, want two bytes read and the third left alone", got)
	}
	q := r.request()
	q.opcode, q.userData = opNop, 1
	if err := r.enter(1); err != nil {
		t.Fatal(err)
	}
	if c, ok := r.completion(); !ok || c.userData != 1 || r.busy() {
		t.Errorf("after drain: got completion %+v, %v, busy %v; want that of request 1 alone", c, ok, r.busy())
	}
}

// An enter that returns has submitted all, past a request that the kernel does not
// take, and waited in spite of signals.
func TestUringEnterGoesOn(t *testing.T) {
	uringTest(t)
	r := newTestRing(t, 8)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	buffer := make([]byte, os.Getpagesize())
	if err := errors.Join(r.registerBuffers([][]byte{buffer}), r.registerFile(pipe[0])); err != nil {
		t.Fatal(err)
	}
	const unknown = 255
	for i, op := range []uint8{opNop, unknown, opNop, opReadFixed} {
		q := r.request()
		q.opcode, q.userData = op, uint64(i)
		if op == opReadFixed {
			q.flags, q.addr, q.len = sqeFixedFile, uint64(uintptr(unsafe.Pointer(&buffer[0]))), 1
		}
	}
	if err := r.enter(1); err != nil || r.queued != 0 {
		t.Fatalf("enter(1) = %v with %d requests still queued, want nil and none", err, r.queued)
	}
	r.request().opcode = opNop
	pid, tid := unix.Getpid(), unix.Gettid()
	var writer sync.WaitGroup
	writer.Go(func() {
		for range 10 {
			time.Sleep(time.Millisecond)
			unix.Tgkill(pid, tid, unix.SIGURG)
		}
		unix.Write(pipe[1], []byte("a"))
	})
	if err := r.enter(5); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	for i := range 5 {
		if c, ok := r.completion(); !ok || (c.err() == unix.EINVAL) != (c.userData == 1) {
			t.Errorf("after enter(5), completion %d = %+v, %v; want 5, of which that of request 1 says EINVAL", i, c, ok)
		}
	}
}

func TestUringOfAnotherThread(t *testing.T) {
	uringTest(t)
	var flags uint32
	r, err := newUringBy(func(entries int, p *uringParams) (int, error) {
		flags = p.flags
		return setupUring(entries, p)
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if flags&setupSingleIssuer == 0 {
		t.Skip("the kernel has no IORING_SETUP_SINGLE_ISSUER: the ring is any thread's")
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r.request().opcode = opNop
		failed <- r.enter(1)
	}()
	err = <-failed
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(fmt.Sprint(err), "lock the goroutine") {
		t.Errorf("enter on another thread = %v, want EEXIST and a remedy", err)
	}
	if err := r.enter(1); err != nil {
		t.Errorf("enter on the ring's thread = %v, want nil", err)
	}
	r.completion()
}

func TestNewUringErrors(t *testing.T) {
	uringTest(t)
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
		r, err := newUringBy(func(entries int, p *uringParams) (int, error) {
			calls++
			if calls <= len(c.answers) {
				return -1, c.answers[calls-1]
			}
			return setupUring(entries, p)
		}, 1)
		if err == nil {
			r.close()
		}
		if got := errors.Is(err, errors.ErrUnsupported); got != c.lacking || (err == nil) != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: got error %v, want one with %q; ErrUnsupported: %v, want %v", c.name, err, c.want, got, c.lacking)
		}
		if want := min(len(c.answers)+1, len(uringSetups)); c.want == "" && calls != want {
			t.Errorf("%s: got %d calls of io_uring_setup, want %d", c.name, calls, want)
		}
	}
	// A kernel before 5.4 maps the queues apart.
	before, err := openDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	_, err = newUringBy(func(entries int, p *uringParams) (int, error) {
		fd, err := setupUring(entries, p)
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

// lockAtMost lets the test lock no more bytes than that, where it is not root's.
func lockAtMost(t *testing.T, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: min(limit.Cur, n), Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &low); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit) })
}

// Root may lock any memory: the test is for ordinary users.
func TestUringLockedMemory(t *testing.T) {
	uringTest(t)
	path, _ := uringContent(t, 1<<20)
	lockAtMost(t, 64<<10)
	r, err := uringFileKind{depth: 8}.newReader(Config{Path: path, Block: 64 << 10})
	if err == nil {
		r.Close()
		t.Skip("this user may lock any memory")
	}
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "ulimit -l") {
		t.Errorf("got error %v, want ErrUnsupported and a remedy", err)
	}
}

// What was registered must not count against the limit once it is closed.
func TestUringManyLives(t *testing.T) {
	uringTest(t)
	path, content := uringContent(t, 1<<20)
	plan := &Plan{Length: 1 << 20, Block: 32 << 10}
	for i := range 100 {
		r, err := uringFileKind{depth: 32}.newReader(Config{Path: path, Block: plan.Block})
		if errors.Is(err, errors.ErrUnsupported) && i == 0 {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("life %d: %v", i, err)
		}
		checkUringRead(t, r, plan, content)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkUringRead runs a job and checks that each piece came once, with its bytes.
func checkUringRead(t *testing.T, r Reader, p *Plan, content []byte) {
	t.Helper()
	var seen []int64
	err := r.Read(p, func(off int64, b []byte) {
		if !bytes.Equal(b, content[off:][:len(b)]) {
			t.Errorf("at %d: got other bytes than the file's", off)
		}
		seen = append(seen, off)
	})
	if err != nil {
		t.Fatalf("Read = %v, want nil", err)
	}
	var want []int64
	for i := range p.Pieces() {
		off, _ := p.Piece(i)
		want = append(want, off)
	}
	slices.Sort(seen)
	if slices.Sort(want); !slices.Equal(seen, want) {
		t.Fatalf("got %d pieces, want %d, each once", len(seen), len(want))
	}
}

// uringKinds are the members of the family.
func uringKinds() []uringFileKind {
	var kinds []uringFileKind
	for _, depth := range []int{1, 8, 32} {
		kinds = append(kinds, uringFileKind{depth, false}, uringFileKind{depth, true})
	}
	return kinds
}

// Errors amid a job leave nothing behind that the next job would take for its own.
func TestUringReadsAfterErrors(t *testing.T) {
	uringTest(t)
	path, content := uringContent(t, 1<<20)
	for _, k := range uringKinds() {
		r, err := k.newReader(Config{Path: path, Block: 4096})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("%+v: %v", k, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		good := &Plan{Length: 1 << 20, Block: 4096}
		for range 5 {
			// The end of the file is amid the pieces in flight.
			bad := &Plan{Start: 1<<20 - 10*4096, Length: 20 * 4096, Block: 4096}
			pieces := 0
			err := r.Read(bad, func(off int64, b []byte) { pieces++ })
			if !errors.Is(err, io.ErrUnexpectedEOF) || pieces > 10 {
				t.Fatalf("%+v: Read beyond the end = %v after %d pieces, want io.ErrUnexpectedEOF after at most 10", k, err, pieces)
			}
			func() {
				defer func() { recover() }()
				r.Read(good, func(int64, []byte) { panic("on purpose") })
			}()
			if q := r.(uringReader); q.ring.busy() {
				t.Fatalf("%+v: %d requests in flight after a panic, want none", k, q.ring.flying)
			}
			checkUringRead(t, r, good, content)
		}
	}
}

// A short count amid the file is not its end, and neither is a signal.
func TestUringShortCounts(t *testing.T) {
	uringTest(t)
	path, content := uringContent(t, 64<<10)
	r, err := uringFileKind{depth: 1}.newReader(Config{Path: path, Block: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := r.(uringReader).uringFile
	q.idle = append(q.idle[:0], 0)
	q.begin(0, 64<<10, nil)
	var got []byte
	consume := func(_ int64, b []byte) { got = bytes.Clone(b) }
	asked := 0
	for ; q.ring.busy(); asked++ {
		last := (*q.ring.sqTail - 1) & uint32(len(q.ring.sqes)-1)
		q.ring.sqes[last].len = 4096 // as if the kernel had stopped after a page
		if err := q.ring.enter(1); err != nil {
			t.Fatal(err)
		}
		c, _ := q.ring.completion()
		if asked == 3 {
			c.res = -int32(unix.EINTR)
		}
		if err := q.complete(c, consume); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, content) || asked != 17 {
		t.Errorf("got %d bytes by %d requests, want the file's %d by 17", len(got), asked, len(content))
	}
}

// A direct read whose count is not aligned has met the end of the file.
func TestUringUnalignedCount(t *testing.T) {
	uringTest(t)
	path, _ := uringContent(t, 64<<10)
	r, err := uringFileKind{depth: 1}.newReader(Config{Path: path, Block: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := r.(uringReader).uringFile
	q.align = 512
	q.slots[0].n = 4096
	if err := q.complete(cqe{res: 512}, nil); err != nil || q.ring.queued != 1 {
		t.Errorf("after 512 of 4096 bytes: got error %v and %d requests queued, want nil and 1", err, q.ring.queued)
	}
	if err := q.complete(cqe{res: 1000}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after 1512 of 4096 bytes: got error %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestUringWriterSyncs(t *testing.T) {
	uringTest(t)
	for _, k := range uringKinds() {
		for _, c := range []struct {
			policy Sync
			syncs  []uint8 // the operations that are asked for besides the writes
			linked bool
			dsync  bool
		}{
			{policy: ""},
			{policy: SyncNone},
			{policy: SyncEnd, syncs: []uint8{opFsync}},
			{policy: SyncBlock, syncs: []uint8{opFsync}, linked: true},
			{policy: SyncRange, syncs: []uint8{opSyncFileRange}, linked: true},
			{policy: SyncDsync, dsync: true},
		} {
			path, _ := uringContent(t, 128<<10)
			w, err := k.newWriter(Config{Target: path, Block: 4096, Sync: c.policy})
			if k.direct && errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			if err != nil {
				t.Fatalf("%+v, sync=%s: %v", k, c.policy, err)
			}
			q := w.(uringWriter).uringFile
			want := make([]byte, 256<<10) // half of it beyond the end
			rand.NewChaCha8([32]byte{1}).Read(want)
			err = w.Write(&Plan{Length: int64(len(want)), Block: 4096}, func(off int64, n int) []byte { return want[off:][:n] })
			flags, _ := unix.FcntlInt(q.f.Fd(), unix.F_GETFL, 0)
			var syncs []uint8
			for _, r := range q.ring.sqes {
				if r.opcode == opFsync || r.opcode == opSyncFileRange {
					syncs = append(syncs, r.opcode)
				}
			}
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatalf("%+v, sync=%s: %v", k, c.policy, err)
			}
			slices.Sort(syncs)
			if syncs = slices.Compact(syncs); !slices.Equal(syncs, c.syncs) || (q.link != opNop) != c.linked || (flags&unix.O_DSYNC != 0) != c.dsync {
				t.Errorf("%+v, sync=%s: got operations %d, %d after each write, flags %#x; want %d, some after each: %v, O_DSYNC: %v", k, c.policy, syncs, q.link, flags, c.syncs, c.linked, c.dsync)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%+v, sync=%s: the file is not what was written (%v)", k, c.policy, err)
			}
		}
		for _, policy := range []Sync{SyncAsync, "nonsense"} {
			path, _ := uringContent(t, 0)
			w, err := k.newWriter(Config{Target: path, Block: 4096, Sync: policy})
			if err == nil {
				w.Close()
			}
			if err == nil || errors.Is(err, errors.ErrUnsupported) != (policy == SyncAsync) {
				t.Errorf("%+v, sync=%s: got error %v, want one; ErrUnsupported for async alone", k, policy, err)
			}
		}
	}
}

// A write that is cut short cancels what is linked to it, and is carried on with.
func TestUringShortLinkedWrite(t *testing.T) {
	uringTest(t)
	path, _ := uringContent(t, 0)
	w, err := uringFileKind{depth: 1}.newWriter(Config{Target: path, Block: 64 << 10, Sync: SyncBlock})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	q := w.(uringWriter).uringFile
	want := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	q.idle = append(q.idle[:0], 0)
	q.begin(0, len(want), func(int64, int) []byte { return want })
	for _, c := range []cqe{{userData: 0, res: 4096}, {userData: linked, res: -int32(unix.ECANCELED)}} {
		if err := q.ring.drain(); err != nil { // the answers are ours
			t.Fatal(err)
		}
		if err := q.complete(c, nil); err != nil {
			t.Fatal(err)
		}
	}
	if q.ring.queued != 2 || len(q.idle) != 0 {
		t.Fatalf("after a short write: %d requests queued, %d slots idle; want 2 and 0", q.ring.queued, len(q.idle))
	}
	for q.ring.busy() {
		if err := q.ring.enter(1); err != nil {
			t.Fatal(err)
		}
		c, _ := q.ring.completion()
		if err := q.complete(c, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || len(got) != len(want) || !bytes.Equal(got[4096:], want[4096:]) || len(q.idle) != 1 {
		t.Errorf("got %d bytes and %d idle slots, want the %d from byte 4096 on, and 1 (%v)", len(got), len(q.idle), len(want), err)
	}
	failed := cqe{userData: linked, res: -int32(unix.EIO)}
	if err := q.complete(failed, nil); !errors.Is(err, unix.EIO) {
		t.Errorf("after a failed fsync: got %v, want EIO", err)
	}
}

// A storm of signals cuts waits short, and nothing else.
func TestUringSignals(t *testing.T) {
	uringTest(t)
	path, content := uringContent(t, 1<<20)
	pid, tid := unix.Getpid(), unix.Gettid()
	end := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(20 * time.Microsecond):
				unix.Tgkill(pid, tid, unix.SIGURG)
			}
		}
	})
	defer func() { close(end); storm.Wait() }()
	for _, k := range uringKinds() {
		r, err := k.newReader(Config{Path: path, Block: 4096})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("%+v: %v", k, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range 10 {
			checkUringRead(t, r, &Plan{Length: 1 << 20, Block: 4096}, content)
		}
	}
}

// Closed amid its requests, a reader waits for them.
func TestUringCloseInFlight(t *testing.T) {
	uringTest(t)
	path, _ := uringContent(t, 1<<20)
	for _, k := range uringKinds() {
		r, err := k.newReader(Config{Path: path, Block: 4096})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("%+v: %v", k, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		q := r.(uringReader).uringFile
		for i := range k.depth {
			q.idle = append(q.idle[:0], uint64(i))
			q.begin(int64(i)*4096, 4096, nil)
		}
		if err := q.ring.enter(0); err != nil {
			t.Fatal(err)
		}
		if q.ring.flying != k.depth {
			t.Fatalf("%+v: %d requests in flight, want %d", k, q.ring.flying, k.depth)
		}
		if err := r.Close(); err != nil || q.ring.flying != 0 {
			t.Errorf("%+v: Close = %v with %d requests in flight, want nil and none", k, err, q.ring.flying)
		}
	}
}

// The share that was copied is told of the sends since it was told last.
func TestUringSenderTells(t *testing.T) {
	uringTest(t)
	s := &uringSender{}
	if got := s.Tell(); got != nil {
		t.Errorf("before any send: Tell() = %v, want nothing", got)
	}
	s.sends, s.copied = 8, 2
	if got, want := s.Tell(), []Figure{{"copied-%", 25}}; !slices.Equal(got, want) {
		t.Errorf("Tell() = %v, want %v", got, want)
	}
	if got := s.Tell(); got != nil {
		t.Errorf("told already: Tell() = %v, want nothing", got)
	}
}

// No notification is left to come where a job ends, also where an ordinary user may
// not lock the pages of the whole job at a time.
func TestUringSenderAwaitsNotifications(t *testing.T) {
	uringTest(t)
	lockAtMost(t, 1<<20)
	// All processes of the user share what may be locked, those of other tests too.
	for range 40 {
		err := sendsAndAwaits(t)
		if err == nil {
			return
		}
		if !lacksPages(err) && errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if !lacksPages(err) {
			t.Fatal(err)
		}
		time.Sleep(250 * time.Millisecond)
	}
	t.Skip("other processes of this user have locked all that it may lock")
}

// sendsAndAwaits sends a file over a connection of its own.
func sendsAndAwaits(t *testing.T) error {
	if err := probeSendZC(1); err != nil {
		return err
	}
	path, content := uringContent(t, 8<<20)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	f, err := client.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	made, err := newUringSender(Config{Path: path, Block: 64 << 10, Socket: int(f.Fd())})
	if err != nil {
		return err
	}
	defer made.Close()
	got := make([]byte, len(content))
	var receiver sync.WaitGroup
	receiver.Go(func() {
		time.Sleep(20 * time.Millisecond) // the socket's buffers are full by then
		io.ReadFull(server, got)
	})
	s := made.(*uringSender)
	if err := s.Send(&Plan{Length: int64(len(content)), Block: 64 << 10}); err != nil {
		server.Close() // the receiver ends
		receiver.Wait()
		return err
	}
	if s.ring.busy() || s.sends < 128 {
		t.Errorf("after the job: %d sends in flight, %d notified; want none and at least 128", s.ring.flying, s.sends)
	}
	receiver.Wait()
	if !bytes.Equal(got, content) {
		t.Error("got other bytes than the file's")
	}
	return nil
}

func TestUringSenderRefuses(t *testing.T) {
	uringTest(t)
	path, _ := uringContent(t, 4096)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if _, err := newUringSender(Config{Path: path, Block: 4096, Socket: pair[0]}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("by a Unix socket: got error %v, want ErrUnsupported", err)
	}
	if _, err := newUringSender(Config{Path: path, Block: 4096, Socket: -1}); !errors.Is(err, unix.EBADF) {
		t.Errorf("by no socket: got error %v, want EBADF", err)
	}
}
