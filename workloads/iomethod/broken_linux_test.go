package iomethod_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
	"iopath/workloads/iomethod/iomethodtest"
)

// A flaw is a method that is wrong on purpose, and the cases that must see it.
// The right method, from which each differs by one thing, passes them all: so it
// is that one thing which is caught.
type flaw struct {
	name string
	// One of the two: a job by plain pread, or by pread and write.
	read func(b *broken, p *iomethod.Plan, consume iomethod.Consumer) error
	send func(b *broken, p *iomethod.Plan) error
	// Pieces come as they complete.
	unordered bool
	// Another file is opened, where the reader can do that.
	reopen func(b *broken, path string) error
	// The constructor and Close, where they are at fault.
	open  func(c iomethod.Config) (*os.File, error)
	close func(b *broken) error
	// The length of each job's preamble, as a sender tells it.
	preamble int
	// caught names cases without their role and transport.
	caught []string
}

// A broken is the state of such a method.
type broken struct {
	flaw   flaw
	f      *os.File
	buf    []byte
	socket int
	sent   bool               // a job
	path   [unix.PathMax]byte // for reopened
}

func (b *broken) Read(p *iomethod.Plan, consume iomethod.Consumer) error {
	return b.flaw.read(b, p, consume)
}
func (b *broken) Send(p *iomethod.Plan) error { return b.flaw.send(b, p) }
func (b *broken) Preamble() int               { return b.flaw.preamble }
func (b *broken) Close() error {
	if b.flaw.close != nil {
		return b.flaw.close(b)
	}
	return b.f.Close()
}

// A brokenReopener is one that goes on with other files.
type brokenReopener struct{ *broken }

func (b brokenReopener) Reopen(path string) error { return b.flaw.reopen(b.broken, path) }

func (f flaw) method() iomethod.Method {
	construct := func(c iomethod.Config) (*broken, error) {
		open := func(c iomethod.Config) (*os.File, error) { return os.Open(c.Path) }
		if f.open != nil {
			open = f.open
		}
		file, err := open(c)
		if err != nil {
			return nil, err
		}
		return &broken{flaw: f, f: file, buf: make([]byte, c.Block), socket: c.Socket}, nil
	}
	m := iomethod.Method{Name: "broken", Doc: f.name, Unordered: f.unordered}
	if f.read != nil {
		m.Reader.New = func(c iomethod.Config) (iomethod.Reader, error) {
			b, err := construct(c)
			if err == nil && f.reopen != nil {
				return brokenReopener{b}, nil
			}
			return b, err
		}
	}
	if f.send != nil {
		m.Sender.New = func(c iomethod.Config) (iomethod.Sender, error) { return construct(c) }
	}
	return m
}

// piece reads the i-th piece, and all of it.
func (b *broken) piece(p *iomethod.Plan, i int) (off int64, _ []byte, err error) {
	off, n := p.Piece(i)
	for got := 0; got < n; {
		m, err := unix.Pread(int(b.f.Fd()), b.buf[got:n], off+int64(got))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && m == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return off, nil, err
		}
		got += m
	}
	return off, b.buf[:n], nil
}

