package plots

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// rounds makes n rounds of lines, each of the values times 1 + 0.01 of its round.
func rounds(n int, unit string, values map[string]float64) string {
	var b strings.Builder
	for round := range n {
		for _, name := range []string{"a", "b", "c"} {
			for _, block := range []string{"4KiB", "64KiB"} {
				if v, ok := values[name+block]; ok {
					fmt.Fprintf(&b, "BenchmarkR/block=%s/method=%s 1 %v %s\n", block, name, v*(1+0.01*float64(round)), unit)
				}
			}
		}
	}
	return b.String()
}

// Ratios are of the same round, so that what disturbs both sides leaves no trace.
func TestRatio(t *testing.T) {
	r := read(t, rounds(6, "ns/op", map[string]float64{"a4KiB": 300, "b4KiB": 200, "a64KiB": 900, "b64KiB": 900, "c4KiB": 100})+
		"BenchmarkFloor/method=a 1 7 ns/op\nBenchmarkFloor/method=b 1 5 ns/op\n")
	c := Chart{
		Headline: Headline{Name: "c", Title: "What?"}, Filter: ".name:R", X: "/block", Series: "/method", Unit: "ns/op", Y: "time, one ÷ the other", Note: "Of all that there is.",
		Ratio: &Ratio{Key: "/method", Of: [][2]string{{"a", "b"}, {"a", "missing"}, {"c", "a"}}, One: "1: the same",
			References: []Floor{{".name:Floor", "ns/op", "an empty call"}}},
	}
	s, err := c.sheet(r)
	if err != nil {
		t.Fatal(err)
	}
	got := s.text()
	for _, want := range []string{
		"a ÷ b\t4KiB\t1.5\t1.5\t1.5\t6\n", "a ÷ b\t64KiB\t1\t1\t1\t6\n", "c ÷ a\t4KiB\t0.333333\t0.333333\t0.333333\t6\n",
		"floor: 1: the same\t\t1", "note: Of all that there is.", "note: The machine itself, by the same ratio: an empty call 1.4.", "geometric means",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the ratios are\n%swant %q in them", got, want)
		}
	}
	if strings.Contains(got, "missing") || strings.Contains(got, "c ÷ a\t64KiB") {
		t.Errorf("the ratios are\n%swant none of what was not measured", got)
	}
	c.Ratio = &Ratio{Key: "/method", Of: [][2]string{{"a", "missing"}}}
	if _, err := c.sheet(r); !errors.Is(err, ErrNoData) || !strings.Contains(err.Error(), "differ in /method alone") {
		t.Errorf("without a partner: %v, want ErrNoData that says so", err)
	}
}

// Two runs against each other, and several in a row.
func TestRuns(t *testing.T) {
	run := func(name string, rate float64) summary.Input {
		var b strings.Builder
		for round := range 6 {
			fmt.Fprintf(&b, "# date: 2026-01-0%dT00:00:00Z\n", round/3+1)
			for _, block := range []string{"4KiB", "64KiB"} {
				fmt.Fprintf(&b, "BenchmarkRead/pattern=seq/cache=warm/size=1MiB/block=%s/method=mmap 1 %v MB/s\n", block, rate*(1+0.01*float64(round)))
			}
			fmt.Fprintf(&b, "BenchmarkCeiling/pattern=seq/size=1MiB/block=64KiB 1 %v MB/s\n", 3000.0)
		}
		return summary.Input{Name: name, Reader: strings.NewReader(b.String())}
	}
	r, err := summary.Read(run("results/m/old/bench.txt", 1000), run("results/m/new/bench.txt", 1500), run("third.txt", 2000))
	if err != nil {
		t.Fatal(err)
	}
	texts := func(ds Drawings) (all string) {
		for _, d := range ds {
			s, err := d.sheet(r)
			if errors.Is(err, ErrNoData) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			all += d.About().Name + ": " + s.text()
		}
		return all
	}
	got := texts(Ratios("results/m/old/bench.txt", "results/m/new/bench.txt"))
	for _, want := range []string{
		"ratio-read-seq-warm: One run against another: how fast is each method", "mmap\t4KiB\t1.5\t1.5\t1.5\t6\n", "mmap\t64KiB\t1.5\t",
		"note: Newer: new, older: old.", "note: The machine itself, by the same ratio: memory 1.", "2026-01-01 to 2026-01-02",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("new against old is\n%swant %q in it", got, want)
		}
	}
	got = texts(Trends())
	for _, want := range []string{
		"trend-read-seq-warm: Run by run: how fast", "mmap\tresults/m/old/bench.txt\t", "mmap\tthird.txt\t1.9", "ceiling (memory)\tthird.txt\t", "note: Blocks of 64 KiB.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("run by run it is\n%swant %q in it", got, want)
		}
	}
	if strings.Contains(got, "size=") || strings.Contains(got, "block=") {
		t.Errorf("run by run it is\n%swant one line a method", got)
	}
	d, err := Trends()[0].(Chart).collect(r)
	if err != nil {
		t.Fatal(err)
	}
	if name := d.xName(d.xs[0]); !d.ordered || name != "old" {
		t.Errorf("the first run is %q, and lines join the runs: %v; want old and true", name, d.ordered)
	}
}

