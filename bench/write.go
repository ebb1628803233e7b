package bench

import (
	"errors"

	"iopath/internal/counters"
	"iopath/internal/pagecache"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// writeTask answers: which way to write a file is the fastest, and what does it cost
// to make it durable? Every method is fed by the same producer. A job that appends
// begins with an empty file, another with one whose pages are in the page cache,
// mapped by blocks on the device, and clean. What it wrote is read back and compared
// while the clock stands; each job writes other bytes than the one before.
func (s *Session) writeTask(c Cell) (_ *task, err error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	pattern := c.Pattern
	if pattern == appending {
		pattern = "seq"
	}
	plan, err := workloads.NewPlan(pattern, c.Size, c.Block)
	if err != nil {
		return nil, err
	}
	file, err := s.scratch()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.close()
		}
	}()
	if c.Pattern != appending {
		if err := file.fill(c.Size); err != nil {
			return nil, err
		}
	}
	config := iomethod.Config{Target: file.path, Block: c.Block, Sync: iomethod.Sync(c.Sync)}
	w, err := m.Writer.New(config)
	if err != nil {
		return nil, err
	}
	source := workloads.NewSource(c.Block)
	t := &task{
		bytes:     plan.Bytes(),
		declared:  m.Writer.Declared(config),
		idiomatic: m.Idiomatic,
		writes:    true,
		process:   hasHelpers(m.Writer.Calls),
		whole:     m.Whole || m.Unordered,
		plan:      plan,
		reference: func(*iomethod.Plan) (workloads.Digest, error) { return workloads.Digest{}, nil },
		close:     func() error { return errors.Join(w.Close(), file.close()) },
	}
	switch config.Sync {
	case iomethod.SyncBlock, iomethod.SyncAsync, iomethod.SyncRange:
		if m.Writer.Also != nil {
			t.each = m.Writer.Also(config)
		}
	}
	nothing := func() error { return nil }
	t.Job = counters.Job{
		Begin: nothing,
		Move:  func() error { return w.Write(t.plan, source.Produce) },
		End:   nothing,
	}
	t.before = func() error {
		source.Next()
		switch {
		case c.Pattern == appending:
			return file.f.Truncate(0)
		case m.Cache == "cold":
			// What was read back is in the page cache, and a direct write would have
			// to throw it out.
			return pagecache.Evict(file.f)
		}
		return file.f.Sync() // or the kernel writes back the job before in this one's time
	}
	t.after = func() error { return source.Verify(file.f, t.plan) }
	if m.Idle {
		t.idle()
		t.after = nil
	}
	return t, nil
}

// fill writes that many bytes to the file, which is empty, and reads them back into
// the page cache, as data files are: how a file was written decides how large the
// folios are that it has there, and so how many faults a mapping takes (1 MiB folios
// from writes of 1 MiB: 16 for 16 MiB; single pages from writes of 4 KiB: 4096).
func (f *scratch) fill(size int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		if _, err := f.f.WriteAt(buf[:min(int64(len(buf)), size-off)], off); err != nil {
			return err
		}
	}
	return pagecache.Load(f.f)
}
