package iomethod

import (
	"errors"
	"os"
)

// A filePair is the two files of a copier.
type filePair struct{ source, target *os.File }

// openPair opens both, the target with that access: os.O_WRONLY or os.O_RDWR. The
// target is neither made nor truncated.
func openPair(c Config, access int) (filePair, error) {
	source, err := openFile(c)
	if err != nil {
		return filePair{}, err
	}
	target, err := openTarget(c, access)
	if err != nil {
		source.Close()
		return filePair{}, err
	}
	return filePair{source, target}, nil
}

// Close closes both.
func (p filePair) Close() error { return errors.Join(p.source.Close(), p.target.Close()) }
