//go:build !linux

package bench

import (
	"errors"
	"fmt"
	"runtime"
)

var errOther = fmt.Errorf("measuring on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func quieten(int) (func(), error) { return nil, errOther }

func ownDescriptors() error { return errOther }

func canOwnDescriptors() bool { return false }

func anonymous(int64) ([]byte, func() error, error) { return nil, nil, errOther }

func faulting(int) ([]byte, func() error, error) { return nil, nil, errOther }

func unmap([]byte) error { return nil }

func threadID() int { return 0 }
