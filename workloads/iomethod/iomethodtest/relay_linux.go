package iomethodtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
)

// A route is the transports of a relay's two sockets.
type route struct{ from, to string }

func (r route) String() string {
	if r.from == r.to {
		return r.from
	}
	return r.from + " to " + r.to
}

// routes are those from each transport to each.
func routes() (all []route) {
	for _, from := range transports {
		for _, to := range transports {
			all = append(all, route{from, to})
		}
	}
	return all
}

// A junction is two links: what the other side of the first sends, the other side of
// the second is to receive.
type junction struct{ in, out *link }

func (r route) connect(ctx context.Context) (junction, error) {
	in, err := connect(ctx, r.from)
	if err != nil {
		return junction{}, err
	}
	out, err := connect(ctx, r.to)
	if err != nil {
		in.close()
		return junction{}, err
	}
	return junction{in, out}, nil
}

func (j junction) close() {
	j.in.close()
	j.out.close()
}

// A transfer is jobs of one relay, and how the two other sides send and take them.
type transfer struct {
	route
	plans        []*iomethod.Plan
	squeezed     bool // the sockets' buffers are small
	slowSender   bool
	slowReceiver bool
	signals      bool
}

// run checks that what the jobs are to relay arrives, that what follows them is
// still in the socket, and that the sockets are afterwards what they were.
func (t transfer) run(ctx context.Context, m iomethod.Method) error {
	j, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer j.close()
	if t.squeezed {
		if err := errors.Join(j.in.squeezeIn(), j.out.squeeze()); err != nil {
			return err
		}
	}
	inbox := receive(j.out.theirs, t.slowReceiver, nil)
	feed := j.in.send(append(streamed(t.plans), mark...), t.slowSender, j.in.hangUp)
	defer feed.stop()
	if t.signals {
		stop, err := interrupt()
		if err != nil {
			return err
		}
		defer stop()
	}
	jobs, failed := passOn(m, j, t.plans...)
	changed := errors.Join(blocks(j.in.socket), blocks(j.out.socket))
	wrote := writeAll(j.out.socket, mark)
	unix.Shutdown(j.out.socket, unix.SHUT_WR)
	<-inbox.done
	if failed != nil && !errors.Is(failed, errors.ErrUnsupported) {
		return failed
	}
	left, err := rest(j.in.socket)
	if err := errors.Join(changed, wrote, err, inbox.err); err != nil {
		return fmt.Errorf("the sockets after the jobs: %w", err)
	}
	err = errors.Join(
		differ("the other side", inbox.got, append(streamed(t.plans[:jobs]), mark...)),
		differ("what is left in the socket", left, append(streamed(t.plans[jobs:]), mark...)))
	if failed != nil && err != nil {
		return fmt.Errorf("got a job done by a method that refused it: %v: %v", failed, err)
	}
	return errors.Join(err, failed)
}

// passOn runs the jobs on one relay, and returns how many of them ended well.
func passOn(m iomethod.Method, j junction, plans ...*iomethod.Plan) (jobs int, err error) {
	c := file{}.config(plans...)
	c.From, c.Socket = j.in.socket, j.out.socket
	r, err := m.Relay.New(c)
	if err != nil {
		return 0, fmt.Errorf("construct: got %w, want nil", err)
	}
	defer closing(r, &err)
	return inTurn(m, plans, r.Relay)
}

