//go:build unix

package iomethod

import (
	"errors"
	"fmt"
	"io"
	"os"
)

type ioCopier struct{ filePair }

// newIOCopier returns io.Copy from os.File to os.File, for which Go takes
// copy_file_range(2) where it can.
func newIOCopier(c Config) (Copier, error) {
	files, err := openPair(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return &ioCopier{files}, nil
}

// Copy hands io.Copy the files themselves, so that a plan that ends before the file
// does is refused.
func (c *ioCopier) Copy(p *Plan) error {
	if p.Length == 0 {
		return nil
	}
	st, err := c.source.Stat()
	if err != nil {
		return err
	}
	if p.Order != nil || p.Start+p.Length < st.Size() {
		return fmt.Errorf("io.Copy copies a file in order and to its end: %w", errors.ErrUnsupported)
	}
	for _, f := range []*os.File{c.source, c.target} {
		if _, err := f.Seek(p.Start, io.SeekStart); err != nil {
			return err
		}
	}
	n, err := io.Copy(c.target, c.source)
	if err == nil && n < p.Length {
		err = io.ErrUnexpectedEOF
	}
	return err
}
