package iomethod

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/uring"
)

func init() {
	for _, depth := range []int{1, 8, 32} {
		registerUringFile(fmt.Sprintf("io_uring.%d", depth), "", uringFileKind{depth: depth})
		registerUringFile(fmt.Sprintf("io_uring.%d+odirect", depth), ", past the page cache (O_DIRECT)", uringFileKind{depth: depth, direct: true})
	}
}

// A uringFileKind is what sets the methods of the family apart.
type uringFileKind struct {
	depth  int // pieces in flight
	direct bool
}

func registerUringFile(name, doc string, k uringFileKind) {
	calls := []string{"io_uring_enter"}
	m := Method{
		Name:      name,
		Doc:       fmt.Sprintf("io_uring(7) with %d in flight, registered buffers and file%s", k.depth, doc),
		Unordered: k.depth > 1,
		Probe:     k.probe,
		Reader:    Role[Reader]{Calls: calls, New: k.newReader},
		Writer:    Role[Writer]{Calls: calls, New: k.newWriter},
	}
	if k.direct {
		m.Cache = "cold"
	}
	Register(m)
}

// probe makes what the jobs need, as small as it can be.
func (k uringFileKind) probe(c Config) error {
	runtime.LockOSThread() // the ring is the thread's
	defer runtime.UnlockOSThread()
	r, err := k.newReader(Config{Path: c.Path, Block: 1})
	if err == nil {
		err = r.Close()
	}
	if err != nil || c.Target == "" {
		return err
	}
	w, err := k.newWriter(Config{Target: c.Target, Block: 1, Sync: SyncNone})
	if err != nil {
		return err
	}
	return w.Close()
}

// A uringFile reads or writes one file by a ring, with a buffer for each piece in
// flight.
type uringFile struct {
	f      *os.File
	align  int // in bytes: what offsets and lengths must be multiples of
	ring   *uring.Ring
	memory []byte // of the buffers: mapped, because the kernel keeps their address
	slots  []uringSlot
	idle   []uint64 // indices of the slots that are free
	batch  int      // how many completions are handled before others are asked for
	op     uringOp
	link   uint8 // a writer's: the operation after each write, uring.OpNop for none
	end    uint8 // and after the last one
}

// A uringSlot is where one piece in flight is.
type uringSlot struct {
	buf []byte
	off int64
	n   int // bytes of the piece
	got int // bytes of it that were moved, by one request or more
}

// A uringOp is what is done to each piece.
type uringOp struct {
	code uint8
	name string
	none error // what a count of zero means
}

var (
	uringRead  = uringOp{uring.OpReadFixed, "io_uring READ_FIXED", io.ErrUnexpectedEOF}
	uringWrite = uringOp{uring.OpWriteFixed, "io_uring WRITE_FIXED", io.ErrShortWrite}
)

func (k uringFileKind) newReader(c Config) (Reader, error) {
	q := &uringFile{op: uringRead}
	open := func(flags int) (*os.File, error) { return os.OpenFile(c.Path, os.O_RDONLY|flags, 0) }
	if err := q.open(k, open, c.Block); err != nil {
		return nil, err
	}
	return uringReader{q}, nil
}

func (k uringFileKind) newWriter(c Config) (Writer, error) {
	q := &uringFile{op: uringWrite}
	switch c.Sync {
	case SyncBlock:
		q.link = uring.OpFsync
	case SyncEnd:
		q.end = uring.OpFsync
	case SyncRange:
		q.link, q.end = uring.OpSyncFileRange, uring.OpSyncFileRange
	}
	open := func(flags int) (*os.File, error) { return openWritten(c, flags) }
	if err := q.open(k, open, c.Block); err != nil {
		return nil, err
	}
	return uringWriter{q}, nil
}

