package iomethodtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"iopath/workloads/iomethod"
)

// A witness is the consumer that holds each piece against the plan and the
// content. It touches every byte, inside the consumer: that is where a mapping
// faults.
type witness struct {
	plan    *iomethod.Plan
	content []byte
	idle    bool // the pieces must be empty
	after   func() error
	seen    int // pieces
	wrong   error
}

// consume notes the first piece that is not the plan's next one.
func (w *witness) consume(off int64, b []byte) {
	i := w.seen
	if w.wrong != nil {
		return
	}
	if i >= w.plan.Pieces() {
		w.wrong = fmt.Errorf("piece %d: got %d bytes at %d, want no more than %d pieces", i, len(b), off, i)
		return
	}
	wantOff, want := w.plan.Piece(i)
	if w.idle {
		want = 0
	}
	switch {
	case off != wantOff || len(b) != want:
		w.wrong = fmt.Errorf("piece %d: got %d bytes at %d, want %d at %d", i, len(b), off, want, wantOff)
	case !bytes.Equal(b, w.content[off:][:want]):
		w.wrong = differ(fmt.Sprintf("piece %d at %d", i, off), b, w.content[off:][:want])
	}
	w.seen++
	if w.after != nil && i == 0 {
		w.wrong = errors.Join(w.wrong, w.after())
	}
}

// verdict is what is wrong with all that was consumed.
func (w *witness) verdict() error {
	if w.wrong == nil && w.seen != w.plan.Pieces() {
		return fmt.Errorf("got %d pieces, want %d", w.seen, w.plan.Pieces())
	}
	return w.wrong
}

// read runs the jobs on one reader.
func read(m iomethod.Method, f file, plans ...*iomethod.Plan) (err error) {
	r, err := m.Reader.New(f.config(plans...))
	if err != nil {
		return fmt.Errorf("construct: got %w, want nil", err)
	}
	defer func() {
		if e := r.Close(); err == nil && e != nil {
			err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	for i, p := range plans {
		w := witness{plan: p, content: f.content, idle: m.Idle}
		var pace pacer
		consume := func(off int64, b []byte) {
			if w.consume(off, b); w.wrong == nil && pace.awaited < w.seen && !m.Whole {
				w.wrong = fmt.Errorf("got piece %d before it was awaited", w.seen-1)
			}
		}
		if err := r.Read(pace.paced(p), consume); err != nil {
			return fmt.Errorf("job %d: got %w, want nil", i, err)
		}
		if err := errors.Join(w.verdict(), pace.verdict(m, p)); err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
	}
	return nil
}

func readerCases(m iomethod.Method) []Case {
	var cases []Case
	add := func(name string, run func(ctx context.Context, dir string) error) {
		cases = append(cases, Case{"reader/" + name, run})
	}
	for _, s := range stretches() {
		add(s.name, func(_ context.Context, dir string) error {
			f, err := newFile(dir, s.size)
			if err != nil {
				return err
			}
			return mandatory(s.name, read(m, f, s.plans...))
		})
	}
	whole := &iomethod.Plan{Length: fileSize, Block: 4096}
	add("descriptors and mappings", func(_ context.Context, dir string) error {
		f, err := newFile(dir, fileSize)
		if err != nil {
			return err
		}
		return released(f, func() error { return read(m, f, whole) })
	})
	add("allocations", func(_ context.Context, dir string) (err error) {
		f, err := newFile(dir, fileSize)
		if err != nil {
			return err
		}
		r, err := m.Reader.New(f.config(whole))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		var bytes int
		consume := func(_ int64, b []byte) { bytes += len(b) }
		return allocations(m, func() error { return r.Read(whole, consume) })
	})
	add("signals", func(_ context.Context, dir string) error {
		f, err := newFile(dir, fileSize)
		if err != nil {
			return err
		}
		stop, err := interrupt()
		if err != nil {
			return err
		}
		defer stop()
		for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
			if err := read(m, f, whole); err != nil {
				return err
			}
		}
		return nil
	})
	if m.Idle {
		// It gets a file that is not there, to show that it does not even look.
		add("touches nothing", func(_ context.Context, dir string) error {
			return read(m, file{path: filepath.Join(dir, "missing"), content: make([]byte, fileSize)}, whole)
		})
		return cases
	}

	pages := func(n int) int64 { return int64(n * os.Getpagesize()) }
	for _, c := range []struct {
		name             string
		block            int
		before, meantime int64 // bytes that are left of the file; -1: all
	}{
		{"file one byte short", 4096, fileSize - 1, -1},
		{"file many pages short", 4096, pages(2), -1},
		{"file short, block beyond it", 4 << 20, pages(2) + 1, -1},
		{"file emptied", 4096, 0, -1},
		{"file shrinks after the first piece", os.Getpagesize(), -1, pages(1)},
		{"file shrinks amid the second piece", int(pages(16)), -1, pages(24)},
		{"file emptied after the first piece", os.Getpagesize(), -1, 0},
	} {
		add(c.name, func(_ context.Context, dir string) error {
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			plan := &iomethod.Plan{Length: fileSize, Block: c.block}
			w := witness{plan: plan, content: f.content}
			if c.before >= 0 {
				if err := os.Truncate(f.path, c.before); err != nil {
					return err
				}
			} else {
				w.after = func() error { return os.Truncate(f.path, c.meantime) }
			}
			r, err := m.Reader.New(f.config(plan))
			if err != nil {
				return err
			}
			err = r.Read(plan, w.consume)
			if e := r.Close(); e != nil {
				return fmt.Errorf("got Close = %w, want nil", e)
			}
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				return err
			case w.wrong != nil:
				return w.wrong
			case err == nil && c.before < 0 && w.verdict() == nil:
				return nil // it had all the bytes before the file lost them
			case !errors.Is(err, io.ErrUnexpectedEOF):
				return fmt.Errorf("got error %v after %d pieces, want one that matches io.ErrUnexpectedEOF", err, w.seen)
			}
			if mapped, err := mappings(f.path); err == nil && mapped != "" {
				return fmt.Errorf("after the error: got mapping %q, want none of the file", mapped)
			}
			return nil
		})
	}
	add("missing file", func(_ context.Context, dir string) error {
		return missing(dir, func(c iomethod.Config) error {
			r, err := m.Reader.New(c)
			if err == nil {
				r.Close()
			}
			return err
		})
	})
	add("directory", func(_ context.Context, dir string) error {
		r, err := m.Reader.New(iomethod.Config{Path: dir, Block: 4096, Socket: -1})
		if err != nil {
			return nil
		}
		err = r.Read(&iomethod.Plan{Length: 4096, Block: 4096}, func(int64, []byte) {})
		if e := r.Close(); e != nil {
			return fmt.Errorf("got Close = %w, want nil", e)
		}
		if err == nil {
			return errors.New("got no error, want one from New or Read")
		}
		return nil
	})
	return cases
}

// missing checks a constructor on a file that is not there, twice: the second
// time nothing may be opened that stays.
func missing(dir string, construct func(iomethod.Config) error) error {
	f := file{path: filepath.Join(dir, "missing")}
	return released(f, func() error {
		err := construct(iomethod.Config{Path: f.path, Block: 4096, Socket: -1})
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("construct: got error %v, want one that matches fs.ErrNotExist", err)
		}
		return nil
	})
}
