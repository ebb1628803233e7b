package device

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
)

// A Reader reads one file directly. It is not safe for concurrent use.
//
// It makes its calls through unix.Syscall, which tells Go's scheduler, unlike
// the methods that it is held against: io_getevents(2) sleeps for as long as
// the device takes, and io_submit(2) where the device's queue is full. A raw
// call would keep its P all that time, from the garbage collector and from
// whatever else runs. The hand-off is paid once a batch, next to a request that
// goes to the device.
type Reader struct {
	f     *os.File
	ctx   uintptr // aio_context_t
	align int     // in bytes: what offsets and lengths must be multiples of
	block int     // in bytes: the largest piece

	// arena holds a buffer of stride bytes for each request, then the iocbs.
	// The kernel fills it while no Go code holds a pointer to it, and mapped
	// memory is not the garbage collector's to move or to free.
	arena  []byte
	stride int
	iocbs  []iocb
	pieces []piece // what each iocb is there for

	// Each iocb is idle, or queued to be submitted, or in flight.
	idle, queue []*iocb
	flying      int
	events      []event
}

// An iocb is a request, struct iocb of linux/aio_abi.h. (On big-endian machines
// the key and the flags trade places; both are zero here.)
type iocb struct {
	data           uint64 // comes back in the event: the request's index
	key, rwFlags   uint32
	opcode         uint16
	priority       int16
	fd             uint32
	buf            uint64
	bytes          uint64
	offset         int64
	_              uint64
	flags, eventfd uint32
}

const opPread = 0 // IOCB_CMD_PREAD

// An event is the end of a request, struct io_event of linux/aio_abi.h.
type event struct {
	data, obj uint64
	res, res2 int64 // bytes read, or an error's number below zero
}

// A piece is one piece of a plan.
type piece struct {
	off int64
	n   int
}

