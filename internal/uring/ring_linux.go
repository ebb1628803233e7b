package uring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Ring is an io_uring(7): requests are written into one queue in memory that is
// shared with the kernel, and completions read from another; one io_uring_enter(2)
// submits any number of the former and waits for any number of the latter.
//
// It belongs to the OS thread that made it (IORING_SETUP_SINGLE_ISSUER), because
// the kernel then does the work of completions in that thread's next call alone
// (IORING_SETUP_DEFER_TASKRUN), without a signal to it and without a lock. Both
// are kept where the thread is locked from the constructor on. On another thread
// every call fails with EEXIST.
type Ring struct {
	fd             int
	queues         []byte  // the mapping with the heads and tails, and with cqes
	requests       []byte  // the mapping of sqes
	sqTail         *uint32 // where the next request goes; the head is the kernel's alone
	cqHead, cqTail *uint32 // what is between them has completed; the tail is the kernel's
	sqes           []SQE
	cqes           []CQE
	queued         uint32 // requests before the tail that the kernel was not told of
	flying         int    // requests that it has, and whose last completion was not taken
}

// An SQE is a request, struct io_uring_sqe of linux/io_uring.h: io_uring_enter(2)
// says what its fields mean to each operation. What Addr points to stays alive and
// in place until the last completion: that is the caller's to see to.
type SQE struct {
	Opcode   uint8
	Flags    uint8
	IOPrio   uint16 // for sends: their own flags
	FD       int32
	Off      uint64
	Addr     uint64
	Len      uint32
	OpFlags  uint32 // of the operation: rw_flags, fsync_flags, msg_flags, …
	UserData uint64 // comes back in the completion
	BufIndex uint16
	_        uint16
	_        uint32
	_        [2]uint64
}

// A CQE is a completion, struct io_uring_cqe.
type CQE struct {
	UserData uint64
	Res      int32 // what the system call would return, or an error's number below zero
	Flags    uint32
}

// Err is the error that the request ended with, if any.
func (c CQE) Err() error {
	if c.Res < 0 {
		return unix.Errno(-c.Res)
	}
	return nil
}

// Interrupted reports whether the request is to be made once more.
func (c CQE) Interrupted() bool { return c.Res == -int32(unix.EINTR) }

// What x/sys/unix lacks of linux/io_uring.h; io_uring_enter(2) has the operations and
// the flags.
const (
	OpNop           = 0
	OpFsync         = 3
	OpReadFixed     = 4
	OpWriteFixed    = 5
	OpSyncFileRange = 8
	OpWrite         = 23 // since Linux 5.6
	OpSendZC        = 47

	SQEFixedFile = 1 << 0 // IOSQE_FIXED_FILE: fd is an index of the registered files
	SQELink      = 1 << 2 // IOSQE_IO_LINK: the next request begins when this one has succeeded in full

	cqeMore  = 1 << 1 // IORING_CQE_F_MORE: this request has another completion to come
	CQENotif = 1 << 3 // IORING_CQE_F_NOTIF: it is that one, of a send

	FsyncDatasync = 1 << 0 // IORING_FSYNC_DATASYNC

	setupCoopTaskrun  = 1 << 8
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	featSingleMmap    = 1 << 0
	enterGetevents    = 1 << 0

	registerBuffers   = 0
	unregisterBuffers = 1
	registerFiles     = 2
	unregisterFiles   = 3

	offQueues   = 0          // IORING_OFF_SQ_RING
	offRequests = 0x10000000 // IORING_OFF_SQES
)

// params is struct io_uring_params: the kernel answers with where in the
// mappings everything is.
type params struct {
	sqEntries, cqEntries, flags               uint32
	sqThreadCPU, sqThreadIdle                 uint32
	features, wqFD                            uint32
	_                                         [3]uint32
	sqHead, sqTail, sqMask, sqRingEntries     uint32
	sqFlags, sqDropped, sqArray, _            uint32
	_                                         uint64
	cqHead, cqTail, cqMask, cqRingEntries     uint32
	cqOverflow, cqCompletions, cqRingFlags, _ uint32
	_                                         uint64
}

