package iomethod_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
)

// A socketFlaw is a receiver or a relay that is wrong on purpose. The right one,
// from which each differs by one thing, passes all cases.
type socketFlaw struct {
	name string
	// One of the two: a job by read and pwrite, or by read and write.
	receive func(b *brokenSocket, p *iomethod.Plan) error
	relay   func(b *brokenSocket, p *iomethod.Plan) error
	// The constructor and Close, where they are at fault.
	open  func(c iomethod.Config) (*os.File, error)
	close func(b *brokenSocket) error
	// caught names cases without their role and transport.
	caught []string
}

// A brokenSocket is the state of such a method.
type brokenSocket struct {
	flaw   socketFlaw
	f      *os.File // the target; of a relay, anything
	buf    []byte   // with room for a byte more than a block
	config iomethod.Config
	from   int
}

func (b *brokenSocket) Receive(p *iomethod.Plan) error { return b.flaw.receive(b, p) }
func (b *brokenSocket) Relay(p *iomethod.Plan) error   { return b.flaw.relay(b, p) }
func (b *brokenSocket) Close() error {
	if b.flaw.close != nil {
		return b.flaw.close(b)
	}
	return b.f.Close()
}

func (f socketFlaw) method() iomethod.Method {
	construct := func(c iomethod.Config, from int, open func(iomethod.Config) (*os.File, error)) (*brokenSocket, error) {
		if f.open != nil {
			open = f.open
		}
		file, err := open(c)
		if err != nil {
			return nil, err
		}
		return &brokenSocket{f, file, make([]byte, c.Block+1), c, from}, nil
	}
	m := iomethod.Method{Name: "broken", Doc: f.name}
	if f.receive != nil {
		m.Receiver.New = func(c iomethod.Config) (iomethod.Receiver, error) {
			return construct(c, c.Socket, openToWrite(0))
		}
	}
	if f.relay != nil {
		m.Relay.New = func(c iomethod.Config) (iomethod.Relay, error) { return construct(c, c.From, openAny) }
	}
	return m
}

func openToWrite(flags int) func(iomethod.Config) (*os.File, error) {
	return func(c iomethod.Config) (*os.File, error) {
		return os.OpenFile(c.Target, os.O_WRONLY|flags, 0o644)
	}
}

func openAny(iomethod.Config) (*os.File, error) { return os.Open(os.DevNull) }

