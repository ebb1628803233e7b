package iomethod

import (
	"errors"
	"fmt"
)

// A Backed mapper's memory begins as the bytes of a file or a device, where that of
// the others begins as zeros.
type Backed interface {
	Mapper
	// Backing returns its path: [Config.Path], [Config.Target], or one of which
	// the caller does not know the bytes.
	Backing() string
}

// errUnmapped is the error of an Unmap that comes before Map, or twice.
var errUnmapped = errors.New("unmap: nothing is mapped (map first)")

// canMap checks that memory of n bytes can be made where held of it is there
// already.
func canMap(n, held int) error {
	switch {
	case n < 1:
		return fmt.Errorf("map %d bytes: there is no memory of no bytes (map one at least)", n)
	case held > 0:
		return fmt.Errorf("map %d bytes: %d are still mapped (unmap them first)", n, held)
	}
	return nil
}
