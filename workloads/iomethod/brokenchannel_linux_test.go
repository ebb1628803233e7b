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

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
	"iopath/workloads/iomethod/iomethodtest"
)

// A channelFlaw is a channel that is wrong on purpose, over a Unix socket, and the
// cases that must see it. What it leaves out is as in the right one.
type channelFlaw struct {
	name string
	// Whole jobs, or what is done with one piece of them.
	send    func(b *brokenChannel, p *iomethod.Plan, produce iomethod.Producer) error
	receive func(b *brokenChannel, p *iomethod.Plan, consume iomethod.Consumer) error
	put     func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error
	take    func(b *brokenChannel, off int64, data []byte, consume iomethod.Consumer) error
	// What has come in of a job that fails.
	failed func(error) error
	attach func(c iomethod.Config) (*os.File, error)
	close  func(b *brokenChannel) error
	caught []string // without their role and direction
}

// A brokenChannel is one end of it.
type brokenChannel struct {
	flaw   channelFlaw
	made   bool // and not attached
	ours   *os.File
	theirs []*os.File
	buf    []byte
	kept   []byte // the producer's
}

func (f channelFlaw) method() iomethod.Method {
	return iomethod.Method{Name: "broken", Doc: f.name, Channel: iomethod.Role[iomethod.Channel]{
		New: func(c iomethod.Config) (iomethod.Channel, error) {
			b := &brokenChannel{flaw: f, made: c.Files == nil, buf: make([]byte, c.Block)}
			if b.made {
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return nil, err
				}
				b.ours, b.theirs = os.NewFile(uintptr(fds[0]), "ours"), []*os.File{os.NewFile(uintptr(fds[1]), "theirs")}
				return b, nil
			}
			attach := f.attach
			if attach == nil {
				attach = func(c iomethod.Config) (*os.File, error) {
					if len(c.Files) != 1 {
						return nil, errors.New("attach: want one file")
					}
					return c.Files[0], nil
				}
			}
			var err error
			b.ours, err = attach(c)
			return b, err
		},
	}}
}

func (b *brokenChannel) Files() []*os.File {
	files := b.theirs
	b.theirs = nil
	return files
}

func (b *brokenChannel) Send(p *iomethod.Plan, produce iomethod.Producer) error {
	if b.flaw.send != nil {
		return b.flaw.send(b, p, produce)
	}
	return b.sends(p, produce)
}

func (b *brokenChannel) Receive(p *iomethod.Plan, consume iomethod.Consumer) error {
	receive := b.receives
	if b.flaw.receive != nil {
		receive = func(p *iomethod.Plan, consume iomethod.Consumer) error { return b.flaw.receive(b, p, consume) }
	}
	err := receive(p, consume)
	if err != nil && b.flaw.failed != nil {
		return b.flaw.failed(err)
	}
	return err
}

// sends and receives are the right jobs, but for what the flaw does with a piece.
func (b *brokenChannel) sends(p *iomethod.Plan, produce iomethod.Producer) error {
	for i := range p.Pieces() {
		p.Await(i)
		data := produce(p.Piece(i))
		put := b.write
		if b.flaw.put != nil {
			put = func(data []byte) error { return b.flaw.put(b, p, i, data) }
		}
		if err := put(data); err != nil {
			return err
		}
	}
	return nil
}

func (b *brokenChannel) receives(p *iomethod.Plan, consume iomethod.Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if b.flaw.take != nil {
			if err := b.flaw.take(b, off, b.buf[:n], consume); err != nil {
				return err
			}
			continue
		}
		if err := b.read(b.buf[:n]); err != nil {
			return err
		}
		consume(off, b.buf[:n])
	}
	return nil
}

func (b *brokenChannel) Close() error {
	if b.flaw.close != nil {
		return b.flaw.close(b)
	}
	return b.closeFiles()
}

func (b *brokenChannel) closeFiles() error {
	err := b.ours.Close()
	for _, f := range b.theirs {
		err = errors.Join(err, f.Close())
	}
	return err
}