// Open opens the file for direct reads in pieces of at most block bytes, of
// which depth are in flight. The memory they take, depth times block, is
// present when it returns.
//
// The error matches errors.ErrUnsupported where the filesystem has no O_DIRECT
// for the file, or the kernel no AIO, or where a seccomp profile forbids it.
func Open(path string, block, depth int) (*Reader, error) {
	if block < 1 || depth < 1 {
		return nil, fmt.Errorf("open %s for direct reads: block of %d bytes, depth %d: want at least 1 of each", path, block, depth)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: no O_DIRECT here: %w (take a regular file on a disk's filesystem)", err, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	r := &Reader{f: f, block: block}
	if err := r.setUp(depth); err != nil {
		r.Close()
		return nil, fmt.Errorf("open %s for direct reads: %w", path, err)
	}
	return r, nil
}

func (r *Reader) setUp(depth int) error {
	fd := int(r.f.Fd())
	var err error
	if r.align, err = alignment(fd); err != nil {
		return err
	}
	if err := r.setUpAIO(depth); err != nil {
		return err
	}
	// A page is aligned enough for any device's memory accesses.
	r.stride = roundUp(r.block, max(r.align, os.Getpagesize()))
	size := depth * r.stride
	r.arena, err = unix.Mmap(-1, 0, size+depth*int(unsafe.Sizeof(iocb{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("mmap %d buffers of %d bytes: %w", depth, r.stride, err)
	}
	// The kernel pins each page of a buffer for each request: the fewer, the
	// better. It is a hint, refused where the kernel has no huge pages.
	_ = unix.Madvise(r.arena, unix.MADV_HUGEPAGE)
	for i := 0; i < size; i += os.Getpagesize() {
		r.arena[i] = 0 // present before the first job
	}
	r.iocbs = unsafe.Slice((*iocb)(unsafe.Pointer(&r.arena[size])), depth)
	for i := range r.iocbs {
		r.iocbs[i] = iocb{data: uint64(i), opcode: opPread, fd: uint32(fd)}
	}
	r.pieces = make([]piece, depth)
	r.idle, r.queue = make([]*iocb, 0, depth), make([]*iocb, 0, depth)
	// At most a quarter at a time, so that while some are consumed the device
	// has the others to work on.
	r.events = make([]event, max(depth/4, 1))
	return nil
}

// alignment returns what the offsets and lengths of direct reads must be
// multiples of, in bytes, as statx(2) tells it: STATX_DIOALIGN since Linux 6.1,
// STATX_DIO_READ_ALIGN, which may be less, since 6.15. Where it does not tell,
// it is 4096, which suits all devices that such a kernel can have.
func alignment(fd int) (int, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN|unix.STATX_DIO_READ_ALIGN, &st)
	switch {
	case err != nil || st.Mask&unix.STATX_DIOALIGN == 0:
		return 4096, nil
	case st.Dio_offset_align == 0:
		// Such reads succeed, by way of the page cache (ext4 with data=journal).
		return 0, fmt.Errorf("the filesystem has no direct reads of this file: %w (take a file that is not encrypted, compressed or journaled)", errors.ErrUnsupported)
	case st.Mask&unix.STATX_DIO_READ_ALIGN != 0 && st.Dio_read_offset_align != 0:
		return int(st.Dio_read_offset_align), nil
	}
	return int(st.Dio_offset_align), nil
}

func (r *Reader) setUpAIO(depth int) error {
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, uintptr(depth), uintptr(unsafe.Pointer(&r.ctx)), 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOSYS, unix.EPERM:
		return fmt.Errorf("io_setup: %w: no AIO here: %w (let the container's seccomp profile allow io_setup)", errno, errors.ErrUnsupported)
	case unix.EAGAIN:
		return fmt.Errorf("io_setup for %d requests: %w (take a smaller depth, or raise sysctl fs.aio-max-nr)", depth, errno)
	}
	return fmt.Errorf("io_setup for %d requests: %w", depth, errno)
}

// Read runs one job: it asks for the plan's pieces in the plan's order, keeps
// up to the reader's depth of them in flight, and hands each to consume as it
// completes, in whatever order. consume may be nil. It does not allocate.
//
// Where the plan has a pace, a piece is submitted as soon as it is due; those
// that complete while the pace holds the thread are consumed later.
//
// The error matches io.ErrUnexpectedEOF where the file ends before the plan
// does, errors.ErrUnsupported where the plan's pieces are not aligned as direct
// reads of the file must be, os.ErrClosed after Close. No request is in flight
// when Read returns.
func (r *Reader) Read(p *iomethod.Plan, consume iomethod.Consumer) error {
	if err := r.check(p); err != nil {
		return fmt.Errorf("read %s directly: %w", r.f.Name(), err)
	}
	if err := r.read(p, consume); err != nil {
		return fmt.Errorf("read %s directly: %w", r.f.Name(), err)
	}
	return nil
}

// check refuses the plans that cannot be asked for.
func (r *Reader) check(p *iomethod.Plan) error {
	switch align := int64(r.align); {
	case r.arena == nil:
		return os.ErrClosed
	case p.Block > r.block && p.Length > int64(r.block):
		return fmt.Errorf("pieces of %d bytes, and the reader was opened for %d", p.Block, r.block)
	case p.Start%align != 0:
		return fmt.Errorf("the job starts at byte %d: %w (start at a multiple of %d bytes)", p.Start, errors.ErrUnsupported, align)
	case int64(p.Block)%align != 0 && p.Length > int64(p.Block):
		return fmt.Errorf("blocks of %d bytes: %w (take a block that is a multiple of %d bytes)", p.Block, errors.ErrUnsupported, align)
	}
	return nil
}

func (r *Reader) read(p *iomethod.Plan, consume iomethod.Consumer) error {
	r.idle, r.queue = r.idle[:0], r.queue[:0]
	for i := range r.iocbs {
		r.idle = append(r.idle, &r.iocbs[i])
	}
	// Also after an error, and where consume panics: what is still in flight
	// would be taken for the next job's.
	defer r.drain()
	for next, pieces := 0, p.Pieces(); ; {
		for ; next < pieces && len(r.idle) > 0; next++ {
			p.Await(next)
			r.ask(p.Piece(next))
			if p.Pace == nil {
				continue // the more a call submits, the fewer calls
			}
			if err := r.submit(); err != nil {
				return err
			}
		}
		if err := r.submit(); err != nil {
			return err
		}
		if r.flying == 0 {
			return nil
		}
		n, err := r.wait()
		if err != nil {
			return err
		}
		for _, e := range r.events[:n] {
			if err := r.complete(e, consume); err != nil {
				return err
			}
		}
	}
}

// ask queues the request for a piece, with its length rounded up: what lies
// behind the plan's end is read and not handed on, and at the end of the file
// the count is shorter.
func (r *Reader) ask(off int64, n int) {
	c := r.idle[len(r.idle)-1]
	r.idle = r.idle[:len(r.idle)-1]
	r.pieces[c.data] = piece{off, n}
	c.buf = uint64(uintptr(unsafe.Pointer(&r.arena[int(c.data)*r.stride])))
	c.bytes, c.offset = uint64(roundUp(n, r.align)), off
	r.queue = append(r.queue, c)
}

// submit hands what is queued to the kernel. Some may stay queued, where the
// kernel has no room until others complete; then at least one is in flight.
func (r *Reader) submit() error {
	for len(r.queue) > 0 {
		n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, r.ctx, uintptr(len(r.queue)), uintptr(unsafe.Pointer(&r.queue[0])))
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN && r.flying > 0:
			return nil
		case errno != 0:
			return fmt.Errorf("io_submit of %d requests: %w", len(r.queue), errno)
		default:
			r.flying += int(n)
			r.queue = r.queue[:copy(r.queue, r.queue[n:])]
		}
	}
	return nil
}

// wait fills events with those of at least one request, and returns of how many.
func (r *Reader) wait() (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, r.ctx, 1, uintptr(len(r.events)), uintptr(unsafe.Pointer(&r.events[0])), 0, 0)
		switch errno {
		case 0:
			r.flying -= int(n)
			return int(n), nil
		case unix.EINTR: // also by the signals with which Go preempts
		default:
			return 0, fmt.Errorf("io_getevents: %w", errno)
		}
	}
}