// write writes all of it.
func (b *broken) write(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(b.socket, data)
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

// reads and sends are the right method, with the pieces that pick chooses.
func reads(pick func(pieces int) []int) func(*broken, *iomethod.Plan, iomethod.Consumer) error {
	return func(b *broken, p *iomethod.Plan, consume iomethod.Consumer) error {
		for k, i := range pick(p.Pieces()) {
			p.Await(k)
			off, data, err := b.piece(p, i)
			if err != nil {
				return err
			}
			consume(off, data)
		}
		return nil
	}
}

func sends(pick func(pieces int) []int) func(*broken, *iomethod.Plan) error {
	return func(b *broken, p *iomethod.Plan) error {
		for k, i := range pick(p.Pieces()) {
			p.Await(k)
			_, data, err := b.piece(p, i)
			if err == nil {
				err = b.write(data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// indices is made beforehand, so that the right method does not allocate.
var indices = func() []int {
	s := make([]int, 1<<11)
	for i := range s {
		s[i] = i
	}
	return s
}()

func each(n int) []int { return indices[:n:n] }

func doubled(n int) []int {
	if n < 2 {
		return each(n)
	}
	return slices.Insert(slices.Clone(each(n)), 1, 1)
}

func swapped(n int) []int {
	s := slices.Clone(each(n))
	if n > 2 {
		s[n-2], s[n-3] = s[n-3], s[n-2]
	}
	return s
}

func allButLast(n int) []int { return each(max(n-1, 0)) }

// inWindows is the right unordered reader: it asks for up to four pieces at once,
// which come in the reverse order. Of each window of n pieces, pick says which come
// in place of the k-th.
func inWindows(pick func(k, n int) int) func(*broken, *iomethod.Plan, iomethod.Consumer) error {
	return func(b *broken, p *iomethod.Plan, consume iomethod.Consumer) error {
		for first := 0; first < p.Pieces(); first += 4 {
			n := min(4, p.Pieces()-first)
			for i := range n {
				p.Await(first + i)
			}
			for k := n - 1; k >= 0; k-- {
				off, data, err := b.piece(p, first+pick(k, n))
				if err != nil {
					return err
				}
				consume(off, data)
			}
		}
		return nil
	}
}

func itself(k, _ int) int { return k }

// reopened is the right way to go on with the file at path: it puts it in place of
// the other, under the same descriptor, because a new os.File would be allocated.
func reopened(b *broken, path string) error {
	b.path[copy(b.path[:], path)] = 0
	here := unix.AT_FDCWD
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(&b.path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return errors.Join(unix.Dup3(int(fd), int(b.f.Fd()), unix.O_CLOEXEC), unix.Close(int(fd)))
}

func (b *broken) partial(p *iomethod.Plan) bool { return p.Length%int64(p.Block) != 0 }

var forever = make(chan struct{})

var flaws = []flaw{
	{name: "nothing is wrong with this reader", read: reads(each)},
	{name: "loses the last piece where it is partial", caught: []string{"whole file", "last page of one byte", "block beyond the file"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			if b.partial(p) {
				return reads(allButLast)(b, p, c)
			}
			return reads(each)(b, p, c)
		}},
	{name: "doubles a piece", read: reads(doubled), caught: []string{"whole pages", "block of 1 byte"}},
	{name: "swaps two pieces", read: reads(swapped), caught: []string{"whole pages", "random order"}},
	{name: "ignores the order", caught: []string{"random order", "random order, unaligned"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			q.Order = nil
			return reads(each)(b, &q, c)
		}},
	{name: "does not await its pieces", caught: []string{"whole pages", "random order"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			q.Pace = nil
			return reads(each)(b, &q, c)
		}},
	{name: "awaits a piece that it has read already", caught: []string{"whole pages"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			q.Pace = nil
			i := 0
			return reads(each)(b, &q, func(off int64, data []byte) { c(off, data); p.Await(i); i++ })
		}},
	{name: "reads all of the file, whatever the order leaves out", caught: []string{"some pieces"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			if full := int((p.Length + int64(p.Block) - 1) / int64(p.Block)); len(p.Order) < full {
				q.Order = nil
			}
			return reads(each)(b, &q, c)
		}},
	{name: "ignores where to start", caught: []string{"unaligned start, odd length", "two jobs"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			q.Start = 0
			return reads(each)(b, &q, c)
		}},
	{name: "ignores short reads", caught: []string{"file one byte short", "file many pages short", "file emptied", "file shrinks amid the second piece"},
		read: func(b *broken, p *iomethod.Plan, consume iomethod.Consumer) error {
			for i := range p.Pieces() {
				p.Await(i)
				off, n := p.Piece(i)
				if _, err := unix.Pread(int(b.f.Fd()), b.buf[:n], off); err != nil {
					return err
				}
				consume(off, b.buf[:n])
			}
			return nil
		}},
	{name: "takes the end of the file for the end of the job", caught: []string{"file one byte short", "file shrinks after the first piece"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			if err := reads(each)(b, p, c); !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			return nil
		}},
	{name: "reads nothing and says that all is well", caught: []string{"whole pages", "missing file", "directory"},
		read:  func(*broken, *iomethod.Plan, iomethod.Consumer) error { return nil },
		open:  func(iomethod.Config) (*os.File, error) { return os.Open(os.DevNull) },
		close: func(b *broken) error { return b.f.Close() }},
	{name: "leaks a descriptor", read: reads(each), caught: []string{"descriptors and mappings"},
		close: func(b *broken) error { forget = append(forget, b.f); return nil }},
	{name: "leaks a mapping", caught: []string{"descriptors and mappings"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			if _, err := unix.MmapPtr(int(b.f.Fd()), 0, nil, 4096, unix.PROT_READ, unix.MAP_SHARED); err != nil && p.Length > 0 {
				return err
			}
			return reads(each)(b, p, c)
		}},
	{name: "allocates", caught: []string{"allocations"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			b.buf = make([]byte, len(b.buf))
			return reads(each)(b, p, c)
		}},
	{name: "panics", caught: []string{"whole pages"},
		read: func(*broken, *iomethod.Plan, iomethod.Consumer) error { panic("on purpose") }},
	{name: "refuses everything", caught: []string{"whole pages"},
		read: func(*broken, *iomethod.Plan, iomethod.Consumer) error { return errors.ErrUnsupported }},
	{name: "reads each piece but once", caught: []string{"some pieces twice"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			slices.Sort(q.Order)
			q.Order = slices.Compact(q.Order)
			return reads(each)(b, &q, c)
		}},

	{name: "nothing is wrong with this unordered reader", unordered: true, read: inWindows(itself)},
	{name: "comes out of order and does not say so", read: inWindows(itself), caught: []string{"whole pages", "random order"}},
	{name: "doubles a piece and loses its neighbour", unordered: true, caught: []string{"whole pages", "whole file", "random order"},
		read: inWindows(func(k, n int) int { return max(k, n-2) })},
	{name: "doubles a piece", unordered: true, caught: []string{"whole pages", "some pieces twice"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			first := true
			return inWindows(itself)(b, p, func(off int64, data []byte) {
				c(off, data)
				if first {
					c(off, data)
				}
				first = false
			})
		}},
	{name: "loses the last piece", unordered: true, caught: []string{"whole pages", "whole file"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			i := 0
			return inWindows(itself)(b, p, func(off int64, data []byte) {
				if i++; i < p.Pieces() {
					c(off, data)
				}
			})
		}},
	{name: "takes one piece's bytes for another's", unordered: true, caught: []string{"whole pages", "random order"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			return inWindows(itself)(b, p, func(off int64, data []byte) {
				if off == p.Start {
					data[0]++
				}
				c(off, data)
			})
		}},
	{name: "has a piece before it awaits it", unordered: true, caught: []string{"whole pages"},
		read: func(b *broken, p *iomethod.Plan, c iomethod.Consumer) error {
			q := *p
			q.Pace = nil
			i := 0
			return inWindows(itself)(b, &q, func(off int64, data []byte) { c(off, data); p.Await(i); i++ })
		}},

	{name: "nothing is wrong with this reopener", read: reads(each), reopen: reopened},
	{name: "keeps reading the old file", read: reads(each), caught: []string{"reopen"},
		reopen: func(*broken, string) error { return nil }},
	{name: "leaves the old file open", read: reads(each), caught: []string{"reopen"},
		reopen: func(b *broken, path string) (err error) {
			forget = append(forget, b.f)
			b.f, err = os.Open(path)
			return err
		}},
	{name: "goes on with the old file where the new one is missing", read: reads(each), caught: []string{"reopen, missing file"},
		reopen: func(b *broken, path string) error {
			if err := reopened(b, path); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		}},
	{name: "cannot be closed without a file", read: reads(each), caught: []string{"reopen, missing file"},
		reopen: func(b *broken, path string) error {
			err := reopened(b, path)
			if err != nil {
				b.f.Close()
			}
			return err
		}},
	{name: "allocates where it reopens", read: reads(each), caught: []string{"reopen, allocations"},
		reopen: func(b *broken, path string) error {
			b.buf = make([]byte, len(b.buf))
			return reopened(b, path)
		}},

	{name: "nothing is wrong with this sender", send: sends(each)},
	{name: "loses the last piece where it is partial", caught: []string{"whole file", "last page of one byte", "small buffers"},
		send: func(b *broken, p *iomethod.Plan) error {
			if b.partial(p) {
				return sends(allButLast)(b, p)
			}
			return sends(each)(b, p)
		}},
	{name: "doubles a piece", send: sends(doubled), caught: []string{"whole pages", "block of 7 bytes"}},
	{name: "swaps two pieces", send: sends(swapped), caught: []string{"whole pages", "random order"}},
	{name: "does not await its pieces", caught: []string{"whole pages"},
		send: func(b *broken, p *iomethod.Plan) error {
			q := *p
			q.Pace = nil
			return sends(each)(b, &q)
		}},
	{name: "ignores short writes", caught: []string{"signals, small buffers"},
		send: func(b *broken, p *iomethod.Plan) error {
			for i := range p.Pieces() {
				p.Await(i)
				_, data, err := b.piece(p, i)
				if err != nil {
					return err
				}
				if _, err := unix.Write(b.socket, data); err != nil && !errors.Is(err, unix.EINTR) {
					return err
				}
			}
			return nil
		}},
	{name: "takes the end of the file for the end of the job", caught: []string{"file one byte short", "file emptied", "file shrinks meanwhile"},
		send: func(b *broken, p *iomethod.Plan) error {
			if err := sends(each)(b, p); !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			return nil
		}},
	{name: "does not see that the receiver is gone", caught: []string{"receiver gone before the job", "receiver goes away"},
		send: func(b *broken, p *iomethod.Plan) error {
			if err := sends(each)(b, p); !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				return err
			}
			return nil
		}},
	{name: "closes the socket", send: sends(each), caught: []string{"whole pages", "zero length"},
		close: func(b *broken) error {
			// What the number stands for afterwards must not be somebody else's.
			null, err := os.Open(os.DevNull)
			if err != nil {
				return err
			}
			defer null.Close()
			return errors.Join(unix.Dup2(int(null.Fd()), b.socket), b.f.Close())
		}},
	{name: "leaves the socket non-blocking", send: sends(each), caught: []string{"whole pages", "zero length"},
		close: func(b *broken) error { return errors.Join(unix.SetNonblock(b.socket, true), b.f.Close()) }},
	{name: "leaks a descriptor", send: sends(each), caught: []string{"descriptors and mappings"},
		close: func(b *broken) error { forget = append(forget, b.f); return nil }},
	{name: "sends, and then refuses", caught: []string{"whole file", "random order"},
		send: func(b *broken, p *iomethod.Plan) error {
			if err := sends(each)(b, p); err != nil {
				return err
			}
			return errors.ErrUnsupported
		}},
	{name: "waits for ever", caught: []string{"empty file"},
		send: func(*broken, *iomethod.Plan) error { <-forever; return nil }},
	{name: "nothing is wrong with this sender of a preamble", preamble: len(preamble), send: prefaced},
	{name: "has a longer preamble than it says", preamble: len(preamble) - 1, send: prefaced, caught: []string{"whole pages", "two jobs"}},
	{name: "does not say that it has a preamble", send: prefaced, caught: []string{"whole pages", "two jobs"}},
	{name: "says that it has a preamble, and sends none", preamble: len(preamble), send: sends(each), caught: []string{"whole pages", "two jobs"}},
	{name: "sends a preamble before nothing", preamble: len(preamble), caught: []string{"zero length", "no piece"},
		send: func(b *broken, p *iomethod.Plan) error {
			if err := b.write([]byte(preamble)); err != nil {
				return err
			}
			return sends(each)(b, p)
		}},
	{name: "nothing is wrong with this sender that refuses Unix sockets", open: refuseUnix, send: sends(each)},
	{name: "refuses every transport", send: sends(each), caught: []string{"whole pages"},
		open: func(iomethod.Config) (*os.File, error) { return nil, errors.ErrUnsupported }},
	{name: "takes every transport, and refuses to send", caught: []string{"whole pages"},
		send: func(*broken, *iomethod.Plan) error { return errors.ErrUnsupported }},
	{name: "refuses the second job, after it has sent it", caught: []string{"two jobs", "the same job twice"},
		send: func(b *broken, p *iomethod.Plan) error {
			if b.sent {
				return errors.Join(sends(each)(b, p), errors.ErrUnsupported)
			}
			b.sent = true
			return sends(each)(b, p)
		}},
}

// preamble is what prefaced, the right method otherwise, sends before each job.
const preamble = "what follows is the file\n"

func prefaced(b *broken, p *iomethod.Plan) error {
	if p.Bytes() > 0 {
		if err := b.write([]byte(preamble)); err != nil {
			return err
		}
	}
	return sends(each)(b, p)
}

func refuseUnix(c iomethod.Config) (*os.File, error) {
	f, err := os.Open(c.Path)
	if err != nil {
		return nil, err
	}
	domain, err := unix.GetsockoptInt(c.Socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil && domain == unix.AF_UNIX {
		err = errors.ErrUnsupported
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// forget keeps what was leaked from the garbage collector, which would close it.
var forget []*os.File

// notShort skips what tests the cases, and not the methods: the race detector's run,
// which is a short one, has nothing to say of that.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("flaws on purpose: run without -short")
	}
}

// A conformance test that cannot fail proves nothing.
func TestConformanceCatches(t *testing.T) {
	notShort(t)
	t.Cleanup(func() {
		for _, f := range forget {
			f.Close()
		}
		forget = nil
	})
	for _, f := range flaws {
		role := "reader"
		if f.send != nil {
			role = "sender"
		}
		t.Run(role+" "+f.name, func(t *testing.T) {
			ran := map[string]bool{}
			for _, c := range iomethodtest.Cases(f.method()) {
				name := c.Name[strings.LastIndex(c.Name, "/")+1:]
				if f.caught != nil && !slices.Contains(f.caught, name) {
					continue // it may be caught or not
				}
				ran[name] = true
				limit := 20 * time.Second
				if f.name == "waits for ever" {
					limit = 50 * time.Millisecond
				}
				run := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					return c.Run(ctx, t.TempDir())
				}
				err := run()
				// Whether a signal comes amid a call is chance.
				for try := 0; try < 20 && err == nil && f.caught != nil && strings.HasPrefix(name, "signals"); try++ {
					err = run()
				}
				switch refused := errors.Is(err, errors.ErrUnsupported); {
				case f.caught == nil && err != nil && !refused:
					t.Errorf("%s: got %v, want nil", c.Name, err)
				case f.caught != nil && strings.HasSuffix(name, "allocations") && refused:
					t.Logf("%s: %v", c.Name, err)
				case f.caught != nil && (err == nil || refused):
					t.Errorf("%s: got %v, want it caught", c.Name, err)
				case limit < time.Second && !strings.HasPrefix(fmt.Sprint(err), "hangs"):
					t.Errorf("%s: got %v, want it to be said to hang", c.Name, err)
				}
			}
			for _, name := range f.caught {
				if !ran[name] {
					t.Errorf("there is no case %q", name)
				}
			}
		})
	}
}
