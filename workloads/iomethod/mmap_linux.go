package iomethod

import "golang.org/x/sys/unix"

func init() {
	Register(Method{
		Name:     "mmap",
		Doc:      "mmap(2) the file shared, hand out the mapping itself, or store or recv(2) into it, munmap(2): once a job, no advice; ftruncate(2) before where it is too short to be written",
		Reader:   Role[Reader]{Calls: []string{"mmap", "munmap"}, New: mmapWith(unix.MAP_SHARED, nil)},
		Writer:   Role[Writer]{Calls: []string{"mmap", "munmap"}, Also: mapSyncCalls, New: newMmapWriter},
		Receiver: Role[Receiver]{Calls: []string{"mmap", "recvfrom", "munmap"}, New: newMmapReceiver},
	})
}

// A mmapReader maps the plan's stretch of the file for each job.
type mmapReader struct {
	*rawFile
	flags  int                              // mmap's
	advise func(m mapping, off int64) error // of the file from off on; nil: no advice
}

// mmapWith returns the constructor of a variant of mmap.
func mmapWith(flags int, advise func(m mapping, off int64) error) func(Config) (Reader, error) {
	return func(c Config) (Reader, error) {
		f, err := openRaw(c.Path, 0)
		if err != nil {
			return nil, err
		}
		return &mmapReader{f, flags, advise}, nil
	}
}

func (r *mmapReader) Read(p *Plan, consume Consumer) error {
	if p.Length == 0 {
		return nil // there is no mapping of no bytes: EINVAL
	}
	m, err := mapFileAs(r.fd, p.Start, p.Length, r.flags)
	if err != nil {
		return err
	}
	if r.advise != nil {
		if err := r.advise(m, p.Start); err != nil {
			m.unmap()
			return err
		}
	}
	return m.readOnce(p, consume)
}
