package bench

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"iopath/workloads/iomethod"
)

// Results are compared by these names, for as long as there are results.
func TestCellName(t *testing.T) {
	for _, c := range []struct {
		cell Cell
		want string
	}{
		{Cell{Benchmark: "Read", Pattern: "seq", Cache: "warm", Consume: "sum", Size: 1 << 30, Block: 64 << 10, Method: "pread"}, "Read/pattern=seq/cache=warm/size=1GiB/block=64KiB/method=pread"},
		{Cell{Benchmark: "Read", Pattern: "rand", Cache: "cold", Consume: "touch", Size: 128 << 20, Block: 4 << 10, Method: "mmap"}, "Read/pattern=rand/cache=cold/consume=touch/size=128MiB/block=4KiB/method=mmap"},
		{Cell{Benchmark: "Read", Pattern: "sparse", Cache: "warm", Consume: "copy", Size: 1000, Block: 7, Method: "os.File"}, "Read/pattern=sparse/cache=warm/consume=copy/size=1000B/block=7B/method=os.File"},
		{Cell{Benchmark: "Send", Transport: "tcp", Cache: "warm", Consume: "sum", Size: 256 << 20, Block: 1 << 20, Method: "read+write"}, "Send/transport=tcp/cache=warm/size=256MiB/block=1MiB/method=read+write"},
		{Cell{Benchmark: "Send", Transport: "unix", Cache: "cold", Consume: "touch", Size: 1<<20 + 1, Block: 1 << 20, Method: "io.Copy"}, "Send/transport=unix/cache=cold/consume=touch/size=1MiB1B/block=1MiB/method=io.Copy"},
		{Cell{Benchmark: "Ceiling", Pattern: "rand", Consume: "sum", Size: 1 << 30, Block: 4 << 10}, "Ceiling/pattern=rand/size=1GiB/block=4KiB"},
		{Cell{Benchmark: "Ceiling", Transport: "tcp", Consume: "touch", Size: 1 << 30, Block: 4 << 10}, "Ceiling/transport=tcp/consume=touch/size=1GiB/block=4KiB"},
		{Cell{Benchmark: "Device", Pattern: "rand", Size: 1 << 30, Block: 4 << 10, Depth: 32}, "Device/pattern=rand/size=1GiB/block=4KiB/depth=32"},
		{Cell{Benchmark: "Floor", What: "syscall"}, "Floor/what=syscall"},
	} {
		if got := c.cell.Name(); got != c.want {
			t.Errorf("name = %q, want %q", got, c.want)
		}
		// What was the usual consumer is not said.
		if c.cell.Consume == usualConsumer {
			c.cell.Consume = ""
		}
		for _, name := range []string{c.want, "Benchmark" + c.want, "Benchmark" + c.want + "-16"} {
			if got, err := ParseCell(name); err != nil || got != c.cell {
				t.Errorf("ParseCell(%q) = %+v, %v, want %+v", name, got, err, c.cell)
			}
		}
	}
}

func TestParseCellRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"":                            "benchmark \"\" is unknown",
		"Sing/method=read":            "benchmark \"Sing\" is unknown",
		"Read/method":                 "\"method\" is not a key=value",
		"Read/method=":                "\"method=\" is not a key=value",
		"Read/tempo=fast/method=read": "\"tempo=fast\" is not a key=value",
		"Read/block=big/method=read":  "block: \"big\" is not a size",
		"Device/depth=deep":           "depth: ",
	} {
		if _, err := ParseCell(name); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseCell(%q) = %v, want a usage error with %s", name, err, want)
		}
	}
}

func TestCells(t *testing.T) {
	s := open(t, Options{
		Workloads: []string{"read", "send"}, Size: 1 << 20, Blocks: []int{4 << 10}, Methods: []string{"pread", "null", "sendfile"},
		Patterns: []string{"seq"}, Transports: []string{"unix"}, Consumers: []string{"sum"},
	})
	cells, skips := s.Cells()
	var got []string
	for _, c := range cells {
		got = append(got, c.Name())
	}
	want := []string{
		"Read/pattern=seq/cache=warm/size=1MiB/block=4KiB/method=pread",
		"Read/pattern=seq/cache=warm/size=1MiB/block=4KiB/method=null",
		"Read/pattern=seq/cache=cold/size=1MiB/block=4KiB/method=pread",
		"Send/transport=unix/cache=warm/size=1MiB/block=4KiB/method=null",
		"Send/transport=unix/cache=warm/size=1MiB/block=4KiB/method=sendfile",
		"Send/transport=unix/cache=cold/size=1MiB/block=4KiB/method=sendfile",
		"Ceiling/pattern=seq/size=1MiB/block=4KiB",
		"Device/pattern=seq/size=1MiB/block=1MiB/depth=32",
		"Ceiling/transport=unix/size=1MiB/block=4KiB",
		"Floor/what=syscall",
		"Floor/what=fault",
		"Floor/what=clock",
	}
	if len(skips) > 0 {
		t.Logf("skipped: %v", skips)
		want = slices.DeleteFunc(want, func(name string) bool {
			return strings.Contains(name, "cache=cold") || strings.HasPrefix(name, "Device")
		})
	}
	if !slices.Equal(got, want) {
		t.Errorf("cells:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, skip := range skips {
		if skip.What != "/cache=cold" || skip.Reason == "" {
			t.Errorf("skipped %q, want cold cells alone, with a reason", skip)
		}
	}
}

// Every method is measured in every role that it fills, or the session says why not.
func TestCellsHoldEveryMethod(t *testing.T) {
	s := open(t, Options{Profile: "paths", Methods: registered(), Size: 1 << 20})
	cells, skips := s.Cells()
	names := map[string]bool{}
	roles := map[string]bool{}
	for _, c := range cells {
		if names[c.Name()] {
			t.Errorf("%s is there twice", c.Name())
		}
		names[c.Name()] = true
		roles[c.Benchmark+" "+c.Method] = true
	}
	lacks := s.lacks()
	for _, name := range registered() {
		if lacks[name] != nil {
			if !slices.Contains(skips, Skip{"/method=" + name, lacks[name].Error()}) {
				t.Errorf("%s is lacking (%v), and not among the skipped %v", name, lacks[name], skips)
			}
			continue
		}
		m, _ := iomethod.Lookup(name)
		for _, w := range matrix {
			if w.name == "open" || w.name == "parallel" {
				continue // for some readers alone
			}
			if got := roles[w.benchmark+" "+name]; got != m.Fills(w.role) {
				t.Errorf("%s cells of %s: %v, want %v", w.benchmark, name, got, m.Fills(w.role))
			}
		}
	}
	for _, w := range matrix {
		if !slices.ContainsFunc(cells, func(c Cell) bool { return c.Benchmark == w.benchmark }) {
			t.Errorf("there are no %s cells", w.benchmark)
		}
	}
}

func TestColdCellsNeedADisk(t *testing.T) {
	s := open(t, Options{Size: 1 << 20, Dir: tmpfs(t)})
	cells, skips := s.Cells()
	for _, c := range cells {
		if c.Cache == "cold" {
			t.Fatalf("there is %s on tmpfs, want no cold cells", c.Name())
		}
	}
	if len(skips) != 1 || skips[0].What != "/cache=cold" || !strings.Contains(skips[0].Reason, "tmpfs") {
		t.Errorf("skipped %v, want cold cells because of tmpfs", skips)
	}
}
