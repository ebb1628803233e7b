package iomethodtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
)

// A feed is what the other side of a socket sends.
type feed struct {
	theirs int
	done   chan struct{}
}

// send begins to send the data: at once, or slowly in pieces of odd sizes. It calls
// then, where there is one, after the last byte.
func (l *link) send(data []byte, slow bool, then func()) *feed {
	sizes := []int{max(len(data), 1)}
	if slow {
		sizes = []int{1, 4099, 13, 1021, 7, 2311}
	}
	f := &feed{int(l.theirs.Fd()), make(chan struct{})}
	go func() {
		defer close(f.done)
		for i := 0; len(data) > 0; i++ {
			n, err := l.theirs.Write(data[:min(sizes[i%len(sizes)], len(data))])
			if err != nil {
				return // who receives will miss it
			}
			data = data[n:]
			if slow {
				time.Sleep(50 * time.Microsecond)
			}
		}
		if then != nil {
			then()
		}
	}()
	return f
}

// hangUp ends the stream after what was sent.
func (l *link) hangUp() { unix.Shutdown(int(l.theirs.Fd()), unix.SHUT_WR) }

// stop ends the feed, whatever nobody took.
func (f *feed) stop() {
	unix.Shutdown(f.theirs, unix.SHUT_RDWR)
	<-f.done
}

// squeezeIn is squeeze for the other direction.
func (l *link) squeezeIn() error {
	return errors.Join(
		unix.SetsockoptInt(int(l.theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 1),
		unix.SetsockoptInt(l.socket, unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<10),
	)
}

// blocks reports whether the socket is open and blocks, as it was, and makes it block.
func blocks(socket int) error {
	flags, err := unix.FcntlInt(uintptr(socket), unix.F_GETFL, 0)
	switch {
	case err != nil:
		return fmt.Errorf("after Close: got a socket that fails, want it open: %w", err)
	case flags&unix.O_NONBLOCK != 0:
		return errors.Join(errors.New("after Close: got a socket that does not block, want it as it was"), unix.SetNonblock(socket, false))
	}
	return nil
}

// rest is what is left in the socket until its stream ends.
func rest(socket int) (left []byte, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(socket, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			return left, err
		default:
			left = append(left, buf[:n]...)
		}
	}
}

// streamed is what is sent for the jobs.
func streamed(plans []*iomethod.Plan) []byte {
	var stream []byte
	for _, p := range plans {
		for i := range p.Pieces() {
			off, n := p.Piece(i)
			stream = append(stream, content()[off:][:n]...)
		}
	}
	return stream
}

// ascending reports whether the plans are such as a receiver gets.
func ascending(plans []*iomethod.Plan) bool {
	for _, p := range plans {
		for i := 1; i < len(p.Order); i++ {
			if p.Order[i] <= p.Order[i-1] {
				return false
			}
		}
	}
	return true
}

// receivable are the stretches that a receiver can be given.
func receivable() (some []stretch) {
	for _, s := range stretches() {
		if ascending(s.plans) {
			some = append(some, s)
		}
	}
	return append(some, stretch{"pieces with gaps", fileSize, []*iomethod.Plan{
		{Start: 4095, Length: 1 << 20, Block: 4097, Order: []uint32{0, 1, 7, 8, 100, 255}},
	}})
}

// An intake is jobs of one receiver, and how the other side sends them.
type intake struct {
	transport string
	before    []byte // in the target
	plans     []*iomethod.Plan
	squeezed  bool // the sockets' buffers are small
	slow      bool // and so is the sender
	signals   bool
}

// run checks that the bytes of the jobs are where the plans say, that all others are
// what they were, and that what follows the jobs is still in the socket.
func (in intake) run(ctx context.Context, m iomethod.Method, dir string) error {
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, in.before, 0o644); err != nil {
		return err
	}
	l, err := connect(ctx, in.transport)
	if err != nil {
		return err
	}
	defer l.close()
	if in.squeezed {
		if err := l.squeezeIn(); err != nil {
			return err
		}
	}
	feed := l.send(append(streamed(in.plans), mark...), in.slow, l.hangUp)
	defer feed.stop()
	if in.signals {
		stop, err := interrupt()
		if err != nil {
			return err
		}
		defer stop()
	}
	jobs, failed := takeIn(m, l, target, in.plans...)
	if failed != nil && !errors.Is(failed, errors.ErrUnsupported) {
		return failed
	}
	changed := blocks(l.socket)
	left, err := rest(l.socket)
	if err != nil {
		return fmt.Errorf("receive what follows the jobs: %w", errors.Join(changed, err))
	}
	got, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	want := in.before
	for _, p := range in.plans[:jobs] {
		want = copied(m, file{content: content()}, want, p)
	}
	err = errors.Join(changed, differ("the target", got, want),
		differ("what is left in the socket", left, append(streamed(in.plans[jobs:]), mark...)))
	if failed != nil && err != nil {
		return fmt.Errorf("got a job done by a method that refused it: %v: %v", failed, err)
	}
	return errors.Join(err, failed)
}

