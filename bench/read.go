package bench

import (
	"iopath/internal/counters"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// readTask answers: which way to read a file is the fastest, for this order and
// block, warm and cold? Every method feeds the same consumer, whose digest is
// checked after every job.
func (s *Session) readTask(c Cell) (*task, error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	d := s.files[c.Cache]
	plan, err := workloads.NewPlan(c.Pattern, d.size, c.Block)
	if err != nil {
		return nil, err
	}
	consumer, err := workloads.NewConsumer(c.Consume, c.Block)
	if err != nil {
		return nil, err
	}
	want, err := s.reference(d, c.Block, c.Consume)
	if err != nil {
		return nil, err
	}
	r, err := m.Reader.New(iomethod.Config{Path: d.path, Block: c.Block})
	if err != nil {
		return nil, err
	}
	t := &task{
		Job: counters.Job{
			Begin: func() error { consumer.Reset(); return nil },
			Move:  func() error { return r.Read(plan, consumer.Consume) },
			End:   func() error { return workloads.Verify(consumer.Digest, want) },
		},
		cache:     c.Cache,
		bytes:     d.size,
		declared:  m.Reader.Calls,
		idiomatic: m.Idiomatic,
		close:     r.Close,
	}
	if m.Idle {
		t.idle()
		t.End = func() error { return workloads.Verify(consumer.Digest, workloads.Digest{}) }
	}
	return t, nil
}

// idle makes the task that of a method which moves nothing: it has no
// throughput, and no cache state to wait for.
func (t *task) idle() {
	t.bytes = 0
	t.cache = ""
}