// onlyTCP refuses another socket than TCP's.
func onlyTCP(socket func(iomethod.Config) int, open func(iomethod.Config) (*os.File, error)) func(iomethod.Config) (*os.File, error) {
	return func(c iomethod.Config) (*os.File, error) {
		f, err := open(c)
		if err != nil {
			return nil, err
		}
		domain, err := unix.GetsockoptInt(socket(c), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err == nil && domain != unix.AF_INET {
			err = fmt.Errorf("on purpose: %w", errors.ErrUnsupported)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

// some takes in what there is, and at most n bytes.
func (b *brokenSocket) some(n int) ([]byte, error) {
	for {
		got, err := unix.Read(b.from, b.buf[:n])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && got == 0 {
			err = io.ErrUnexpectedEOF
		}
		return b.buf[:max(got, 0)], err
	}
}

// take takes in n bytes.
func (b *brokenSocket) take(n int) ([]byte, error) {
	for got := 0; got < n; {
		more, err := unix.Read(b.from, b.buf[got:n])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && more == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		got += more
	}
	return b.buf[:n], nil
}

// put writes all of it to the file.
func (b *brokenSocket) put(off int64, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(int(b.f.Fd()), data, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// pass writes all of it to the other socket.
func (b *brokenSocket) pass(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(b.config.Socket, data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// Three steps of a right job, each of which a flaw can replace.
type (
	taking  func(b *brokenSocket, p *iomethod.Plan, i, n int) ([]byte, error)
	putting func(b *brokenSocket, p *iomethod.Plan, i int, off int64, data []byte) error
	passing func(b *brokenSocket, p *iomethod.Plan, i int, data []byte) error
)

func takeRight(b *brokenSocket, _ *iomethod.Plan, _, n int) ([]byte, error) { return b.take(n) }
func putRight(b *brokenSocket, _ *iomethod.Plan, _ int, off int64, data []byte) error {
	return b.put(off, data)
}
func passRight(b *brokenSocket, _ *iomethod.Plan, _ int, data []byte) error { return b.pass(data) }

func receives(take taking, put putting) func(*brokenSocket, *iomethod.Plan) error {
	return func(b *brokenSocket, p *iomethod.Plan) error {
		for i := range p.Pieces() {
			p.Await(i)
			off, n := p.Piece(i)
			data, err := take(b, p, i, n)
			if err == nil {
				err = put(b, p, i, off, data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func relays(take taking, pass passing) func(*brokenSocket, *iomethod.Plan) error {
	return receives(take, func(b *brokenSocket, p *iomethod.Plan, i int, _ int64, data []byte) error {
		return pass(b, p, i, data)
	})
}

// The right jobs, each as one value.
var (
	receiveRight = receives(takeRight, putRight)
	relayRight   = relays(takeRight, passRight)
)

// What can be wrong with either.

func takeSome(b *brokenSocket, _ *iomethod.Plan, _, n int) ([]byte, error) { return b.some(n) }

// takeTheBuffer hands on the whole buffer, however little came in.
func takeTheBuffer(b *brokenSocket, _ *iomethod.Plan, _, n int) ([]byte, error) {
	_, err := b.some(n)
	return b.buf[:n], err
}

func takeMore(b *brokenSocket, p *iomethod.Plan, i, n int) ([]byte, error) {
	if i < p.Pieces()-1 {
		return b.take(n)
	}
	data, err := b.take(n + 1)
	return data[:min(n, len(data))], err
}

func unawaited(job func(*brokenSocket, *iomethod.Plan) error) func(*brokenSocket, *iomethod.Plan) error {
	return func(b *brokenSocket, p *iomethod.Plan) error {
		q := *p
		q.Pace = nil
		return job(b, &q)
	}
}

func blindTo(job func(*brokenSocket, *iomethod.Plan) error, errs ...error) func(*brokenSocket, *iomethod.Plan) error {
	return func(b *brokenSocket, p *iomethod.Plan) error {
		err := job(b, p)
		for _, e := range errs {
			if errors.Is(err, e) {
				return nil
			}
		}
		return err
	}
}

func allocating(job func(*brokenSocket, *iomethod.Plan) error) func(*brokenSocket, *iomethod.Plan) error {
	return func(b *brokenSocket, p *iomethod.Plan) error {
		b.buf = make([]byte, len(b.buf))
		return job(b, p)
	}
}

func thenRefusing(job func(*brokenSocket, *iomethod.Plan) error) func(*brokenSocket, *iomethod.Plan) error {
	return func(b *brokenSocket, p *iomethod.Plan) error {
		return errors.Join(job(b, p), errors.ErrUnsupported)
	}
}

func refusing(*brokenSocket, *iomethod.Plan) error { return errors.ErrUnsupported }

// losing puts or passes nothing of a last piece that is partial.
func losing(p *iomethod.Plan, i int) bool {
	return i == p.Pieces()-1 && p.Length%int64(p.Block) != 0
}

// replaceSocket makes the number stand for something that nobody else has.
func replaceSocket(socket int) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup2(int(null.Fd()), socket)
}

func leak(b *brokenSocket) error { forget = append(forget, b.f); return nil }

var early = []string{"sender gone before the job", "sender goes away amid a piece", "sender goes away between two pieces", "sender one byte short"}

var socketFlaws = []socketFlaw{
	{name: "nothing is wrong with this receiver", receive: receiveRight},
	{name: "nothing is wrong with this receiver of TCP alone", receive: receiveRight,
		open: onlyTCP(func(c iomethod.Config) int { return c.Socket }, openToWrite(0))},
	{name: "loses the last piece where it is partial", caught: []string{"whole file", "last page of one byte", "empty target, block beyond the file"},
		receive: receives(takeRight, func(b *brokenSocket, p *iomethod.Plan, i int, off int64, data []byte) error {
			if losing(p, i) {
				return nil
			}
			return b.put(off, data)
		})},
	{name: "pads the last piece", caught: []string{"whole file", "longer target"},
		receive: receives(takeRight, func(b *brokenSocket, p *iomethod.Plan, i int, off int64, _ []byte) error {
			return b.put(off, b.buf[:p.Block])
		})},
	{name: "swaps two pieces", caught: []string{"whole pages", "block of 7 bytes"},
		receive: receives(takeRight, func(b *brokenSocket, p *iomethod.Plan, i int, off int64, data []byte) error {
			if i < 2 && p.Pieces() > 2 {
				off, _ = p.Piece(1 - i)
			}
			return b.put(off, data)
		})},
	{name: "writes to the start of the file", caught: []string{"unaligned start to the end", "two jobs, backwards", "empty target, unaligned start, odd length"},
		receive: receives(takeRight, func(b *brokenSocket, p *iomethod.Plan, _ int, off int64, data []byte) error {
			return b.put(off-p.Start, data)
		})},
	{name: "leaves no gaps", caught: []string{"pieces with gaps", "empty target, pieces with gaps"},
		receive: receives(takeRight, func(b *brokenSocket, p *iomethod.Plan, i int, _ int64, data []byte) error {
			return b.put(p.Start+int64(i*p.Block), data)
		})},
	{name: "appends", receive: receiveRight, open: openToWrite(os.O_APPEND), caught: []string{"whole pages", "longer target"}},
	{name: "truncates the target", receive: receiveRight, open: openToWrite(os.O_TRUNC), caught: []string{"longer target", "zero length"}},
	{name: "makes the target", receive: receiveRight, open: openToWrite(os.O_CREATE), caught: []string{"missing target"}},
	{name: "takes a byte too many", receive: receives(takeMore, putRight), caught: []string{"whole pages", "two jobs", "block of 1 byte"}},
	{name: "takes a part of a piece for all of it", receive: receives(takeSome, putRight), caught: []string{"slow sender", "small buffers, slow sender"}},
	{name: "writes all of the buffer", receive: receives(takeTheBuffer, putRight), caught: []string{"slow sender", "signals, slow sender"}},
	{name: "takes the end of the stream for the end of the job", receive: blindTo(receiveRight, io.ErrUnexpectedEOF), caught: early},
	{name: "does not see that the target is full", caught: []string{"full target"},
		receive: receives(takeRight, func(b *brokenSocket, _ *iomethod.Plan, _ int, off int64, data []byte) error {
			if err := b.put(off, data); !errors.Is(err, unix.ENOSPC) {
				return err
			}
			return nil
		})},
	{name: "writes no more than the file had", caught: []string{"empty target, whole pages", "target shrinks meanwhile"},
		receive: receives(takeRight, func(b *brokenSocket, _ *iomethod.Plan, _ int, off int64, data []byte) error {
			var st unix.Stat_t
			if err := unix.Fstat(int(b.f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFREG && off >= st.Size {
				return err
			}
			return b.put(off, data)
		})},
	{name: "does not await its pieces", receive: unawaited(receiveRight), caught: []string{"whole pages", "pieces with gaps"}},
	{name: "allocates", receive: allocating(receiveRight), caught: []string{"allocations"}},
	{name: "receives, and then refuses", receive: thenRefusing(receiveRight), caught: []string{"whole file", "pieces with gaps"}},
	{name: "refuses everything", receive: refusing, caught: []string{"whole pages"}},
	{name: "closes the socket", receive: receiveRight, caught: []string{"whole pages", "zero length"},
		close: func(b *brokenSocket) error { return errors.Join(replaceSocket(b.config.Socket), b.f.Close()) }},
	{name: "leaves the socket non-blocking", receive: receiveRight, caught: []string{"whole pages", "zero length"},
		close: func(b *brokenSocket) error { return errors.Join(unix.SetNonblock(b.config.Socket, true), b.f.Close()) }},
	{name: "leaks a descriptor", receive: receiveRight, close: leak, caught: []string{"descriptors and mappings"}},
	{name: "leaks a mapping", caught: []string{"descriptors and mappings"},
		receive: receiveRight, open: openToWrite(0),
		close: func(b *brokenSocket) error {
			f, err := os.Open(b.config.Target)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = unix.MmapPtr(int(f.Fd()), 0, nil, 4096, unix.PROT_READ, unix.MAP_SHARED)
			return errors.Join(err, b.f.Close())
		}},

	{name: "nothing is wrong with this relay", relay: relayRight},
	{name: "nothing is wrong with this relay of what there is", relay: func(b *brokenSocket, p *iomethod.Plan) error {
		for i := range p.Pieces() {
			p.Await(i)
			for _, n := p.Piece(i); n > 0; {
				data, err := b.some(n)
				if err == nil {
					err = b.pass(data)
				}
				if err != nil {
					return err
				}
				n -= len(data)
			}
		}
		return nil
	}},
	{name: "nothing is wrong with this relay to TCP alone", relay: relayRight,
		open: onlyTCP(func(c iomethod.Config) int { return c.Socket }, openAny)},
	{name: "loses the last piece where it is partial", caught: []string{"whole file", "last page of one byte"},
		relay: relays(takeRight, func(b *brokenSocket, p *iomethod.Plan, i int, data []byte) error {
			if losing(p, i) {
				return nil
			}
			return b.pass(data)
		})},
	{name: "doubles a byte", caught: []string{"whole pages", "block of 7 bytes"},
		relay: relays(takeRight, func(b *brokenSocket, p *iomethod.Plan, i int, data []byte) error {
			return errors.Join(b.pass(data[:1]), b.pass(data))
		})},
	{name: "takes a byte too many", relay: relays(takeMore, passRight), caught: []string{"whole pages", "two jobs"}},
	{name: "takes a part of a piece for all of it", relay: relays(takeSome, passRight), caught: []string{"slow sender"}},
	{name: "sends all of the buffer", relay: relays(takeTheBuffer, passRight), caught: []string{"slow sender"}},
	{name: "makes up what was not sent", caught: []string{"sender goes away amid a piece", "sender one byte short"},
		relay: relays(func(b *brokenSocket, p *iomethod.Plan, _, n int) ([]byte, error) {
			if _, err := b.take(n); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, err
			}
			return b.buf[:n], nil
		}, passRight)},
	{name: "takes the end of the stream for the end of the job", relay: blindTo(relayRight, io.ErrUnexpectedEOF), caught: early},
	{name: "does not see that the receiver is gone", relay: blindTo(relayRight, unix.EPIPE, unix.ECONNRESET),
		caught: []string{"receiver gone before the job", "receiver goes away"}},
	{name: "does not await its pieces", relay: unawaited(relayRight), caught: []string{"whole pages"}},
	{name: "allocates", relay: allocating(relayRight), caught: []string{"allocations"}},
	{name: "relays, and then refuses", relay: thenRefusing(relayRight), caught: []string{"whole file"}},
	{name: "refuses everything", relay: refusing, caught: []string{"whole pages"}},
	{name: "closes the socket it received by", relay: relayRight, caught: []string{"whole pages", "zero length"},
		close: func(b *brokenSocket) error { return errors.Join(replaceSocket(b.config.From), b.f.Close()) }},
	{name: "leaves the socket that it received by non-blocking", relay: relayRight, caught: []string{"whole pages", "zero length"},
		close: func(b *brokenSocket) error { return errors.Join(unix.SetNonblock(b.config.From, true), b.f.Close()) }},
	{name: "leaves the socket that it sent by non-blocking", relay: relayRight, caught: []string{"whole pages", "zero length"},
		close: func(b *brokenSocket) error { return errors.Join(unix.SetNonblock(b.config.Socket, true), b.f.Close()) }},
	{name: "leaks a descriptor", relay: relayRight, close: leak, caught: []string{"descriptors"}},
}

func TestConformanceCatchesReceiversAndRelays(t *testing.T) {
	notShort(t)
	t.Cleanup(func() {
		for _, f := range forget {
			f.Close()
		}
		forget = nil
	})
	for _, f := range socketFlaws {
		role := "receiver"
		if f.relay != nil {
			role = "relay"
		}
		t.Run(role+" "+f.name, func(t *testing.T) {
			var caught []string // by every transport
			for _, name := range f.caught {
				caught = append(caught, "tcp/"+name, "unix/"+name)
			}
			mustCatch(t, f.method(), caught)
		})
	}
}
