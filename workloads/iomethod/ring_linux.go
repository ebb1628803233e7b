package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ringChannel is two rings of bytes in memory that both processes have mapped,
// one for each direction, each with one end that writes it and one that reads it.
// A sender copies each piece in; a receiver hands out the ring's own memory. The
// kernel is called only where one side has waited in vain for the other.
//
// The memory begins with a page of positions, and goes on with the two rings.
type ringChannel struct {
	in, out   byteRing
	positions *[2]positions
	life      *os.File    // a socket to one that the other process has, and that ends with it
	hangup    unix.PollFd // of the socket; here, because the kernel is given its address
	far       []*os.File  // the other end's, until Files has handed them out
}

// positions are those of one ring.
type positions struct{ written, read position }

// A position is how far one end has come in a ring, in bytes since the ring was
// made. That end advances it, the other one awaits it. What each of them writes
// has two cache lines of its own, since Intel's processors fetch a line's
// neighbour along.
type position struct {
	at     atomic.Int64
	_      [2*cacheLine - 8]byte
	until  atomic.Int64  // where it is to be when the other end is woken
	asleep atomic.Uint32 // the futex: 1 while the other end sleeps, or is about to
	_      [2*cacheLine - 12 - 4]byte
}

const cacheLine = 64

// A byteRing is one direction, as one end sees it.
type byteRing struct {
	data         []byte // the ring twice in a row, so that every piece is contiguous
	capacity     int64
	ours, theirs *position
	at           int64 // ours
	seen         int64 // theirs, when we last looked
	spins, waits int   // see look
	hangup       *unix.PollFd
	gone         error // what it is where the other end is gone
}

// leastCapacity is that of a ring in bytes. It has room for two of the largest
// pieces besides, so that one can be written while another is read.
const leastCapacity = 1 << 20

// newRingChannel attaches an end by the memory and the socket, or makes both ends
// with the memory that create returns.
func newRingChannel(c Config, create func(Config) (*os.File, error)) (Channel, error) {
	if c.Files != nil {
		return attachRing(c.Files)
	}
	memory, err := create(c)
	if err != nil {
		return nil, err
	}
	capacity := int64(leastCapacity)
	for capacity < 2*int64(c.Block) {
		capacity *= 2
	}
	r, err := makeRing(memory, int64(os.Getpagesize())+2*capacity)
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	return r, nil
}

func makeRing(memory *os.File, size int64) (*ringChannel, error) {
	if err := allocate(memory, size); err != nil {
		return nil, err
	}
	near, far, err := unixSockets()
	if err != nil {
		return nil, err
	}
	r, err := openRing(memory, near[0], 0)
	if err != nil {
		return nil, errors.Join(err, closeAll(far))
	}
	r.far = append([]*os.File{memory}, far...)
	return r, nil
}

