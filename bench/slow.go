//go:build !iopath_slow

package bench

import "iopath/internal/counters"

// slowed is the job as it is. With the build tag iopath_slow it is made worse on
// purpose: see slow_on.go.
func slowed(_ Cell, j counters.Job) counters.Job { return j }
