//go:build !linux

package loopdev

import (
	"errors"
	"os"
)

// A Device is a loop device: there are none, elsewhere than on Linux.
type Device struct{}

func Attach(*os.File) (*Device, error) { return nil, errors.ErrUnsupported }

func (*Device) Path() string { return "" }

func (*Device) Close() error { return nil }
