package iomethodtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"iopath/internal/peer"
	"iopath/workloads/iomethod"
)

// transports are those of package peer that differ in how methods take them: TCP
// is TCP also where it does not go over loopback.
var transports = []string{"tcp", "unix"}

// A link is two connected sockets. Whoever waits at one is woken when the
// case's time is up.
type link struct {
	ours, theirs *os.File
	socket       int // ours: once and for all, since every call of Fd may make it block
	cancel       func() bool
}

func connect(ctx context.Context, transport string) (*link, error) {
	ours, theirs, err := peer.Pair(transport)
	if err != nil {
		return nil, err
	}
	l := &link{ours: ours, theirs: theirs, socket: int(ours.Fd())}
	theirSocket := int(theirs.Fd())
	l.cancel = context.AfterFunc(ctx, func() {
		unix.Shutdown(l.socket, unix.SHUT_RDWR)
		unix.Shutdown(theirSocket, unix.SHUT_RDWR)
	})
	return l, nil
}

func (l *link) close() {
	l.cancel()
	l.ours.Close()
	l.theirs.Close()
}

// squeeze makes the sending buffer as small as the kernel lets us, so that calls
// wait amid their bytes, and the receiving one as small as it bears: where TCP's
// window is smaller than a segment of loopback, each segment waits for a timer
// (1 MiB took 44 s with the smallest, 1 ms with this one).
func (l *link) squeeze() error {
	return errors.Join(
		unix.SetsockoptInt(l.socket, unix.SOL_SOCKET, unix.SO_SNDBUF, 1),
		unix.SetsockoptInt(int(l.theirs.Fd()), unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<10),
	)
}

// An inbox is what arrives at the other side.
type inbox struct {
	done chan struct{}
	got  []byte
	err  error
}