func TestAcross(t *testing.T) {
	r := read(t, resultLines(6, "100 p50-ns 2000 p99-ns 9000 max-ns", "R/block=4KiB/method=m")+resultLines(6, "50 p50-ns", "R/block=4KiB/method=n"))
	c := Chart{Headline: Headline{Name: "c", Title: "What?"}, X: "/block", Series: "/method", Across: through, Y: "time per block", Log: true}
	d, err := c.collect(r)
	if err != nil {
		t.Fatal(err)
	}
	// What no cell has, here p99.9, leaves no gap in the axis: its neighbours keep their places.
	if got, want := fmt.Sprint(d.xs, d.pos, d.ordered), "[p50 p99 max] [0.3 2 4] true"; got != want {
		t.Errorf("quantiles are at %s, want %s", got, want)
	}
	got := d.sheet().text()
	for _, want := range []string{"series\tquantile\ttime per block (ns)", "m\tp50\t100\t100\t100\t6\n", "m\tp99\t2000\t", "m\tmax\t9000\t", "n\tp50\t50\t"} {
		if !strings.Contains(got, want) {
			t.Errorf("the quantiles are\n%swant %q in them", got, want)
		}
	}
	if _, err := c.sheet(read(t, resultLines(1, "5 ns/op", "R/block=4KiB/method=m"))); !errors.Is(err, ErrNoData) {
		t.Errorf("without a quantile: %v, want ErrNoData", err)
	}
}

// Other consumers do other work: they are left out where the usual one is there, and
// drawn where they are all there is.
func TestUsual(t *testing.T) {
	const sum, touch = "R/block=4KiB/method=m", "R/consume=touch/block=4KiB/method=m"
	c := Chart{Headline: Headline{Name: "c", Title: "What?"}, X: "/block", Series: "/method", Unit: "calls/op", Usual: true}
	both, only := resultLines(6, "5 calls/op", sum)+resultLines(6, "7 calls/op", touch), resultLines(6, "7 calls/op", touch)
	for _, tt := range []struct {
		name, text string
		usual      bool
		want       []string
		not        string
	}{
		{"both", both, true, []string{"m\t4KiB\t5\t", "note: Not drawn: consume=touch."}, "\t7\t"},
		{"the other alone", only, true, []string{"m\t4KiB\t7\t"}, "Not drawn"},
		{"both asked for", both, false, []string{"m\t4KiB\t5\t", "m consume=touch\t4KiB\t7\t"}, "Not drawn"},
	} {
		c.Usual = tt.usual
		s, err := c.sheet(read(t, tt.text))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(s.text(), want) {
				t.Errorf("%s: the chart has\n%swant %q in it", tt.name, s.text(), want)
			}
		}
		if strings.Contains(s.text(), tt.not) {
			t.Errorf("%s: the chart has\n%swant no %q in it", tt.name, s.text(), tt.not)
		}
	}
}

// Of two files, a method that one lacks is divided where both have been measured.
func TestRatioOfSeveralFiles(t *testing.T) {
	one := resultLines(6, "300 ns/op", "R/block=4KiB/method=a")
	two := resultLines(6, "400 ns/op", "R/block=4KiB/method=a") + resultLines(6, "200 ns/op", "R/block=4KiB/method=b")
	r, err := summary.Read(summary.Input{Name: "one", Reader: strings.NewReader(one)}, summary.Input{Name: "two", Reader: strings.NewReader(two)})
	if err != nil {
		t.Fatal(err)
	}
	c := Chart{Headline: Headline{Name: "c"}, X: "/block", Series: "/method", Unit: "ns/op", Ratio: &Ratio{Key: "/method", Of: [][2]string{{"a", "b"}}}}
	s, err := c.sheet(r)
	if err != nil || !strings.Contains(s.text(), "a ÷ b\t4KiB\t2\t2\t2\t6") {
		t.Errorf("the ratio is %v, %v, want 2 over the 6 rounds of the second file", s, err)
	}
}

// Series that would look alike in grey get looks of their own, the first keeps its.
func TestDistinguish(t *testing.T) {
	list := []series{{name: "a", style: style{blue, box, solid}}, {name: "a x=1", style: style{blue, box, solid}}, {name: "b", style: style{vermil, box, solid}}}
	distinguish(list)
	if list[0].style != (style{blue, box, solid}) {
		t.Errorf("the first is %v, want it as it was", list[0].style)
	}
	seen := map[[2]int]string{}
	for _, s := range list {
		look := [2]int{s.style.shape, s.style.dash}
		if other := seen[look]; other != "" {
			t.Errorf("%s and %s look alike in grey", s.name, other)
		}
		seen[look] = s.name
	}
}