// complete hands the piece on whose request has ended, or queues what is
// missing of it.
func (r *Reader) complete(e event, consume iomethod.Consumer) error {
	c, p := &r.iocbs[e.data], r.pieces[e.data]
	if e.res < 0 {
		errno := unix.Errno(-e.res)
		if errno == unix.EINTR {
			r.queue = append(r.queue, c)
			return nil
		}
		return fmt.Errorf("%d bytes at offset %d: %w", c.bytes, c.offset, errno)
	}
	c.buf += uint64(e.res)
	c.bytes -= uint64(e.res)
	c.offset += e.res
	switch got := int(c.offset - p.off); {
	case got >= p.n:
		if consume != nil {
			buf := r.arena[int(e.data)*r.stride:]
			consume(p.off, buf[:p.n:p.n])
		}
		r.idle = append(r.idle, c)
	case e.res == 0 || got%r.align != 0: // only the end of the file is not aligned
		return fmt.Errorf("the file ends at byte %d, amid the plan: %w", c.offset, io.ErrUnexpectedEOF)
	default:
		r.queue = append(r.queue, c)
	}
	return nil
}

// drain waits for all that is in flight.
func (r *Reader) drain() {
	for r.flying > 0 {
		if _, err := r.wait(); err != nil {
			return // no such context: nothing of it is in flight
		}
	}
}

// Close releases what Open took. Of a reader that is closed it returns an error
// that matches os.ErrClosed.
func (r *Reader) Close() error {
	var destroy, unmap error
	if r.ctx != 0 {
		// It waits for all that is in flight, so that the memory can go.
		if _, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, r.ctx, 0, 0); errno != 0 {
			destroy = os.NewSyscallError("io_destroy", errno)
		}
	}
	if r.arena != nil {
		unmap = os.NewSyscallError("munmap", unix.Munmap(r.arena))
	}
	r.ctx, r.arena, r.iocbs = 0, nil, nil
	return errors.Join(destroy, unmap, r.f.Close())
}

// roundUp returns the least multiple of a power of two that is not below n.
func roundUp(n, to int) int { return (n + to - 1) &^ (to - 1) }
