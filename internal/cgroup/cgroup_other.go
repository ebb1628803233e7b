//go:build !linux

package cgroup

import (
	"errors"
	"fmt"
	"runtime"
)

var errOther = fmt.Errorf("control groups on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// A Group is a control group that New made.
type Group struct{}

func Probe() error                 { return errOther }
func New(Limit) (*Group, error)    { return nil, errOther }
func (*Group) Add(int) error       { return errOther }
func (*Group) Stat() (Stat, error) { return Stat{}, errOther }
func (*Group) Remove() error       { return errOther }
func (*Group) String() string      { return "none" }
