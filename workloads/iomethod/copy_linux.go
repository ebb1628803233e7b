package iomethod

import "os"

// A cursor is a file that is written at its own offset.
type cursor struct {
	fd int
	at int64 // the offset, -1 where a job has yet to set it
}

// seek makes off the file's offset, where it is not, for n bytes that will be
// written there.
func (c *cursor) seek(off int64, n int) error {
	if off != c.at {
		if err := rawSeek(c.fd, off); err != nil {
			return os.NewSyscallError("lseek", err)
		}
	}
	c.at = off + int64(n)
	return nil
}

// endOf returns the offset behind the last byte that the plan moves, or 0 where it
// moves none.
func endOf(p *Plan) (end int64) {
	if p.Order == nil {
		return p.Start + p.Length
	}
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		end = max(end, off+int64(n))
	}
	return end
}