// takeIn runs the jobs on one receiver, and returns how many of them ended well.
func takeIn(m iomethod.Method, l *link, target string, plans ...*iomethod.Plan) (jobs int, err error) {
	c := file{}.config(plans...)
	c.Target, c.Socket, c.From = target, l.socket, -1
	r, err := m.Receiver.New(c)
	if err != nil {
		return 0, fmt.Errorf("construct: got %w, want nil", err)
	}
	defer closing(r, &err)
	return inTurn(m, plans, r.Receive)
}

// inTurn runs the jobs one after another, and returns how many of them ended well.
func inTurn(m iomethod.Method, plans []*iomethod.Plan, job func(*iomethod.Plan) error) (jobs int, err error) {
	for i, p := range plans {
		var pace pacer
		if err := job(pace.paced(p)); err != nil {
			return i, fmt.Errorf("job %d: got %w, want nil", i, err)
		}
		if err := pace.verdict(m, p); err != nil {
			return i, fmt.Errorf("job %d: %w", i, err)
		}
	}
	return len(plans), nil
}

// somewhere makes the refusal of whole pages a failure, unless the method takes them
// by other sockets.
func somewhere[T comparable](refusal error, here T, all []T, run func(T) error) error {
	if !errors.Is(refusal, errors.ErrUnsupported) {
		return refusal
	}
	for _, other := range all {
		if other != here && run(other) == nil {
			return refusal
		}
	}
	return mandatory(wholePages, refusal)
}

// unpooled runs a life of the method, and has Go let go of the pipes that it keeps
// in a pool for splice(2) (package internal/poll): how many those are depends on
// which of its Ps was at work.
func unpooled(m iomethod.Method, life func() error) error {
	if !m.Idiomatic {
		return life()
	}
	before, err := descriptors()
	if err != nil {
		return err
	}
	failed := life()
	for began := time.Now(); time.Since(began) < time.Second; time.Sleep(time.Millisecond) {
		if more, err := newPipes(before); err != nil || !more {
			break
		}
		runtime.GC()
	}
	return failed
}

// newPipes reports whether a descriptor is open on a pipe that was not before.
func newPipes(before map[string]string) (bool, error) {
	now, err := descriptors()
	for fd, link := range now {
		if before[fd] != link && strings.HasPrefix(link, "pipe:") {
			return true, err
		}
	}
	return false, err
}