func attachRing(files []*os.File) (Channel, error) {
	if err := complete(files, 2); err != nil {
		return nil, err
	}
	memory, life := files[0], files[1]
	r, err := openRing(memory, life, 1)
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	if err := memory.Close(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// openRing maps the memory for an end that sends by the ring of that index and
// receives by the other. Where it fails it closes the socket.
func openRing(memory, life *os.File, out int) (_ *ringChannel, err error) {
	r := &ringChannel{life: life}
	r.hangup.Fd = int32(life.Fd())
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	st, err := memory.Stat()
	if err != nil {
		return nil, err
	}
	page := os.Getpagesize()
	capacity := (int(st.Size()) - page) / 2
	if capacity < leastCapacity {
		return nil, fmt.Errorf("attach to the channel: %s is not its memory (give the other end its files in the order of Files)", memory.Name())
	}
	first, err := unix.MmapPtr(int(memory.Fd()), 0, nil, uintptr(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	r.positions = (*[2]positions)(first)
	sent, received := &r.positions[out], &r.positions[1-out]
	r.out = byteRing{ours: &sent.written, theirs: &sent.read, gone: errRingGone}
	r.in = byteRing{ours: &received.read, theirs: &received.written, gone: io.ErrUnexpectedEOF}
	for i, way := range []*byteRing{&r.out, &r.in} {
		way.capacity, way.hangup = int64(capacity), &r.hangup
		if way.data, err = mapTwice(memory, int64(page+(i^out)*capacity), capacity); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// errRingGone is what a write(2) to a pipe would return.
var errRingGone = fmt.Errorf("send by the ring: the other end is gone: %w", unix.EPIPE)

func (r *ringChannel) Files() []*os.File {
	far := r.far
	r.far = nil
	return far
}

func (r *ringChannel) Send(p *Plan, produce Producer) error {
	for i := range p.Pieces() {
		p.Await(i)
		if err := r.out.write(produce(p.Piece(i))); err != nil {
			return err
		}
	}
	return nil
}

func (r *ringChannel) Receive(p *Plan, consume Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b, err := r.in.next(n)
		if err != nil {
			return err
		}
		consume(off, b)
		if err := r.in.advance(n); err != nil {
			return err
		}
	}
	return nil
}

func (r *ringChannel) Close() error {
	errs := []error{unmapTwice(r.out.data), unmapTwice(r.in.data), r.life.Close(), closeAll(r.far)}
	if r.positions != nil {
		errs = append(errs, os.NewSyscallError("munmap", unix.MunmapPtr(unsafe.Pointer(r.positions), uintptr(os.Getpagesize()))))
	}
	return errors.Join(errs...)
}

// write copies b in, once there is room for it. A side that has to sleep for room
// sleeps until half the ring is empty: woken for every piece, it would sleep again
// after each.
func (r *byteRing) write(b []byte) error {
	room := r.at + int64(len(b)) - r.capacity
	if err := r.await(room, r.at-r.capacity/2); err != nil {
		return err
	}
	copy(r.data[r.at%r.capacity:], b)
	return r.advance(len(b))
}

// next returns the next n bytes, once they are there, which stay valid until we
// advance.
func (r *byteRing) next(n int) ([]byte, error) {
	end := r.at + int64(n)
	if err := r.await(end, end); err != nil {
		return nil, err
	}
	return r.data[r.at%r.capacity:][:n:n], nil
}

// advance says that we are done with the next n bytes, and wakes the other end
// where it sleeps until then. That it does is seen here, or it sees our position
// before it sleeps: Go's atomic operations are in one order for all (The Go Memory
// Model).
func (r *byteRing) advance(n int) error {
	r.at += int64(n)
	ours := r.ours
	ours.at.Store(r.at)
	if ours.asleep.Load() == 0 || r.at < ours.until.Load() || !ours.asleep.CompareAndSwap(1, 0) {
		return nil
	}
	if errno := rawFutex(&ours.asleep, futexWake, 1, nil); errno != 0 {
		return os.NewSyscallError("futex", errno)
	}
	return nil
}

// await returns when the other end has come as far as needed. Where it has to
// sleep for that, it sleeps until the other end has come as far as enough, which
// is no less.
func (r *byteRing) await(needed, enough int64) error {
	if r.seen >= needed || r.look(needed) {
		return nil
	}
	return r.sleep(enough)
}

// To sleep and be woken takes about as long as mostSpins looks at the position
// (15 to 20 µs), and costs the other side a system call. So we look first, for half as
// long after each time that it was in vain and twice as long after each time that
// it was not; now and then for as long as can be, to see whether that pays again.
// Where there is one CPU, the other side cannot run meanwhile.
const (
	mostSpins = 1 << 15
	tryAgain  = 16 // waits
)

var oneCPU = runtime.NumCPU() == 1

// look looks for a while whether the other end has come as far as needed.
func (r *byteRing) look(needed int64) bool {
	spins := r.spins
	if r.waits++; r.waits%tryAgain == 1 {
		spins = mostSpins
	}
	if oneCPU {
		spins = 1
	}
	for range spins {
		if r.seen = r.theirs.at.Load(); r.seen >= needed {
			r.spins = min(2*spins, mostSpins)
			return true
		}
	}
	r.spins /= 2
	return false
}

// sleep returns when the other end has come as far as enough.
func (r *byteRing) sleep(enough int64) error {
	theirs := r.theirs
	theirs.until.Store(enough)
	for {
		theirs.asleep.Store(1)
		if r.seen = theirs.at.Load(); r.seen >= enough {
			theirs.asleep.Store(0)
			return nil
		}
		switch errno := rawFutex(&theirs.asleep, futexWait, 1, &lifeCheck); errno {
		case 0, unix.EAGAIN: // woken, perhaps for an earlier sleep; or even before this one
		case unix.ETIMEDOUT, unix.EINTR: // a signal each 10 ms would put off the timeout for ever
			if err := r.alive(enough); err != nil {
				return err
			}
		default:
			return os.NewSyscallError("futex", errno)
		}
	}
}

// lifeCheck is how long a side sleeps before it sees whether the other is alive.
var lifeCheck = unix.Timespec{Nsec: 20e6}

// alive is an error where the other end is gone, and had not come as far as enough.
func (r *byteRing) alive(enough int64) error {
	n, err := rawPoll(r.hangup)
	if err != nil {
		return os.NewSyscallError("ppoll", err)
	}
	// Looked at once more: what it sent before it went is there.
	if n > 0 && r.theirs.at.Load() < enough {
		return r.gone
	}
	return nil
}

// The operations of futex(2), on memory that processes share.
const (
	futexWait = 0
	futexWake = 1
)

func rawFutex(word *atomic.Uint32, op, value uintptr, timeout *unix.Timespec) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), op, value, uintptr(unsafe.Pointer(timeout)), 0, 0)
	return errno
}

// rawPoll returns 1 where something has happened to the descriptor, and 0 where
// not.
func rawPoll(fd *unix.PollFd) (int, error) {
	return retry(unix.SYS_PPOLL, uintptr(unsafe.Pointer(fd)), 1, uintptr(unsafe.Pointer(&atOnce)), 0, 0, 0)
}

var atOnce unix.Timespec

// allocate makes the file that large, with all its blocks: a page that the
// filesystem then had no room for would raise SIGBUS amid a job.
func allocate(f *os.File, size int64) error {
	return os.NewSyscallError("fallocate", unix.Fallocate(int(f.Fd()), 0, 0, size))
}

// newMemfd returns a file in memory without a name.
func newMemfd() (*os.File, error) {
	fd, err := unix.MemfdCreate("iopath", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd"), nil
}

// mapTwice maps size bytes of the file from off on, both multiples of the page
// size, twice in a row: what runs over the end of the first is at the start of the
// second, which is the same memory.
func mapTwice(f *os.File, off int64, size int) ([]byte, error) {
	addr, err := unix.MmapPtr(-1, 0, nil, uintptr(2*size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	data := unsafe.Slice((*byte)(addr), 2*size)
	for half := range 2 {
		// Populated, so that no job faults.
		_, err := unix.MmapPtr(int(f.Fd()), off, unsafe.Add(addr, half*size), uintptr(size),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_POPULATE)
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("mmap", err), unmapTwice(data))
		}
	}
	return data, nil
}

// unmapTwice unmaps what mapTwice returned, if anything.
func unmapTwice(data []byte) error {
	if data == nil {
		return nil
	}
	return os.NewSyscallError("munmap", unix.MunmapPtr(unsafe.Pointer(&data[0]), uintptr(len(data))))
}
