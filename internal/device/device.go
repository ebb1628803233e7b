// Package device reads a file past the page cache: with O_DIRECT, at a queue
// depth, from one thread. It is the yardstick of cold reads, what the block
// device alone can do: no method that really reads from the device is faster.
//
// The requests are kept in flight by Linux AIO (io_submit(2)). With io_uring
// there would be fewer system calls, but the default seccomp profiles of
// containers forbid it and allow AIO, and a batch of requests to the device takes
// longer than the two calls that it costs.
//
// The limit: what O_DIRECT means is the filesystem's to say. Where it is taken
// and the page cache is read all the same (tmpfs since Linux 6.6, btrfs where
// it compresses), the bytes are right and the yardstick is not; only the bytes
// from the device tell: [Served] looks at them, and [Tells] says where they are
// told. Pages that are dirty are written back first (open(2), "O_DIRECT"): sync
// the file before the clock runs.
package device

import (
	"errors"
	"fmt"

	"iopath/internal/counters"
)

// ErrCached is matched by the error of direct reads that the device did not serve.
var ErrCached = fmt.Errorf("O_DIRECT was answered by way of a cache: %w", errors.ErrUnsupported)

// Served holds what a thread fetched from the device against the bytes that it read
// directly.
func Served(u counters.Usage, bytes int64) error {
	if u.HasDeviceBytes && u.DeviceBytes < bytes {
		return fmt.Errorf("%w: %d of %d bytes came from the device", ErrCached, u.DeviceBytes, bytes)
	}
	return nil
}