// open takes what the jobs need: the file, and a ring and registered buffers of
// block bytes for as many pieces as are in flight.
func (q *uringFile) open(k uringFileKind, open func(flags int) (*os.File, error), block int) (err error) {
	if k.direct {
		q.f, err = open(unix.O_DIRECT)
		err = directError(err)
	} else {
		q.f, err = open(0)
	}
	if err != nil {
		return err
	}
	q.align, q.batch = 1, max(k.depth/4, 1)
	if k.direct {
		q.align, err = directAlignment(int(q.f.Fd()))
	}
	if err == nil {
		err = q.openRing(k.depth, block)
	}
	if err != nil {
		q.Close()
		return fmt.Errorf("open %s for io_uring: %w", q.f.Name(), err)
	}
	return nil
}

func (q *uringFile) openRing(depth, block int) (err error) {
	requests := depth
	if q.link != uring.OpNop {
		requests *= 2
	}
	if q.ring, err = uring.New(requests); err != nil {
		return err
	}
	// A page is aligned enough for any device's memory accesses.
	stride := roundUp(max(block, 1), max(q.align, os.Getpagesize()))
	q.memory, err = unix.Mmap(-1, 0, depth*stride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return os.NewSyscallError("mmap the buffers", err)
	}
	q.slots, q.idle = make([]uringSlot, depth), make([]uint64, 0, depth)
	buffers := make([][]byte, depth)
	for i := range buffers {
		buffers[i] = q.memory[i*stride:][:stride:stride]
		q.slots[i].buf = buffers[i]
	}
	if err := q.ring.RegisterBuffers(buffers); err != nil {
		return err
	}
	return q.ring.RegisterFile(int(q.f.Fd()))
}

func (q *uringFile) Close() error {
	var err error
	if q.ring != nil {
		err = q.ring.Close()
	}
	if q.memory != nil {
		err = errors.Join(err, os.NewSyscallError("munmap", unix.Munmap(q.memory)))
	}
	return errors.Join(err, q.f.Close())
}

type uringReader struct{ *uringFile }

func (r uringReader) Read(p *Plan, consume Consumer) error {
	if p.Pieces() == 0 {
		return nil
	}
	if err := checkAligned(p, r.align); err != nil {
		return err
	}
	return r.move(p, nil, consume)
}

type uringWriter struct{ *uringFile }

// Write submits the pieces in the plan's order. Those in flight together reach the
// file in any, as with every program that keeps its queue full. A policy for each
// piece is a request linked to its write, so that the others need not wait for it.
func (w uringWriter) Write(p *Plan, produce Producer) error {
	if p.Pieces() == 0 {
		return nil
	}
	if err := checkAligned(p, w.align); err != nil {
		return err
	}
	if p.Length%int64(w.align) != 0 {
		// A program would write a whole block, and cut the file by ftruncate(2).
		return fmt.Errorf("write %s directly: %d bytes: %w (take a length that is a multiple of %d)", w.f.Name(), p.Length, errors.ErrUnsupported, w.align)
	}
	if err := w.move(p, produce, nil); err != nil || w.end == uring.OpNop {
		return err
	}
	return w.finish(p)
}

// move keeps as many pieces in flight as there are slots. All that is asked for
// since the last call goes with the next one, which also waits.
func (q *uringFile) move(p *Plan, produce Producer, consume Consumer) error {
	q.idle = q.idle[:0]
	for i := range q.slots {
		q.idle = append(q.idle, uint64(i))
	}
	defer q.ring.Drain() // also after an error, and where the consumer panics
	for next, pieces := 0, p.Pieces(); ; {
		for next < pieces && len(q.idle) > 0 {
			p.Await(next)
			off, n := p.Piece(next)
			q.begin(off, n, produce)
			next++
			if p.Pace != nil {
				break // it is due now, the next one perhaps later
			}
		}
		if !q.ring.Busy() {
			return nil
		}
		wait := uint32(1)
		if next < pieces && len(q.idle) > 0 {
			wait = 0
		}
		if err := q.ring.Enter(wait); err != nil {
			return err
		}
		// Not all that are there: while some are consumed, the device has the
		// others to work on.
		for range q.batch {
			c, ok := q.ring.Completion()
			if !ok {
				break
			}
			if err := q.complete(c, consume); err != nil {
				return err
			}
		}
	}
}

