package iomethodtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"iopath/workloads/iomethod"
)

// mapSizes are the bytes that are mapped: amid a page, a page, and beyond.
var mapSizes = []int{1, 4096, 4097, 1<<20 + 1}

// A memory is a mapper, its two files, and what is known of them.
type memory struct {
	iomethod.Mapper
	file   file   // to be read
	target string // to be written
	before []byte // what was in the target
	write  bool
}

// withMemory hands over a mapper of files that have size bytes. The file is called
// missing where size is negative.
func withMemory(m iomethod.Method, dir string, size int64, write bool, do func(*memory) error) (err error) {
	f := file{path: filepath.Join(dir, "missing")}
	if size >= 0 {
		if f, err = newFile(dir, size); err != nil {
			return err
		}
	}
	config := f.copying()
	config.Write = write
	before := other(int(max(size, 0)))
	if err := os.WriteFile(config.Target, before, 0o644); err != nil {
		return err
	}
	mapper, err := m.Mapper.New(config)
	if err != nil {
		return fmt.Errorf("construct: got %w, want nil", err)
	}
	defer func() {
		if e := mapper.Close(); err == nil && e != nil {
			err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	return do(&memory{mapper, f, config.Target, before, write})
}

// backing returns the path of what the memory begins as, or "" where that is zeros.
func (m *memory) backing() string {
	if b, ok := m.Mapper.(iomethod.Backed); ok {
		return b.Backing()
	}
	return ""
}

// begins returns the first n bytes that the memory must begin with; known is false
// where nobody can tell.
func (m *memory) begins(n int) (want []byte, known bool) {
	switch m.backing() {
	case "":
		return make([]byte, n), true
	case m.file.path:
		return m.file.content[:n], true
	case m.target:
		return m.before[:n], true
	}
	return nil, false
}

// fresh maps n bytes and checks that nobody has touched them.
func (m *memory) fresh(n int) ([]byte, error) {
	b, err := m.Map(n)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: got %w, want nil", n, err)
	}
	if len(b) != n {
		return nil, fmt.Errorf("map %d bytes: got %d of them", n, len(b))
	}
	want, known := m.begins(n)
	if !known {
		_ = bytes.Count(b, []byte{0}) // they can be read
		return b, nil
	}
	return b, differ(fmt.Sprintf("map %d bytes: the memory", n), b, want)
}

// unmap unmaps, and checks that it does so once.
func (m *memory) unmap() error {
	if err := m.Unmap(); err != nil {
		return fmt.Errorf("got Unmap = %w, want nil", err)
	}
	if err := m.Unmap(); err == nil {
		return errors.New("got Unmap twice = nil, want an error")
	}
	return nil
}

// used maps n bytes, writes them where they are to be written, unmaps them, and
// looks what has become of the files.
func (m *memory) used(n int) error {
	b, err := m.fresh(n)
	if err != nil {
		return err
	}
	want := bytes.Clone(m.before)
	if m.write {
		for i := range b {
			b[i] ^= 0xff
		}
		if m.backing() == m.target {
			copy(want, b)
		}
	}
	if err := m.unmap(); err != nil {
		return err
	}
	got, err := os.ReadFile(m.target)
	if err != nil {
		return err
	}
	if err := differ("the target", got, want); err != nil {
		return err
	}
	m.before = want
	if got, err = os.ReadFile(m.file.path); err != nil {
		return err
	}
	return differ("the file that is never changed", got, m.file.content)
}

func mapperCases(m iomethod.Method) []Case {
	var cases []Case
	add := func(name string, run func(dir string) error) {
		cases = append(cases, Case{"mapper/" + name, func(_ context.Context, dir string) error { return run(dir) }})
	}
	for _, access := range []struct {
		name  string
		write bool
	}{{"read", false}, {"write", true}} {
		for _, n := range mapSizes {
			add(fmt.Sprintf("%s/%d bytes", access.name, n), func(dir string) error {
				err := withMemory(m, dir, fileSize, access.write, func(mem *memory) error {
					// The second time the memory is as fresh as the first.
					return errors.Join(mem.used(n), mem.used(n))
				})
				if errors.Is(err, errors.ErrUnsupported) && n == 4096 && !access.write {
					return fmt.Errorf("refused %d bytes to read: %v", n, err) // which no method can
				}
				return err
			})
		}
		add(access.name+"/file as long as the memory", func(dir string) error {
			return withMemory(m, dir, 4097, access.write, func(mem *memory) error { return mem.used(4097) })
		})
		add(access.name+"/file one byte short", func(dir string) error {
			return withMemory(m, dir, 4096, access.write, tooShort)
		})
		add(access.name+"/file emptied", func(dir string) error {
			return withMemory(m, dir, 4096, access.write, func(mem *memory) error {
				if err := errors.Join(mem.used(4096), os.Truncate(mem.file.path, 0), os.Truncate(mem.target, 0)); err != nil {
					return err
				}
				return tooShort(mem)
			})
		})
		add(access.name+"/allocations", func(dir string) error {
			return withMemory(m, dir, fileSize, access.write, func(mem *memory) error {
				return allocations(m, func() error {
					_, err := mem.Map(fileSize)
					return errors.Join(err, mem.Unmap())
				})
			})
		})
		add(access.name+"/signals", func(dir string) error {
			return withMemory(m, dir, fileSize, access.write, func(mem *memory) error {
				stop, err := interrupt()
				if err != nil {
					return err
				}
				defer stop()
				for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
					if err := mem.used(1 << 20); err != nil {
						return err
					}
				}
				return nil
			})
		})
		add(access.name+"/missing file", func(dir string) error {
			err := withMemory(m, dir, -1, access.write, func(mem *memory) error {
				if mem.backing() == mem.file.path {
					return errors.New("construct: got nil for a file that is missing, want an error")
				}
				return nil
			})
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	add("directory", func(dir string) error {
		mapper, err := m.Mapper.New(iomethod.Config{Path: dir, Socket: -1})
		if err != nil {
			return nil
		}
		mem := memory{Mapper: mapper, file: file{path: dir}}
		if _, err = mapper.Map(1); err == nil && mem.backing() == dir {
			err = errors.New("got no error for a directory, want one from New or Map")
		} else {
			err = nil
		}
		return errors.Join(err, mapper.Close())
	})
	add("unmap what is not mapped", func(dir string) error {
		return withMemory(m, dir, fileSize, false, func(mem *memory) error {
			if err := mem.Unmap(); err == nil {
				return errors.New("got Unmap before Map = nil, want an error")
			}
			return mem.used(4096)
		})
	})
	add("map twice", func(dir string) error {
		return withMemory(m, dir, fileSize, false, func(mem *memory) error {
			if _, err := mem.fresh(4096); err != nil {
				return err
			}
			if _, err := mem.Map(4096); err == nil {
				return errors.New("got Map twice = nil, want an error for what would be lost")
			}
			return mem.unmap()
		})
	})
	add("map nothing", func(dir string) error {
		return withMemory(m, dir, fileSize, false, func(mem *memory) error {
			if _, err := mem.Map(0); err == nil {
				return errors.New("got Map of no bytes = nil, want an error")
			}
			return mem.used(4096)
		})
	})
	add("descriptors and mappings", func(dir string) error {
		path := filepath.Join(dir, "file")
		return released(file{path: path}, func() error {
			return withMemory(m, dir, fileSize, false, func(mem *memory) error { return mem.used(4097) })
		})
	})
	add("closed while mapped", func(dir string) error {
		path := filepath.Join(dir, "file")
		return released(file{path: path}, func() error {
			return withMemory(m, dir, fileSize, false, func(mem *memory) error {
				_, err := mem.fresh(4096)
				return err
			})
		})
	})
	add("address space", func(dir string) error { return addressSpace(m, dir) })
	return cases
}

// tooShort checks that a file of 4096 bytes or fewer has no more.
func tooShort(mem *memory) error {
	if _, known := mem.begins(0); !known || mem.backing() == "" {
		return nil // it is another file, or none
	}
	if _, err := mem.Map(4097); !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("map more bytes than the file has: got error %v, want one that matches io.ErrUnexpectedEOF", err)
	}
	return nil
}

// addressSpace checks that memory is given back, also such as no path in
// /proc/self/maps tells of.
func addressSpace(m iomethod.Method, dir string) error {
	const size, times = 1 << 20, 512
	return withMemory(m, dir, size, false, func(mem *memory) error {
		life := func() error {
			if _, err := mem.Map(size); err != nil {
				return err
			}
			return mem.Unmap()
		}
		// The first may make Go's heap grow by as much as it does at a time.
		if err := life(); err != nil {
			return err
		}
		before, err := mappedBytes()
		if err != nil {
			return err
		}
		for range times {
			if err := life(); err != nil {
				return err
			}
		}
		after, err := mappedBytes()
		if err != nil {
			return err
		}
		if grown := after - before; grown > size*times/2 {
			return fmt.Errorf("map and unmap %d bytes %d times: got %d bytes more of address space, want none", size, times, grown)
		}
		return nil
	})
}

// mappedBytes returns the bytes of the process's address space that are mapped
// (proc_pid_statm(5)).
func mappedBytes() (int64, error) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var pages int64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		return 0, err
	}
	return pages * int64(os.Getpagesize()), nil
}
