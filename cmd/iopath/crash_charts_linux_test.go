package main

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iopath/plots"
	"iopath/workloads/crash"
)

// lostCycle is one of a writer that lost so many of a thousand records.
func lostCycle(method, policy, fault string, lost uint64, rate float64) crash.Cycle {
	backend, fs := "process", ""
	switch fault {
	case "kernel":
		backend, fs = "shutdown", "ext4"
	case "power":
		backend, fs = "voldisk", "ext4"
	}
	return crash.Cycle{Method: method, Policy: policy, Layout: "append", Fault: fault, Backend: backend, Filesystem: fs, Seed: 1, Rate: rate,
		Counts: crash.Counts{Acknowledged: 1000, Intact: 1000 - lost, Lost: lost}}
}

// cutWriter is a writer whose machine was lost at so many ages.
func cutWriter(ages int) (cycles []crash.Cycle) {
	for i := range ages {
		c := lostCycle("write", "none", "power", 1000, 500)
		c.Seed, c.Pace, c.After = 2, 500, float64(i+1)
		cycles = append(cycles, c)
	}
	return cycles
}

// chartCSV draws the cycles and returns the figures by chart.
func chartCSV(t *testing.T, cycles []crash.Cycle) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths, err := crashCharts(cycles, "lab", 30).Draw(nil, dir, "csv", "svg")
	if err != nil && !errors.Is(err, plots.ErrNoData) {
		t.Fatal(err)
	}
	figures := map[string]string{}
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil && filepath.Ext(p) == ".csv" {
			figures[strings.TrimSuffix(filepath.Base(p), ".csv")] = string(b)
		}
	}
	return figures
}

func TestCrashCharts(t *testing.T) {
	torn := lostCycle("write", "range", "power", 200, 9)
	torn.Torn, torn.Intact = 300, 500
	wild := lostCycle("write", "each", "wild", 1, 7)
	cycles := append(cutWriter(5),
		lostCycle("write", "none", "sigkill", 0, 4000), lostCycle("write", "none", "exit", 0, 6000),
		lostCycle("write", "none", "power", 1000, 1), lostCycle("write", "none", "kernel", 1000, 1),
		lostCycle("write", "range", "sigkill", 0, 300), torn, lostCycle("write", "range", "power", 1000, 9),
		lostCycle("write", "each", "sigkill", 0, 100), lostCycle("write", "each", "power", 0, 2), wild)
	figures := chartCSV(t, cycles)
	for name, want := range map[string][]string{
		"price": {"way,how,policy,acknowledged records/s,lost,worst,n\n",
			// The speed is that of the machine's own disk, and the cuts of one writer are no cycles more.
			"A kernel's death,shutdown on ext4,write/none,5000,1,1,1\n", "Power loss,voldisk on ext4,write/none,5000,1,1,1\n",
			"Power loss,voldisk on ext4,write/range,300,0.75,1,2\n", "Power loss,voldisk on ext4,write/each,100,0,0,1\n"},
		"kept": {"write/none,A process's death,2 faults,1,0,0,0,0,2\n", "write/range,Power loss,voldisk on ext4,0.25,0.15,0.6,1,2,2\n",
			"write/each,A process's death,2 faults,1,0,0,0,0,1\n", "write/each,A kernel's death,shutdown on ext4,,,,,,0\n"},
		"age": {"policy,after (s),lost (s)\nwrite/none,1,2\n", "write/none,5,2\n"},
	} {
		for _, w := range want {
			if !strings.Contains(figures[name], w) {
				t.Errorf("%s is\n%swant %q in it", name, figures[name], w)
			}
		}
	}
}