// receive takes in all that arrives until the stream ends: greedily, or slowly
// in pieces of odd sizes. It calls first, where there is one, after the first
// piece, and stops where that fails.
func receive(f *os.File, slow bool, first func() error) *inbox {
	in := &inbox{done: make(chan struct{}), got: make([]byte, 0, 2*fileSize+64<<10)}
	sizes := []int{64 << 10}
	if slow {
		sizes = []int{1, 4099, 13, 1021, 7, 2311}
	}
	buf := make([]byte, slices.Max(sizes))
	go func() {
		defer close(in.done)
		for i := 0; ; i++ {
			n, err := f.Read(buf[:sizes[i%len(sizes)]])
			in.got = append(in.got, buf[:n]...)
			if err == nil && i == 0 && first != nil {
				err = first()
			}
			if err != nil {
				if err != io.EOF {
					in.err = err
				}
				return
			}
			if slow {
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	return in
}

// A delivery is jobs of one sender, and how the other side takes them.
type delivery struct {
	transport string
	size      int64 // bytes of the file
	plans     []*iomethod.Plan
	squeezed  bool // the sockets' buffers are small
	slow      bool // and so is the receiver
	signals   bool
}

// mark is sent after the sender was closed, to show that the socket still works.
const mark = "the end"

// run checks that what the plans say arrives, and that the socket is afterwards
// what it was.
func (d delivery) run(ctx context.Context, m iomethod.Method, dir string) error {
	f, err := newFile(dir, d.size)
	if err != nil {
		return err
	}
	l, err := connect(ctx, d.transport)
	if err != nil {
		return err
	}
	defer l.close()
	if d.squeezed {
		if err := l.squeeze(); err != nil {
			return err
		}
	}
	in := receive(l.theirs, d.slow, nil)
	if d.signals {
		stop, err := interrupt()
		if err != nil {
			return err
		}
		defer stop()
	}
	paces := make([]pacer, len(d.plans))
	plans := make([]*iomethod.Plan, len(d.plans))
	for i, p := range d.plans {
		plans[i] = paces[i].paced(p)
	}
	sent := send(m, f, l, plans...)
	for i, p := range d.plans {
		if err := paces[i].verdict(m, p); sent.err == nil && err != nil {
			sent.err = fmt.Errorf("job %d: %w", i, err)
		}
	}
	// What follows is ours, not the method's: it must not be taken for it.
	flags, flagsErr := unix.FcntlInt(uintptr(l.socket), unix.F_GETFL, 0)
	writeErr := writeAll(l.socket, mark)
	unix.Shutdown(l.socket, unix.SHUT_WR)
	<-in.done
	jobs := d.plans[:sent.jobs]
	arrived := differ("the other side", unwrap(in.got, sent.preamble, jobs), append(expect(m, f, jobs), mark...))
	switch {
	case errors.Is(sent.err, errors.ErrUnsupported) && arrived != nil:
		return fmt.Errorf("got %d bytes sent by a method that refused: %v", len(in.got), sent.err)
	case sent.err != nil:
		return sent.err
	case in.err != nil:
		return fmt.Errorf("receive: %w", in.err)
	case flagsErr != nil || writeErr != nil:
		return fmt.Errorf("after Close: got a socket that fails, want it open: %v", errors.Join(flagsErr, writeErr))
	case flags&unix.O_NONBLOCK != 0:
		return errors.New("after Close: got a socket that does not block, want it as it was")
	}
	return arrived
}

// expect returns what the jobs send.
func expect(m iomethod.Method, f file, jobs []*iomethod.Plan) []byte {
	want := make([]byte, 0, 2*fileSize+64<<10)
	for _, p := range jobs {
		for i := range p.Pieces() {
			if off, n := p.Piece(i); !m.Idle {
				want = append(want, f.content[off:][:n]...)
			}
		}
	}
	return want
}

// An outcome is what became of a sender's jobs.
type outcome struct {
	preamble int // the length of each job's
	jobs     int // that ended well
	err      error
}

// send runs the jobs on one sender.
func send(m iomethod.Method, f file, l *link, plans ...*iomethod.Plan) (out outcome) {
	c := f.config(plans...)
	c.Socket = l.socket
	s, err := m.Sender.New(c)
	if err != nil {
		return outcome{err: fmt.Errorf("construct: got %w, want nil", err)}
	}
	defer func() {
		if e := s.Close(); out.err == nil && e != nil {
			out.err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	out.preamble = preambleOf(s)
	for i, p := range plans {
		if err := s.Send(p); err != nil {
			out.err = fmt.Errorf("job %d: got %w, want nil", i, err)
			return out
		}
		out.jobs++
	}
	return out
}

func preambleOf(s iomethod.Sender) int {
	if p, ok := s.(iomethod.Preambler); ok {
		return p.Preamble()
	}
	return 0
}

// unwrap returns what arrived, without the preamble of each job that has bytes.
func unwrap(got []byte, preamble int, plans []*iomethod.Plan) []byte {
	var bytes []byte
	for _, p := range plans {
		if p.Bytes() == 0 {
			continue
		}
		got = got[min(preamble, len(got)):]
		n := min(int(p.Bytes()), len(got))
		bytes, got = append(bytes, got[:n]...), got[n:]
	}
	return append(bytes, got...)
}

// bears is nil where the sender can be constructed on that transport, which every
// one must on one of them at least.
func bears(ctx context.Context, m iomethod.Method, dir, transport string) error {
	f, err := newFile(dir, smallSize)
	if err != nil {
		return err
	}
	l, err := connect(ctx, transport)
	if err != nil {
		return err
	}
	defer l.close()
	return send(m, f, l).err
}

// taken makes a refusal of what cannot be refused a failure: jobs on a transport
// that the method has taken, and every transport.
func taken(ctx context.Context, m iomethod.Method, dir, transport string, refusal error) error {
	if !errors.Is(bears(ctx, m, dir, transport), errors.ErrUnsupported) {
		return mandatory(wholePages, refusal)
	}
	for _, other := range transports {
		if other != transport && bears(ctx, m, dir, other) == nil {
			return refusal
		}
	}
	return fmt.Errorf("refused every transport: %v", refusal)
}

func writeAll(fd int, s string) error {
	for len(s) > 0 {
		n, err := unix.Write(fd, []byte(s))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		s = s[max(n, 0):]
	}
	return nil
}

func senderCases(m iomethod.Method) []Case {
	var cases []Case
	for _, transport := range transports {
		add := func(name string, run func(ctx context.Context, dir string) error) {
			cases = append(cases, Case{"sender/" + transport + "/" + name, run})
		}
		deliver := func(name string, d delivery) {
			d.transport = transport
			add(name, func(ctx context.Context, dir string) error {
				err := d.run(ctx, m, dir)
				if name == wholePages && errors.Is(err, errors.ErrUnsupported) {
					err = taken(ctx, m, dir, transport, err)
				}
				return err
			})
		}
		for _, s := range stretches() {
			deliver(s.name, delivery{size: s.size, plans: s.plans})
		}
		whole := func(size int64, block int) []*iomethod.Plan {
			return []*iomethod.Plan{{Length: size, Block: block}}
		}
		deliver("small buffers", delivery{size: fileSize, plans: whole(fileSize, 64<<10), squeezed: true})
		const some = 200_003
		deliver("small buffers, slow receiver", delivery{size: some, plans: whole(some, 4096), squeezed: true, slow: true})
		deliver("signals", delivery{size: fileSize, plans: whole(fileSize, 64<<10), signals: true})
		deliver("signals, small buffers", delivery{size: fileSize, plans: whole(fileSize, 64<<10), squeezed: true, signals: true})

		add("descriptors and mappings", func(ctx context.Context, dir string) error {
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			l, err := connect(ctx, transport)
			if err != nil {
				return err
			}
			in := receive(l.theirs, false, nil)
			defer func() { unix.Shutdown(l.socket, unix.SHUT_WR); <-in.done; l.close() }()
			return released(f, func() error { return send(m, f, l, whole(fileSize, 65536)...).err })
		})
		add("allocations", func(ctx context.Context, dir string) (err error) {
			// A job that the socket's buffer takes whole needs no other side
			// meanwhile: there is but one P while allocations are counted.
			const size = 16 << 10
			f, err := newFile(dir, size)
			if err != nil {
				return err
			}
			l, err := connect(ctx, transport)
			if err != nil {
				return err
			}
			defer l.close()
			plan := whole(size, 4096)[0]
			c := f.config(plan)
			c.Socket = l.socket
			s, err := m.Sender.New(c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			buf := make([]byte, preambleOf(s)+size)
			return allocations(m, func() error {
				if err := s.Send(plan); err != nil || m.Idle {
					return err
				}
				_, err := io.ReadFull(l.theirs, buf)
				return err
			})
		})
		if m.Idle {
			add("touches nothing", func(ctx context.Context, dir string) error {
				l, err := connect(ctx, transport)
				if err != nil {
					return err
				}
				defer l.close()
				return send(m, file{path: filepath.Join(dir, "missing")}, l, whole(fileSize, 4096)...).err
			})
			continue
		}

		// What goes wrong on the way. Buffers are small, so that the job is not
		// over before it happens.
		troubled := func(name string, before func(f file, l *link) error, amid func(f file, l *link) error, check func(sent error, all bool) error) {
			add(name, func(ctx context.Context, dir string) error {
				f, err := newFile(dir, fileSize)
				if err != nil {
					return err
				}
				l, err := connect(ctx, transport)
				if err != nil {
					return err
				}
				defer l.close()
				if err := errors.Join(l.squeeze(), before(f, l)); err != nil {
					return err
				}
				in := receive(l.theirs, false, func() error { return amid(f, l) })
				plans := whole(fileSize, 4096)
				sent := send(m, f, l, plans...)
				unix.Shutdown(l.socket, unix.SHUT_RDWR)
				<-in.done
				if errors.Is(sent.err, errors.ErrUnsupported) {
					return sent.err
				}
				return check(sent.err, differ("", unwrap(in.got, sent.preamble, plans), f.content) == nil)
			})
		}
		nothing := func(file, *link) error { return nil }
		gone := func(sent error, _ bool) error {
			if !errors.Is(sent, unix.EPIPE) && !errors.Is(sent, unix.ECONNRESET) {
				return fmt.Errorf("got error %v, want EPIPE or ECONNRESET", sent)
			}
			return nil
		}
		short := func(sent error, all bool) error {
			if sent == nil && !all { // with all of them, it had read ahead
				return errors.New("got no error for bytes that the file no longer had, want one")
			}
			return nil
		}
		leave := func(_ file, l *link) error { return l.theirs.Close() }
		shrink := func(to int64) func(file, *link) error {
			return func(f file, _ *link) error { return os.Truncate(f.path, to) }
		}
		page := int64(os.Getpagesize())
		troubled("receiver gone before the job", leave, nothing, gone)
		troubled("receiver goes away", nothing, leave, gone)
		troubled("file one byte short", shrink(fileSize-1), nothing, short)
		troubled("file many pages short", shrink(2*page), nothing, short)
		troubled("file emptied", shrink(0), nothing, short)
		troubled("file shrinks meanwhile", nothing, shrink(2*page), short)

		add("missing file", func(ctx context.Context, dir string) error {
			l, err := connect(ctx, transport)
			if err != nil {
				return err
			}
			defer l.close()
			return missing(dir, func(c iomethod.Config) error {
				c.Socket = l.socket
				s, err := m.Sender.New(c)
				if err == nil {
					s.Close()
				}
				return err
			})
		})
		add("directory", func(ctx context.Context, dir string) error {
			l, err := connect(ctx, transport)
			if err != nil {
				return err
			}
			defer l.close()
			if err := send(m, file{path: dir}, l, whole(4096, 4096)...).err; err == nil {
				return errors.New("got no error, want one from New or Send")
			}
			return nil
		})
	}
	return cases
}
