package iomethod_test

import (
	"context"
	"errors"
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

// A writerFlaw is a writer that is wrong on purpose: the right one, by plain
// pwrite, with one thing different.
type writerFlaw struct {
	name  string
	write func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error
	open  func(c iomethod.Config) (*os.File, error)
	close func(b *brokenWriter) error
	// caught names the cases that must see it, without the role; nil is the right
	// one, which passes all.
	caught []string
}

type brokenWriter struct {
	flaw writerFlaw
	f    *os.File
	sync iomethod.Sync
	kept [][]byte
}

func (b *brokenWriter) Write(p *iomethod.Plan, produce iomethod.Producer) error {
	return b.flaw.write(b, p, produce)
}

func (b *brokenWriter) Close() error {
	if b.flaw.close != nil {
		return b.flaw.close(b)
	}
	return b.f.Close()
}

func (f writerFlaw) method() iomethod.Method {
	m := iomethod.Method{Name: "broken", Doc: f.name}
	m.Writer.New = func(c iomethod.Config) (iomethod.Writer, error) {
		open := openRight
		if f.open != nil {
			open = f.open
		}
		file, err := open(c)
		if err != nil {
			return nil, err
		}
		return &brokenWriter{flaw: f, f: file, sync: c.Sync}, nil
	}
	return m
}

func openRight(c iomethod.Config) (*os.File, error) {
	flags := os.O_WRONLY
	switch c.Sync {
	case iomethod.SyncNone, iomethod.SyncEnd:
	case iomethod.SyncDsync:
		flags |= unix.O_DSYNC
	case iomethod.SyncAsync, iomethod.SyncRange, iomethod.SyncBlock:
		return nil, errors.ErrUnsupported
	default:
		return nil, errors.New("there is no such policy")
	}
	return os.OpenFile(c.Target, flags, 0)
}

// openBy returns openRight with other flags.
func openBy(flags int) func(iomethod.Config) (*os.File, error) {
	return func(c iomethod.Config) (*os.File, error) { return os.OpenFile(c.Target, flags, 0o644) }
}

// put writes all of it at off.
func (b *brokenWriter) put(off int64, data []byte) error {
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

func (b *brokenWriter) end() error {
	if b.sync != iomethod.SyncEnd {
		return nil
	}
	return unix.Fdatasync(int(b.f.Fd()))
}

// writes is the right writer, with the pieces that pick chooses.
func writes(pick func(pieces int) []int) func(*brokenWriter, *iomethod.Plan, iomethod.Producer) error {
	return func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
		for k, i := range pick(p.Pieces()) {
			p.Await(k)
			off, n := p.Piece(i)
			if err := b.put(off, produce(off, n)); err != nil {
				return err
			}
		}
		return b.end()
	}
}

// elsewhere is the right writer, but for where and what it puts.
func elsewhere(change func(p *iomethod.Plan, off int64, data []byte) (int64, []byte)) func(*brokenWriter, *iomethod.Plan, iomethod.Producer) error {
	return func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
		for i := range p.Pieces() {
			p.Await(i)
			off, n := p.Piece(i)
			if err := b.put(change(p, off, produce(off, n))); err != nil {
				return err
			}
		}
		return b.end()
	}
}

