package iomethod

import (
	"io"
	"os"
)

type sendfileCopier struct {
	filePair
	off int64 // here, because the kernel is given its address
}

// newSendfileCopier returns the copier whose target is a file (Linux 2.6.33,
// sendfile(2)): inside, the kernel splices through a pipe of its own.
func newSendfileCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return &sendfileCopier{filePair: files}, nil
}

func (c *sendfileCopier) Copy(p *Plan) error {
	source, target := int(c.source.Fd()), cursor{int(c.target.Fd()), -1}
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := target.seek(off, n); err != nil {
			return err
		}
		c.off = off // which the kernel advances
		for n > 0 {
			sent, err := rawSendfile(target.fd, source, &c.off, n)
			if err != nil {
				return os.NewSyscallError("sendfile", err)
			}
			if sent == 0 {
				return io.ErrUnexpectedEOF
			}
			n -= sent
		}
	}
	return nil
}
