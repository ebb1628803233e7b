//go:build !linux

package counters

import (
	"errors"
	"fmt"
	"runtime"
)

var errOther = fmt.Errorf("counters on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// A Meter adds up the calling thread's usage; this system has none.
type Meter struct{ Usage }

func OpenMeter() *Meter        { return new(Meter) }
func OpenProcessMeter() *Meter { return new(Meter) }
func (*Meter) Start() error    { return errOther }
func (*Meter) Stop() error     { return errOther }
func (*Meter) Close() error    { return nil }

// ProbeHardware tells what the processor counts: nothing here.
func ProbeHardware() (scope string, names []string, err error) { return "", nil, errOther }

// ProbeShootdowns reports whether TLB shootdowns are counted: they are not here.
func ProbeShootdowns() error { return errOther }

func OpenTracepoint() (Counter, error) { return nil, errOther }

// Names lists the system calls that can be counted by name: none here.
func Names() []string { return nil }
