//go:build !linux

package device

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"iopath/workloads/iomethod"
)

// A Reader is never had here.
type Reader struct{}

// Open fails with an error that matches errors.ErrUnsupported.
func Open(path string, block, depth int) (*Reader, error) {
	return nil, fmt.Errorf("open %s for direct reads on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}

func (*Reader) Read(*iomethod.Plan, iomethod.Consumer) error { return os.ErrClosed }
func (*Reader) Close() error                                 { return os.ErrClosed }

// Tells fails with an error that matches errors.ErrUnsupported.
func Tells(f *os.File) error {
	return fmt.Errorf("tell the bytes from the device on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
