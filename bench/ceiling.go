package bench

import (
	"iopath/internal/counters"
	"iopath/workloads"
)

// ceilingTask answers: what can the consumer alone reach from memory? It walks
// the same plan over as many bytes that no file is behind, all of them present.
// No method can be faster than that with this consumer on this machine.
func (s *Session) ceilingTask(c Cell) (*task, error) {
	plan, err := workloads.NewPlan(c.Pattern, c.Size, c.Block)
	if err != nil {
		return nil, err
	}
	consumer, err := workloads.NewConsumer(c.Consume, c.Block)
	if err != nil {
		return nil, err
	}
	d := s.files["warm"]
	want, err := s.reference(d, c.Block, c.Consume)
	if err != nil {
		return nil, err
	}
	mem, free, err := anonymous(c.Size)
	if err != nil {
		return nil, err
	}
	if n, err := d.content.ReadAt(mem, 0); int64(n) < c.Size && err != nil {
		free()
		return nil, err
	}
	return &task{
		Job: counters.Job{
			Begin: func() error { consumer.Reset(); return nil },
			Move: func() error {
				for i := range plan.Pieces() {
					off, n := plan.Piece(i)
					consumer.Consume(off, mem[off:][:n])
				}
				return nil
			},
			End: func() error { return workloads.Verify(consumer.Digest, want) },
		},
		bytes: c.Size,
		close: free,
	}, nil
}
