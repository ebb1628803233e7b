package bench

import (
	"errors"

	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// relayTask answers: which way from a socket to a socket is the fastest, as proxies
// do it? A source and a receiver are processes of their own, which share a CPU where
// there are but two. A job ends when the receiver has all the bytes; it counts and
// verifies them. The CPU time of the two is reported as one. Where they share a CPU, it
// is they who set the pace, and the relay's own CPU time is what tells methods apart.
func (s *Session) relayTask(c Cell) (_ *task, err error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	source, err := peer.StartSource(c.Transport, s.peerCPU())
	if err != nil {
		return nil, err
	}
	receiver, err := peer.Start(c.Transport, usualConsumer, s.peerCPU())
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	config := iomethod.Config{Block: c.Block, From: source.Socket(), Socket: receiver.Socket()}
	r, err := m.Relay.New(config)
	if err != nil {
		return nil, errors.Join(err, source.Close(), receiver.Close())
	}
	consumer, err := workloads.NewConsumer(usualConsumer, peer.Block)
	if err != nil {
		return nil, errors.Join(err, r.Close(), source.Close(), receiver.Close())
	}
	sent := workloads.NewSource(peer.Block)
	t := &task{
		bytes:     c.Size,
		declared:  m.Relay.Declared(config),
		idiomatic: m.Idiomatic,
		process:   m.Idiomatic, // Go's poller has threads too
		whole:     m.Whole,
		plan:      workloads.Sequential(c.Size, c.Block),
		reference: func(*iomethod.Plan) (workloads.Digest, error) { return workloads.Digest{}, nil },
		close:     func() error { return errors.Join(r.Close(), source.Close(), receiver.Close()) },
	}
	t.before = func() error {
		sent.Next() // as the source does
		// The receiver has pieces of its own.
		pieces := workloads.Sequential(t.plan.Bytes(), peer.Block)
		consumer.Reset()
		for i := range pieces.Pieces() {
			off, n := pieces.Piece(i)
			consumer.Consume(off, sent.Produce(off, n))
		}
		t.want = consumer.Digest
		return nil
	}
	begin := func() error { return errors.Join(receiver.Begin(t.plan.Bytes()), source.Begin(0, t.plan.Bytes())) }
	t.Job = t.received(receiver, begin, func() error { return r.Relay(t.plan) }, func() workloads.Digest { return t.want })
	end := t.End
	t.End = func() error {
		report, err := finish(source, t.plan)
		if err != nil {
			return err
		}
		t.add(report)
		return end()
	}
	return t, nil
}
