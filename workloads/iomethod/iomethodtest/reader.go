package iomethodtest

import (
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

// A witness is the consumer that holds each piece of a job against the plan and
// the content, and the job to awaiting each piece before it has it. It touches
// every byte, inside the consumer: that is where a mapping faults.
type witness struct {
	m       iomethod.Method
	plan    *iomethod.Plan
	content []byte
	after   func() error // called once, after the first piece
	pace    pacer
	due     map[extent]int // of an unordered method: what was awaited and has not come
	seen    int            // pieces
	wrong   error
}

// An extent is where a piece is in the file.
type extent struct {
	off int64
	n   int
}

func newWitness(m iomethod.Method, p *iomethod.Plan, content []byte) *witness {
	return &witness{m: m, plan: p, content: content, due: map[extent]int{}}
}

// read runs the job, and returns the reader's error.
func (w *witness) read(r iomethod.Reader) error {
	p := w.pace.paced(w.plan)
	await := p.Pace
	p.Pace = func(i int) {
		await(i)
		if i < w.plan.Pieces() {
			off, n := w.plan.Piece(i)
			w.due[extent{off, n}]++
		}
	}
	return r.Read(p, w.consume)
}

// consume notes the first piece that is wrong.
func (w *witness) consume(off int64, b []byte) {
	if w.wrong != nil {
		return
	}
	w.wrong = w.judge(off, b)
	w.seen++
	if w.after != nil && w.seen == 1 {
		w.wrong = errors.Join(w.wrong, w.after())
	}
}

// judge is what is wrong with a piece.
func (w *witness) judge(off int64, b []byte) error {
	i := w.seen
	if i >= w.plan.Pieces() {
		return fmt.Errorf("piece %d: got %d bytes at %d, want no more than %d pieces", i, len(b), off, i)
	}
	if err := w.expect(i, extent{off, len(b)}); err != nil {
		return err
	}
	if err := differ(fmt.Sprintf("piece %d at %d", i, off), b, w.content[off:][:len(b)]); err != nil {
		return err
	}
	if w.pace.awaited <= i && !w.m.Whole {
		return fmt.Errorf("got piece %d before it was awaited", i)
	}
	return nil
}

// expect checks that the i-th piece to come is the plan's: its i-th, or any that
// was awaited where the method is unordered, as often as it was.
func (w *witness) expect(i int, got extent) error {
	if w.m.Unordered {
		if w.due[got] == 0 {
			return fmt.Errorf("piece %d: got %d bytes at %d, want a piece that was awaited and has not come yet", i, got.n, got.off)
		}
		w.due[got]--
		return nil
	}
	off, n := w.plan.Piece(i)
	if w.m.Idle {
		n = 0
	}
	if got != (extent{off, n}) {
		return fmt.Errorf("piece %d: got %d bytes at %d, want %d at %d", i, got.n, got.off, n, off)
	}
	return nil
}

// verdict is what is wrong with all that was consumed.
func (w *witness) verdict() error {
	if w.wrong == nil && w.seen != w.plan.Pieces() {
		return fmt.Errorf("got %d pieces, want %d", w.seen, w.plan.Pieces())
	}
	return w.wrong
}

// readJob runs one job that must succeed.
func readJob(m iomethod.Method, r iomethod.Reader, p *iomethod.Plan, content []byte) error {
	w := newWitness(m, p, content)
	if err := w.read(r); err != nil {
		return fmt.Errorf("got %w, want nil", err)
	}
	return errors.Join(w.verdict(), w.pace.verdict(m, p))
}

// closing closes a method, whose error is to be nil too.
func closing(c io.Closer, err *error) {
	if e := c.Close(); *err == nil && e != nil {
		*err = fmt.Errorf("got Close = %w, want nil", e)
	}
}

// read runs the jobs on one reader.
func read(m iomethod.Method, f file, plans ...*iomethod.Plan) (err error) {
	r, err := m.Reader.New(f.config(plans...))
	if err != nil {
		return fmt.Errorf("construct: got %w, want nil", err)
	}
	defer closing(r, &err)
	for i, p := range plans {
		if err := readJob(m, r, p, f.content); err != nil {
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
			w := newWitness(m, plan, f.content)
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
			err = w.read(r)
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
	cases = append(cases, reopenCases(m)...)
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

// reopenCases are of the readers alone that are an iomethod.Reopener; the others
// refuse them.
func reopenCases(m iomethod.Method) []Case {
	return []Case{
		{"reader/reopen", func(_ context.Context, dir string) error {
			files, err := newFiles(dir)
			if err != nil {
				return err
			}
			return released(file{path: dir}, func() error { return reopening(m, files, func(iomethod.Reopener) error { return nil }) })
		}},
		{"reader/reopen, missing file", func(_ context.Context, dir string) error {
			files, err := newFiles(dir)
			if err != nil {
				return err
			}
			return released(file{path: dir}, func() error {
				return reopening(m, files, func(r iomethod.Reopener) error {
					err := r.Reopen(filepath.Join(dir, "missing"))
					if err == nil { // one that opens its file in each job
						err = r.Read(files[0].all(), func(int64, []byte) {})
					}
					if !errors.Is(err, fs.ErrNotExist) {
						return fmt.Errorf("got error %v, want one that matches fs.ErrNotExist", err)
					}
					return nil
				})
			})
		}},
		{"reader/reopen, allocations", func(_ context.Context, dir string) (err error) {
			files, err := newFiles(dir)
			if err != nil {
				return err
			}
			r, err := reopener(m, files[0])
			if err != nil {
				return err
			}
			defer closing(r, &err)
			plan := &iomethod.Plan{Length: 1, Block: 1} // which every file has
			consume := func(int64, []byte) {}
			return allocations(m, func() error {
				for _, f := range files {
					if err := r.Reopen(f.path); err != nil {
						return err
					}
					if err := r.Read(plan, consume); err != nil {
						return err
					}
				}
				return nil
			})
		}},
	}
}

// newFiles returns files of different sizes and with different bytes.
func newFiles(dir string) ([]file, error) {
	var files []file
	for i, size := range []int{50_000, 1, 4096, 200_001, 4097, 3, 100_000} {
		f := file{filepath.Join(dir, fmt.Sprint("file", i)), content()[1000*i:][:size]}
		if err := os.WriteFile(f.path, f.content, 0o644); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// all is the job that reads the file.
func (f file) all() *iomethod.Plan {
	return &iomethod.Plan{Length: int64(len(f.content)), Block: 4096}
}

func reopener(m iomethod.Method, f file) (iomethod.Reopener, error) {
	r, err := m.Reader.New(f.config(f.all()))
	if err != nil {
		return nil, fmt.Errorf("construct: got %w, want nil", err)
	}
	if again, ok := r.(iomethod.Reopener); ok {
		return again, nil
	}
	r.Close()
	return nil, fmt.Errorf("%s keeps to one file: %w", m.Name, errors.ErrUnsupported)
}

// reopening reads one file after another by one reader, with something between any
// two of them and in the end.
func reopening(m iomethod.Method, files []file, between func(iomethod.Reopener) error) (err error) {
	r, err := reopener(m, files[0])
	if err != nil {
		return err
	}
	defer closing(r, &err)
	for i, f := range files {
		if i > 0 {
			if err := r.Reopen(f.path); err != nil {
				return fmt.Errorf("file %d: got Reopen = %w, want nil", i, err)
			}
		}
		if err := readJob(m, r, f.all(), f.content); err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
		if err := between(r); err != nil {
			return fmt.Errorf("after file %d: %w", i, err)
		}
	}
	return nil
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
