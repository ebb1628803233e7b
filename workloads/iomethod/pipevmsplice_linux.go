package iomethod

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:    "pipe+vmsplice",
		Doc:     "copy into pages of our own, vmsplice(2) those into a pipe of the default size, read(2) from it: two copies, one of them in user space",
		Channel: Role[Channel]{Calls: []string{"vmsplice"}, Also: answered, New: newVmspliceChannel},
	})
}

// A vmspliceChannel hands its pages to the pipe, which refers to them until the
// other end has read them. The producer's own bytes cannot be handed over: they
// change as soon as the producer is asked for more.
//
// The pages are an area of twice the pipe's capacity, gone through as a ring, in
// steps of no more than that capacity: when a step is written, all but the
// capacity before it has left the pipe, since the pipe holds so many pages or
// parts of them and no call returns before its bytes are in. It is the double
// buffer of F. Mazzoli, "How fast are Linux pipes anyway?", mazzo.li, 2022.
//
// Without SPLICE_F_GIFT: gifted pages may not be written again (vmsplice(2)), and
// these are.
type vmspliceChannel struct {
	stream
	area   []byte // mapped twice, so that no step wraps
	half   int    // bytes of the pipe, and of half the area
	at     int    // where in the area the next step begins
	vector unix.Iovec
}

func newVmspliceChannel(c Config) (_ Channel, err error) {
	s, err := newStream(c, 2, twoPipes)
	if err != nil {
		return nil, err
	}
	v := &vmspliceChannel{stream: *s}
	if v.half, err = unix.FcntlInt(v.out.Fd(), unix.F_GETPIPE_SZ, 0); err != nil {
		err = os.NewSyscallError("fcntl F_GETPIPE_SZ", err)
	} else {
		v.area, err = newArea(2 * v.half)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return v, nil
}

// newArea returns memory of that size, twice in a row. It is not of Go's heap,
// which would give pages that are still in the pipe to others after Close.
func newArea(size int) ([]byte, error) {
	memory, err := newMemfd()
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	if err := allocate(memory, int64(size)); err != nil {
		return nil, err
	}
	return mapTwice(memory, 0, size)
}

func (v *vmspliceChannel) Send(p *Plan, produce Producer) error {
	out := int(v.out.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		for b := produce(p.Piece(i)); len(b) > 0; {
			n := copy(v.area[v.at:][:v.half], b)
			if err := v.splice(out, v.area[v.at:][:n]); err != nil {
				return err
			}
			v.at = (v.at + n) % (2 * v.half)
			b = b[n:]
		}
	}
	return nil
}

// splice hands all of b to the pipe.
func (v *vmspliceChannel) splice(out int, b []byte) error {
	for len(b) > 0 {
		v.vector = unix.Iovec{Base: &b[0], Len: uint64(len(b))}
		n, err := retry(unix.SYS_VMSPLICE, uintptr(out), uintptr(unsafe.Pointer(&v.vector)), 1, 0, 0, 0)
		if err != nil {
			return os.NewSyscallError("vmsplice", err)
		}
		b = b[n:]
	}
	return nil
}

func (v *vmspliceChannel) Close() error {
	return errors.Join(unmapTwice(v.area), v.stream.Close())
}
