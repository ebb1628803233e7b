package crash

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/uring"
)

// A ringed writer asks for writes by an io_uring. Where records are synced, their
// writes are queued until then, each linked to the next and the last to an fdatasync:
// one call asks for all of them, and waits.
type ringed struct {
	f      *os.File
	ring   *uring.Ring
	mem    []byte // of the records that are queued, or were written last
	used   int    // bytes of it that are queued
	linked bool   // to an fdatasync, by the policy
}

func openUring(w *setup) (writer, error) {
	// The ring is the thread's, and lives as long as the process.
	runtime.LockOSThread()
	f, err := w.open(0)
	if err != nil {
		return nil, err
	}
	p, _ := PolicyNamed(w.policy)
	records := max(p.Each, 1)
	ring, err := uring.New(records + 1)
	if err != nil {
		return nil, err
	}
	u := &ringed{f: f, ring: ring, mem: make([]byte, records*RecordSize), linked: w.policy == "each" || w.policy == "64"}
	// WRITE came after the ring. One of no bytes tells whether it is there.
	u.request(uring.OpWrite)
	if err := ring.Enter(1); err != nil {
		return nil, err
	}
	if c, _ := ring.Completion(); c.Err() == unix.EINVAL {
		return nil, fmt.Errorf("io_uring WRITE: %w: %w (take Linux 5.6 or later)", c.Err(), errors.ErrUnsupported)
	}
	return u, nil
}

// request queues an operation on the file.
func (u *ringed) request(op uint8) *uring.SQE {
	r := u.ring.Request()
	r.Opcode, r.FD, r.UserData = op, int32(u.f.Fd()), uint64(op)
	return r
}

func (u *ringed) append(b []byte, at int64) error {
	// b is the next record's before this one is asked for.
	mine := u.mem[u.used:][:RecordSize]
	u.used += copy(mine, b)
	r := u.request(uring.OpWrite)
	r.Off, r.Addr, r.Len = uint64(at), uint64(uintptr(unsafe.Pointer(&mine[0]))), RecordSize
	if u.linked {
		r.Flags = uring.SQELink
		return nil
	}
	return u.submit()
}

func (u *ringed) sync() error {
	if !u.linked {
		return nil
	}
	u.request(uring.OpFsync).OpFlags = uring.FsyncDatasync
	return u.submit()
}

// submit asks for what is queued, and waits until it is done.
func (u *ringed) submit() (err error) {
	u.used = 0
	if err := u.ring.Enter(uint32(u.ring.Queued())); err != nil {
		return err
	}
	for c, ok := u.ring.Completion(); ok; c, ok = u.ring.Completion() {
		// What fails cancels what is linked to it: its own error says why.
		if e := ended(c); e != nil && (err == nil || errors.Is(err, unix.ECANCELED)) {
			err = e
		}
	}
	return err
}

// ended is the error of a request that is done.
func ended(c uring.CQE) error {
	switch {
	case c.UserData == uring.OpFsync:
		return os.NewSyscallError("io_uring FSYNC", c.Err())
	case c.Err() != nil:
		return os.NewSyscallError("io_uring WRITE", c.Err())
	}
	return all(int(c.Res), nil)
}

func (u *ringed) region() []byte { return u.mem }
