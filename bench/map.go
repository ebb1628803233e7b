package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"iopath/internal/counters"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// A job of a Map is as many mappings, one after another, as have mapBytes together,
// and at most mapCycles: what is measured around the job would else be a good part of
// it.
const (
	mapBytes  = 16 << 20
	mapCycles = 256
)

// touchStride is the distance in bytes between two bytes of a Map that are touched:
// the smallest page there is.
const touchStride = 4096

// mapTask answers: what does memory cost, of a file and of none, until its pages
// are there? A job makes it, touches one byte of each page, and gives it back,
// again and again. Each
// phase has a figure of its own, because the methods put the same cost into
// different ones; two readings of the clock are in each.
func (s *Session) mapTask(c Cell) (*task, error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	if c.Size < 1 || !slices.Contains(Touches, c.Touch) {
		return nil, usage("cell %s: size %d, touch %q (take a size of 1 byte or more, and one of %v)", c.Name(), c.Size, c.Touch, Touches)
	}
	d := s.mapped()
	w, err := s.openMap(m, iomethod.Config{Path: d.path, Write: c.Touch == "write"}, c.Size)
	if err != nil {
		return nil, err
	}
	t := &task{
		Job:       counters.Job{Begin: w.begin, Move: w.move, End: w.end},
		bytes:     int64(w.cycles) * c.Size,
		parts:     w.cycles,
		declared:  m.Mapper.Declared(w.config),
		idiomatic: m.Idiomatic,
		process:   m.Idiomatic, // a collection is the work of many threads
		figures:   w.figures,
		close:     w.close,
	}
	content := io.ReaderAt(zeros{})
	if b, ok := w.mapper.(iomethod.Backed); ok {
		switch b.Backing() {
		case d.path:
			t.loaded, content = true, d.content // by the first job
		case w.target.path:
			// Clean pages, or the first job alone would make them dirty.
			t.before = func() error { w.value++; return w.target.f.Sync() }
			t.after = func() error { return w.verifyStores(w.target.f) }
		default:
			content = nil // of a device
		}
	}
	if w.config.Write {
		w.touch = w.write
		return t, nil
	}
	if err := w.reads(content); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// mapped returns the data file that a Map maps, which the first job brings into the
// page cache where it is not there.
func (s *Session) mapped() *dataFile {
	for _, cache := range Caches {
		if d := s.files[cache]; d != nil {
			return d
		}
	}
	return nil // there is always one: see Options.resolve
}

// A mapWork is the work of a Map: what is done to the memory, and what came of it.
type mapWork struct {
	config iomethod.Config
	target *scratch // see iomethod.Config.Write
	mapper iomethod.Mapper
	size   int // bytes
	touch  func(b []byte)

	consumer *workloads.Consumer // nil where the memory is written
	want     workloads.Digest
	known    bool // whether it is
	value    byte // that is written to the file by the job under way; it differs from the job before

	cycles                    int // of a job
	done                      int // cycles
	mapping, touching, ending time.Duration
}

// openMap opens the mapper, and makes the file of size bytes that it may write.
func (s *Session) openMap(m iomethod.Method, c iomethod.Config, size int64) (*mapWork, error) {
	target, err := s.scratch()
	if err != nil {
		return nil, err
	}
	if c.Write {
		err = target.fill(size)
	}
	c.Target = target.path
	w := &mapWork{config: c, target: target, size: int(size), cycles: int(max(1, min(mapBytes/size, mapCycles)))}
	if err == nil {
		w.mapper, err = m.Mapper.New(c)
	}
	if err != nil {
		return nil, errors.Join(err, target.close())
	}
	return w, nil
}

func (w *mapWork) close() error { return errors.Join(w.mapper.Close(), w.target.close()) }

// reads has the memory read, and what was read compared with the content, where
// that is not nil.
func (w *mapWork) reads(content io.ReaderAt) (err error) {
	const consumer = "touch"
	if w.consumer, err = workloads.NewConsumer(consumer, w.size); err != nil {
		return err
	}
	w.touch = func(b []byte) { w.consumer.Consume(0, b) }
	if w.known = content != nil; w.known {
		w.want, err = workloads.Reference(consumer, workloads.Sequential(int64(w.size), w.size), content)
		// Of all mappings of a job: a digest adds up.
		w.want.Bytes *= int64(w.cycles)
		w.want.Sum *= uint64(w.cycles)
	}
	return err
}

// write stores to each page, and loads from none: a load before it would be a
// fault of its own.
func (w *mapWork) write(b []byte) {
	for i := 0; i < len(b); i += touchStride {
		b[i] = w.value
	}
}

func (w *mapWork) begin() error {
	if w.consumer != nil {
		w.consumer.Reset()
	}
	return nil
}

func (w *mapWork) move() error {
	for range w.cycles {
		if err := w.cycle(); err != nil {
			return err
		}
	}
	return nil
}

func (w *mapWork) cycle() error {
	began := time.Now()
	b, err := w.mapper.Map(w.size)
	if err != nil {
		return err
	}
	mapped := time.Now()
	if len(b) != w.size {
		return fmt.Errorf("%w: %d bytes of memory, want %d", workloads.ErrVerification, len(b), w.size)
	}
	w.touch(b)
	touched := time.Now()
	if err := w.mapper.Unmap(); err != nil {
		return err
	}
	w.mapping += mapped.Sub(began)
	w.touching += touched.Sub(mapped)
	w.ending += time.Since(touched)
	w.done++
	return nil
}

func (w *mapWork) end() error {
	if !w.known {
		return nil
	}
	return workloads.Verify(w.consumer.Digest, w.want)
}

// verifyStores checks that what was written is in the file.
func (w *mapWork) verifyStores(f io.ReaderAt) error {
	var b [1]byte
	for off := int64(0); off < int64(w.size); off += touchStride {
		if _, err := f.ReadAt(b[:], off); err != nil {
			return err
		}
		if b[0] != w.value {
			return fmt.Errorf("%w: byte %#02x at offset %d, want %#02x", workloads.ErrVerification, b[0], off, w.value)
		}
	}
	return nil
}

// figures returns the mean time of each phase, over the mappings since it was
// called last.
func (w *mapWork) figures() []iomethod.Figure {
	mean := func(d time.Duration) float64 { return float64(d) / float64(max(w.done, 1)) }
	figures := []iomethod.Figure{
		{Unit: "map-ns", Value: mean(w.mapping)},
		{Unit: "touch-ns", Value: mean(w.touching)},
		{Unit: "unmap-ns", Value: mean(w.ending)},
	}
	w.done, w.mapping, w.touching, w.ending = 0, 0, 0, 0
	return figures
}

// zeros is the content of memory that has no file.
type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) {
	clear(b)
	return len(b), nil
}
