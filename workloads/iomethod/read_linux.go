package iomethod

import "os"

func init() {
	Register(Method{
		Name:   "read",
		Doc:    "read(2) into one buffer; lseek(2) wherever the next piece is not the next byte",
		Reader: Role[Reader]{Calls: []string{"read"}, New: newReadReader},
	})
}

type readReader struct {
	*rawFile
	buf []byte
	at  int64 // the file's offset, -1 where a job has yet to set it
}

func openReadReader(c Config) (*readReader, error) {
	f, err := openRaw(c.Path, 0)
	if err != nil {
		return nil, err
	}
	return &readReader{f, newBuffer(c.Block), -1}, nil
}

func newReadReader(c Config) (Reader, error) { return openReadReader(c) }

func (r *readReader) Read(p *Plan, consume Consumer) error {
	r.at = -1
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b, err := r.piece(off, n)
		if err != nil {
			return err
		}
		consume(off, b)
	}
	return nil
}

// piece reads one piece into the buffer.
func (r *readReader) piece(off int64, n int) ([]byte, error) {
	if err := r.seek(off); err != nil {
		return nil, err
	}
	if err := readFull(r.fd, r.buf[:n]); err != nil {
		return nil, err
	}
	r.at = off + int64(n)
	return r.buf[:n], nil
}

// seek makes off the file's offset, where it is not.
func (r *readReader) seek(off int64) error {
	if off == r.at {
		return nil
	}
	return os.NewSyscallError("lseek", rawSeek(r.fd, off))
}
