package bench

import (
	"errors"
	"time"

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
	job, want := d.size, workloads.Digest{}
	if m.Idle {
		job = 0
	} else if want, err = s.reference(d, peer.Block, peer.Consumer); err != nil {
		return nil, err
	}
	receiver, err := peer.Start(c.Transport, job, s.peerCPU())
	if err != nil {
		return nil, err
	}
	sender, err := m.Sender.New(iomethod.Config{Path: d.path, Block: c.Block, Socket: receiver.Socket()})
	if err != nil {
		return nil, errors.Join(err, receiver.Close())
	}
	plan := workloads.Sequential(d.size, c.Block)
	peerCPU := new(time.Duration)
	t := &task{
		Job: counters.Job{
			Begin: receiver.Begin,
			Move:  func() error { return sender.Send(plan) },
			End: func() error {
				report, err := receiver.Finish()
				if err != nil {
					return err
				}
				*peerCPU += report.CPU
				return workloads.Verify(report.Digest, want)
			},
		},
		cache:     c.Cache,
		bytes:     d.size,
		declared:  m.Sender.Calls,
		idiomatic: m.Idiomatic,
		peerCPU:   peerCPU,
		close:     func() error { return errors.Join(sender.Close(), receiver.Close()) },
	}
	if m.Idle {
		t.idle()
	}
	return t, nil
}
