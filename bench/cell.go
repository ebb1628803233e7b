package bench

import (
	"fmt"
	"maps"
	"strings"

	"github.com/alecthomas/units"

	"iopath/workloads/iomethod"
)

// A Cell is one point of the matrix. A dimension that its benchmark does not
// have is empty.
type Cell struct {
	Benchmark string // "Read", "Send" or "Ceiling"
	Pattern   string // of a Read or a Ceiling
	Transport string // of a Send
	Cache     string // "warm" or "cold"; a Ceiling has no file
	Consume   string // of a Read or a Ceiling
	Size      int64  // bytes of the file, and of a job
	Block     int    // bytes of one call
	Method    string // of a Read or a Send
}

// Name is the cell as a benchmark's name: key=value, in a fixed order, the
// method last. The consumer is named where it is not the usual one.
func (c Cell) Name() string {
	var b strings.Builder
	b.WriteString(c.Benchmark)
	add := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "/%s=%s", key, value)
		}
	}
	add("pattern", c.Pattern)
	add("transport", c.Transport)
	add("cache", c.Cache)
	if c.Consume != "sum" {
		add("consume", c.Consume)
	}
	add("size", units.Base2Bytes(c.Size).String())
	add("block", units.Base2Bytes(c.Block).String())
	add("method", c.Method)
	return b.String()
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
		if err := m.Available(); err != nil {
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
	return cells, skips
}

func (s *Session) readCells(proto Cell, usable map[string]iomethod.Method) (cells []Cell) {
	for _, pattern := range s.opt.Patterns {
		for _, consume := range s.opt.Consumers {
			c := proto
			c.Benchmark, c.Pattern, c.Consume = "Read", pattern, consume
			read := 0
			for _, name := range s.opt.Methods {
				if m, ok := usable[name]; ok && m.Reader.New != nil {
					c.Method = name
					cells = append(cells, c)
					read++
				}
			}
			// A ceiling for the reads that memory bounds.
			if c.Cache == "warm" && read > 0 {
				c.Benchmark, c.Cache, c.Method = "Ceiling", "", ""
				cells = append(cells, c)
			}
		}
	}
	return cells
}

func (s *Session) sendCells(proto Cell, usable map[string]iomethod.Method) (cells []Cell) {
	for _, transport := range s.opt.Transports {
		c := proto
		c.Benchmark, c.Transport = "Send", transport
		for _, name := range s.opt.Methods {
			if m, ok := usable[name]; ok && m.Sender.New != nil {
				c.Method = name
				cells = append(cells, c)
			}
		}
	}
	return cells
}
