package iomethod

import (
	"io"
	"os"
)

type spliceReceiver struct {
	f      *os.File
	pipe   splicePipe
	socket int
	off    int64 // here, because the kernel is given its address
}

func newSpliceReceiver(c Config) (Receiver, error)      { return openSpliceReceiver(c, 0) }
func newLargeSpliceReceiver(c Config) (Receiver, error) { return openSpliceReceiver(c, largePipe) }

func openSpliceReceiver(c Config, pipeSize int) (Receiver, error) {
	f, err := openTarget(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	pipe, err := openSplicePipe(pipeSize)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &spliceReceiver{f: f, pipe: pipe, socket: c.Socket}, nil
}

func (r *spliceReceiver) Receive(p *Plan) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := r.piece(off, n); err != nil {
			return err
		}
	}
	return nil
}

func (r *spliceReceiver) piece(off int64, n int) error {
	fd := int(r.f.Fd())
	r.off = off // which the kernel advances
	for n > 0 {
		filled, err := r.pipe.fill(r.socket, n)
		if err != nil {
			return err
		}
		n -= filled
		for filled > 0 {
			drained, err := spliceAt(r.pipe.r, nil, fd, &r.off, filled)
			if err != nil {
				return os.NewSyscallError("splice to the file", err)
			}
			filled -= drained
		}
	}
	return nil
}

func (r *spliceReceiver) Close() error {
	r.pipe.close()
	return r.f.Close()
}

// fill moves what the socket has, and at most n bytes, into the pipe, which is
// empty: a full one would make it wait for ever. It waits for the first byte.
func (p *splicePipe) fill(socket, n int) (int, error) {
	filled, err := rawSplice(socket, nil, p.w, min(n, p.size), 0)
	if err != nil {
		return 0, os.NewSyscallError("splice from the socket", err)
	}
	if filled == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return filled, nil
}
