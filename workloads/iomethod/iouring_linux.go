package iomethod

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A uring is an io_uring(7): requests are written into one queue in memory that is
// shared with the kernel, and completions read from another; one io_uring_enter(2)
// submits any number of the former and waits for any number of the latter.
//
// It belongs to the OS thread that made it (IORING_SETUP_SINGLE_ISSUER), because
// the kernel then does the work of completions in that thread's next call alone
// (IORING_SETUP_DEFER_TASKRUN), without a signal to it and without a lock. Both
// are kept where the thread is locked from the constructor on. On another thread
// every call fails with EEXIST.
type uring struct {
	fd             int
	queues         []byte  // the mapping with the heads and tails, and with cqes
	requests       []byte  // the mapping of sqes
	sqTail         *uint32 // where the next request goes; the head is the kernel's alone
	cqHead, cqTail *uint32 // what is between them has completed; the tail is the kernel's
	sqes           []sqe
	cqes           []cqe
	queued         uint32 // requests before the tail that the kernel was not told of
	flying         int    // requests that it has, and whose last completion was not taken
}

// An sqe is a request, struct io_uring_sqe of linux/io_uring.h.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16 // for sends: their own flags
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	opFlags  uint32 // of the operation: rw_flags, fsync_flags, msg_flags, …
	userData uint64 // comes back in the completion
	bufIndex uint16
	_        uint16
	_        uint32
	_        [2]uint64
}

// A cqe is a completion, struct io_uring_cqe.
type cqe struct {
	userData uint64
	res      int32 // what the system call would return, or an error's number below zero
	flags    uint32
}

// err is the error that the request ended with, if any.
func (c cqe) err() error {
	if c.res < 0 {
		return unix.Errno(-c.res)
	}
	return nil
}

// interrupted reports whether the request is to be made once more.
func (c cqe) interrupted() bool { return c.res == -int32(unix.EINTR) }

// What x/sys/unix lacks of linux/io_uring.h.
const (
	opNop           = 0
	opFsync         = 3
	opReadFixed     = 4
	opWriteFixed    = 5
	opSyncFileRange = 8
	opSendZC        = 47

	sqeFixedFile = 1 << 0 // IOSQE_FIXED_FILE: fd is an index of the registered files
	sqeLink      = 1 << 2 // IOSQE_IO_LINK: the next request begins when this one has succeeded in full

	cqeMore  = 1 << 1 // IORING_CQE_F_MORE: this request has another completion to come
	cqeNotif = 1 << 3 // IORING_CQE_F_NOTIF: it is that one, of a send

	fsyncDatasync = 1 << 0 // IORING_FSYNC_DATASYNC

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

// uringParams is struct io_uring_params: the kernel answers with where in the
// mappings everything is.
type uringParams struct {
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

// uringSetups are the flags to set a ring up with, the best first: those of Linux
// 6.1, 5.19 and before. They say who does the work of a completion, and when, but
// do not change the path of a byte.
var uringSetups = []uint32{setupSingleIssuer | setupDeferTaskrun, setupCoopTaskrun, 0}

// setupUring is io_uring_setup(2).
func setupUring(entries int, p *uringParams) (int, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// newUring makes a ring for that many requests at a time, each of which may have
// two completions. The error matches errors.ErrUnsupported where the machine has,
// or allows, no io_uring.
func newUring(entries int) (*uring, error) { return newUringBy(setupUring, entries) }

func newUringBy(setup func(int, *uringParams) (int, error), entries int) (*uring, error) {
	var p uringParams
	fd, err := -1, error(unix.EINVAL)
	for i := 0; i < len(uringSetups) && err == unix.EINVAL; i++ {
		p = uringParams{flags: uringSetups[i]}
		fd, err = setup(entries, &p)
	}
	if err != nil {
		return nil, setupError(err)
	}
	r := &uring{fd: fd}
	if err := r.mapQueues(&p); err != nil {
		r.close()
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

func (r *uring) mapQueues(p *uringParams) (err error) {
	if p.features&featSingleMmap == 0 {
		return fmt.Errorf("io_uring_setup: no IORING_FEAT_SINGLE_MMAP: %w (take Linux 5.4 or later)", errors.ErrUnsupported)
	}
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sqArray+p.sqEntries*4, p.cqCompletions+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	if r.queues, err = unix.Mmap(r.fd, offQueues, int(size), prot, flags); err != nil {
		return os.NewSyscallError("mmap the ring's queues", err)
	}
	size = p.sqEntries * uint32(unsafe.Sizeof(sqe{}))
	if r.requests, err = unix.Mmap(r.fd, offRequests, int(size), prot, flags); err != nil {
		return os.NewSyscallError("mmap the ring's requests", err)
	}
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.queues[off]) }
	r.sqTail, r.cqHead, r.cqTail = (*uint32)(at(p.sqTail)), (*uint32)(at(p.cqHead)), (*uint32)(at(p.cqTail))
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.requests[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(at(p.cqCompletions)), p.cqEntries)
	// The queue's entries are indices of requests: entry i is request i for ever.
	for i, array := uint32(0), unsafe.Slice((*uint32)(at(p.sqArray)), p.sqEntries); i < p.sqEntries; i++ {
		array[i] = i
	}
	return nil
}

// registerBuffers pins the buffers, so that no request has to. Requests name them
// by their index here.
func (r *uring) registerBuffers(buffers [][]byte) error {
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

// registerFile lets requests name the file by index 0, and no longer look it up.
func (r *uring) registerFile(fd int) error {
	fds := [1]int32{int32(fd)}
	return os.NewSyscallError("io_uring_register files", r.register(registerFiles, unsafe.Pointer(&fds), len(fds)))
}

// register is io_uring_register(2).
func (r *uring) register(op int, arg unsafe.Pointer, n int) error {
	_, err := retry(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
	return err
}

// request returns the next request of the queue, blank, to be filled in before
// the next enter. The caller has no more of them at a time than the ring was made
// for.
func (r *uring) request() *sqe {
	// The tail is moved here already: the kernel does not look before enter.
	tail := atomic.LoadUint32(r.sqTail)
	q := &r.sqes[tail&uint32(len(r.sqes)-1)]
	*q = sqe{}
	atomic.StoreUint32(r.sqTail, tail+1)
	r.queued++
	return q
}

// enter submits what is queued and waits until wait completions are there to be
// taken: in one call where no signal cuts it short, in none where there is nothing
// to do.
func (r *uring) enter(wait uint32) error {
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

// busy reports whether there are completions to come, or to be taken.
func (r *uring) busy() bool { return r.flying > 0 || r.queued > 0 }

// completion takes the next completion, if there is one.
func (r *uring) completion() (cqe, bool) {
	head := atomic.LoadUint32(r.cqHead)
	if head == atomic.LoadUint32(r.cqTail) {
		return cqe{}, false
	}
	c := r.cqes[head&uint32(len(r.cqes)-1)]
	atomic.StoreUint32(r.cqHead, head+1) // the kernel may write there from now on
	if c.flags&cqeMore == 0 {
		r.flying--
	}
	return c, true
}

// drain drops what is queued, and waits for what is in flight: it would be taken
// for the next job's, and what it reads from or writes into would be reused.
func (r *uring) drain() error {
	atomic.AddUint32(r.sqTail, -r.queued)
	r.queued = 0
	for r.flying > 0 {
		if err := r.enter(1); err != nil {
			return err
		}
		for ok := true; ok; {
			_, ok = r.completion()
		}
	}
	return nil
}

// close waits for what is in flight, and gives the ring back.
func (r *uring) close() error {
	var err error
	if r.sqes != nil {
		err = r.drain()
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