var writerFlaws = []writerFlaw{
	{name: "nothing is wrong with this writer", write: writes(each)},
	{name: "loses the last piece where it is partial", caught: []string{"whole file", "last page of one byte", "block beyond the file"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			if p.Length%int64(p.Block) != 0 {
				return writes(allButLast)(b, p, produce)
			}
			return writes(each)(b, p, produce)
		}},
	{name: "doubles a piece", write: writes(doubled), caught: []string{"whole pages", "block of 1 byte"}},
	{name: "swaps two pieces", write: writes(swapped), caught: []string{"whole pages", "random order"}},
	{name: "ignores the order", caught: []string{"random order, unaligned", "some pieces", "across the end, some pieces"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			q := *p
			q.Order = nil
			return writes(each)(b, &q, produce)
		}},
	{name: "ignores where to start", caught: []string{"unaligned start, odd length", "two jobs", "from the end on"},
		write: elsewhere(func(p *iomethod.Plan, off int64, data []byte) (int64, []byte) { return off - p.Start, data })},
	{name: "starts at a page", caught: []string{"unaligned start, odd length", "beyond the end"},
		write: elsewhere(func(_ *iomethod.Plan, off int64, data []byte) (int64, []byte) { return off &^ 4095, data })},
	{name: "ends at a page", caught: []string{"unaligned start, odd length", "whole file, empty target", "block of 7 bytes"},
		write: elsewhere(func(_ *iomethod.Plan, off int64, data []byte) (int64, []byte) {
			return off, append(slices.Clip(data), make([]byte, 4096-len(data)%4096)...)
		})},
	{name: "does not await its pieces", caught: []string{"whole pages", "random order"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			q := *p
			q.Pace = nil
			return writes(each)(b, &q, produce)
		}},
	{name: "awaits all pieces before it asks for the first", caught: []string{"whole pages", "random order"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			for i := range p.Pieces() {
				p.Await(i)
			}
			q := *p
			q.Pace = nil
			return writes(each)(b, &q, produce)
		}},
	{name: "keeps what the producer hands out", caught: []string{"whole pages", "random order"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			b.kept = b.kept[:0]
			for i := range p.Pieces() {
				p.Await(i)
				b.kept = append(b.kept, produce(p.Piece(i)))
			}
			for i, data := range b.kept {
				off, _ := p.Piece(i)
				if err := b.put(off, data); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "changes what the producer hands out", caught: []string{"whole pages", "block beyond the file"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			return writes(each)(b, p, func(off int64, n int) []byte {
				data := produce(off, n)
				if err := b.put(off, data); err == nil {
					data[0]++
				}
				return data
			})
		}},
	{name: "writes at the next call what it was handed", caught: []string{"whole pages", "whole file, empty target"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			for i := range p.Pieces() {
				p.Await(i)
				off, n := p.Piece(i)
				data := slices.Clone(produce(off, n))
				if i > 0 {
					off, _ := p.Piece(i - 1)
					if err := b.put(off, b.kept[0]); err != nil {
						return err
					}
				}
				b.kept = [][]byte{data}
			}
			return nil
		}},
	{name: "writes nothing and says that all is well", caught: []string{"whole pages", "missing target", "directory", "file that cannot grow", "read-only target"},
		write: func(*brokenWriter, *iomethod.Plan, iomethod.Producer) error { return nil },
		open:  func(iomethod.Config) (*os.File, error) { return os.Open(os.DevNull) }},
	{name: "ignores short writes", caught: []string{"file that cannot grow", "full filesystem, empty target"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			for i := range p.Pieces() {
				p.Await(i)
				off, n := p.Piece(i)
				if _, err := unix.Pwrite(int(b.f.Fd()), produce(off, n), off); err != nil && !errors.Is(err, unix.ENOSPC) {
					return err
				}
			}
			return nil
		}},
	{name: "does not see that the target is full", caught: []string{"full filesystem", "full filesystem, empty target"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			if err := writes(each)(b, p, produce); !errors.Is(err, unix.ENOSPC) {
				return err
			}
			return nil
		}},
	{name: "makes the target", write: writes(each), open: openBy(os.O_WRONLY | os.O_CREATE), caught: []string{"missing target"}},
	{name: "makes the target, and fails", write: writes(each), caught: []string{"missing target"},
		open: func(c iomethod.Config) (*os.File, error) {
			f, err := os.OpenFile(c.Target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err == nil {
				f.Close()
				err = os.ErrNotExist
			}
			return nil, err
		}},
	{name: "truncates the target", write: writes(each), open: openBy(os.O_WRONLY | os.O_TRUNC), caught: []string{"unaligned start, odd length", "zero length inside", "some pieces"}},
	{name: "truncates the target behind the plan", caught: []string{"unaligned start, odd length", "two jobs, backwards"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			return errors.Join(writes(each)(b, p, produce), b.f.Truncate(p.Start+p.Length))
		}},
	{name: "does not extend the target", caught: []string{"across the end", "from the end on, bytes", "whole pages, empty target"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			st, err := b.f.Stat()
			if err != nil {
				return err
			}
			return errors.Join(writes(each)(b, p, produce), b.f.Truncate(st.Size()))
		}},
	{name: "appends whatever the offset", caught: []string{"whole pages", "random order, empty target", "the same job twice"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			_, err := b.f.Seek(0, io.SeekEnd)
			for i := 0; i < p.Pieces() && err == nil; i++ {
				p.Await(i)
				_, err = b.f.Write(produce(p.Piece(i)))
			}
			return err
		}},
	{name: "does not sync at the end", caught: []string{"sync=end leaves no dirty page"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			c := *b
			c.sync = iomethod.SyncNone
			return writes(each)(&c, p, produce)
		}},
	{name: "opens without O_DSYNC", write: writes(each), open: openBy(os.O_WRONLY), caught: []string{"sync=dsync leaves no dirty page"}},
	{name: "takes any policy", write: writes(each), open: openBy(os.O_WRONLY), caught: []string{"sync unknown"}},
	{name: "leaks a descriptor", write: writes(each), caught: []string{"descriptors and mappings"},
		close: func(b *brokenWriter) error { forget = append(forget, b.f); return nil }},
	{name: "leaks a mapping", open: openBy(os.O_RDWR), caught: []string{"descriptors and mappings"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			if _, err := unix.MmapPtr(int(b.f.Fd()), 0, nil, 4096, unix.PROT_WRITE, unix.MAP_SHARED); err != nil && p.Length > 0 {
				return err
			}
			return writes(each)(b, p, produce)
		}},
	{name: "allocates", caught: []string{"allocations"},
		write: func(b *brokenWriter, p *iomethod.Plan, produce iomethod.Producer) error {
			b.kept = [][]byte{make([]byte, p.Block)}
			return writes(each)(b, p, produce)
		}},
	{name: "panics", caught: []string{"whole pages", "full filesystem"},
		write: func(*brokenWriter, *iomethod.Plan, iomethod.Producer) error { panic("on purpose") }},
	{name: "refuses everything", caught: []string{"whole pages"},
		write: func(*brokenWriter, *iomethod.Plan, iomethod.Producer) error { return errors.ErrUnsupported }},
	{name: "waits for ever", caught: []string{"empty file"},
		write: func(*brokenWriter, *iomethod.Plan, iomethod.Producer) error { <-forever; return nil }},
}

// unseen are the cases that a machine, or its user, may have no means to check.
var unseen = []string{"allocations", "read-only target", "full filesystem", "full filesystem, empty target",
	"sync=end leaves no dirty page", "sync=dsync leaves no dirty page"}

func TestConformanceCatchesWriters(t *testing.T) {
	notShort(t)
	t.Cleanup(func() {
		for _, f := range forget {
			f.Close()
		}
		forget = nil
	})
	for _, f := range writerFlaws {
		t.Run(f.name, func(t *testing.T) {
			ran := map[string]bool{}
			for _, c := range iomethodtest.Cases(f.method()) {
				name := strings.TrimPrefix(c.Name, "writer/")
				if f.caught != nil && !slices.Contains(f.caught, name) {
					continue // it may be caught or not
				}
				ran[name] = true
				limit := 20 * time.Second
				if f.name == "waits for ever" {
					limit = 50 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				err := c.Run(ctx, t.TempDir())
				cancel()
				switch refused := errors.Is(err, errors.ErrUnsupported); {
				case f.caught == nil && err != nil && !refused:
					t.Errorf("%s: got %v, want nil", c.Name, err)
				case f.caught != nil && refused && slices.Contains(unseen, name):
					t.Logf("%s: %v", c.Name, err)
				case f.caught != nil && (err == nil || refused):
					t.Errorf("%s: got %v, want it caught", c.Name, err)
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
