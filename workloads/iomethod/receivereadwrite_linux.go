package iomethod

import "os"

type readWriteReceiver struct {
	f      *os.File
	buf    []byte
	socket int
}

func newReadWriteReceiver(c Config) (Receiver, error) {
	f, err := openTarget(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return &readWriteReceiver{f, newBuffer(c.Block), c.Socket}, nil
}

// Receive fills the buffer before it writes it: what a program does that has a
// block to choose, and the file gets it in one call.
func (r *readWriteReceiver) Receive(p *Plan) error {
	fd := int(r.f.Fd())
	at := int64(-1)
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := readFull(r.socket, r.buf[:n]); err != nil {
			return err
		}
		if off != at {
			if err := rawSeek(fd, off); err != nil {
				return os.NewSyscallError("lseek", err)
			}
		}
		if err := writeAll(fd, r.buf[:n]); err != nil {
			return err
		}
		at = off + int64(n)
	}
	return nil
}

func (r *readWriteReceiver) Close() error { return r.f.Close() }
