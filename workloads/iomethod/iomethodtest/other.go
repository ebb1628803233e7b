//go:build !linux

package iomethodtest

import (
	"errors"
	"fmt"
	"runtime"

	"iopath/workloads/iomethod"
)

var errOther = fmt.Errorf("to be checked on Linux alone, not on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func descriptors() (map[string]string, error) { return nil, errOther }
func mappings(string) (string, error)         { return "", errOther }
func interrupt() (func(), error)              { return nil, errOther }
func senderCases(iomethod.Method) []Case      { return nil }
func copierCases(iomethod.Method) []Case      { return nil }
func receiverCases(iomethod.Method) []Case    { return nil }
func relayCases(iomethod.Method) []Case       { return nil }
func mapperCases(iomethod.Method) []Case      { return nil }
func channelCases(iomethod.Method) []Case     { return nil }
