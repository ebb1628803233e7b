package iomethodtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"iopath/workloads/iomethod"
)

// A supplier is the producer that holds a method to asking for each piece of the
// plan once, in the plan's order, after it was awaited. It hands out the same
// buffer each time, so that a method which keeps what it was handed writes
// something else.
type supplier struct {
	m     iomethod.Method
	plan  *iomethod.Plan
	pace  *pacer
	job   int
	buf   []byte
	last  []byte // what was handed out, and
	want  []byte // what that must still be
	asked int    // pieces
	first func() error
	wrong error
}

// byteOf is what a job makes of a byte of the content: another one in each job.
func byteOf(job int, b byte) byte { return b ^ byte(job+1) }

func newSupplier(m iomethod.Method, p *iomethod.Plan, pace *pacer, job int) *supplier {
	return &supplier{m: m, plan: p, pace: pace, job: job, buf: make([]byte, min(p.Block, fileSize))}
}

func (s *supplier) produce(off int64, n int) []byte {
	s.check(off, n)
	s.spoil()
	b := s.buf[:n]
	for i, c := range content()[off:][:len(b)] {
		b[i] = byteOf(s.job, c)
	}
	s.last, s.want = b, append(s.want[:0], b...)
	if s.asked == 0 && s.first != nil && s.wrong == nil {
		s.wrong = s.first()
	}
	s.asked++
	return b
}

// check notes the first thing that is wrong with what is asked for.
func (s *supplier) check(off int64, n int) {
	if s.wrong != nil || s.m.Whole {
		return
	}
	if s.asked >= s.plan.Pieces() {
		s.wrong = fmt.Errorf("piece %d: asked for %d bytes at %d, want no more than %d pieces", s.asked, n, off, s.asked)
		return
	}
	wantOff, want := s.plan.Piece(s.asked)
	switch {
	case off != wantOff || n != want:
		s.wrong = fmt.Errorf("piece %d: asked for %d bytes at %d, want %d at %d", s.asked, n, off, want, wantOff)
	case s.pace.awaited != s.asked+1:
		s.wrong = fmt.Errorf("asked for piece %d when %d were awaited, want it awaited right before", s.asked, s.pace.awaited)
	}
}

// spoil ends the time for which what was handed out last is valid.
func (s *supplier) spoil() {
	if !bytes.Equal(s.last, s.want) && s.wrong == nil {
		s.wrong = fmt.Errorf("piece %d: the producer's bytes were changed", s.asked-1)
	}
	for i := range s.buf {
		s.buf[i] = 0xa5
	}
}

// verdict is what is wrong with all that was asked for.
func (s *supplier) verdict() error {
	s.spoil()
	want := s.plan.Pieces()
	if s.m.Idle {
		want = 0
	}
	if s.wrong == nil && s.asked != want && !s.m.Whole {
		return fmt.Errorf("asked for %d pieces, want %d", s.asked, want)
	}
	return s.wrong
}

// apply returns what the target must hold after the job, if it held that before.
func apply(m iomethod.Method, target []byte, job int, p *iomethod.Plan) []byte {
	if m.Idle {
		return target
	}
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		if grown := int(off) + n - len(target); grown > 0 {
			target = append(target, make([]byte, grown)...)
		}
		for j, b := range content()[off:][:n] {
			target[int(off)+j] = byteOf(job, b)
		}
	}
	return target
}

// target is the configuration of a writer, under which f is what it writes.
func (f file) target(sync iomethod.Sync, plans ...*iomethod.Plan) iomethod.Config {
	c := f.config(plans...)
	c.Path, c.Target, c.Sync = "", f.path, sync
	return c
}

