package iomethod

import (
	"errors"
	"fmt"
	"os"
)

// A stream is an end of a channel that is written by write(2) and read by read(2).
// What it does when the other end is gone is the kernel's doing: SIGPIPE, which
// Go's runtime ignores, and EPIPE; and the end of the stream.
type stream struct {
	in, out *os.File   // the same one where it is a socket
	far     []*os.File // the other end's, until Files has handed them out
	buf     []byte     // of one piece that came in
}

// newStream attaches an end by its files, the one to read first and the one to
// write last, or makes both ends.
func newStream(c Config, files int, create func() (near, far []*os.File, err error)) (*stream, error) {
	near, far := c.Files, []*os.File(nil)
	if near == nil {
		var err error
		if near, far, err = create(); err != nil {
			return nil, err
		}
	}
	if err := complete(near, files); err != nil {
		return nil, err
	}
	return &stream{in: near[0], out: near[files-1], far: far, buf: newBuffer(c.Block)}, nil
}

// complete closes the files that an end was given to attach by where some are
// missing.
func complete(files []*os.File, want int) error {
	if len(files) == want {
		return nil
	}
	return errors.Join(
		fmt.Errorf("attach to the channel: got %d files, want %d (give the other end all that Files returned)", len(files), want),
		closeAll(files))
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (s *stream) Files() []*os.File {
	far := s.far
	s.far = nil
	return far
}

func (s *stream) Send(p *Plan, produce Producer) error {
	out := int(s.out.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		if err := writeAll(out, produce(p.Piece(i))); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) Receive(p *Plan, consume Consumer) error {
	in := int(s.in.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := readFull(in, s.buf[:n]); err != nil {
			return err
		}
		consume(off, s.buf[:n])
	}
	return nil
}

func (s *stream) Close() error {
	err := errors.Join(s.in.Close(), closeAll(s.far))
	if s.out != s.in {
		err = errors.Join(err, s.out.Close())
	}
	return err
}

// answered returns the call by which an end takes in the answers where it gets any.
func answered(c Config) []string {
	if !c.RoundTrip {
		return nil
	}
	return []string{"read"}
}
