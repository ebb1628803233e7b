package bench

import (
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
		{Cell{"Read", "seq", "", "warm", "sum", 1 << 30, 64 << 10, "pread"}, "Read/pattern=seq/cache=warm/size=1GiB/block=64KiB/method=pread"},
		{Cell{"Read", "rand", "", "cold", "touch", 128 << 20, 4 << 10, "mmap"}, "Read/pattern=rand/cache=cold/consume=touch/size=128MiB/block=4KiB/method=mmap"},
		{Cell{"Read", "seq", "", "warm", "copy", 1000, 7, "os.File"}, "Read/pattern=seq/cache=warm/consume=copy/size=1000B/block=7B/method=os.File"},
		{Cell{"Send", "", "tcp", "warm", "", 256 << 20, 1 << 20, "read+write"}, "Send/transport=tcp/cache=warm/size=256MiB/block=1MiB/method=read+write"},
		{Cell{"Send", "", "unix", "cold", "", 1<<20 + 1, 1 << 20, "io.Copy"}, "Send/transport=unix/cache=cold/size=1MiB1B/block=1MiB/method=io.Copy"},
		{Cell{"Ceiling", "rand", "", "", "sum", 1 << 30, 4 << 10, ""}, "Ceiling/pattern=rand/size=1GiB/block=4KiB"},
		{Cell{"Ceiling", "seq", "", "", "touch", 1 << 30, 4 << 10, ""}, "Ceiling/pattern=seq/consume=touch/size=1GiB/block=4KiB"},
	} {
		if got := c.cell.Name(); got != c.want {
			t.Errorf("name = %q, want %q", got, c.want)
		}
	}
}

func TestCells(t *testing.T) {
	s := open(t, Options{
		Size: 1 << 20, Blocks: []int{4 << 10}, Methods: []string{"pread", "null", "sendfile"},
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
		"Ceiling/pattern=seq/size=1MiB/block=4KiB",
		"Read/pattern=seq/cache=cold/size=1MiB/block=4KiB/method=pread",
		"Send/transport=unix/cache=warm/size=1MiB/block=4KiB/method=null",
		"Send/transport=unix/cache=warm/size=1MiB/block=4KiB/method=sendfile",
		"Send/transport=unix/cache=cold/size=1MiB/block=4KiB/method=sendfile",
	}
	if len(skips) > 0 {
		t.Logf("skipped: %v", skips)
		want = slices.DeleteFunc(want, func(name string) bool { return strings.Contains(name, "cache=cold") })
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

// Every method is measured in every role that it fills.
func TestCellsHoldEveryMethod(t *testing.T) {
	s := open(t, Options{Size: 1 << 20})
	cells, _ := s.Cells()
	names := map[string]bool{}
	roles := map[string]bool{}
	for _, c := range cells {
		if names[c.Name()] {
			t.Errorf("%s is there twice", c.Name())
		}
		names[c.Name()] = true
		roles[c.Benchmark+" "+c.Method] = true
	}
	for _, name := range s.opt.Methods {
		m, _ := iomethod.Lookup(name)
		if m.Available() != nil {
			continue
		}
		for benchmark, fills := range map[string]bool{"Read": m.Reader.New != nil, "Send": m.Sender.New != nil} {
			if got := roles[benchmark+" "+name]; got != fills {
				t.Errorf("%s cells of %s: %v, want %v", benchmark, name, got, fills)
			}
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
