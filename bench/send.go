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
		// The receiver has pieces of its own.
		return s.reference(d, c.Consume, "seq", workloads.Sequential(p.Bytes(), peer.Block))
	}
	want, err := reference(plan)
	if err != nil {
		return nil, err
	}
	receiver, err := peer.Start(c.Transport, c.Consume, s.peerCPU())
	if err != nil {
		return nil, err
	}
	sender, err := m.Sender.New(iomethod.Config{Path: d.path, Block: c.Block, Socket: receiver.Socket()})
	if err != nil {
		return nil, errors.Join(err, receiver.Close())
	}
	t := &task{
		cache:     c.Cache,
		bytes:     d.size,
		declared:  m.Sender.Calls,
		idiomatic: m.Idiomatic,
		whole:     m.Whole,
		plan:      plan,
		want:      want,
		reference: reference,
		close:     func() error { return errors.Join(sender.Close(), receiver.Close()) },
	}
	bytes := func() int64 {
		if m.Idle {
			return 0
		}
		return t.plan.Bytes()
	}
	t.Job = t.received(receiver, bytes, func() error { return sender.Send(t.plan) }, func() workloads.Digest { return t.want })
	if m.Idle {
		t.idle()
	}
	return t, nil
}

// received is a job whose bytes the receiver takes in and verifies. What that
// costs it is added up in the task.
func (t *task) received(r *peer.Receiver, bytes func() int64, move func() error, want func() workloads.Digest) counters.Job {
	t.peer = new(peer.Report)
	return counters.Job{
		Begin: func() error { return r.Begin(bytes()) },
		Move:  move,
		End: func() error {
			report, err := r.Finish()
			if err != nil {
				return err
			}
			t.peer.CPU += report.CPU
			t.peer.UserCPU += report.UserCPU
			t.peer.SystemCPU += report.SystemCPU
			return workloads.Verify(report.Digest, want())
		},
	}
}
