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

// copying is the configuration of a copier, whose target lies beside the source.
func (f file) copying(plans ...*iomethod.Plan) iomethod.Config {
	c := f.config(plans...)
	c.Target = f.path + ".target"
	return c
}

// other returns n bytes of which none is what the content has there.
func other(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = ^content()[i%fileSize]
	}
	return b
}

// copied returns what must be in the target after the job, if that was in it before.
func copied(m iomethod.Method, f file, before []byte, p *iomethod.Plan) []byte {
	after := bytes.Clone(before)
	if m.Idle {
		return after
	}
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		if grown := int(off) + n - len(after); grown > 0 {
			after = append(after, make([]byte, grown)...)
		}
		copy(after[off:][:n], f.content[off:])
	}
	return after
}

// copyFile runs the jobs on one copier, each into a target that holds before, and
// verifies it.
func copyFile(m iomethod.Method, f file, before []byte, plans ...*iomethod.Plan) (err error) {
	config := f.copying(plans...)
	if err := os.WriteFile(config.Target, before, 0o644); err != nil {
		return err
	}
	c, err := m.Copier.New(config)
	if err != nil {
		return fmt.Errorf("construct: got %w, want nil", err)
	}
	defer func() {
		if e := c.Close(); err == nil && e != nil {
			err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	for i, p := range plans {
		if i > 0 { // for the first job it must have stayed what it was
			if err := os.WriteFile(config.Target, before, 0o644); err != nil {
				return err
			}
		}
		var pace pacer
		refused := c.Copy(pace.paced(p))
		if refused != nil && !errors.Is(refused, errors.ErrUnsupported) {
			return fmt.Errorf("job %d: got %w, want nil", i, refused)
		}
		got, err := os.ReadFile(config.Target)
		if err != nil {
			return err
		}
		if refused != nil {
			if err := differ("", got, before); err != nil {
				return fmt.Errorf("job %d: got the target changed by a method that refused: %v%v", i, refused, err)
			}
			return refused
		}
		if err := errors.Join(differ("the target", got, copied(m, f, before, p)), pace.verdict(m, p)); err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
	}
	source, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	return differ("the source", source, f.content)
}

func copierCases(m iomethod.Method) []Case {
	var cases []Case
	add := func(name string, run func(ctx context.Context, dir string) error) {
		cases = append(cases, Case{"copier/" + name, run})
	}
	for _, target := range []struct {
		name string
		size func(source int64) int64 // bytes
	}{
		{"empty", func(int64) int64 { return 0 }},
		{"same size", func(n int64) int64 { return n }},
		{"longer", func(n int64) int64 { return n + 10001 }},
	} {
		for _, s := range stretches() {
			add(target.name+"/"+s.name, func(_ context.Context, dir string) error {
				f, err := newFile(dir, s.size)
				if err != nil {
					return err
				}
				return mandatory(s.name, copyFile(m, f, other(int(target.size(s.size))), s.plans...))
			})
		}
	}
	whole := &iomethod.Plan{Length: fileSize, Block: 64 << 10}
	add("descriptors and mappings", func(_ context.Context, dir string) error {
		f, err := newFile(dir, fileSize)
		if err != nil {
			return err
		}
		// The target's path begins with the source's.
		return released(f, func() error { return copyFile(m, f, nil, whole) })
	})
	add("allocations", func(_ context.Context, dir string) error {
		return withCopier(m, dir, nil, func(_ file, c iomethod.Copier) error {
			return allocations(m, func() error { return c.Copy(whole) })
		})
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
			if err := copyFile(m, f, nil, whole); err != nil {
				return err
			}
		}
		return nil
	})
	if m.Idle {
		// It gets files that are not there, to show that it does not even look.
		add("touches nothing", func(_ context.Context, dir string) error {
			c, err := m.Copier.New(file{path: filepath.Join(dir, "missing")}.copying(whole))
			if err != nil {
				return err
			}
			return errors.Join(c.Copy(whole), c.Close())
		})
		return cases
	}
	for _, c := range sourceTroubles() {
		add(c.name, func(_ context.Context, dir string) error { return c.run(m, dir) })
	}
	for _, c := range targetTroubles(m) {
		add(c.Name, c.run)
	}
	return cases
}

// withCopier hands over a copier of a whole file into a target that holds before.
func withCopier(m iomethod.Method, dir string, before []byte, do func(file, iomethod.Copier) error) (err error) {
	f, err := newFile(dir, fileSize)
	if err != nil {
		return err
	}
	config := f.copying()
	config.Block = 4 << 20
	if err := os.WriteFile(config.Target, before, 0o644); err != nil {
		return err
	}
	c, err := m.Copier.New(config)
	if err != nil {
		return err
	}
	defer func() {
		if e := c.Close(); err == nil && e != nil {
			err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	return do(f, c)
}

// A sourceTrouble is a source that ends before the plan does.
type sourceTrouble struct {
	name             string
	block            int
	before, meantime int64 // bytes that are left of the source, before the job and before its second piece; -1: all
}

func sourceTroubles() []sourceTrouble {
	page := os.Getpagesize()
	pages := func(n int) int64 { return int64(n * page) }
	return []sourceTrouble{
		{"source one byte short", 4096, fileSize - 1, -1},
		{"source many pages short", 4096, pages(2), -1},
		{"source short, block beyond it", 4 << 20, pages(2) + 1, -1},
		{"source emptied", 4096, 0, -1},
		{"source shrinks after the first piece", page, -1, pages(1)},
		{"source shrinks amid the second piece", int(pages(16)), -1, pages(24)},
		{"source emptied after the first piece", page, -1, 0},
	}
}

func (s sourceTrouble) run(m iomethod.Method, dir string) error {
	if m.Whole && s.meantime >= 0 {
		return fmt.Errorf("%s awaits no piece before which the source could shrink: %w", m.Name, errors.ErrUnsupported)
	}
	before := other(fileSize)
	return withCopier(m, dir, before, func(f file, c iomethod.Copier) error {
		plan := &iomethod.Plan{Length: fileSize, Block: s.block}
		if s.before >= 0 {
			if err := os.Truncate(f.path, s.before); err != nil {
				return err
			}
		}
		var truncated error
		if s.meantime >= 0 {
			plan.Pace = func(i int) {
				if i == 1 {
					truncated = os.Truncate(f.path, s.meantime)
				}
			}
		}
		err := c.Copy(plan)
		switch {
		case truncated != nil:
			return truncated
		case errors.Is(err, errors.ErrUnsupported):
			return err
		case !errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("got error %v, want one that matches io.ErrUnexpectedEOF", err)
		}
		if mapped, err := mappings(f.path); err == nil && mapped != "" {
			return fmt.Errorf("after the error: got mapping %q, want none of the files", mapped)
		}
		got, err := os.ReadFile(f.copying().Target)
		if err != nil {
			return err
		}
		return neither(got, before, f.content)
	})
}

// neither says where got holds a byte that is neither the old nor the new one.
func neither(got, old, new []byte) error {
	if len(got) != len(new) {
		return fmt.Errorf("the target: got %d bytes, want %d", len(got), len(new))
	}
	for i, b := range got {
		if b != old[i] && b != new[i] {
			return fmt.Errorf("the target: got byte %#x at %d, want %#x as it was or %#x as it shall be", b, i, old[i], new[i])
		}
	}
	return nil
}

// targetTroubles are files that are not there, or cannot be copied to.
func targetTroubles(m iomethod.Method) []Case {
	construct := func(c iomethod.Config) error {
		copier, err := m.Copier.New(c)
		if err == nil {
			copier.Close()
		}
		return err
	}
	// Two such files are more than the full filesystem has room for.
	const needed = fullSize / 4 * 3
	// refused checks that so much cannot be copied with that configuration.
	refused := func(c iomethod.Config) error {
		c.Block = 4096
		copier, err := m.Copier.New(c)
		if err != nil {
			return nil
		}
		err = copier.Copy(&iomethod.Plan{Length: needed, Block: 4096})
		if e := copier.Close(); e != nil {
			return fmt.Errorf("got Close = %w, want nil", e)
		}
		if err == nil {
			return errors.New("got no error, want one from New or Copy")
		}
		return nil
	}
	return []Case{
		{"missing file", func(_ context.Context, dir string) error {
			return missing(dir, func(c iomethod.Config) error {
				c.Target = filepath.Join(dir, "target")
				if err := os.WriteFile(c.Target, nil, 0o644); err != nil {
					return err
				}
				return construct(c)
			})
		}},
		{"missing target", func(_ context.Context, dir string) error {
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			target := filepath.Join(dir, "missing")
			err = missing(dir, func(c iomethod.Config) error {
				c.Path, c.Target = f.path, target
				return construct(c)
			})
			if _, e := os.Stat(target); err == nil && !errors.Is(e, fs.ErrNotExist) {
				return fmt.Errorf("got the target made (stat: %v), want it missing as before", e)
			}
			return err
		}},
		{"directory", func(_ context.Context, dir string) error {
			target := filepath.Join(dir, "target")
			if err := os.WriteFile(target, nil, 0o644); err != nil {
				return err
			}
			return refused(iomethod.Config{Path: dir, Target: target})
		}},
		{"directory for a target", func(_ context.Context, dir string) error {
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			return refused(iomethod.Config{Path: f.path, Target: dir})
		}},
		{"target that cannot be written", func(_ context.Context, dir string) error {
			if os.Geteuid() == 0 {
				return fmt.Errorf("forbid root to write a file: %w", errors.ErrUnsupported)
			}
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			c := f.copying()
			if err := os.WriteFile(c.Target, nil, 0o444); err != nil {
				return err
			}
			if err := construct(c); !errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("construct: got error %v, want one that matches fs.ErrPermission", err)
			}
			return nil
		}},
		{"full device", func(_ context.Context, dir string) error {
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			return refused(iomethod.Config{Path: f.path, Target: "/dev/full"})
		}},
		{"full filesystem", func(_ context.Context, dir string) error {
			return fullFilesystem(dir, func() error {
				f, err := newFile(dir, needed)
				if err != nil {
					return err
				}
				c := f.copying()
				if err := os.WriteFile(c.Target, nil, 0o644); err != nil {
					return err
				}
				return refused(c)
			})
		}},
		{"target that cannot grow", func(_ context.Context, dir string) error {
			f, err := newFile(dir, fileSize)
			if err != nil {
				return err
			}
			return sealed(needed/2, func(target string) error {
				return refused(iomethod.Config{Path: f.path, Target: target})
			})
		}},
	}
}