// write runs the jobs on one writer, and holds the file against what it held
// before and what they made of it.
func write(m iomethod.Method, f file, sync iomethod.Sync, plans ...*iomethod.Plan) (err error) {
	w, err := m.Writer.New(f.target(sync, plans...))
	if err != nil {
		return fmt.Errorf("construct: got %w, want nil", err)
	}
	defer func() {
		if e := w.Close(); err == nil && e != nil {
			err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	want := bytes.Clone(f.content)
	for i, p := range plans {
		var pace pacer
		s := newSupplier(m, p, &pace, i)
		if err := w.Write(pace.paced(p), s.produce); err != nil {
			return fmt.Errorf("job %d: got %w, want nil", i, err)
		}
		if err := errors.Join(s.verdict(), pace.verdict(m, p)); err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
		want = apply(m, want, i, p)
		got, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		if err := differ(fmt.Sprintf("job %d: the target", i), got, want); err != nil {
			return err
		}
	}
	return nil
}

// newTarget makes a file of size bytes in a directory of its own.
func newTarget(dir, name string, size int64) (file, error) {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return file{}, err
	}
	return newFile(dir, size)
}

func writerCases(m iomethod.Method) []Case {
	var cases []Case
	add := func(name string, run func(ctx context.Context, dir string) error) {
		cases = append(cases, Case{"writer/" + name, run})
	}
	// over has the jobs written over a file of so many bytes.
	over := func(dir, name string, size int64, sync iomethod.Sync, plans ...*iomethod.Plan) error {
		f, err := newTarget(dir, name, size)
		if err != nil {
			return err
		}
		return write(m, f, sync, plans...)
	}
	for _, s := range stretches() {
		add(s.name, func(_ context.Context, dir string) error {
			err := over(dir, "filled", s.size, iomethod.SyncNone, s.plans...)
			if s.name == wholePages && errors.Is(err, errors.ErrUnsupported) {
				// Then it must be one that appends.
				err = over(dir, "empty", 0, iomethod.SyncNone, s.plans...)
			}
			return mandatory(s.name, err)
		})
		add(s.name+", empty target", func(_ context.Context, dir string) error {
			return over(dir, "empty", 0, iomethod.SyncNone, s.plans...)
		})
	}
	for _, c := range []struct {
		name string
		size int64
		plan iomethod.Plan
	}{
		{"across the end", 10000, iomethod.Plan{Start: 5000, Length: 50000, Block: 4096}},
		{"from the end on", 12345, iomethod.Plan{Start: 12345, Length: 54321, Block: 4096}},
		{"from the end on, bytes", 4090, iomethod.Plan{Start: 4090, Length: 100, Block: 1}},
		{"across the end, some pieces", 10000, iomethod.Plan{Length: 100000, Block: 4096, Order: []uint32{9, 1, 12, 2}}},
		{"beyond the end", 10000, iomethod.Plan{Start: 100001, Length: 54321, Block: 65536}},
		// For those that can write whole pages alone.
		{"pages in random order", 1 << 20, iomethod.Plan{Start: 12 << 12, Length: 1 << 19, Block: 4096, Order: []uint32{7, 3, 127, 0, 64, 65, 12}}},
		{"pages across the end", 64 << 10, iomethod.Plan{Start: 32 << 10, Length: 128 << 10, Block: 16 << 10}},
	} {
		add(c.name, func(_ context.Context, dir string) error {
			return over(dir, "target", c.size, iomethod.SyncNone, &c.plan)
		})
	}
	for _, sync := range iomethod.Syncs {
		for _, s := range stretches() {
			if sync == iomethod.SyncNone || !slices.Contains(syncedStretches, s.name) {
				continue
			}
			add(fmt.Sprintf("sync=%s, %s", sync, s.name), func(_ context.Context, dir string) error {
				return over(dir, "filled", s.size, sync, s.plans...)
			})
			add(fmt.Sprintf("sync=%s, %s, empty target", sync, s.name), func(_ context.Context, dir string) error {
				return over(dir, "empty", 0, sync, s.plans...)
			})
		}
	}
	add("sync unknown", func(_ context.Context, dir string) error {
		f, err := newFile(dir, 0)
		if err != nil {
			return err
		}
		w, err := m.Writer.New(f.target("perhaps"))
		if m.Idle {
			return w.Close()
		}
		if err == nil {
			w.Close()
		}
		if err == nil || errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("construct with a policy that there is not: got error %v, want one that is no refusal", err)
		}
		return nil
	})

	// What every method can do that can do anything: append whole pages.
	pages := &iomethod.Plan{Length: 1 << 20, Block: 64 << 10}
	add("descriptors and mappings", func(_ context.Context, dir string) error {
		f := file{path: filepath.Join(dir, "file")}
		if err := os.WriteFile(f.path, nil, 0o644); err != nil {
			return err
		}
		return released(f, func() error {
			if err := os.Truncate(f.path, 0); err != nil {
				return err
			}
			return write(m, f, iomethod.SyncNone, pages)
		})
	})
	add("allocations", func(_ context.Context, dir string) (err error) {
		f, err := os.Create(filepath.Join(dir, "file"))
		if err != nil {
			return err
		}
		defer f.Close()
		w, err := m.Writer.New(file{path: f.Name()}.target(iomethod.SyncNone, pages))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		produce := func(off int64, n int) []byte { return content()[off:][:n] }
		return allocations(m, func() error {
			if err := f.Truncate(0); err != nil { // which does not allocate
				return err
			}
			return w.Write(pages, produce)
		})
	})
	add("signals", func(_ context.Context, dir string) error {
		stop, err := interrupt()
		if err != nil {
			return err
		}
		defer stop()
		f := file{path: filepath.Join(dir, "file")}
		for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
			if err := os.WriteFile(f.path, nil, 0o644); err != nil {
				return err
			}
			if err := write(m, f, iomethod.SyncNone, pages); err != nil {
				return err
			}
		}
		return nil
	})
	if m.Idle {
		// It gets a file that is not there, to show that it does not even look.
		add("touches nothing", func(_ context.Context, dir string) error {
			path := filepath.Join(dir, "missing")
			w, err := m.Writer.New(file{path: path}.target(iomethod.SyncNone, pages))
			if err != nil {
				return err
			}
			err = errors.Join(w.Write(pages, nil), w.Close())
			if _, e := os.Stat(path); !errors.Is(e, fs.ErrNotExist) {
				return errors.Join(err, errors.New("got a file, want none made"))
			}
			return err
		})
		return cases
	}

	for _, sync := range []iomethod.Sync{iomethod.SyncRange, iomethod.SyncEnd, iomethod.SyncDsync, iomethod.SyncBlock} {
		add(fmt.Sprintf("sync=%s leaves no dirty page", sync), func(_ context.Context, dir string) error {
			return leavesClean(m, dir, sync, pages)
		})
	}
	// refused checks that a job which cannot be done, on a file of size bytes that
	// has its name already, fails, and not in silence.
	refused := func(path string, plan *iomethod.Plan) error {
		err := job(m, file{path: path}.target(iomethod.SyncNone, plan), plan, nil)
		if err == nil {
			return errors.New("got no error for bytes that the file cannot take, want one")
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		return nil
	}
	for _, c := range []struct {
		name string
		size int64
	}{{"", 100000}, {", empty target", 0}} {
		// The second piece is one that fits in part, and the last.
		short := &iomethod.Plan{Length: 128 << 10, Block: 64 << 10}
		add("file that cannot grow"+c.name, func(context.Context, string) error {
			return sealed(c.size, func(path string) error { return refused(path, short) })
		})
		add("full filesystem"+c.name, func(_ context.Context, dir string) error {
			return fullFilesystem(dir, func() error {
				path := filepath.Join(dir, "file")
				if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, min(c.size, 1)*pages.Length)); err != nil {
					return err
				}
				return refused(path, pages)
			})
		})
	}
	add("target shrinks meanwhile", func(_ context.Context, dir string) error {
		f, err := newFile(dir, pages.Length)
		if err != nil {
			return err
		}
		err = job(m, f.target(iomethod.SyncNone, pages), pages, func() error { return os.Truncate(f.path, 0) })
		if errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if mapped, e := mappings(f.path); e == nil && mapped != "" {
			return fmt.Errorf("after error %v: got mapping %q, want none of the file", err, mapped)
		}
		if err != nil {
			return nil
		}
		got, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		return differ("no error, and the target", got, apply(m, nil, 0, pages))
	})
	add("missing target", func(_ context.Context, dir string) error {
		f := file{path: filepath.Join(dir, "missing")}
		return released(f, func() error {
			err := job(m, f.target(iomethod.SyncNone, pages), pages, nil)
			if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("got error %v, want one that matches fs.ErrNotExist", err)
			}
			if _, err := os.Stat(f.path); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("stat of the missing target: got error %v, want it not made", err)
			}
			return nil
		})
	})
	add("directory", func(_ context.Context, dir string) error {
		if err := job(m, file{path: dir}.target(iomethod.SyncNone, pages), pages, nil); err == nil {
			return errors.New("got no error, want one from New or Write")
		}
		return nil
	})
	add("read-only target", func(_ context.Context, dir string) error {
		if os.Geteuid() == 0 {
			return fmt.Errorf("root may write what is read-only: %w", errors.ErrUnsupported)
		}
		f := file{path: filepath.Join(dir, "file")}
		if err := os.WriteFile(f.path, nil, 0o444); err != nil {
			return err
		}
		if err := job(m, f.target(iomethod.SyncNone, pages), pages, nil); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("got error %v, want one that matches fs.ErrPermission", err)
		}
		return nil
	})
	return cases
}

