//go:build !linux

package iomethodtest

func dirtyPages(string) (uint64, error)                { return 0, errOther }
func sealed(int64, func(path string) error) error      { return errOther }
func fullFilesystem(dir string, do func() error) error { return errOther }
