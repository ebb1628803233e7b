package pagecache

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Evict writes the file's dirty pages back and drops its clean ones. It does
// not prove that any went; [Resident] does. A descriptor open for reading is
// enough, and the file's content is not changed.
func Evict(f *os.File) error {
	// Dirty pages are not evicted: write them back first.
	if err := unix.Fsync(int(f.Fd())); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("evict %s: fsync: %w", f.Name(), err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("evict %s: fadvise DONTNEED: %w", f.Name(), err)
	}
	return nil
}

// Load evicts the file and reads all of it in order in blocks of 1 MiB. The
// eviction is there because the size of the folios in the cache, which decides
// how many pages one fault maps, depends on how they came in: every warm cell
// is to find the same ones.
func Load(f *os.File) error {
	if err := Evict(f); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := unix.Pread(int(f.Fd()), buf, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("load %s into the page cache: pread: %w", f.Name(), err)
		}
		if n == 0 {
			return nil
		}
		off += int64(n)
	}
}

// Hold maps the file and touches every page, so that the kernel keeps them in
// the page cache until release: some machines page out whatever no process has
// mapped, however often it is read (DAMON's pageout scheme with its filter
// "unmapped", on virtual machines that give memory back to their host). The
// file cannot be evicted while it is held.
func Hold(f *os.File) (release func() error, err error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return func() error { return nil }, nil
	}
	addr, err := unix.MmapPtr(int(f.Fd()), 0, nil, uintptr(st.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("hold %s in the page cache: mmap: %w", f.Name(), err)
	}
	return func() error { return os.NewSyscallError("munmap", unix.MunmapPtr(addr, uintptr(st.Size()))) }, nil
}

// Resident counts the file's pages in the page cache, by cachestat(2) where the
// kernel has it (6.5) and lets us, else by mincore(2). The error matches
// errors.ErrUnsupported where neither would tell the truth: mincore calls every
// page of a file resident that is neither ours nor writable by us (Linux 5.2).
func Resident(f *os.File) (Residency, error) {
	st, err := f.Stat()
	if err != nil {
		return Residency{}, err
	}
	r, err := byCachestat(f, st.Size())
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		r, err = byMincore(f, st)
	}
	if err != nil {
		return Residency{}, fmt.Errorf("count the resident pages of %s: %w", f.Name(), err)
	}
	return r, nil
}

func pages(size int64) uint64 {
	return uint64(size+int64(os.Getpagesize())-1) / uint64(os.Getpagesize())
}

func byCachestat(f *os.File, size int64) (Residency, error) {
	var cs unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: 0, Len: uint64(size)}, &cs, 0); err != nil {
		return Residency{}, os.NewSyscallError("cachestat", err)
	}
	return Residency{cs.Cache, pages(size), cs.Dirty, "cachestat"}, nil
}

// mincoreWindow bounds the address space and the vector of one mincore call.
const mincoreWindow = 1 << 30

func byMincore(f *os.File, st os.FileInfo) (Residency, error) {
	owner := st.Sys().(*syscall.Stat_t).Uid
	if euid := os.Geteuid(); euid != 0 && uint32(euid) != owner && unix.Access(f.Name(), unix.W_OK) != nil {
		return Residency{}, fmt.Errorf("the kernel tells only the file's owner, or who may write it: %w", errors.ErrUnsupported)
	}
	r := Residency{Total: pages(st.Size()), Source: "mincore"}
	for off := int64(0); off < st.Size(); off += mincoreWindow {
		n := min(st.Size()-off, mincoreWindow)
		addr, err := unix.MmapPtr(int(f.Fd()), off, nil, uintptr(n), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return Residency{}, os.NewSyscallError("mmap", err)
		}
		vec := make([]byte, pages(n))
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(addr), uintptr(n), uintptr(unsafe.Pointer(&vec[0])))
		if err := unix.MunmapPtr(addr, uintptr(n)); err != nil {
			return Residency{}, os.NewSyscallError("munmap", err)
		}
		if errno != 0 {
			return Residency{}, os.NewSyscallError("mincore", errno)
		}
		for _, v := range vec {
			r.Pages += uint64(v & 1)
		}
	}
	return r, nil
}
