package bench

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/units"

	"iopath/internal/device"
	"iopath/workloads/iomethod"
)

// A Cell is one point of the matrix. A dimension that its benchmark does not
// have is empty.
type Cell struct {
	Benchmark string // see Benchmarks
	Pattern   string // of a Read, a Device or a Ceiling of memory
	Transport string // of a Send or a Ceiling of a socket
	Cache     string // of a Read or a Send: "warm" or "cold"
	Consume   string // of a Read, by the reader; of a Send, by the receiver; of their Ceilings
	Size      int64  // bytes of the file
	Block     int    // bytes of one call
	Depth     int    // of a Device: requests in flight
	What      string // of a Floor: see Floors
	Method    string // of a Read or a Send
}

// Benchmarks names what there is beside the workloads: what bounds them from
// above, and what no method can do without.
var Benchmarks = []string{"Read", "Send", "Ceiling", "Device", "Floor"}

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
	sizeKey("size", func(c *Cell) int64 { return c.Size }, func(c *Cell, n int64) { c.Size = n }),
	sizeKey("block", func(c *Cell) int64 { return int64(c.Block) }, func(c *Cell, n int64) { c.Block = int(n) }),
	{"depth",
		func(c *Cell) string {
			if c.Depth == 0 {
				return ""
			}
			return strconv.Itoa(c.Depth)
		},
		func(c *Cell, v string) (err error) { c.Depth, err = strconv.Atoi(v); return err },
	},
	textKey("what", func(c *Cell) *string { return &c.What }),
	textKey("method", func(c *Cell) *string { return &c.Method }),
}

func textKey(name string, field func(*Cell) *string) cellKey {
	return cellKey{name,
		func(c *Cell) string { return *field(c) },
		func(c *Cell, v string) error { *field(c) = v; return nil },
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

// A Skip is a set of cells that this machine cannot measure, and why.
type Skip struct{ What, Reason string }

func (s Skip) String() string { return s.What + ": " + s.Reason }

// Cells returns the matrix: what there is to measure here, and what there is
// not and why.
func (s *Session) Cells() ([]Cell, []Skip) {
	var cells []Cell
	var skips []Skip
	usable := map[string]iomethod.Method{}
	for _, name := range s.opt.Methods {
		m, _ := iomethod.Lookup(name)
		if err := m.Available(probed); err != nil {
			skips = append(skips, Skip{"/method=" + name, err.Error()})
			continue
		}
		usable[name] = m
	}
	var caches []string
	for _, cache := range s.opt.Caches {
		if err := s.provable(cache); err != nil {
			skips = append(skips, Skip{"/cache=" + cache, err.Error()})
			continue
		}
		caches = append(caches, cache)
	}
	if slices.Contains(s.given.Patterns, "sparse") && slices.Contains(caches, "warm") {
		skips = append(skips, Skip{"/pattern=sparse/cache=warm", "so small a part of a warm file stays in the CPU's cache from job to job (take -patterns rand)"})
	}
	for _, workload := range s.opt.Workloads {
		for _, cache := range caches {
			for _, block := range s.opt.Blocks {
				proto := Cell{Cache: cache, Size: s.files[cache].size, Block: block}
				// What moves nothing has no cache state: once is enough.
				usable := usable
				if cache != caches[0] {
					usable = maps.Clone(usable)
					maps.DeleteFunc(usable, func(_ string, m iomethod.Method) bool { return m.Idle })
				}
				if int64(block) > proto.Size {
					skips = append(skips, Skip{
						fmt.Sprintf("/cache=%s/block=%s", cache, units.Base2Bytes(block)),
						fmt.Sprintf("the file has only %s", units.Base2Bytes(proto.Size)),
					})
					continue
				}
				switch workload {
				case "read":
					cells = append(cells, s.readCells(proto, usable)...)
				case "send":
					cells = append(cells, s.sendCells(proto, usable)...)
				}
			}
		}
	}
	return s.withBounds(cells, skips)
}

func (s *Session) readCells(proto Cell, usable map[string]iomethod.Method) (cells []Cell) {
	for _, pattern := range s.opt.Patterns {
		if pattern == "sparse" && proto.Cache == "warm" {
			continue // see Cells
		}
		for _, consume := range s.opt.Consumers {
			c := proto
			c.Benchmark, c.Pattern, c.Consume = "Read", pattern, consume
			for _, name := range s.opt.Methods {
				if m, ok := usable[name]; ok && m.Reader.New != nil {
					c.Method = name
					cells = append(cells, c)
				}
			}
		}
	}
	return cells
}

func (s *Session) sendCells(proto Cell, usable map[string]iomethod.Method) (cells []Cell) {
	for _, transport := range s.opt.Transports {
		for _, consume := range s.opt.Consumers {
			if consume == "copy" {
				continue // the socket makes that copy already
			}
			c := proto
			c.Benchmark, c.Transport, c.Consume = "Send", transport, consume
			for _, name := range s.opt.Methods {
				if m, ok := usable[name]; ok && m.Sender.New != nil {
					c.Method = name
					cells = append(cells, c)
				}
			}
		}
	}
	return cells
}

// withBounds adds what the cells are held against: a ceiling for each, each once,
// and the floors.
func (s *Session) withBounds(cells []Cell, skips []Skip) ([]Cell, []Skip) {
	if len(cells) == 0 {
		return cells, skips
	}
	var bounds []Cell
	refused := map[string]bool{}
	for _, c := range cells {
		bound := Cell{Benchmark: "Ceiling", Pattern: c.Pattern, Transport: c.Transport, Consume: c.Consume, Size: c.Size, Block: c.Block}
		if c.Cache == "cold" {
			bound = Cell{Benchmark: "Device", Pattern: "rand", Size: c.Size, Block: c.Block}
			if c.Pattern == "seq" || c.Transport != "" {
				// Whatever the block, the kernel reads ahead in large ones.
				bound.Pattern, bound.Block = "seq", int(min(deviceBlock, c.Size))
			}
			bound.Depth = deviceDepth(bound.Block)
		}
		if slices.Contains(bounds, bound) || refused[bound.Name()] {
			continue
		}
		if err := s.canMeasure(bound); err != nil {
			refused[bound.Name()] = true
			skips = append(skips, Skip{bound.Name(), err.Error()})
			continue
		}
		bounds = append(bounds, bound)
	}
	for _, what := range Floors {
		bounds = append(bounds, Cell{Benchmark: "Floor", What: what})
	}
	return append(cells, bounds...), skips
}

// canMeasure reports whether the device can be read past the page cache, and that
// be proven.
func (s *Session) canMeasure(bound Cell) error {
	if bound.Benchmark != "Device" {
		return nil
	}
	d := s.files["cold"]
	if d.untold != nil {
		return d.untold
	}
	r, err := device.Open(d.path, bound.Block, bound.Depth)
	if err != nil {
		return err
	}
	return r.Close()
}
