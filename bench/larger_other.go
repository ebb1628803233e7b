//go:build !linux

package bench

import (
	"context"
	"io"

	"iopath/internal/host"
)

func largerChild() (bool, error) { return false, nil }

func pressureChild() (bool, error) { return false, nil }

// Run is for Linux.
func (l Larger) Run(context.Context, io.Writer, host.Options, func(string)) ([]Series, error) {
	return nil, errOther
}

// Run is for Linux.
func (p Pressure) Run(context.Context, io.Writer, host.Options, func(string)) ([]Step, error) {
	return nil, errOther
}
