//go:build !linux

package datafile

import "os"

func openUnnamed(dir string) (*os.File, string, error) { return createNamed(dir) }

func giveName(_ *os.File, name, path string) error { return os.Rename(name, path) }
