package iomethod

import "io"

func init() {
	Register(Method{
		Name:   "mmap+kept",
		Doc:    "mmap(2) the whole file before the first job and keep it: what a job costs is fstat(2), to see that the file is still as long",
		Cache:  "warm",
		Reader: Role[Reader]{Calls: []string{"fstat"}, New: newKeptReader},
	})
}

// A keptReader keeps its mapping from job to job, and with it the entries of the
// page tables: a page is faulted in once. The fstat is the price of the contract:
// without it, the bytes that a file has lost on its last page would read as zeros.
type keptReader struct {
	f *rawFile
	m mapping // of no bytes where the file is empty
}

func newKeptReader(c Config) (Reader, error) {
	f, err := openRaw(c.Path, 0)
	if err != nil {
		return nil, err
	}
	r := &keptReader{f: f}
	if err := r.mapAll(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// mapAll maps the whole file, unless it is empty.
func (r *keptReader) mapAll() error {
	size, err := sizeOf(r.f.fd)
	if err == nil && size > 0 {
		r.m, err = mapFile(r.f.fd, 0, size)
	}
	return err
}

func (r *keptReader) Read(p *Plan, consume Consumer) error {
	if p.Length == 0 {
		return nil
	}
	size, err := sizeOf(r.f.fd)
	if err != nil {
		return err
	}
	// What a file has grown by since is not in the mapping.
	if p.Start+p.Length > min(size, int64(len(r.m.data))) {
		return io.ErrUnexpectedEOF
	}
	return r.m.handOut(p, 0, consume)
}

func (r *keptReader) Close() error {
	var err error
	if r.m.size > 0 {
		err = r.m.unmap()
		r.m = mapping{}
	}
	if e := r.f.Close(); err == nil {
		err = e
	}
	return err
}
