package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:   "memfd",
		Doc:    "as mmap, from a copy of the file in a memfd_create(2) that was made beforehand: no filesystem and no device",
		Cache:  "warm",
		Reader: Role[Reader]{Calls: []string{"mmap", "munmap"}, New: newMemfdReader},
	})
}

// A memfdReader maps a copy of the file in memory for each job.
type memfdReader struct {
	fd   int
	size int64 // bytes of the file, where the memfd has whole pages only
	page int64 // bytes of the memfd's pages
}

func newMemfdReader(c Config) (Reader, error) {
	r, err := copyToMemfd(c.Path, 0)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// copyToMemfd returns the reader of a new memfd, made with flags, that holds the
// file's bytes.
func copyToMemfd(path string, flags int) (*memfdReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("iopath", unix.MFD_CLOEXEC|flags)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	r := &memfdReader{fd: fd, size: st.Size()}
	if err := r.fill(f); err != nil {
		r.Close()
		return nil, fmt.Errorf("copy %s to memory: %w", path, err)
	}
	return r, nil
}

// fill copies the file. It reads into a mapping, because huge pages cannot be
// written to by write(2).
func (r *memfdReader) fill(f io.Reader) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(r.fd, &fs); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	r.page = int64(fs.Bsize)
	if r.size == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	pages := (r.size + r.page - 1) / r.page
	if err := unix.Ftruncate(r.fd, pages*r.page); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	m, err := mapPages(r.fd, 0, r.size, r.page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("%w: %w for a file of %d pages of %d bytes (take a smaller one; where pages are huge, as root: sysctl vm.nr_hugepages=%d)",
			err, errors.ErrUnsupported, pages, r.page, pages)
	}
	if err != nil {
		return err
	}
	_, err = io.ReadFull(f, m.data)
	return errors.Join(cutShort(err), m.unmap())
}

func (r *memfdReader) Read(p *Plan, consume Consumer) error {
	if p.Length == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	if p.Start+p.Length > r.size {
		return io.ErrUnexpectedEOF
	}
	m, err := mapPages(r.fd, p.Start, p.Length, r.page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return m.readOnce(p, consume)
}

func (r *memfdReader) Close() error {
	return os.NewSyscallError("close", unix.Close(r.fd))
}