// Ways that lose the same share a panel where none of their policies is lost in two.
func TestCrashSharing(t *testing.T) {
	lost := func(method, policy, backend, fs string) crash.Cycle {
		c := lostCycle(method, policy, "kernel", 0, 5)
		c.Backend, c.Filesystem = backend, fs
		return c
	}
	for _, tt := range []struct {
		name   string
		cycles []crash.Cycle
		how    string // of the panels
		note   string
	}{
		{"alone", []crash.Cycle{lost("write", "each", "shutdown", "ext4")}, "shutdown on ext4", ""},
		{"no policy in common", []crash.Cycle{lost("write", "each", "shutdown", "ext4"), lost("write", "none", "shutdown", "ext4"), lost("mmap.sync", "store", "qemu", "ext4")},
			"shutdown or qemu on ext4", "A kernel's death on ext4: mmap.sync by qemu; the others by shutdown."},
		{"a method in common", []crash.Cycle{lost("write", "each", "qemu", "ext4"), lost("write", "none", "uml", "ext4"), lost("bufio", "none", "uml", "ext4")},
			"qemu or uml on ext4", "A kernel's death on ext4: write/each by qemu; the others by uml."},
		{"a policy in common", []crash.Cycle{lost("write", "each", "shutdown", "ext4"), lost("write", "each", "qemu", "ext4"), lost("mmap.sync", "store", "qemu", "ext4")},
			"shutdown on ext4 | qemu on ext4", ""},
		{"one fits beside one of two", []crash.Cycle{lost("write", "each", "shutdown", "ext4"), lost("write", "each", "uml", "ext4"), lost("mmap.sync", "store", "qemu", "ext4"), lost("mmap.dax", "none", "qemu", "ext4")},
			"shutdown or qemu on ext4 | uml on ext4", "A kernel's death on ext4: write by shutdown; the others by qemu."},
		{"filesystems", []crash.Cycle{lost("write", "each", "shutdown", "ext4"), lost("mmap.sync", "store", "qemu", "xfs")}, "shutdown on ext4 | qemu on xfs", ""},
		{"losses", []crash.Cycle{lost("mmap.sync", "store", "qemu", "ext4"), lostCycle("write", "each", "power", 0, 5), lostCycle("write", "each", "exit", 0, 5)},
			"exit | qemu on ext4 | voldisk on ext4", ""},
	} {
		k := crashKept(tt.cycles, "lab")
		var how []string
		for _, panel := range k.Panels {
			how = append(how, panel.How)
		}
		if got := strings.Join(how, " | "); got != tt.how {
			t.Errorf("%s: the panels are %q, want %q", tt.name, got, tt.how)
		}
		if !strings.Contains(k.Caption, tt.note) || tt.note == "" && strings.Contains(k.Caption, "the others") {
			t.Errorf("%s: the caption is %q, want %q in it", tt.name, k.Caption, tt.note)
		}
		if figures := chartCSV(t, tt.cycles)["kept"]; strings.Contains(figures, " or ") || figures == "" {
			t.Errorf("%s: the figures are\n%swant the ways apart", tt.name, figures)
		}
	}
}

// The caption is of what is drawn.
func TestCrashPriceCaption(t *testing.T) {
	dax := lostCycle("mmap.sync", "store", "kernel", 0, 0)
	dax.Backend = "qemu"
	p := crashPrice([]crash.Cycle{lostCycle("write", "each", "kernel", 0, 5), dax}, "lab")
	if len(p.Panels) != 1 || !strings.Contains(p.Caption, "shutdown: ") || strings.Contains(p.Caption, "qemu") {
		t.Errorf("the caption of %d panels is %q, want it to name shutdown alone", len(p.Panels), p.Caption)
	}
}

func TestCrashChartsExtremes(t *testing.T) {
	nothing := lostCycle("write", "none", "power", 0, 5)
	nothing.Counts = crash.Counts{}
	var many []crash.Cycle
	for i := range 60 {
		c := lostCycle("method-"+string(rune('a'+i%26))+strings.Repeat("w", i), "none", "power", uint64(i*17%1001), float64(1+i))
		many = append(many, c)
	}
	same := cutWriter(2 * 5)
	for i := range same[5:] {
		same[5+i].Seed = 3
	}
	for _, tt := range []struct {
		name   string
		cycles []crash.Cycle
		charts string // that are drawn
	}{
		{"none", nil, ""},
		{"nothing was acknowledged", []crash.Cycle{nothing}, ""},
		{"a process", []crash.Cycle{lostCycle("write", "none", "sigkill", 0, 5)}, "kept"},
		{"one", []crash.Cycle{lostCycle("write", "none", "power", 1000, 5)}, "kept price"},
		{"no pace", []crash.Cycle{lostCycle("write", "none", "power", 1000, 0), lostCycle("write", "each", "power", 0, math.NaN()), lostCycle("write", "each", "power", 0, math.Inf(1))}, "kept"},
		{"one writer", cutWriter(30), "age"},
		{"two writers", same, "age"},
		{"sixty", many, "kept price"},
	} {
		figures := chartCSV(t, tt.cycles)
		var names []string
		for _, name := range []string{"age", "kept", "price"} {
			if figures[name] != "" {
				names = append(names, name)
			}
		}
		if got := strings.Join(names, " "); got != tt.charts {
			t.Errorf("%s: drawn are %q, want %q", tt.name, got, tt.charts)
		}
	}
	if f := chartCSV(t, same)["age"]; !strings.Contains(f, "write/none (2),") {
		t.Errorf("two writers are\n%swant them told apart", f)
	}
}

// A layout is named where there are others.
func TestCrashPolicyName(t *testing.T) {
	all := []crashPolicy{{"write", "none", "append"}, {"write", "none", "sparse"}, {"write", "each", "append"}}
	for i, want := range []string{"write/none append", "write/none sparse", "write/each"} {
		if got := all[i].name(all); got != want {
			t.Errorf("%+v is called %q, want %q", all[i], got, want)
		}
	}
	if s := dirtyExpire(); s < 0 || math.IsNaN(s) {
		t.Errorf("dirty pages expire after %g s", s)
	}
}
