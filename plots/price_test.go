package plots

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"iopath/internal/summary"
)

// priced is a made-up run of the writers that are compared: two crowds, and two policies
// that lose some.
func priced() Price {
	kernel := PricePanel{Way: Way{"A kernel's death", "shutdown on ext4"}}
	power := PricePanel{Way: Way{"Power loss", "voldisk on ext4"}}
	for _, p := range []struct {
		name          string
		rate          float64
		kernel, power float64
	}{
		{"mmap.shared/none", 709393, 1, 1}, {"mmap.shared/async", 1269210, 1, 1}, {"mmap.shared/each", 5050, 0, 0}, {"mmap.shared/64", 178839, 0, 0},
		{"mmap.private/none", 819305, 1, 1}, {"mmap.private/each", 745010, 1, 1},
		{"write/none", 462330, 1, 1}, {"write/each", 4828, 0, 0}, {"write/64", 167742, 0, 0}, {"write/dsync", 5426, 0, 0}, {"write/range", 16227, 0, 0.54},
		{"pwrite/none", 479746, 1, 1}, {"pwrite/each", 6361, 0, 0}, {"pwrite/dsync", 7681, 0, 0},
		{"os.File/none", 509543, 1, 1}, {"os.File/each", 5310, 0, 0},
		{"bufio/none", 1290933, 1, 1}, {"bufio/flush", 480080, 1, 1}, {"bufio/each", 1943, 0, 0},
		{"odirect/none", 16687, 0, 0.45}, {"odirect/each", 4783, 0, 0}, {"odirect/dsync", 2960, 0, 0},
	} {
		method, _, _ := strings.Cut(p.name, "/")
		point := func(lost float64, n int) PricePoint {
			return PricePoint{method, p.name, p.rate, lost, math.Ceil(lost), n}
		}
		kernel.Points, power.Points = append(kernel.Points, point(p.kernel, 4)), append(power.Points, point(p.power, 20))
	}
	return Price{
		Headline: Headline{Name: "price", Title: "What does safety cost, and what does speed lose?"},
		Rate:     "acknowledged records/s",
		Panels:   []PricePanel{kernel, power},
		Caption:  "lab",
	}
}

func TestPrice(t *testing.T) {
	s, err := priced().sheet(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"way\thow\tpolicy\tacknowledged records/s\tlost\tworst\tn\nA kernel's death\tshutdown on ext4\tmmap.shared/none\t709393\t1\t1\t4\n",
		"Power loss\tvoldisk on ext4\twrite/range\t16227\t0.54\t1\t20\n",
		"(75 % of n=4, 15 % of n=20)", "whiskers: up to the worst",
	} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the chart is\n%swant %q in it", s.text(), want)
		}
	}
	golden(t, "price.svg", svgOf(t, s))
	golden(t, "price.csv", csvOf(t, s))
}

