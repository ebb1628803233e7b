package bench

import (
	"runtime"

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
	reference := func(p *iomethod.Plan) (workloads.Digest, error) {
		if m.Idle {
			return workloads.Digest{}, nil
		}
		return s.reference(d, c.Consume, c.Pattern, p)
	}
	want, err := reference(plan)
	if err != nil {
		return nil, err
	}
	config := iomethod.Config{Path: d.path, Block: c.Block}
	r, err := m.Reader.New(config)
	if err != nil {
		return nil, err
	}
	t := &task{
		cache:     c.Cache,
		bytes:     plan.Bytes(),
		declared:  m.Reader.Declared(config),
		idiomatic: m.Idiomatic,
		process:   hasHelpers(m.Reader.Calls),
		whole:     m.Whole || m.Unordered, // which ends its blocks in another order than it begins them
		plan:      plan,
		want:      want,
		reference: reference,
		consume:   consumer.Consume,
		close:     r.Close,
	}
	t.Job = counters.Job{
		Begin: func() error { consumer.Reset(); return nil },
		Move:  func() error { return r.Read(t.plan, t.consume) },
		End:   func() error { return workloads.Verify(consumer.Digest, t.want) },
	}
	if m.Whole {
		// It allocates the file anew for each job, and no collection runs while the
		// clock does.
		t.before = func() error { runtime.GC(); return nil }
	}
	if m.Idle {
		t.idle()
	}
	return t, nil
}

// idle makes the task that of a method which moves nothing: it has no
// throughput, and no cache state to wait for.
func (t *task) idle() {
	t.bytes = 0
	t.cache = ""
}