func receiverCases(m iomethod.Method) []Case {
	var cases []Case
	for _, transport := range transports {
		add := func(name string, run func(ctx context.Context, dir string) error) {
			cases = append(cases, Case{"receiver/" + transport + "/" + name, run})
		}
		take := func(name string, in intake) {
			in.transport = transport
			add(name, func(ctx context.Context, dir string) error {
				err := in.run(ctx, m, dir)
				if name != wholePages {
					return err
				}
				return somewhere(err, transport, transports, func(other string) error {
					in := in
					in.transport = other
					return in.run(ctx, m, dir)
				})
			})
		}
		for _, s := range receivable() {
			take(s.name, intake{before: other(int(s.size)), plans: s.plans})
			take("empty target, "+s.name, intake{plans: s.plans})
		}
		whole := []*iomethod.Plan{{Length: fileSize, Block: 64 << 10}}
		inside := []*iomethod.Plan{{Start: 12345, Length: 200_003, Block: 4096}}
		longer := other(fileSize + 10001)
		take("longer target", intake{before: longer, plans: whole})
		take("slow sender", intake{before: longer, plans: inside, slow: true})
		take("small buffers", intake{plans: whole, squeezed: true})
		take("small buffers, slow sender", intake{plans: inside, squeezed: true, slow: true})
		take("signals", intake{plans: whole, signals: true})
		take("signals, slow sender", intake{plans: inside, squeezed: true, slow: true, signals: true})

		// receiving hands do a target and connected sockets.
		receiving := func(do func(l *link, target string) error) func(ctx context.Context, dir string) error {
			return func(ctx context.Context, dir string) error {
				target := filepath.Join(dir, "target")
				if err := os.WriteFile(target, nil, 0o644); err != nil {
					return err
				}
				l, err := connect(ctx, transport)
				if err != nil {
					return err
				}
				defer l.close()
				return do(l, target)
			}
		}
		add("descriptors and mappings", receiving(func(l *link, target string) error {
			return released(file{path: target}, func() error {
				return unpooled(m, func() error {
					feed := l.send(streamed(whole), false, nil)
					_, err := takeIn(m, l, target, whole...)
					if err != nil {
						feed.stop()
					}
					<-feed.done
					return err
				})
			})
		}))
		add("allocations", receiving(func(l *link, target string) (err error) {
			// A job that the socket's buffer takes whole: there is but one P while
			// allocations are counted.
			plan := &iomethod.Plan{Length: 16 << 10, Block: 4096}
			r, err := m.Receiver.New(iomethod.Config{Target: target, Block: plan.Block, Socket: l.socket, From: -1})
			if err != nil {
				return err
			}
			defer closing(r, &err)
			theirs, data := int(l.theirs.Fd()), content()[:plan.Length]
			return allocations(m, func() error {
				if n, err := unix.Write(theirs, data); n < len(data) {
					return fmt.Errorf("send %d bytes: %d, %w", len(data), n, err)
				}
				return r.Receive(plan)
			})
		}))
		for _, c := range []struct {
			name string
			sent int // bytes
		}{
			{"sender gone before the job", 0},
			{"sender goes away amid a piece", 3*(64<<10) + 17},
			{"sender goes away between two pieces", 3 * (64 << 10)},
			{"sender one byte short", fileSize - 1},
		} {
			add(c.name, receiving(func(l *link, target string) error {
				feed := l.send(content()[:c.sent], false, l.hangUp)
				defer feed.stop()
				_, err := takeIn(m, l, target, whole...)
				if errors.Is(err, errors.ErrUnsupported) {
					return err
				}
				return ended(err)
			}))
		}
		add("target shrinks meanwhile", receiving(func(l *link, target string) (err error) {
			feed := l.send(content(), false, l.hangUp)
			defer feed.stop()
			plan := &iomethod.Plan{Length: fileSize, Block: 4096, Pace: func(i int) {
				if i == 100 {
					os.Truncate(target, 4096)
				}
			}}
			r, err := m.Receiver.New(iomethod.Config{Target: target, Block: plan.Block, Socket: l.socket, From: -1})
			if err != nil {
				return err
			}
			defer closing(r, &err)
			if err := r.Receive(plan); err != nil {
				return nil
			}
			got, err := os.ReadFile(target)
			if err == nil {
				const after = 100 * 4096
				err = differ("what came after the target had shrunk", got[min(after, len(got)):], content()[after:])
			}
			return err
		}))
		add("full target", receiving(func(l *link, _ string) error {
			const full = "/dev/full" // full(4)
			if _, err := os.Stat(full); err != nil {
				return fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
			}
			feed := l.send(content(), false, l.hangUp)
			defer feed.stop()
			if _, err := takeIn(m, l, full, whole...); err == nil {
				return errors.New("got no error from a target that has no room, want one")
			}
			return nil
		}))
		// refused runs a job that must end in an error, of New or of Receive.
		refused := func(l *link, target string, check func(error) error) error {
			feed := l.send(content(), false, l.hangUp)
			defer feed.stop()
			_, err := takeIn(m, l, target, whole...)
			return check(err)
		}
		add("directory", receiving(func(l *link, target string) error {
			return refused(l, filepath.Dir(target), func(err error) error {
				if err == nil {
					return errors.New("got no error, want one from New or Receive")
				}
				return nil
			})
		}))
		add("read-only target", receiving(func(l *link, target string) error {
			if os.Geteuid() == 0 {
				return fmt.Errorf("root may write what is read-only: %w", errors.ErrUnsupported)
			}
			if err := os.Chmod(target, 0o444); err != nil {
				return err
			}
			return refused(l, target, func(err error) error {
				if !errors.Is(err, fs.ErrPermission) {
					return fmt.Errorf("got error %v, want one that matches fs.ErrPermission", err)
				}
				return nil
			})
		}))
		add("missing target", receiving(func(l *link, target string) error {
			return missing(filepath.Dir(target), func(c iomethod.Config) error {
				c.Target, c.Path, c.Socket, c.From = c.Path, "", l.socket, -1
				r, err := m.Receiver.New(c)
				if err == nil {
					err = r.Receive(&iomethod.Plan{})
					r.Close()
				}
				if _, stat := os.Stat(c.Target); stat == nil {
					return errors.New("got a target created, want none")
				}
				return err
			})
		}))
	}
	return cases
}

// ended is nil where a stream that ends too early was seen as such.
func ended(err error) error {
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("got error %v, want one that matches io.ErrUnexpectedEOF", err)
	}
	return nil
}
