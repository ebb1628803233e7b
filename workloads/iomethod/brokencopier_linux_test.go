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

// A copierFlaw is a copier that is wrong on purpose, and the cases, without their
// role, that must see it. The right one is pread and pwrite.
type copierFlaw struct {
	name   string
	copy   func(b *brokenCopier, p *iomethod.Plan) error
	flags  int // to open the target with, besides
	close  func(b *brokenCopier) error
	caught []string
}

type brokenCopier struct {
	flaw           copierFlaw
	config         iomethod.Config
	source, target *os.File
	buf            []byte
}

func (b *brokenCopier) Copy(p *iomethod.Plan) error { return b.flaw.copy(b, p) }
func (b *brokenCopier) Close() error {
	if b.flaw.close != nil {
		return b.flaw.close(b)
	}
	return errors.Join(b.source.Close(), b.target.Close())
}

func (f copierFlaw) method() iomethod.Method {
	construct := func(c iomethod.Config) (iomethod.Copier, error) {
		source, err := os.Open(c.Path)
		if err != nil {
			return nil, err
		}
		target, err := os.OpenFile(c.Target, os.O_RDWR|f.flags, 0o644)
		if err != nil {
			source.Close()
			return nil, err
		}
		return &brokenCopier{f, c, source, target, make([]byte, c.Block)}, nil
	}
	return iomethod.Method{Name: "broken", Doc: f.name, Copier: iomethod.Role[iomethod.Copier]{New: construct}}
}

// get reads a piece, or what the source has of it.
func (b *brokenCopier) get(off int64, n int) (got int, err error) {
	for got < n {
		m, err := unix.Pread(int(b.source.Fd()), b.buf[got:n], off+int64(got))
		if err != nil {
			return got, err
		}
		if m == 0 {
			return got, io.ErrUnexpectedEOF
		}
		got += m
	}
	return got, nil
}

