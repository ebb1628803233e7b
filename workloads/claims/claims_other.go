//go:build !linux

package claims

import (
	"io"
	"strings"
)

var all []Claim

// Child tells whether this process is an experiment's: never, elsewhere than on Linux.
func Child() bool { return false }

func startGuard(string) (io.Closer, error) { return io.NopCloser(strings.NewReader("")), nil }
