package iomethod

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A directWriter writes past the page cache, from a buffer that is aligned as the
// device wants it. The producer's bytes are not, and are copied there: that is
// what a program pays whose own buffers are not aligned either.
type directWriter struct {
	f     *os.File
	sync  fdSync
	buf   []byte
	align int
}

// directSyncs are its policies: sync_file_range(2) writes back what is in the page
// cache, where nothing is.
var directSyncs = []Sync{SyncNone, SyncEnd, SyncDsync, SyncBlock}

func newDirectWriter(c Config) (Writer, error) {
	if err := checkSync(c.Sync, directSyncs...); err != nil {
		return nil, err
	}
	f, err := openWritten(c, unix.O_DIRECT)
	if err != nil {
		return nil, directError(err)
	}
	align, err := directAlignment(int(f.Fd()))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s directly: %w", c.Target, err)
	}
	return &directWriter{f, fdSync(c.Sync), alignedBuffer(c.Block, align), align}, nil
}

// Write refuses a plan that ends amid a sector: a program would have to write the
// sector and cut the file with ftruncate(2).
func (w *directWriter) Write(p *Plan, produce Producer) error {
	if err := checkAligned(p, w.align); err != nil {
		return err
	}
	if p.Length%int64(w.align) != 0 {
		return fmt.Errorf("direct write of %d bytes: %w (take a multiple of %d bytes)", p.Length, errors.ErrUnsupported, w.align)
	}
	fd := int(w.f.Fd())
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := pwriteAll(fd, w.buf[:copy(w.buf, produce(off, n))], off); err != nil {
			return err
		}
		if err := w.sync.piece(fd, off, n); err != nil {
			return err
		}
	}
	return w.sync.end(fd, p)
}

func (w *directWriter) Close() error { return w.f.Close() }