func (b *brokenCopier) put(off int64, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(int(b.target.Fd()), data, off)
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// copies is the right copier, with the pieces that pick chooses.
func copies(pick func(pieces int) []int) func(*brokenCopier, *iomethod.Plan) error {
	return func(b *brokenCopier, p *iomethod.Plan) error {
		for k, i := range pick(p.Pieces()) {
			p.Await(k)
			off, n := p.Piece(i)
			if _, err := b.get(off, n); err != nil {
				return err
			}
			if err := b.put(off, b.buf[:n]); err != nil {
				return err
			}
		}
		return nil
	}
}

// copiesAnd is the right copier that then does something else.
func copiesAnd(also func(*brokenCopier, *iomethod.Plan) error) func(*brokenCopier, *iomethod.Plan) error {
	return func(b *brokenCopier, p *iomethod.Plan) error {
		if err := copies(each)(b, p); err != nil {
			return err
		}
		return also(b, p)
	}
}

// copiesAt is the right copier, but for the places that the bytes come from and go
// to.
func copiesAt(from, to func(p *iomethod.Plan, off int64) int64) func(*brokenCopier, *iomethod.Plan) error {
	return func(b *brokenCopier, p *iomethod.Plan) error {
		for i := range p.Pieces() {
			p.Await(i)
			off, n := p.Piece(i)
			if _, err := b.get(from(p, off), n); err != nil {
				return err
			}
			if err := b.put(to(p, off), b.buf[:n]); err != nil {
				return err
			}
		}
		return nil
	}
}

func inPlace(_ *iomethod.Plan, off int64) int64   { return off }
func fromStart(p *iomethod.Plan, off int64) int64 { return off - p.Start }

var copierFlaws = []copierFlaw{
	{name: "nothing is wrong with this copier", copy: copies(each)},
	{name: "loses the last piece where it is partial", caught: []string{"empty/whole file", "same size/last page of one byte", "longer/block beyond the file"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			if p.Length%int64(p.Block) != 0 {
				return copies(allButLast)(b, p)
			}
			return copies(each)(b, p)
		}},
	{name: "doubles a piece", copy: copies(doubled), caught: []string{"empty/whole pages"}},
	{name: "ignores the order", caught: []string{"empty/some pieces", "same size/some pieces", "longer/no piece"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			q := *p
			q.Order, q.Pace = nil, nil
			return copies(each)(b, &q)
		}},
	{name: "does not await its pieces", caught: []string{"empty/whole pages", "same size/random order"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			q := *p
			q.Pace = nil
			return copies(each)(b, &q)
		}},
	{name: "reads from the start of the source", copy: copiesAt(fromStart, inPlace),
		caught: []string{"empty/unaligned start, odd length", "same size/unaligned start to the end", "longer/two jobs, backwards"}},
	{name: "writes from the start of the target", copy: copiesAt(inPlace, fromStart),
		caught: []string{"empty/unaligned start, odd length", "same size/unaligned start to the end", "longer/two jobs"}},
	{name: "appends", flags: os.O_APPEND, copy: copies(each), caught: []string{"same size/whole pages", "longer/whole file"}},
	{name: "truncates the target to begin with", flags: os.O_TRUNC, copy: copies(each), caught: []string{"longer/whole file", "same size/unaligned start, odd length"}},
	{name: "truncates the target behind the job", caught: []string{"longer/whole pages", "same size/unaligned start, odd length"},
		copy: copiesAnd(func(b *brokenCopier, p *iomethod.Plan) error { return b.target.Truncate(p.Start + p.Length) })},
	{name: "writes whole blocks", caught: []string{"empty/whole file", "same size/unaligned start, odd length", "longer/last page short of one byte"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			for i := range p.Pieces() {
				p.Await(i)
				off, n := p.Piece(i)
				if _, err := b.get(off, n); err != nil {
					return err
				}
				if err := b.put(off, b.buf[:p.Block]); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "changes the source", caught: []string{"empty/whole pages", "longer/two jobs"},
		copy: copiesAnd(func(b *brokenCopier, p *iomethod.Plan) error {
			f, err := os.OpenFile(b.config.Path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("changed"), 0)
			return err
		})},
	{name: "copies once", caught: []string{"empty/the same job twice", "same size/two jobs"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			if b.buf == nil {
				return nil
			}
			err := copies(each)(b, p)
			b.buf = nil
			return err
		}},
	{name: "takes the end of the source for the end of the job",
		caught: []string{"source one byte short", "source emptied", "source shrinks after the first piece"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			if err := copies(each)(b, p); !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			return nil
		}},
	{name: "ignores short reads", caught: []string{"source one byte short", "source many pages short", "source shrinks amid the second piece"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			for i := range p.Pieces() {
				p.Await(i)
				off, n := p.Piece(i)
				if _, err := b.get(off, n); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					return err
				}
				if err := b.put(off, b.buf[:n]); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "says that the source ends, and writes what it has not", caught: []string{"source many pages short"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			err := copies(each)(b, p)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				clear(b.buf)
				b.put(p.Start+p.Length-int64(p.Block), b.buf[:p.Block])
			}
			return err
		}},
	{name: "does not see that the target is full", caught: []string{"full device", "full filesystem", "target that cannot grow"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			if err := copies(each)(b, p); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EPERM) {
				return err
			}
			return nil
		}},
	{name: "makes the target", flags: os.O_CREATE, copy: copies(each), caught: []string{"missing target"}},
	{name: "copies, and then refuses", caught: []string{"empty/whole file", "same size/random order"},
		copy: copiesAnd(func(*brokenCopier, *iomethod.Plan) error { return errors.ErrUnsupported })},
	{name: "refuses everything", caught: []string{"empty/whole pages", "longer/whole pages"},
		copy: func(*brokenCopier, *iomethod.Plan) error { return errors.ErrUnsupported }},
	{name: "copies nothing and says that all is well", caught: []string{"empty/whole pages", "same size/whole pages", "source emptied"},
		copy: func(*brokenCopier, *iomethod.Plan) error { return nil }},
	{name: "leaks the target's descriptor", copy: copies(each), caught: []string{"descriptors and mappings"},
		close: func(b *brokenCopier) error { forget = append(forget, b.target); return b.source.Close() }},
	{name: "leaks a mapping of the target", caught: []string{"descriptors and mappings"},
		copy: copiesAnd(func(b *brokenCopier, p *iomethod.Plan) error {
			_, err := unix.MmapPtr(int(b.target.Fd()), 0, nil, 4096, unix.PROT_READ, unix.MAP_SHARED)
			return err
		})},
	{name: "allocates", caught: []string{"allocations"},
		copy: func(b *brokenCopier, p *iomethod.Plan) error {
			b.buf = make([]byte, len(b.buf))
			return copies(each)(b, p)
		}},
}

func TestConformanceCatchesCopiers(t *testing.T) {
	notShort(t)
	t.Cleanup(func() {
		for _, f := range forget {
			f.Close()
		}
		forget = nil
	})
	for _, f := range copierFlaws {
		t.Run(f.name, func(t *testing.T) { mustCatch(t, f.method(), f.caught) })
	}
}

// mustCatch runs the cases that must see what is wrong with the method, or all of
// them where nothing is.
func mustCatch(t *testing.T, m iomethod.Method, caught []string) {
	ran := map[string]bool{}
	for _, c := range iomethodtest.Cases(m) {
		_, name, _ := strings.Cut(c.Name, "/")
		if caught != nil && !slices.Contains(caught, name) {
			continue // it may be caught or not
		}
		ran[name] = true
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := c.Run(ctx, t.TempDir())
		cancel()
		// What needs root, or no race detector, is not seen without.
		elsewhere := strings.HasSuffix(name, "allocations") || name == "full filesystem"
		switch refused := errors.Is(err, errors.ErrUnsupported); {
		case caught == nil && err != nil && !refused:
			t.Errorf("%s: got %v, want nil", c.Name, err)
		case caught != nil && elsewhere && refused:
			t.Logf("%s: %v", c.Name, err)
		case caught != nil && (err == nil || refused):
			t.Errorf("%s: got %v, want it caught", c.Name, err)
		}
	}
	for _, name := range caught {
		if !ran[name] {
			t.Errorf("there is no case %q", name)
		}
	}
}

// A mapperFlaw is a mapper that is wrong on purpose. What is nil is done right, as
// mmap(2) with these flags does it.
type mapperFlaw struct {
	name    string
	flags   int
	open    func(c iomethod.Config) (*os.File, error)
	mapping func(b *brokenMapper, n int) ([]byte, error)
	unmap   func(b *brokenMapper) error
	close   func(b *brokenMapper) error
	caught  []string
}

type brokenMapper struct {
	flaw   mapperFlaw
	config iomethod.Config
	f      *os.File
	data   []byte // what is mapped, nil where that is nothing
	spare  []byte
}

func (b *brokenMapper) Map(n int) ([]byte, error) {
	if b.flaw.mapping != nil {
		return b.flaw.mapping(b, n)
	}
	return b.mapRight(n)
}

func (b *brokenMapper) Unmap() error {
	if b.flaw.unmap != nil {
		return b.flaw.unmap(b)
	}
	return b.unmapRight()
}

func (b *brokenMapper) Close() error {
	if b.flaw.close != nil {
		return b.flaw.close(b)
	}
	if b.data != nil {
		b.unmapRight()
	}
	return b.f.Close()
}

// mapRight maps n bytes, which the file must have.
func (b *brokenMapper) mapRight(n int) ([]byte, error) {
	if b.data != nil || n < 1 {
		return nil, errors.New("not now")
	}
	if b.flaw.flags&unix.MAP_ANONYMOUS == 0 {
		var st unix.Stat_t
		if err := unix.Fstat(int(b.f.Fd()), &st); err != nil {
			return nil, err
		}
		if st.Size < int64(n) {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return b.mapAt(0, n, b.flaw.flags)
}

func (b *brokenMapper) mapAt(off int64, n, flags int) ([]byte, error) {
	prot, fd := unix.PROT_READ, int(b.f.Fd())
	if b.config.Write {
		prot |= unix.PROT_WRITE
	}
	if flags&unix.MAP_ANONYMOUS != 0 {
		fd = -1
	}
	addr, err := unix.MmapPtr(fd, off, nil, uintptr(n), prot, flags)
	if err != nil {
		return nil, err
	}
	b.data = unsafe.Slice((*byte)(addr), n)
	return b.data, nil
}

func (b *brokenMapper) unmapRight() error {
	if b.data == nil {
		return errors.New("not now")
	}
	err := unix.MunmapPtr(unsafe.Pointer(&b.data[0]), uintptr(len(b.data)))
	b.data = nil
	return err
}

// A brokenBacked is one whose memory is a file's.
type brokenBacked struct{ *brokenMapper }

func (b brokenBacked) Backing() string { return b.f.Name() }

func (f mapperFlaw) method() iomethod.Method {
	construct := func(c iomethod.Config) (iomethod.Mapper, error) {
		open := f.open
		if open == nil {
			open = map[int]func(iomethod.Config) (*os.File, error){
				shared: openShared, private: openPrivate, anonymous: openNothing,
			}[f.flags]
		}
		file, err := open(c)
		if err != nil {
			return nil, err
		}
		b := &brokenMapper{flaw: f, config: c, f: file}
		if f.flags&unix.MAP_ANONYMOUS != 0 {
			return b, nil
		}
		return brokenBacked{b}, nil
	}
	return iomethod.Method{Name: "broken", Doc: f.name, Mapper: iomethod.Role[iomethod.Mapper]{New: construct}}
}

const (
	shared    = unix.MAP_SHARED
	private   = unix.MAP_PRIVATE
	anonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
)

func openShared(c iomethod.Config) (*os.File, error) {
	if c.Write {
		return os.OpenFile(c.Target, os.O_RDWR, 0)
	}
	return os.Open(c.Path)
}
func openPrivate(c iomethod.Config) (*os.File, error) { return os.Open(c.Path) }
func openNothing(iomethod.Config) (*os.File, error)   { return os.Open(os.DevNull) }

var mapperFlaws = []mapperFlaw{
	{name: "nothing is wrong with this shared one", flags: shared},
	{name: "nothing is wrong with this private one", flags: private},
	{name: "nothing is wrong with this anonymous one", flags: anonymous},
	{name: "hands out whole pages", flags: shared, caught: []string{"read/1 bytes", "read/4097 bytes", "write/1048577 bytes"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) {
			data, err := b.mapRight(n)
			if err == nil {
				data = unsafe.Slice(&data[0], (n+4095)/4096*4096)
			}
			return data, err
		}},
	{name: "hands out a byte less", flags: anonymous, caught: []string{"read/1 bytes", "write/4096 bytes"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) {
			data, err := b.mapRight(n)
			if err == nil {
				data = data[:n-1]
			}
			return data, err
		}},
	{name: "maps the file from its second page on", flags: shared, caught: []string{"read/4096 bytes", "write/1048577 bytes"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) {
			if b.data != nil {
				return nil, errors.New("not now")
			}
			return b.mapAt(4096, n, shared)
		}},
	{name: "has zeros in place of the file", flags: shared, caught: []string{"read/4096 bytes", "write/4097 bytes"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) { return b.mapAt(0, n, anonymous) }},
	{name: "has memory that was used before", flags: anonymous, caught: []string{"write/4096 bytes", "write/1048577 bytes"},
		mapping: func(b *brokenMapper, n int) (_ []byte, err error) {
			if b.data, b.spare = b.spare, nil; b.data == nil {
				_, err = b.mapRight(n)
			}
			return b.data, err
		},
		unmap: func(b *brokenMapper) error {
			if b.data == nil {
				return errors.New("not now")
			}
			b.data, b.spare = nil, b.data
			return nil
		}},
	{name: "changes the file that is to be read", flags: shared, caught: []string{"write/1 bytes", "write/1048577 bytes"},
		open: func(c iomethod.Config) (*os.File, error) { return os.OpenFile(c.Path, os.O_RDWR, 0) }},
	{name: "does not look whether the file is long enough", flags: shared, caught: []string{"read/file one byte short", "write/file emptied"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) { return b.mapAt(0, n, shared) }},
	{name: "maps nothing where nothing is asked for", flags: private, caught: []string{"map nothing"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) {
			if n == 0 {
				return []byte{}, nil
			}
			return b.mapRight(n)
		}},
	{name: "maps anew and forgets", flags: private, caught: []string{"map twice"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) { b.data = nil; return b.mapRight(n) }},
	{name: "takes it that what is not mapped is unmapped", flags: private, caught: []string{"unmap what is not mapped", "read/4096 bytes"},
		unmap: func(b *brokenMapper) error {
			if b.data == nil {
				return nil
			}
			return b.unmapRight()
		}},
	{name: "forgets to unmap a file", flags: private, caught: []string{"descriptors and mappings", "address space"}, unmap: forgotten},
	{name: "forgets to unmap memory", flags: anonymous, caught: []string{"address space"}, unmap: forgotten},
	{name: "leaves it mapped when closed", flags: shared, caught: []string{"closed while mapped"},
		close: func(b *brokenMapper) error { return b.f.Close() }},
	{name: "leaks a descriptor", flags: shared, caught: []string{"descriptors and mappings", "closed while mapped"},
		close: func(b *brokenMapper) error {
			forget = append(forget, b.f)
			if b.data != nil {
				return b.unmapRight()
			}
			return nil
		}},
	{name: "makes the file", flags: private, caught: []string{"read/missing file", "write/missing file"},
		open: func(c iomethod.Config) (*os.File, error) {
			return os.OpenFile(c.Path, os.O_RDONLY|os.O_CREATE, 0o644)
		}},
	{name: "allocates", flags: anonymous, caught: []string{"read/allocations", "write/allocations"},
		mapping: func(b *brokenMapper, n int) ([]byte, error) { b.spare = make([]byte, n); return b.mapRight(n) }},
	{name: "refuses everything", flags: anonymous, caught: []string{"read/4096 bytes"},
		mapping: func(*brokenMapper, int) ([]byte, error) { return nil, fmt.Errorf("map: %w", errors.ErrUnsupported) }},
}

// forgotten is Unmap without munmap(2).
func forgotten(b *brokenMapper) error {
	if b.data == nil {
		return errors.New("not now")
	}
	b.data = nil
	return nil
}

func TestConformanceCatchesMappers(t *testing.T) {
	notShort(t)
	t.Cleanup(func() {
		for _, f := range forget {
			f.Close()
		}
		forget = nil
	})
	for _, f := range mapperFlaws {
		t.Run(f.name, func(t *testing.T) { mustCatch(t, f.method(), f.caught) })
	}
}
