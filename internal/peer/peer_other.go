//go:build !linux

package peer

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

var errOther = fmt.Errorf("a peer on %s: %w", runtime.GOOS, errors.ErrUnsupported)

type child struct{}

func (*child) Socket() int             { return -1 }
func (*child) Finish() (Report, error) { return Report{}, errOther }
func (*child) Close() error            { return nil }

// A Receiver is a child process that takes in what is sent to it.
type Receiver struct{ *child }

func Start(string, string, int) (*Receiver, error)           { return nil, errOther }
func StartIn(string, string, string, int) (*Receiver, error) { return nil, errOther }
func (*Receiver) Begin(int64) error                          { return errOther }
func (*Receiver) BeginAfter(int64, int64) error              { return errOther }

// A Source is a child process that sends.
type Source struct{ *child }

func StartSource(string, int) (*Source, error) { return nil, errOther }
func (*Source) Begin(int64, int64) error       { return errOther }

func Flush() error { return errOther }

func block(*os.File) error { return errOther }

func unixPair() (a, b *os.File, err error) { return nil, nil, errOther }
func vethPair() (a, b *os.File, err error) { return nil, nil, errOther }
