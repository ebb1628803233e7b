package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/units"
)

// A Cell is one point of the matrix. A dimension that its benchmark does not
// have is empty.
type Cell struct {
	Benchmark string // see Benchmarks
	Pattern   string // of a Read, a Write, a Parallel, a Device or a Ceiling of memory
	Transport string // of a Send, a Receive, a Relay or a Ceiling of a socket
	Cache     string // of a Read, a Send, a Copy or a Parallel: "warm" or "cold"
	Consume   string // of a Read, by the reader; of a Send, by the receiver; of their Ceilings
	Sync      string // of a Write: see iomethod.Syncs
	Touch     string // of a Map: see Touches
	Size      int64  // bytes of the file, of a Map's memory, of a job that has neither
	Files     int    // of an Open: how many there are
	Block     int    // bytes of one call
	Depth     int    // of a Device: requests in flight
	Workers   int    // of a Parallel
	As        string // of a Parallel: see Workers
	What      string // of a Floor or a Channel: see Floors, Exchanges
	Method    string // of a workload
}

// Benchmarks names the workloads' benchmarks, what bounds them from above, and
// what no method can do without.
var Benchmarks = func() (names []string) {
	for _, w := range matrix {
		names = append(names, w.benchmark)
	}
	return append(names, "Ceiling", "Device", "Floor")
}()

// Name is the cell as a benchmark's name: key=value, in a fixed order, the
// method last. The consumer is named where it is not the usual one.
func (c Cell) Name() string {
	name := c.Benchmark
	for _, key := range cellKeys {
		if value := key.get(&c); value != "" {
			name += "/" + key.name + "=" + value
		}
	}
	return name
}

// A cellKey is a dimension as a name has it.
type cellKey struct {
	name string
	get  func(*Cell) string
	set  func(*Cell, string) error
}

// usualConsumer is not named.
const usualConsumer = "sum"

var cellKeys = []cellKey{
	textKey("pattern", func(c *Cell) *string { return &c.Pattern }),
	textKey("transport", func(c *Cell) *string { return &c.Transport }),
	textKey("cache", func(c *Cell) *string { return &c.Cache }),
	{"consume",
		func(c *Cell) string {
			if c.Consume == usualConsumer {
				return ""
			}
			return c.Consume
		},
		func(c *Cell, v string) error { c.Consume = v; return nil },
	},
	textKey("sync", func(c *Cell) *string { return &c.Sync }),
	textKey("touch", func(c *Cell) *string { return &c.Touch }),
	sizeKey("size", func(c *Cell) int64 { return c.Size }, func(c *Cell, n int64) { c.Size = n }),
	numberKey("files", func(c *Cell) *int { return &c.Files }),
	sizeKey("block", func(c *Cell) int64 { return int64(c.Block) }, func(c *Cell, n int64) { c.Block = int(n) }),
	numberKey("depth", func(c *Cell) *int { return &c.Depth }),
	numberKey("workers", func(c *Cell) *int { return &c.Workers }),
	textKey("as", func(c *Cell) *string { return &c.As }),
	textKey("what", func(c *Cell) *string { return &c.What }),
	textKey("method", func(c *Cell) *string { return &c.Method }),
}

func textKey(name string, field func(*Cell) *string) cellKey {
	return cellKey{name,
		func(c *Cell) string { return *field(c) },
		func(c *Cell, v string) error { *field(c) = v; return nil },
	}
}

func numberKey(name string, field func(*Cell) *int) cellKey {
	return cellKey{name,
		func(c *Cell) string {
			if *field(c) == 0 {
				return ""
			}
			return strconv.Itoa(*field(c))
		},
		func(c *Cell, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number from 1 on", v)
			}
			*field(c) = n
			return nil
		},
	}
}

func sizeKey(name string, get func(*Cell) int64, set func(*Cell, int64)) cellKey {
	return cellKey{name,
		func(c *Cell) string {
			if get(c) == 0 {
				return ""
			}
			return units.Base2Bytes(get(c)).String()
		},
		func(c *Cell, v string) error {
			n, err := parseSize(v)
			if err == nil {
				set(c, n)
			}
			return err
		},
	}
}

// ParseCell reads a cell's name as results have it, with or without the
// "Benchmark" before it and the "-8" after it. Keys that the name leaves out stay
// empty. The error is the user's to mend.
func ParseCell(name string) (Cell, error) {
	parts := strings.Split(strings.TrimPrefix(name, "Benchmark"), "/")
	c := Cell{Benchmark: parts[0]}
	if !slices.Contains(Benchmarks, c.Benchmark) {
		return c, usage("cell %q: benchmark %q is unknown (known: %s)", name, c.Benchmark, strings.Join(Benchmarks, ", "))
	}
	last := len(parts) - 1
	if stem, procs, ok := cutLast(parts[last], "-"); ok && last > 0 {
		if _, err := strconv.Atoi(procs); err == nil { // no name of a method has a hyphen
			parts[last] = stem
		}
	}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		i := slices.IndexFunc(cellKeys, func(k cellKey) bool { return k.name == key })
		if i < 0 || value == "" {
			return c, usage("cell %q: %q is not a key=value of a cell (write it as %s)", name, part, exampleCell)
		}
		if err := cellKeys[i].set(&c, value); err != nil {
			return c, usage("cell %q: %s: %w", name, key, err)
		}
	}
	return c, nil
}

// exampleCell shows what the name of a cell looks like.
const exampleCell = "Read/pattern=seq/cache=warm/block=64KiB/method=pread"

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// matches reports whether the cell has every key that the other one has.
func (c Cell) matches(other Cell) bool {
	for _, key := range cellKeys {
		if want := key.get(&other); want != "" && key.get(&c) != want {
			return false
		}
	}
	return c.Benchmark == other.Benchmark
}