func relayCases(m iomethod.Method) []Case {
	var cases []Case
	for _, here := range routes() {
		add := func(name string, run func(ctx context.Context, dir string) error) {
			cases = append(cases, Case{"relay/" + here.String() + "/" + name, run})
		}
		pass := func(name string, t transfer) {
			t.route = here
			add(name, func(ctx context.Context, _ string) error {
				err := t.run(ctx, m)
				if name != wholePages {
					return err
				}
				return somewhere(err, here, routes(), func(other route) error {
					t := t
					t.route = other
					return t.run(ctx, m)
				})
			})
		}
		for i, s := range stretches() {
			// The offsets mean nothing to a relay, and so does an order. Between
			// different transports, two of them are enough.
			if s.plans[0].Order == nil && (here.from == here.to || i < 2) {
				pass(s.name, transfer{plans: s.plans})
			}
		}
		whole := []*iomethod.Plan{{Length: fileSize, Block: 64 << 10}}
		some := []*iomethod.Plan{{Length: 200_003, Block: 4096}}
		pass("slow sender", transfer{plans: some, slowSender: true})
		pass("small buffers", transfer{plans: whole, squeezed: true})
		pass("small buffers, slow receiver", transfer{plans: some, squeezed: true, slowReceiver: true})
		pass("signals", transfer{plans: whole, signals: true})
		pass("signals, small buffers", transfer{plans: whole, squeezed: true, signals: true})

		// joined hands do a junction.
		joined := func(do func(j junction) error) func(ctx context.Context, dir string) error {
			return func(ctx context.Context, _ string) error {
				j, err := here.connect(ctx)
				if err != nil {
					return err
				}
				defer j.close()
				return do(j)
			}
		}
		add("descriptors", joined(func(j junction) error {
			inbox := receive(j.out.theirs, false, nil)
			defer func() { unix.Shutdown(j.out.socket, unix.SHUT_WR); <-inbox.done }()
			return released(file{path: "no file"}, func() error {
				return unpooled(m, func() error {
					feed := j.in.send(streamed(whole), false, nil)
					_, err := passOn(m, j, whole...)
					if err != nil {
						feed.stop()
					}
					<-feed.done
					return err
				})
			})
		}))
		add("allocations", joined(func(j junction) (err error) {
			// A job that both sockets' buffers take whole: there is but one P while
			// allocations are counted.
			plan := &iomethod.Plan{Length: 16 << 10, Block: 4096}
			r, err := m.Relay.New(iomethod.Config{Block: plan.Block, From: j.in.socket, Socket: j.out.socket})
			if err != nil {
				return err
			}
			defer closing(r, &err)
			theirs, data := int(j.in.theirs.Fd()), content()[:plan.Length]
			buf := make([]byte, len(data))
			return allocations(m, func() error {
				if n, err := unix.Write(theirs, data); n < len(data) {
					return fmt.Errorf("send %d bytes: %d, %w", len(data), n, err)
				}
				if err := r.Relay(plan); err != nil {
					return err
				}
				_, err := io.ReadFull(j.out.theirs, buf)
				return err
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
			add(c.name, joined(func(j junction) error {
				inbox := receive(j.out.theirs, false, nil)
				feed := j.in.send(content()[:c.sent], false, j.in.hangUp)
				defer feed.stop()
				_, err := passOn(m, j, whole...)
				unix.Shutdown(j.out.socket, unix.SHUT_WR)
				<-inbox.done
				if errors.Is(err, errors.ErrUnsupported) {
					return err
				}
				if !bytes.HasPrefix(content()[:c.sent], inbox.got) {
					return differ("the other side", inbox.got, content()[:c.sent])
				}
				return ended(err)
			}))
		}
		// lost runs a job whose receiver goes away: before it, or amid it.
		lost := func(amid bool) func(junction) error {
			return func(j junction) error {
				if err := j.out.squeeze(); err != nil {
					return err
				}
				leave := func() error { return j.out.theirs.Close() }
				if amid {
					inbox := receive(j.out.theirs, false, leave)
					defer func() { unix.Shutdown(j.out.socket, unix.SHUT_RDWR); <-inbox.done }()
				} else if err := leave(); err != nil {
					return err
				}
				feed := j.in.send(content(), false, j.in.hangUp)
				defer feed.stop()
				_, err := passOn(m, j, whole...)
				switch {
				case errors.Is(err, errors.ErrUnsupported):
					return err
				case !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET):
					return fmt.Errorf("got error %v, want EPIPE or ECONNRESET", err)
				}
				return nil
			}
		}
		add("receiver gone before the job", joined(lost(false)))
		add("receiver goes away", joined(lost(true)))
	}
	return cases
}
