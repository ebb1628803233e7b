package bench

import (
	"errors"
	"fmt"

	"iopath/internal/counters"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// receiveTask answers: which way from a socket to a file is the fastest, and what
// does it cost each side? The source is a process of its own on another CPU. A job
// begins with an empty file and ends when the kernel has all its bytes for it; they
// are read back and compared while the clock stands.
func (s *Session) receiveTask(c Cell) (_ *task, err error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	file, err := s.scratch()
	if err != nil {
		return nil, err
	}
	source, err := peer.StartSource(c.Transport, s.peerCPU())
	if err != nil {
		return nil, errors.Join(err, file.close())
	}
	config := iomethod.Config{Target: file.path, Block: c.Block, Socket: source.Socket()}
	r, err := m.Receiver.New(config)
	if err != nil {
		return nil, errors.Join(err, source.Close(), file.close())
	}
	sent := workloads.NewSource(c.Block)
	t := &task{
		bytes:     c.Size,
		declared:  m.Receiver.Declared(config),
		idiomatic: m.Idiomatic,
		process:   m.Idiomatic, // Go's poller has threads too
		writes:    true,
		whole:     m.Whole,
		plan:      workloads.Sequential(c.Size, c.Block),
		reference: func(*iomethod.Plan) (workloads.Digest, error) { return workloads.Digest{}, nil },
		peer:      new(peer.Report),
		close:     func() error { return errors.Join(r.Close(), source.Close(), file.close()) },
	}
	t.before = func() error {
		sent.Next() // as the source does
		return file.f.Truncate(0)
	}
	t.Job = counters.Job{
		Begin: func() error { return source.Begin(t.plan.Start, t.plan.Bytes()) },
		Move:  func() error { return r.Receive(t.plan) },
		End: func() error {
			report, err := finish(source, t.plan)
			t.add(report)
			return err
		},
	}
	t.after = func() error { return sent.Verify(file.f, t.plan) }
	return t, nil
}

// finish returns the report of a source that has sent the whole job.
func finish(source *peer.Source, p *iomethod.Plan) (peer.Report, error) {
	report, err := source.Finish()
	if err == nil && report.Bytes != p.Bytes() {
		err = fmt.Errorf("%w: the source sent %d bytes, want %d", workloads.ErrVerification, report.Bytes, p.Bytes())
	}
	return report, err
}