// Each point is named once, in a column in which the fastest is on top, as are its lines;
// and one with a free way to a column takes it.
func TestPriceSides(t *testing.T) {
	for _, tt := range []struct {
		name   string
		points []PricePoint
		want   [2][]int
	}{
		{"the ends", []PricePoint{{Rate: 200}, {Rate: 100}, {Rate: 150, Lost: 1, Worst: 1}}, [2][]int{{1, 0}, {2}}},
		{"alone", []PricePoint{{Rate: 1, Lost: 0.3, Worst: 0.3}, {Rate: 1000, Lost: 0.7, Worst: 0.7}}, [2][]int{{0}, {1}}},
		{"along the whisker", []PricePoint{{Rate: 100, Lost: 0.3, Worst: 1}}, [2][]int{nil, {0}}},
		{"none on the left", []PricePoint{{Rate: 100, Lost: 0.3, Worst: 0.3}, {Rate: 100.1}, {Rate: 1e6, Lost: 1, Worst: 1}}, [2][]int{{1}, {0, 2}}},
		{"none on the right", []PricePoint{{Rate: 100, Lost: 0.7, Worst: 0.7}, {Rate: 100.1, Lost: 1, Worst: 1}, {Rate: 1e6}}, [2][]int{{0, 2}, {1}}},
	} {
		page := &pricePage{axis: logAxis(1, 1e6, false)}
		if got := page.sides(tt.points); !slices.Equal(got[0], tt.want[0]) || !slices.Equal(got[1], tt.want[1]) {
			t.Errorf("%s: named on the left and right are %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestApart(t *testing.T) {
	for _, tt := range []struct {
		name       string
		want, have []vg.Length
	}{
		{"none", nil, nil},
		{"far", []vg.Length{10, 50}, []vg.Length{10, 50}},
		{"at one place", []vg.Length{50, 50, 50}, []vg.Length{40, 50, 60}},
		{"two crowds that meet", []vg.Length{40, 40, 50, 50}, []vg.Length{30, 40, 50, 60}},
		{"at the ends", []vg.Length{1, 1, 99, 99}, []vg.Length{0, 10, 90, 100}},
		{"more than have room", []vg.Length{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 100}, nil},
	} {
		got := apart(tt.want, 10, 0, 100)
		if tt.have != nil && !slices.Equal(got, tt.have) || len(got) != len(tt.want) {
			t.Errorf("%s: %v is moved to %v, want %v", tt.name, tt.want, got, tt.have)
		}
		for i := range got {
			if got[i] < 0 || got[i] > 100+1e-9 || i > 0 && got[i]-got[i-1] < min(10, 100/vg.Length(len(got)-1))-1e-9 {
				t.Errorf("%s: %v is moved to %v, in which %d has no room", tt.name, tt.want, got, i)
			}
		}
	}
}

func TestPriceExtremes(t *testing.T) {
	at := func(rate, lost, worst float64, n int) PricePoint { return PricePoint{"m", "m/p", rate, lost, worst, n} }
	many := func(n int, lost func(i int) float64) (points []PricePoint) {
		for i := range n {
			points = append(points, PricePoint{fmt.Sprint("m", i%9), fmt.Sprintf("m%d/p%d", i%9, i), 1000 + float64(i), lost(i), 1, 4})
		}
		return points
	}
	ways := func(n int) (panels []PricePanel) {
		for range n {
			panels = append(panels, PricePanel{Way{"w", "h"}, []PricePoint{at(5, 0, 0, 4)}})
		}
		return panels
	}
	panel := func(points ...PricePoint) []PricePanel { return []PricePanel{{Way{"w", "h"}, points}} }
	long := at(5, 0.5, 1, 4)
	long.Name = strings.Repeat("W", 5000)
	for _, tt := range []struct {
		name   string
		panels []PricePanel
		want   string // a part of the points, notes or caption; of the error where none is drawn
		bad    error
	}{
		{"one", panel(at(5, 0, 0, 4)), "w\th\tm/p\t5\t0\t0\t4", nil},
		{"no cycles are told", panel(at(5, 0, 0, 0)), "m/p\t5\t0\t0\t0", nil},
		{"all lost", panel(many(22, func(int) float64 { return 1 })...), "m3/p21\t1021\t1\t1\t4", nil},
		{"none lost", panel(many(22, func(int) float64 { return 0 })...), "m3/p21\t1021\t0\t1\t4", nil},
		{"sixty in between", panel(many(60, func(i int) float64 { return float64(i+1) / 61 })...), "m5/p59", nil},
		{"sixty at both ends", panel(many(60, func(i int) float64 { return float64(i % 2) })...), "m5/p59", nil},
		{"as many as can be", panel(many(maxSeries, func(i int) float64 { return float64(i%3) / 2 })...), "m2/p119", nil},
		{"eight ways", ways(8), "w\th", nil},
		{"a long name", panel(long), "caption", nil},
		{"letters of the world", panel(PricePoint{`<b>&"日本`, `<b>&"日本/ж`, 5, 0, 0, 4}), "<b>", nil},
		{"far apart", panel(at(1e-290, 0, 0, 1), at(1e290, 1, 1, 1)), "1e+290", nil},
		{"no place", panel(at(5, 0, 0, 4), at(0, 0, 0, 4), at(math.NaN(), 0, 0, 4), at(math.Inf(1), 0, 0, 4), at(5, math.NaN(), 1, 4), at(5, 0.5, 0.4, 4), at(5, 2, 2, 4)),
			"note: Left out: 6 of 7 points", nil},
		{"a panel without", append(panel(), panel(at(5, 1, 1, 4))...), "m/p\t5\t1\t1", nil},
		{"no panel", nil, "no machine was lost", ErrNoData},
		{"no point", panel(), "no machine was lost", ErrNoData},
		{"none has a place", panel(at(0, 0, 0, 4)), "none of the points (1)", ErrNoData},
		{"too many", panel(many(maxSeries+1, func(int) float64 { return 0 })...), "121 points in one panel", summary.ErrInput},
		{"too many ways", ways(maxWays + 1), "9 ways to lose a machine", summary.ErrInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drawn(t, Price{Headline: Headline{Name: "p", Title: "What?"}, Rate: "records/s", Panels: tt.panels}, tt.want, tt.bad)
		})
	}
}

// drawn draws what must be drawn with want in its text, or fail as bad with want in one
// line.
func drawn(t *testing.T, d Drawing, want string, bad error) {
	t.Helper()
	s, err := d.sheet(nil)
	if bad != nil {
		if !errors.Is(err, bad) || !errors.Is(err, summary.ErrInput) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error is %v, want %v with %q, in one line", err, bad, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := s.text(); !strings.Contains(got, want) || strings.Contains(got, "(a row of") {
		t.Errorf("points are\n%swant %q in them, and rows of one length", got, want)
	}
	svgOf(t, s)
}

// In grey, shapes and dashes tell the writers apart.
func TestWriterLooks(t *testing.T) {
	names := strings.Fields("mmap.shared mmap.private mmap.sync mmap.dax write pwrite os.File bufio odirect io_uring")
	styles := writerStyles(slices.Clone(names))
	grey, looks := map[[2]int]string{}, map[style]string{}
	for name, s := range known {
		looks[s] = name
	}
	for _, name := range names {
		s := styles[name]
		if other := grey[[2]int{s.shape, s.dash}]; other != "" {
			t.Errorf("%s and %s look alike in grey print", name, other)
		}
		grey[[2]int{s.shape, s.dash}] = name
		if other, ok := looks[s]; ok && other != name {
			t.Errorf("%s looks like %s", name, other)
		}
		looks[s] = name
	}
}

func TestShareText(t *testing.T) {
	for _, tt := range []struct {
		share float64
		want  string
	}{{0, "0 %"}, {1, "100 %"}, {1e-9, "< 0.01 %"}, {0.00093, "0.09 %"}, {0.0141, "1.4 %"}, {0.45, "45 %"}, {0.993, "99.3 %"}, {0.9999, "> 99.9 %"}, {0.9895, "99 %"}, {0.125, "13 %"}} {
		if got := shareText(tt.share); got != tt.want {
			t.Errorf("%g is written %q, want %q", tt.share, got, tt.want)
		}
	}
}
