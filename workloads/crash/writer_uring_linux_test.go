package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/uring"
)

// newRinged opens a writer of the test's own.
func newRinged(t *testing.T, path, policy string) *ringed {
	t.Helper()
	w, err := openUring(&setup{path: path, policy: policy, layout: "append", size: 1 << 20})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	u := w.(*ringed)
	t.Cleanup(func() { u.ring.Close(); u.f.Close() })
	return u
}

// What is acknowledged was written, and synced as the policy says, by one call for all
// that go together.
func TestUringWriter(t *testing.T) {
	for _, test := range []struct {
		policy string
		queued int  // requests, when the sync is asked for
		linked bool // to it
		dsync  bool // of the file
	}{
		{"none", 0, false, false},
		{"each", 1, true, false},
		{"64", 64, true, false},
		{"dsync", 0, false, true},
	} {
		t.Run(test.policy, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records")
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			u := newRinged(t, path, test.policy)
			p, _ := PolicyNamed(test.policy)
			rec, n := make([]byte, RecordSize), uint64(0)
			for range 3 {
				for range max(p.Each, 1) {
					Record(rec, 7, n)
					if err := u.append(rec, int64(n)*RecordSize); err != nil {
						t.Fatal(err)
					}
					n++
				}
				if got := u.ring.Queued(); got != test.queued {
					t.Errorf("before the sync, %d requests are queued, want %d", got, test.queued)
				}
				if err := u.sync(); err != nil || u.ring.Busy() {
					t.Fatalf("sync = %v, with requests left: %v; want nil, and none", err, u.ring.Busy())
				}
				c, err := Check(u.f, 7, n)
				if err != nil || c.Intact != n {
					t.Fatalf("%+v, %v; want all intact", c, err)
				}
			}
			syncs := 0
			for i, r := range u.ring.SQEs() {
				if r.Opcode == uring.OpFsync {
					if syncs++; r.OpFlags != uring.FsyncDatasync {
						t.Errorf("request %d: flags of the sync %#x, want IORING_FSYNC_DATASYNC", i, r.OpFlags)
					}
				} else if linked := r.Flags&uring.SQELink != 0; r.Len > 0 && linked != test.linked {
					t.Errorf("request %d: linked: %v, want %v", i, linked, test.linked)
				}
			}
			flags, err := unix.FcntlInt(u.f.Fd(), unix.F_GETFL, 0)
			if err != nil || syncs > 0 != test.linked || (flags&unix.O_DSYNC != 0) != test.dsync {
				t.Errorf("%d syncs, flags of the file %#x, %v; want syncs: %v, O_DSYNC: %v", syncs, flags, err, test.linked, test.dsync)
			}
		})
	}
}

// A write that fails is told by its own error, not by that of what it has cancelled.
func TestUringWriterFails(t *testing.T) {
	for _, policy := range []string{"none", "each", "64", "dsync"} {
		t.Run(policy, func(t *testing.T) {
			u := newRinged(t, "/dev/full", policy)
			p, _ := PolicyNamed(policy)
			rec := make([]byte, RecordSize)
			var err error
			for i := range max(p.Each, 1) {
				err = errors.Join(err, u.append(rec, int64(i)*RecordSize))
			}
			if err = errors.Join(err, u.sync()); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("got %v, want ENOSPC", err)
			}
		})
	}
	for _, c := range []uring.CQE{
		{UserData: uring.OpWrite, Res: RecordSize - 1},
		{UserData: uring.OpWrite, Res: -int32(unix.EIO)},
		{UserData: uring.OpFsync, Res: -int32(unix.EIO)},
	} {
		if err := ended(c); err == nil {
			t.Errorf("ended(%+v) = nil, want an error", c)
		}
	}
}

// ringsEnv makes the test binary a process that may have no ring.
const ringsEnv = "IOPATH_CRASH_TEST_NO_RINGS"

// forbidRings forbids io_uring_setup to the thread, as the seccomp profiles of containers
// do.
func forbidRings() {
	if _, ok := os.LookupEnv(ringsEnv); !ok {
		return
	}
	runtime.LockOSThread()
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitBroken)
	}
}

// That there is no ring travels from the writer's process.
func TestNoRing(t *testing.T) {
	t.Setenv(ringsEnv, "1")
	_, err := experiment(t, "io_uring", "each", "append", 1).Process(t.Context(), "sigkill")
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "kernel.io_uring_disabled") {
		t.Errorf("got %v, want ErrUnsupported and a remedy", err)
	}
}
