//go:build !linux

package peer

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

var errOther = fmt.Errorf("a receiver on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// A Receiver is a child process at the other end of a socket.
type Receiver struct{}

func Start(string, string, int) (*Receiver, error) { return nil, errOther }
func (*Receiver) Socket() int                      { return -1 }
func (*Receiver) Begin(int64) error                { return errOther }
func (*Receiver) Finish() (Report, error)          { return Report{}, errOther }
func (*Receiver) Close() error                     { return nil }

func Flush() error { return errOther }

func block(*os.File) error { return errOther }

func unixPair() (a, b *os.File, err error) { return nil, nil, errOther }
