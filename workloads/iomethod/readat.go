package iomethod

func init() {
	Register(Method{
		Name:      "ReadAt",
		Doc:       "Go's os.File.ReadAt into one buffer",
		Idiomatic: true,
		Reader:    Role[Reader]{Calls: []string{"pread64"}, New: newReadAtReader},
	})
}

type readAtReader struct {
	goFile
	buf []byte
}

func newReadAtReader(c Config) (Reader, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	return &readAtReader{goFile{f}, newBuffer(c.Block)}, nil
}

func (r *readAtReader) Read(p *Plan, consume Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if _, err := r.f.ReadAt(r.buf[:n], off); err != nil {
			return cutShort(err)
		}
		consume(off, r.buf[:n])
	}
	return nil
}
