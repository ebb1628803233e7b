package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	reader := Role[Reader]{Calls: []string{"pread64"}, New: newDirectReader}
	Register(Method{
		Name:   "odirect",
		Doc:    "pread(2) with O_DIRECT into one aligned buffer: from the device, past the page cache; pwrite(2) from such a buffer, where the bytes are copied first",
		Cache:  "cold",
		Reader: reader,
		Writer: Role[Writer]{Calls: []string{"pwrite64"}, Also: fdSyncCalls, New: newDirectWriter},
		Probe:  probeReader(reader),
	})
}

type directReader struct {
	*rawFile
	buf   []byte
	align int
}

func newDirectReader(c Config) (Reader, error) {
	f, err := openRaw(c.Path, unix.O_DIRECT)
	if err != nil {
		return nil, directError(err)
	}
	align, err := directAlignment(f.fd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s directly: %w", c.Path, err)
	}
	return &directReader{f, alignedBuffer(c.Block, align), align}, nil
}

func (r *directReader) Read(p *Plan, consume Consumer) error {
	if err := checkAligned(p, r.align); err != nil {
		return err
	}
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := r.piece(off, n); err != nil {
			return err
		}
		consume(off, r.buf[:n])
	}
	return nil
}

// piece reads one piece into the buffer, with its length rounded up: at the end of
// the file the count is shorter.
func (r *directReader) piece(off int64, n int) error {
	for got := 0; got < n; {
		b := r.buf[got:roundUp(n, r.align)]
		m, err := retry(unix.SYS_PREAD64, uintptr(r.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(off)+uintptr(got), 0, 0)
		if err != nil {
			return os.NewSyscallError("pread64 with O_DIRECT", err)
		}
		got += m
		// Only the end of the file is not aligned.
		if got < n && (m == 0 || got%r.align != 0) {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// directError adds to the error of an open with O_DIRECT what to do about it.
func directError(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: no O_DIRECT here: %w (take a file on a disk's filesystem)", err, errors.ErrUnsupported)
	}
	return err
}

// directAlignment returns what the offsets, the lengths and the buffers of direct
// I/O on an open file must be multiples of, in bytes, as statx(2) tells it:
// STATX_DIOALIGN, since Linux 6.1. Where that does not tell, it is 4096, which suits
// all devices. Its error matches errors.ErrUnsupported where the file has no direct
// I/O, though it can be opened with O_DIRECT.
func directAlignment(fd int) (int, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, os.NewSyscallError("fstatfs", err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		// Since Linux 6.6 it takes the flag, and reads its page cache all the same.
		return 0, fmt.Errorf("tmpfs has nothing but the page cache: %w (take a file on a disk's filesystem)", errors.ErrUnsupported)
	}
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	switch {
	case err != nil || st.Mask&unix.STATX_DIOALIGN == 0:
		return 4096, nil
	case st.Dio_offset_align == 0:
		// Such I/O succeeds, by way of the page cache (ext4 with data=journal).
		return 0, fmt.Errorf("the filesystem has no direct I/O of this file: %w (take one that is not encrypted, compressed or journaled)", errors.ErrUnsupported)
	}
	return int(max(st.Dio_offset_align, st.Dio_mem_align)), nil
}

// alignedBuffer returns n bytes for direct I/O, as the first of a buffer whose
// capacity is n rounded up to align. It starts at a page, which suits the memory
// accesses of all devices, or at a multiple of align, where that is more.
func alignedBuffer(n, align int) []byte {
	start := max(align, os.Getpagesize())
	size := roundUp(n, align)
	b := make([]byte, size+start)
	skip := roundUp(int(uintptr(unsafe.Pointer(&b[0]))), start) - int(uintptr(unsafe.Pointer(&b[0])))
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 0 // present before the first job
	}
	return b[skip:][:n:size]
}

// checkAligned refuses a plan whose pieces do not begin where direct I/O can.
func checkAligned(p *Plan, align int) error {
	switch {
	case p.Start%int64(align) != 0:
		return fmt.Errorf("direct I/O from byte %d on: %w (start at a multiple of %d bytes)", p.Start, errors.ErrUnsupported, align)
	case p.Block%align != 0 && p.Length > int64(p.Block):
		return fmt.Errorf("direct I/O in blocks of %d bytes: %w (take a multiple of %d bytes)", p.Block, errors.ErrUnsupported, align)
	}
	return nil
}

// roundUp returns the least multiple of a power of two that is not below n.
func roundUp(n, to int) int { return (n + to - 1) &^ (to - 1) }
