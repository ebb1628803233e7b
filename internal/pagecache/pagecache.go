// Package pagecache puts one file into the page cache, or out of it, and proves
// which of the two it is.
//
// It never drops anybody else's pages: the global drop_caches is not used.
// Whoever calls it must have no mapping of the file at that time; mapped pages
// cannot be evicted (posix_fadvise(2)).
package pagecache

import (
	"errors"
	"fmt"
)

// Limits of what counts, as shares of the file's pages (DESIGN: "Cache state is
// proven").
const (
	ColdAtMost  = 0.01
	WarmAtLeast = 0.99
)

// ErrNotWarm is matched by the error of a file whose pages are not, or not any
// more, in the page cache.
var ErrNotWarm = errors.New("not warm")

// A Residency says how much of a file is in the page cache.
type Residency struct {
	Pages, Total uint64 // in pages of the machine
	Dirty        uint64 // pages not yet written back; 0 where the source cannot tell
	Source       string // "cachestat" or "mincore"
}

// Share is the resident share of the file, from 0 to 1. Of an empty file it is 0.
func (r Residency) Share() float64 {
	if r.Total == 0 {
		return 0
	}
	return float64(r.Pages) / float64(r.Total)
}

// Cold is nil where the file counts as cold.
func (r Residency) Cold() error {
	if r.Total > 0 && r.Share() > ColdAtMost {
		return fmt.Errorf("not cold: %s after eviction (%d dirty); is it mapped, or being read by another process?", r, r.Dirty)
	}
	return nil
}

// Warm is nil where the file counts as warm.
func (r Residency) Warm() error {
	if r.Total > 0 && r.Share() < WarmAtLeast {
		return fmt.Errorf("%w: %s after reading all of it; is there memory for the whole file?", ErrNotWarm, r)
	}
	return nil
}

func (r Residency) String() string {
	if r.Total == 0 {
		return "an empty file"
	}
	return fmt.Sprintf("%d of %d pages (%.1f %%) resident by %s", r.Pages, r.Total, 100*r.Share(), r.Source)
}
