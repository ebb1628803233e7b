package bench

import (
	"errors"
	"io"

	"iopath/internal/counters"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// copyTask answers: which way from a file to another one is the fastest, with the
// source warm and cold? A job begins with an empty target and ends when the kernel
// has all its bytes for it. They are read back while the clock stands, and their
// digest is compared with that of the content: the source itself is not read, for it
// would be warm then.
func (s *Session) copyTask(c Cell) (*task, error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	d := s.files[c.Cache]
	plan := workloads.Sequential(d.size, c.Block)
	reference := func(p *iomethod.Plan) (workloads.Digest, error) {
		if m.Idle {
			return workloads.Digest{}, nil
		}
		return s.reference(d, usualConsumer, "seq", p)
	}
	want, err := reference(plan)
	if err != nil {
		return nil, err
	}
	back, err := newReadBack(c.Block)
	if err != nil {
		return nil, err
	}
	target, err := s.scratch()
	if err != nil {
		return nil, err
	}
	config := iomethod.Config{Path: d.path, Target: target.path, Block: c.Block}
	copier, err := m.Copier.New(config)
	if err != nil {
		return nil, errors.Join(err, target.close())
	}
	t := &task{
		cache:     c.Cache,
		bytes:     plan.Bytes(),
		declared:  m.Copier.Declared(config),
		idiomatic: m.Idiomatic,
		writes:    true,
		whole:     m.Whole,
		plan:      plan,
		want:      want,
		reference: reference,
		close:     func() error { return errors.Join(copier.Close(), target.close()) },
	}
	nothing := func() error { return nil }
	t.Job = counters.Job{Begin: nothing, Move: func() error { return copier.Copy(t.plan) }, End: nothing}
	if m.Idle {
		t.idle()
		return t, nil
	}
	t.before = func() error { return target.f.Truncate(0) }
	t.after = func() error { return back.verify(target.f, t.plan, t.want) }
	return t, nil
}

// A readBack reads what a job wrote, and verifies it.
type readBack struct {
	consumer *workloads.Consumer
	buf      []byte
}

func newReadBack(block int) (*readBack, error) {
	consumer, err := workloads.NewConsumer(usualConsumer, block)
	if err != nil {
		return nil, err
	}
	return &readBack{consumer, make([]byte, block)}, nil
}

// verify reads the plan's pieces and holds their digest against the one wanted. A
// byte that is not there is missing from the digest.
func (r *readBack) verify(f io.ReaderAt, p *iomethod.Plan, want workloads.Digest) error {
	r.consumer.Reset()
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		got, err := f.ReadAt(r.buf[:n], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		r.consumer.Consume(off, r.buf[:got])
	}
	return workloads.Verify(r.consumer.Digest, want)
}
