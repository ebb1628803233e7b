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