// write writes all of it.
func (b *brokenChannel) write(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(int(b.ours.Fd()), data)
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

// read fills all of it.
func (b *brokenChannel) read(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Read(int(b.ours.Fd()), data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

var channelFlaws = []channelFlaw{
	{name: "nothing is wrong with this channel"},
	{name: "loses the last piece where it is partial", caught: []string{"whole file", "pieces of 4 MiB"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			if len(data) < p.Block {
				return nil
			}
			return b.write(data)
		}},
	{name: "sends a piece twice", caught: []string{"whole pages", "block of 1 byte", "pieces of 1 MiB"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			if i == 1 {
				data = append(data[:len(data):len(data)], data...)
			}
			return b.write(data)
		}},
	{name: "sends the last piece twice", caught: []string{"whole file", "pieces of 4 MiB"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			if i == p.Pieces()-1 {
				data = append(data[:len(data):len(data)], data...)
			}
			return b.write(data)
		}},
	{name: "sends what the producer has taken back", caught: []string{"whole pages", "slow receiver", "pieces of 4097 bytes"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			var late []byte
			late, b.kept = b.kept, data
			if i == p.Pieces()-1 {
				late = append(late[:len(late):len(late)], data...)
				b.kept = nil
			}
			return b.write(late)
		}},
	{name: "is wrong from 64 KiB on", caught: []string{"pieces of 1 MiB", "pieces of 65535 bytes, then of 65537", "round trips of 1 MiB"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			if len(data) > 64<<10 {
				data = append(data[:64<<10:64<<10], data[:len(data)-64<<10]...)
			}
			return b.write(data)
		}},
	{name: "is wrong on the way back alone", caught: []string{"whole pages", "round trips of 4096 bytes"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			if !b.made {
				data = make([]byte, len(data))
			}
			return b.write(data)
		}},
	{name: "asks for a piece twice", caught: []string{"whole pages"},
		send: func(b *brokenChannel, p *iomethod.Plan, produce iomethod.Producer) error {
			return b.sends(p, func(off int64, n int) []byte { produce(off, n); return produce(off, n) })
		}},
	{name: "does not await what it sends", caught: []string{"whole pages", "round trips of 1 byte"},
		send: func(b *brokenChannel, p *iomethod.Plan, produce iomethod.Producer) error {
			q := *p
			q.Pace = nil
			return b.sends(&q, produce)
		}},
	{name: "does not await what it receives", caught: []string{"whole pages", "round trips of 1 byte"},
		receive: func(b *brokenChannel, p *iomethod.Plan, consume iomethod.Consumer) error {
			q := *p
			q.Pace = nil
			return b.receives(&q, consume)
		}},
	{name: "awaits a piece that it has sent already", caught: []string{"whole pages"},
		send: func(b *brokenChannel, p *iomethod.Plan, produce iomethod.Producer) error {
			q := *p
			q.Pace = nil
			i := 0
			return b.sends(&q, func(off int64, n int) []byte { data := produce(off, n); p.Await(i); i++; return data })
		}},
	{name: "ignores where to start", caught: []string{"unaligned start, odd length", "pieces of 4097 bytes"},
		receive: func(b *brokenChannel, p *iomethod.Plan, consume iomethod.Consumer) error {
			return b.receives(p, func(off int64, data []byte) { consume(off-p.Start, data) })
		}},
	{name: "ignores short writes", caught: []string{"signals, slow receiver"},
		put: func(b *brokenChannel, p *iomethod.Plan, i int, data []byte) error {
			_, err := unix.Write(int(b.ours.Fd()), data)
			if errors.Is(err, unix.EINTR) {
				return nil
			}
			return err
		}},
	{name: "ignores short reads", caught: []string{"pieces of 1 MiB", "receives from one that goes"},
		take: func(b *brokenChannel, off int64, data []byte, consume iomethod.Consumer) error {
			if _, err := unix.Read(int(b.ours.Fd()), data); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			consume(off, data)
			return nil
		}},
	{name: "takes the other end's end for the end of the job", caught: []string{"receives from one that goes", "receives from one that is gone", "whole pages"},
		failed: func(error) error { return nil }},
	{name: "has another word for the other end's end", caught: []string{"receives from one that goes", "receives from one that is gone", "whole pages"},
		failed: func(error) error { return io.EOF }},
	{name: "does not see that the other end is gone", caught: []string{"sends to one that is gone", "sends to one that goes"},
		send: func(b *brokenChannel, p *iomethod.Plan, produce iomethod.Producer) error {
			if err := b.sends(p, produce); !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				return err
			}
			return nil
		}},
	{name: "leaks a descriptor", caught: []string{"descriptors and mappings"},
		close: func(b *brokenChannel) error {
			if !b.made {
				forget = append(forget, b.ours)
				return unix.Shutdown(int(b.ours.Fd()), unix.SHUT_RDWR)
			}
			return b.closeFiles()
		}},
	{name: "leaks what the other end did not take", caught: []string{"attached by nobody"},
		close: func(b *brokenChannel) error { forget = append(forget, b.theirs...); return b.ours.Close() }},
	{name: "leaks a mapping", caught: []string{"descriptors and mappings"},
		close: func(b *brokenChannel) error {
			_, err := unix.MmapPtr(-1, 0, nil, 4096, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_ANON)
			return errors.Join(err, b.closeFiles())
		}},
	{name: "allocates", caught: []string{"allocations"},
		receive: func(b *brokenChannel, p *iomethod.Plan, consume iomethod.Consumer) error {
			b.buf = make([]byte, len(b.buf))
			return b.receives(p, consume)
		}},
	{name: "attaches to nothing", caught: []string{"attached by too few files"},
		attach: func(iomethod.Config) (*os.File, error) { return os.Open(os.DevNull) }},
	{name: "refuses everything", caught: []string{"whole pages"},
		attach: func(iomethod.Config) (*os.File, error) { return nil, errors.ErrUnsupported }},
	{name: "waits for ever", caught: []string{"zero length"},
		send: func(*brokenChannel, *iomethod.Plan, iomethod.Producer) error { <-forever; return nil }},
}

func TestChannelConformanceCatches(t *testing.T) {
	notShort(t)
	t.Cleanup(func() {
		for _, f := range forget {
			f.Close()
		}
		forget = nil
	})
	for _, f := range channelFlaws {
		t.Run(f.name, func(t *testing.T) {
			caught, ran := map[string]bool{}, map[string]bool{}
			for _, c := range iomethodtest.Cases(f.method()) {
				name := c.Name[strings.LastIndex(c.Name, "/")+1:]
				if f.caught != nil && !slices.Contains(f.caught, name) {
					continue // it may be caught or not
				}
				ran[name] = true
				err := f.run(t, c, name)
				switch refused := errors.Is(err, errors.ErrUnsupported); {
				case f.caught == nil && err != nil && !refused:
					t.Errorf("%s: got %v, want nil", c.Name, err)
				case f.caught != nil && name == "allocations" && refused:
					t.Logf("%s: %v", c.Name, err)
					caught[name] = true
				case err != nil && !refused:
					caught[name] = true
				}
			}
			// In one direction at least.
			for _, name := range f.caught {
				if !ran[name] {
					t.Errorf("there is no case %q", name)
				} else if !caught[name] {
					t.Errorf("%s: got nil, want it caught", name)
				}
			}
		})
	}
}

// run runs a case, and again where it is chance whether a signal comes amid a call.
func (f channelFlaw) run(t *testing.T, c iomethodtest.Case, name string) (err error) {
	limit, tries := 20*time.Second, 1
	if f.name == "waits for ever" {
		limit = 50 * time.Millisecond
	}
	if f.caught != nil && strings.HasPrefix(name, "signals") {
		tries = 20
	}
	for range tries {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err = c.Run(ctx, t.TempDir())
		cancel()
		if err != nil {
			break
		}
	}
	if limit < time.Second && !strings.HasPrefix(fmt.Sprint(err), "hangs") {
		t.Errorf("%s: got %v, want it to be said to hang", c.Name, err)
	}
	return err
}