// setups are the flags to set a ring up with, the best first: those of Linux
// 6.1, 5.19 and before. They say who does the work of a completion, and when, but
// do not change the path of a byte.
var setups = []uint32{setupSingleIssuer | setupDeferTaskrun, setupCoopTaskrun, 0}

// ioUringSetup is io_uring_setup(2).
func ioUringSetup(entries int, p *params) (int, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// New makes a ring for that many requests at a time, each of which may have
// two completions. The error matches errors.ErrUnsupported where the machine has,
// or allows, no io_uring.
func New(entries int) (*Ring, error) { return newBy(ioUringSetup, entries) }

func newBy(setup func(int, *params) (int, error), entries int) (*Ring, error) {
	var p params
	fd, err := -1, error(unix.EINVAL)
	for i := 0; i < len(setups) && err == unix.EINVAL; i++ {
		p = params{flags: setups[i]}
		fd, err = setup(entries, &p)
	}
	if err != nil {
		return nil, setupError(err)
	}
	r := &Ring{fd: fd}
	if err := r.mapQueues(&p); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func setupError(err error) error {
	remedy := ""
	switch err {
	case unix.ENOSYS:
		remedy = "take Linux 5.4 or later"
	case unix.EPERM, unix.EACCES:
		remedy = "set sysctl kernel.io_uring_disabled=0, and let the container's seccomp profile allow io_uring_setup"
	case unix.ENOMEM:
		remedy = "raise the memory that may be locked: ulimit -l"
	default:
		return os.NewSyscallError("io_uring_setup", err)
	}
	return fmt.Errorf("io_uring_setup: %w: %w (%s)", err, errors.ErrUnsupported, remedy)
}

func (r *Ring) mapQueues(p *params) (err error) {
	if p.features&featSingleMmap == 0 {
		return fmt.Errorf("io_uring_setup: no IORING_FEAT_SINGLE_MMAP: %w (take Linux 5.4 or later)", errors.ErrUnsupported)
	}
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sqArray+p.sqEntries*4, p.cqCompletions+p.cqEntries*uint32(unsafe.Sizeof(CQE{})))
	if r.queues, err = unix.Mmap(r.fd, offQueues, int(size), prot, flags); err != nil {
		return os.NewSyscallError("mmap the ring's queues", err)
	}
	size = p.sqEntries * uint32(unsafe.Sizeof(SQE{}))
	if r.requests, err = unix.Mmap(r.fd, offRequests, int(size), prot, flags); err != nil {
		return os.NewSyscallError("mmap the ring's requests", err)
	}
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.queues[off]) }
	r.sqTail, r.cqHead, r.cqTail = (*uint32)(at(p.sqTail)), (*uint32)(at(p.cqHead)), (*uint32)(at(p.cqTail))
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&r.requests[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*CQE)(at(p.cqCompletions)), p.cqEntries)
	// The queue's entries are indices of requests: entry i is request i for ever.
	for i, array := uint32(0), unsafe.Slice((*uint32)(at(p.sqArray)), p.sqEntries); i < p.sqEntries; i++ {
		array[i] = i
	}
	return nil
}

// RegisterBuffers pins the buffers, so that no request has to. Requests name them
// by their index here (io_uring_register(2), IORING_REGISTER_BUFFERS). The error
// matches errors.ErrUnsupported where the user may not lock that much.
func (r *Ring) RegisterBuffers(buffers [][]byte) error {
	vec := make([]unix.Iovec, len(buffers))
	total := 0
	for i, b := range buffers {
		vec[i].Base = &b[0]
		vec[i].SetLen(len(b))
		total += len(b)
	}
	err := r.register(registerBuffers, unsafe.Pointer(&vec[0]), len(vec))
	if err == unix.ENOMEM {
		return fmt.Errorf("io_uring_register %d KiB of buffers: %w: %w (raise the memory that may be locked: ulimit -l; or take a smaller block or depth)", total>>10, err, errors.ErrUnsupported)
	}
	return os.NewSyscallError("io_uring_register buffers", err)
}

