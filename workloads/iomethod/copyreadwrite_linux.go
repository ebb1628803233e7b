package iomethod

import (
	"errors"
	"os"
)

type readWriteCopier struct {
	read   *readReader
	target *os.File
}

// newReadWriteCopier returns the copier that every file has: read(2) into one
// buffer, write(2) from it.
func newReadWriteCopier(c Config) (Copier, error) {
	read, err := openReadReader(c)
	if err != nil {
		return nil, err
	}
	target, err := openTarget(c, os.O_WRONLY)
	if err != nil {
		read.Close()
		return nil, err
	}
	return &readWriteCopier{read, target}, nil
}

func (c *readWriteCopier) Copy(p *Plan) error {
	c.read.at = -1
	target := cursor{int(c.target.Fd()), -1}
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b, err := c.read.piece(off, n)
		if err != nil {
			return err
		}
		if err := target.seek(off, n); err != nil {
			return err
		}
		if err := writeAll(target.fd, b); err != nil {
			return err
		}
	}
	return nil
}

func (c *readWriteCopier) Close() error { return errors.Join(c.read.Close(), c.target.Close()) }