// begin asks for a piece. What is to be written is copied: it is valid only until
// the next piece is produced, and the registered buffers are ours.
func (q *uringFile) begin(off int64, n int, produce Producer) {
	slot := q.idle[len(q.idle)-1]
	q.idle = q.idle[:len(q.idle)-1]
	s := &q.slots[slot]
	s.off, s.n, s.got = off, n, 0
	if produce != nil {
		copy(s.buf, produce(off, n))
	}
	q.ask(slot)
}

// linked marks the completion of what is linked to a write.
const linked = 1 << 32

// ask queues the request for what is missing of a piece. Direct reads beyond the
// end of the plan, to the next multiple, are not handed on.
func (q *uringFile) ask(slot uint64) {
	s := &q.slots[slot]
	r := q.ring.Request()
	r.Opcode, r.Flags = q.op.code, uring.SQEFixedFile
	r.Off = uint64(s.off) + uint64(s.got)
	r.Addr = uint64(uintptr(unsafe.Pointer(&s.buf[s.got])))
	r.Len = uint32(roundUp(s.n-s.got, q.align))
	r.UserData, r.BufIndex = slot, uint16(slot)
	if q.link != uring.OpNop {
		r.Flags |= uring.SQELink
		q.askSync(q.link, slot|linked, s.off, int64(s.n), unix.SYNC_FILE_RANGE_WRITE)
	}
}

// askSync queues an fdatasync(2) or, with that range and flags, a
// sync_file_range(2).
func (q *uringFile) askSync(op uint8, userData uint64, off, n int64, flags uint32) {
	r := q.ring.Request()
	r.Opcode, r.Flags, r.UserData = op, uring.SQEFixedFile, userData
	if op == uring.OpFsync {
		r.OpFlags = uring.FsyncDatasync
		return
	}
	r.Off, r.OpFlags = uint64(off), flags
	if n <= math.MaxUint32 {
		r.Len = uint32(n) // else 0: to the end of the file
	}
}

// complete takes note of what a request has moved, and hands the piece on or asks
// for the rest of it.
func (q *uringFile) complete(c uring.CQE, consume Consumer) error {
	if c.UserData&linked != 0 {
		return q.completeLinked(c)
	}
	s := &q.slots[c.UserData]
	switch {
	case c.Interrupted():
	case c.Res < 0:
		return os.NewSyscallError(q.op.name, c.Err())
	case c.Res == 0:
		return q.op.none
	}
	s.got += int(max(c.Res, 0))
	switch {
	case q.link != uring.OpNop:
	case s.got >= s.n:
		if consume != nil {
			consume(s.off, s.buf[:s.n])
		}
		q.idle = append(q.idle, c.UserData)
	case s.got%q.align != 0:
		return q.op.none // only where the file ends
	default:
		q.ask(c.UserData)
	}
	return nil
}

// completeLinked frees the slot of a write that is synced. A write that was short
// has cancelled what was linked to it.
func (q *uringFile) completeLinked(c uring.CQE) error {
	slot := c.UserData &^ linked
	switch s := &q.slots[slot]; {
	case c.Res >= 0:
		q.idle = append(q.idle, slot)
	case c.Err() == unix.ECANCELED && s.got < s.n:
		q.ask(slot)
	default:
		return os.NewSyscallError(syncNames[q.link], c.Err())
	}
	return nil
}

var syncNames = map[uint8]string{uring.OpFsync: "io_uring FSYNC", uring.OpSyncFileRange: "io_uring SYNC_FILE_RANGE"}

// finish syncs once, and waits for it.
func (w uringWriter) finish(p *Plan) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	w.askSync(w.end, 0, p.Start, p.Length, all)
	if err := w.ring.Enter(1); err != nil {
		return err
	}
	c, _ := w.ring.Completion()
	return os.NewSyscallError(syncNames[w.end], c.Err())
}
