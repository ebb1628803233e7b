package bench

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/units"

	"iopath/internal/counters"
	"iopath/internal/datafile"
	"iopath/internal/pagecache"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// The small files of an Open: their sizes in bytes, and how many bytes all of one
// size have together, unless they would be more than so many files.
var openSizes = []int64{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}

const (
	openBytes = 16 << 20
	openFiles = 1024
)

// filesOf is how many files of that size there are.
func filesOf(size int64) int { return int(max(1, min(openBytes/size, openFiles))) }

// open picks the methods that can go on from one file to the next.
func (x *picker) open(c Cell) {
	var able []string
	for _, name := range x.o.Methods {
		m, ok := x.usable[name]
		if !ok || m.Reader.New == nil || m.Cache != "" {
			continue
		}
		r, err := m.Reader.New(iomethod.Config{Path: x.s.mapped().path, Block: 1})
		if err != nil {
			x.skip("Open/method="+name, err)
			continue
		}
		if _, ok := r.(iomethod.Reopener); ok {
			able = append(able, name)
		}
		r.Close()
	}
	for _, size := range openSizes {
		c.Size, c.Files = size, filesOf(size)
		for _, c.Method = range able {
			x.cells = append(x.cells, c)
		}
	}
}

// openTask answers: at which size does it begin to pay to map a file, where each is
// opened, read whole and closed? A job does that with each of many small files that
// are in the page cache. Cell.Size is one file's.
func (s *Session) openTask(c Cell) (*task, error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	if c.Size < 1 || c.Size > MaxBlock || c.Files < 1 {
		return nil, usage("cell %s: %d files of %s (take at least one, of 1 byte to %s)", c.Name(), c.Files, units.Base2Bytes(c.Size), units.Base2Bytes(MaxBlock))
	}
	dir, err := s.scratchDir()
	if err != nil {
		return nil, err
	}
	paths, err := datafile.EnsureMany(context.Background(), dir, c.Files, c.Size)
	if err != nil {
		return nil, err
	}
	if err := s.load(paths); err != nil {
		return nil, err
	}
	all := workloads.Sequential(int64(c.Files)*c.Size, int(c.Size))
	consumer, err := workloads.NewConsumer(usualConsumer, int(c.Size))
	if err != nil {
		return nil, err
	}
	want, err := workloads.Reference(usualConsumer, all, datafile.Content(all.Length))
	if err != nil {
		return nil, err
	}
	r, err := m.Reader.New(iomethod.Config{Path: paths[0], Block: int(c.Size)})
	if err != nil {
		return nil, err
	}
	files, ok := r.(iomethod.Reopener)
	if !ok {
		r.Close()
		return nil, fmt.Errorf("%s cannot go on from one file to another: %w", m.Name, errors.ErrUnsupported)
	}
	one := workloads.Sequential(c.Size, int(c.Size))
	var base int64 // of the file under way, in the content of all
	consume := func(off int64, b []byte) { consumer.Consume(base+off, b) }
	return &task{
		bytes:     all.Length,
		declared:  append([]string{"openat", "close"}, m.Reader.Calls...),
		idiomatic: m.Idiomatic,
		parts:     c.Files,
		loaded:    true,
		close:     r.Close,
		Job: counters.Job{
			Begin: func() error { consumer.Reset(); return nil },
			Move: func() error {
				for i, path := range paths {
					base = int64(i) * c.Size
					if err := files.Reopen(path); err != nil {
						return err
					}
					if err := files.Read(one, consume); err != nil {
						return err
					}
				}
				return nil
			},
			End: func() error { return workloads.Verify(consumer.Digest, want) },
		},
	}, nil
}

// load brings small files into the page cache, once a session: not as they were
// written but as they are read, or a mapping of a file that has just been made takes
// an eighth of the faults that it takes the next day.
func (s *Session) load(paths []string) error {
	if s.loaded[paths[0]] {
		return nil
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(pagecache.Load(f), f.Close()); err != nil {
			return err
		}
	}
	s.loaded[paths[0]] = true
	return nil
}
