//go:build !linux

package pagecache

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

var errOther = fmt.Errorf("page cache control on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func Evict(*os.File) error                 { return errOther }
func Load(*os.File) error                  { return errOther }
func Hold(*os.File) (func() error, error)  { return nil, errOther }
func Resident(*os.File) (Residency, error) { return Residency{}, errOther }
