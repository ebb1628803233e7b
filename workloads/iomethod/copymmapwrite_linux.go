package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

type mmapWriteCopier struct{ filePair }

// newMmapWriteCopier returns the copier that maps the source once a job and writes
// the target from the mapping.
func newMmapWriteCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return &mmapWriteCopier{files}, nil
}

func (c *mmapWriteCopier) Copy(p *Plan) error {
	if p.Pieces() == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapFile(int(c.source.Fd()), p.Start, p.Length)
	if err != nil {
		return err
	}
	err = c.write(p, m.data)
	if e := m.unmap(); err == nil {
		err = e
	}
	return err
}

// write writes the pieces from what is mapped of the source.
func (c *mmapWriteCopier) write(p *Plan, mapped []byte) error {
	target := cursor{int(c.target.Fd()), -1}
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := target.seek(off, n); err != nil {
			return err
		}
		err := writeAll(target.fd, mapped[off-p.Start:][:n])
		// Only the kernel touches the mapping: there is no SIGBUS.
		if errors.Is(err, unix.EFAULT) {
			return fmt.Errorf("%w: the file shrank: %w", err, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