// job runs one job of a writer that need not end well, and returns what New or
// Write said. It calls first, where there is one, when the first piece is asked
// for.
func job(m iomethod.Method, c iomethod.Config, p *iomethod.Plan, first func() error) error {
	w, err := m.Writer.New(c)
	if err != nil {
		return err
	}
	pace := new(pacer)
	s := newSupplier(m, p, pace, 0)
	s.first = first
	err = w.Write(pace.paced(p), s.produce)
	if e := w.Close(); e != nil {
		return fmt.Errorf("got Close = %v after error %v, want nil", e, err)
	}
	return err
}

// leavesClean checks that nothing of a job is left to be written back. It says
// nothing of what the device does with it; package crash does.
func leavesClean(m iomethod.Method, dir string, sync iomethod.Sync, p *iomethod.Plan) error {
	f := file{path: filepath.Join(dir, "file")}
	if err := os.WriteFile(f.path, content()[:1<<20], 0o644); err != nil {
		return err
	}
	if dirty, err := dirtyPages(f.path); err != nil {
		return err
	} else if dirty == 0 {
		return fmt.Errorf("tell dirty pages: this filesystem shows none right after a write: %w", errors.ErrUnsupported)
	}
	if err := os.WriteFile(f.path, nil, 0o644); err != nil {
		return err
	}
	if err := write(m, f, sync, p); err != nil {
		return err
	}
	dirty, err := dirtyPages(f.path)
	if err == nil && dirty != 0 {
		err = fmt.Errorf("after the job: got %d dirty pages of the target, want none", dirty)
	}
	return err
}

// syncedStretches are written under each policy: of few pieces, because each may be
// synced by itself.
var syncedStretches = []string{wholePages, "whole file", "unaligned start, odd length", "some pieces", "no piece", "zero length", "the same job twice"}
