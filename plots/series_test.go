package plots

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"iopath/internal/summary"
)

// experiment is a made-up run of both experiments.
func experiment(t *testing.T) *summary.Results {
	t.Helper()
	var b strings.Builder
	b.WriteString("machine: lab\n")
	for round := range 3 {
		for i := 1; i <= 30; i++ {
			for k, method := range []string{"mmap", "pread"} {
				fmt.Fprintf(&b, "BenchmarkLarger/pattern=rand/at=%gs/method=%s\t1\t100000000 ns/op\t%d MB/s\t%d majflt/op\t%d device-B/op\n",
					float64(i)/10, method, 100+i*k+round, 10*i, i<<20)
			}
		}
	}
	for i, size := range []string{"0B", "64MiB", "128MiB"} {
		fmt.Fprintf(&b, "BenchmarkPressure/neighbour=%s/method=heap\t1\t%d ns/op\t%d resident-B\t%d swapped-B\n", size, 1000*(i+1), (3-i)<<20, i<<20)
	}
	results, err := summary.Read(summary.Input{Name: "lab", Reader: strings.NewReader(b.String())})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestStackCollects(t *testing.T) {
	p, err := Larger().collect(experiment(t))
	if err != nil {
		t.Fatal(err)
	}
	// What no line has, such as pages reclaimed, has no panel.
	var labels []string
	for _, panel := range p.panels {
		labels = append(labels, panel.label)
	}
	if got, want := strings.Join(labels, ", "), "throughput (MiB/s), major faults (/s), from the device (MiB/s)"; got != want {
		t.Errorf("panels %s, want %s", got, want)
	}
	if strings.Join(p.names, " ") != "mmap pread" || p.low != 0.1 || p.high != 3 {
		t.Errorf("lines %v from %v to %v, want mmap and pread from 0.1 to 3", p.names, p.low, p.high)
	}
	for i, want := range []float64{(100 + 30*1 + 1) * 1e6 / (1 << 20), 10 * 30 * 10, 30 * 10} {
		line := p.panels[i].lines[1]
		if got := line[len(line)-1]; len(line) != 30 || got.x != 3 || round3(got.y) != round3(want) {
			t.Errorf("%s: %d points, the last %v, want 30 and (3, %v)", p.panels[i].label, len(line), got, want)
		}
	}
	if !strings.Contains(p.desc, "lab") || !strings.Contains(p.desc, "n=3") || !strings.Contains(p.desc, "medians") {
		t.Errorf("caption %q, want the machine, n=3 and what a line is", p.desc)
	}
	if p.given != "pattern rand" {
		t.Errorf("in common they have %q, want the pattern", p.given)
	}
	q, err := Pressure().collect(experiment(t))
	if err != nil {
		t.Fatal(err)
	}
	if q.low != 0 || q.high != 128 || strings.Contains(q.desc, "medians") {
		t.Errorf("from %v to %v MiB, %q, want 0 to 128 and no medians of one round", q.low, q.high, q.desc)
	}
}

func TestStackDraws(t *testing.T) {
	results := experiment(t)
	var first []byte
	for range 2 {
		dir := t.TempDir()
		for _, s := range []Stack{Larger(), Pressure()} {
			paths, err := Drawings{s}.Draw(results, dir)
			if err != nil || len(paths) != 2 {
				t.Fatalf("Draw(%s) = %q, %v, want an SVG and a PNG", s.Name, paths, err)
			}
			for _, path := range paths {
				b, err := os.ReadFile(path)
				if err != nil || len(b) < 1000 {
					t.Errorf("%s has %d bytes, %v", path, len(b), err)
				}
				if strings.HasSuffix(path, "larger.png") {
					if first != nil && !bytes.Equal(first, b) {
						t.Error("the same results gave two charts")
					}
					first = b
				}
			}
		}
	}
}

func TestStackErrors(t *testing.T) {
	results := experiment(t)
	dir := t.TempDir()
	other := Larger()
	other.Filter = ".name:Other"
	if _, err := (Drawings{other}).Draw(results, dir); !errors.Is(err, ErrNoData) {
		t.Errorf("without a result: %v, want ErrNoData", err)
	}
	other = Larger()
	other.Panels = []Panel{{Unit: "nothing/op"}}
	if _, err := (Drawings{other}).Draw(results, dir); !errors.Is(err, ErrNoData) {
		t.Errorf("without a unit: %v, want ErrNoData", err)
	}
	other = Larger()
	other.X = "/method"
	if _, err := (Drawings{other}).Draw(results, dir); !errors.Is(err, ErrNoData) {
		t.Errorf("over words: %v, want ErrNoData", err)
	}
	if _, err := (Drawings{Larger()}).Draw(results, dir, "gif"); !errors.Is(err, summary.ErrInput) {
		t.Errorf("as gif: %v, want ErrInput", err)
	}
}

// Few points have their intervals, and ticks where they are; a legend longer than the
// panels has its room.
func TestStackOfFew(t *testing.T) {
	var b strings.Builder
	for round := range 6 {
		for _, workers := range []int{1, 2, 4} {
			for i := range 40 {
				fmt.Fprintf(&b, "BenchmarkParallel/pattern=rand/cache=warm/workers=%d/method=m%d 1 %d MB/s %d tlb-shootdowns/op 1000 ns/op\n", workers, i, 100*workers+round, workers-1)
			}
		}
	}
	var scale Stack
	for _, s := range scaling() {
		if s.Name == "parallel-rand-warm-scaling" {
			scale = s
		}
	}
	p, err := scale.collect(read(t, b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.xs); got != "[1 2 4]" || len(p.xTicks()) != 3 || p.xTicks()[2].Label != "4" {
		t.Errorf("x values %s with ticks %v, want 1, 2 and 4", got, p.xTicks())
	}
	if pt := p.panels[0].lines[0][2]; !pt.interval || pt.hi <= pt.y {
		t.Errorf("the last point is %+v, want one with an interval", pt)
	}
	if high := p.panels[0].axis.max; high < p.panels[0].lines[0][2].hi {
		t.Errorf("the axis ends at %v, below an interval's end", high)
	}
	s := p.sheet()
	if want := legendRow * vg.Length(40); s.h < want {
		t.Errorf("the body is %v high, want room for a legend of %v", s.h, want)
	}
	if got := s.text(); !strings.Contains(got, "TLB shootdowns per GiB (1000)\tm7\t4\t") || !strings.Contains(got, "95 % intervals") {
		t.Errorf("points and caption are\n%.400s\nwant shootdowns, and what a bar is", got)
	}
}