// RegisterFile lets requests name the file by index 0, and no longer look it up
// (io_uring_register(2), IORING_REGISTER_FILES).
func (r *Ring) RegisterFile(fd int) error {
	fds := [1]int32{int32(fd)}
	return os.NewSyscallError("io_uring_register files", r.register(registerFiles, unsafe.Pointer(&fds), len(fds)))
}

// register is io_uring_register(2).
func (r *Ring) register(op int, arg unsafe.Pointer, n int) error {
	_, err := retry(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
	return err
}

// Request returns the next request of the queue, blank, to be filled in before
// the next Enter. The caller has no more of them at a time than the ring was made
// for.
func (r *Ring) Request() *SQE {
	// The tail is moved here already: the kernel does not look before Enter.
	tail := atomic.LoadUint32(r.sqTail)
	q := &r.sqes[tail&uint32(len(r.sqes)-1)]
	*q = SQE{}
	atomic.StoreUint32(r.sqTail, tail+1)
	r.queued++
	return q
}

// Enter submits what is queued and waits until wait completions are there to be
// taken: in one call where no signal cuts it short, in none where there is nothing
// to do (io_uring_enter(2), IORING_ENTER_GETEVENTS). It holds its P while it waits.
func (r *Ring) Enter(wait uint32) error {
	for r.queued > 0 || atomic.LoadUint32(r.cqTail)-atomic.LoadUint32(r.cqHead) < wait {
		n, err := retry(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.queued), uintptr(wait), enterGetevents, 0, 0)
		if err != nil {
			return enterError(err)
		}
		r.queued -= uint32(n)
		r.flying += n
	}
	return nil
}

func enterError(err error) error {
	if err == unix.EEXIST {
		return fmt.Errorf("io_uring_enter: %w: the ring is another OS thread's (lock the goroutine to its thread from the constructor on)", err)
	}
	return os.NewSyscallError("io_uring_enter", err)
}

// Busy reports whether there are completions to come, or to be taken.
func (r *Ring) Busy() bool { return r.flying > 0 || r.queued > 0 }

// Queued is how many requests the kernel was not told of.
func (r *Ring) Queued() int { return int(r.queued) }

// Flying is how many requests the kernel has, and whose last completion was not taken.
func (r *Ring) Flying() int { return r.flying }

// SQEs is the memory of the requests, submitted ones included: tests look there for
// what was asked for.
func (r *Ring) SQEs() []SQE { return r.sqes }

// Completion takes the next completion, if there is one.
func (r *Ring) Completion() (CQE, bool) {
	head := atomic.LoadUint32(r.cqHead)
	if head == atomic.LoadUint32(r.cqTail) {
		return CQE{}, false
	}
	c := r.cqes[head&uint32(len(r.cqes)-1)]
	atomic.StoreUint32(r.cqHead, head+1) // the kernel may write there from now on
	if c.Flags&cqeMore == 0 {
		r.flying--
	}
	return c, true
}

// Drain drops what is queued, and waits for what is in flight: it would be taken
// for the next job's, and what it reads from or writes into would be reused.
func (r *Ring) Drain() error {
	atomic.AddUint32(r.sqTail, -r.queued)
	r.queued = 0
	for r.flying > 0 {
		if err := r.Enter(1); err != nil {
			return err
		}
		for ok := true; ok; {
			_, ok = r.Completion()
		}
	}
	return nil
}

// Close waits for what is in flight, and gives the ring back.
func (r *Ring) Close() error {
	var err error
	if r.sqes != nil {
		err = r.Drain()
		// The kernel would do so too, but later: what is pinned until then counts
		// against the limit of the next ring. EINVAL where there are none.
		r.register(unregisterBuffers, nil, 0)
		r.register(unregisterFiles, nil, 0)
	}
	for _, m := range [][]byte{r.queues, r.requests} {
		if m != nil {
			err = errors.Join(err, os.NewSyscallError("munmap", unix.Munmap(m)))
		}
	}
	return errors.Join(err, os.NewSyscallError("close", unix.Close(r.fd)))
}

// retry calls the kernel until no signal cuts it short, without telling Go's
// scheduler, whose hand-off is no price of the ring's. The directive keeps what the
// pointers among its arguments point to in place and alive.
//
//go:uintptrescapes
func retry(trap, a1, a2, a3, a4, a5, a6 uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
