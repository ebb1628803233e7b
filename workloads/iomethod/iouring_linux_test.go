package iomethod

import (
	"bytes"
	"errors"
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

	"golang.org/x/sys/unix"

	"iopath/internal/uring"
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
	r, err := uring.New(1)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
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
			if q := r.(uringReader); q.ring.Busy() {
				t.Fatalf("%+v: %d requests in flight after a panic, want none", k, q.ring.Flying())
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
	for ; q.ring.Busy(); asked++ {
		q.ring.SQEs()[0].Len = 4096 // as if the kernel had stopped after a page
		if err := q.ring.Enter(1); err != nil {
			t.Fatal(err)
		}
		c, _ := q.ring.Completion()
		if asked == 3 {
			c.Res = -int32(unix.EINTR)
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
	if err := q.complete(uring.CQE{Res: 512}, nil); err != nil || q.ring.Queued() != 1 {
		t.Errorf("after 512 of 4096 bytes: got error %v and %d requests queued, want nil and 1", err, q.ring.Queued())
	}
	if err := q.complete(uring.CQE{Res: 1000}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
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
			{policy: SyncEnd, syncs: []uint8{uring.OpFsync}},
			{policy: SyncBlock, syncs: []uint8{uring.OpFsync}, linked: true},
			{policy: SyncRange, syncs: []uint8{uring.OpSyncFileRange}, linked: true},
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
			for _, r := range q.ring.SQEs() {
				if r.Opcode == uring.OpFsync || r.Opcode == uring.OpSyncFileRange {
					syncs = append(syncs, r.Opcode)
				}
			}
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatalf("%+v, sync=%s: %v", k, c.policy, err)
			}
			slices.Sort(syncs)
			if syncs = slices.Compact(syncs); !slices.Equal(syncs, c.syncs) || (q.link != uring.OpNop) != c.linked || (flags&unix.O_DSYNC != 0) != c.dsync {
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
	for _, c := range []uring.CQE{{UserData: 0, Res: 4096}, {UserData: linked, Res: -int32(unix.ECANCELED)}} {
		if err := q.ring.Drain(); err != nil { // the answers are ours
			t.Fatal(err)
		}
		if err := q.complete(c, nil); err != nil {
			t.Fatal(err)
		}
	}
	if q.ring.Queued() != 2 || len(q.idle) != 0 {
		t.Fatalf("after a short write: %d requests queued, %d slots idle; want 2 and 0", q.ring.Queued(), len(q.idle))
	}
	for q.ring.Busy() {
		if err := q.ring.Enter(1); err != nil {
			t.Fatal(err)
		}
		c, _ := q.ring.Completion()
		if err := q.complete(c, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || len(got) != len(want) || !bytes.Equal(got[4096:], want[4096:]) || len(q.idle) != 1 {
		t.Errorf("got %d bytes and %d idle slots, want the %d from byte 4096 on, and 1 (%v)", len(got), len(q.idle), len(want), err)
	}
	failed := uring.CQE{UserData: linked, Res: -int32(unix.EIO)}
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
		if err := q.ring.Enter(0); err != nil {
			t.Fatal(err)
		}
		if q.ring.Flying() != k.depth {
			t.Fatalf("%+v: %d requests in flight, want %d", k, q.ring.Flying(), k.depth)
		}
		if err := r.Close(); err != nil || q.ring.Flying() != 0 {
			t.Errorf("%+v: Close = %v with %d requests in flight, want nil and none", k, err, q.ring.Flying())
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
	if s.ring.Busy() || s.sends < 128 {
		t.Errorf("after the job: %d sends in flight, %d notified; want none and at least 128", s.ring.Flying(), s.sends)
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
