package bench

import (
	"errors"

	"iopath/internal/counters"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// sendTask answers: which way from a file to a socket is the fastest, and what
// does it cost each side? The receiver is a process of its own on another CPU.
// A job ends when it has all the bytes; it counts and verifies them.
func (s *Session) sendTask(c Cell) (_ *task, err error) {
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
		if !peer.Sums(c.Consume) {
			return workloads.Digest{Bytes: p.Bytes()}, nil
		}
		// The receiver has pieces of its own.
		return s.reference(d, c.Consume, "seq", workloads.Sequential(p.Bytes(), peer.Block))
	}
	want, err := reference(plan)
	if err != nil {
		return nil, err
	}
	receiver, err := s.receiver(c)
	if err != nil {
		return nil, err
	}
	config := iomethod.Config{Path: d.path, Block: c.Block, Socket: receiver.Socket()}
	sender, err := m.Sender.New(config)
	if err != nil {
		return nil, errors.Join(err, receiver.Close())
	}
	t := &task{
		cache:     c.Cache,
		bytes:     d.size,
		declared:  m.Sender.Declared(config),
		idiomatic: m.Idiomatic,
		process:   m.Idiomatic || hasHelpers(m.Sender.Calls), // Go's poller has threads too
		whole:     m.Whole,
		plan:      plan,
		want:      want,
		reference: reference,
		close:     func() error { return errors.Join(sender.Close(), receiver.Close()) },
	}
	if teller, ok := sender.(iomethod.Teller); ok {
		t.figures = teller.Tell
	}
	begin := func() error {
		switch p, ok := sender.(iomethod.Preambler); {
		case m.Idle:
			return receiver.Begin(0)
		case ok:
			return receiver.BeginAfter(int64(p.Preamble()), t.plan.Bytes())
		}
		return receiver.Begin(t.plan.Bytes())
	}
	t.Job = t.received(receiver, begin, func() error { return sender.Send(t.plan) }, func() workloads.Digest { return t.want })
	if m.Idle {
		t.idle()
	}
	return t, nil
}

// add adds what another process has used.
func (t *task) add(r peer.Report) {
	t.peer.CPU += r.CPU
	t.peer.UserCPU += r.UserCPU
	t.peer.SystemCPU += r.SystemCPU
}

// receiver starts the cell's receiver.
func (s *Session) receiver(c Cell) (*peer.Receiver, error) {
	dir, err := s.scratchDir()
	if err != nil {
		return nil, err
	}
	return peer.StartIn(dir, c.Transport, c.Consume, s.peerCPU())
}

// received is a job whose bytes the receiver takes in and verifies. What that
// costs it is added up in the task.
func (t *task) received(r *peer.Receiver, begin, move func() error, want func() workloads.Digest) counters.Job {
	t.peer = new(peer.Report)
	return counters.Job{
		Begin: begin,
		Move:  move,
		End: func() error {
			report, err := r.Finish()
			if err != nil {
				return err
			}
			t.add(report)
			return workloads.Verify(report.Digest, want())
		},
	}
}
