package plots

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// left is a made-up run, in which one method cannot be had on one machine.
func left() Kept {
	none := func(n int) Left { return Left{N: n} }
	all := func(n int) Left { return Left{N: n, Lossy: n, Lost: 1, Worst: 1} }
	return Kept{
		Headline: Headline{Name: "kept", Title: "What is left of what was acknowledged?"},
		Ways:     []Way{{"A process's death", "6 faults"}, {"A kernel's death", "shutdown on ext4"}, {"Power loss", "voldisk on ext4"}},
		Rows: []KeptRow{
			{"mmap.shared", "mmap.shared/none", []Left{none(24), all(4), all(20)}},
			{"mmap.shared", "mmap.shared/each", []Left{none(24), none(4), none(20)}},
			{"mmap.private", "mmap.private/each", []Left{all(24), all(4), all(20)}},
			{"write", "write/none", []Left{none(24), all(4), all(20)}},
			{"write", "write/range", []Left{none(24), none(3), {N: 20, Lossy: 16, Torn: 0.28, Lost: 0.26, Worst: 1}}},
			{"bufio", "bufio/none", []Left{{N: 24, Lossy: 22, Torn: 0.00001, Lost: 0.0009, Worst: 0.0038}, all(4), all(20)}},
			{"odirect", "odirect/dsync", []Left{none(24), {}, none(20)}},
		},
		Caption: "lab",
	}
}

func TestKept(t *testing.T) {
	s, err := left().sheet(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"policy\tway\thow\tintact\ttorn\tlost\tworst\tlossy cycles\tn\nmmap.shared/none\tA process's death\t6 faults\t1\t0\t0\t0\t0\t24\n",
		"write/range\tPower loss\tvoldisk on ext4\t0.46\t0.28\t0.26\t1\t16\t20\n",
		"odirect/dsync\tA kernel's death\tshutdown on ext4\t\t\t\t\t\t0\n",
		"The least shares are drawn wider than they are",
	} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the bars are\n%swant %q in them", s.text(), want)
		}
	}
	golden(t, "kept.svg", svgOf(t, s))
	golden(t, "kept.csv", csvOf(t, s))
}

// Ways that have no row in common may share a panel; the figures keep them apart.
func TestKeptShared(t *testing.T) {
	all, none, absent := Left{N: 4, Lossy: 4, Lost: 1, Worst: 1}, Left{N: 4}, Left{}
	panel := func(of ...int) KeptPanel { return KeptPanel{Way{"A kernel's death", "by either"}, of} }
	for _, tt := range []struct {
		name   string
		panels []KeptPanel
		last   Left // of the last row, in the first way
		want   string
		bad    error
	}{
		{"shared", []KeptPanel{panel(0, 1)}, absent, "write/each\tk\tone\t1\t0\t0\t0\t0\t4\nwrite/each\tk\tother\t\t\t\t\t\t0\nmmap.sync/store\tk\tone\t\t\t\t\t\t0\nmmap.sync/store\tk\tother\t0\t0\t1\t1\t4\t4\n", nil},
		{"a row in common", []KeptPanel{panel(0, 1)}, none, "mmap.sync/store was lost in 2 of the ways that share the panel by either", summary.ErrInput},
		{"a way without", []KeptPanel{panel(0)}, absent, "k is in 0 panels", summary.ErrInput},
		{"a way twice", []KeptPanel{panel(0, 1), panel(1)}, absent, "k is in 2 panels", summary.ErrInput},
		{"no such way", []KeptPanel{panel(0, 1, 2)}, absent, "a panel is of way 2, and there are 2", summary.ErrInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drawn(t, Kept{
				Headline: Headline{Name: "k", Title: "What?"}, Ways: []Way{{"k", "one"}, {"k", "other"}}, Panels: tt.panels,
				Rows: []KeptRow{{"write", "write/each", []Left{none}}, {"mmap.sync", "mmap.sync/store", []Left{tt.last, all}}},
			}, tt.want, tt.bad)
		})
	}
}

func TestLeftText(t *testing.T) {
	for _, tt := range []struct {
		left Left
		want string
	}{
		{Left{}, "not measured"},
		{Left{N: 24}, "0 of 24 (< 13 %)"},
		{Left{N: 3}, "0 of 3"}, // any share of them may be lossy
		{Left{N: 20, Lossy: 20, Lost: 1, Worst: 1}, "100 % of 20"},
		{Left{N: 20, Lossy: 16, Torn: 0.2, Lost: 0.3, Worst: 1}, "50 % (100 %) of 20"},
		{Left{N: 24, Lossy: 1, Lost: 1e-9, Worst: 2e-8}, "< 0.01 % of 24"},
	} {
		if got := tt.left.text(); got != tt.want {
			t.Errorf("%+v is written %q, want %q", tt.left, got, tt.want)
		}
	}
}

func TestKeptExtremes(t *testing.T) {
	ways := func(n int) (all []Way) {
		for i := range n {
			all = append(all, Way{fmt.Sprint("way ", i), "by what on which"})
		}
		return all
	}
	rows := func(n int, l ...Left) (all []KeptRow) {
		for i := range n {
			all = append(all, KeptRow{fmt.Sprint("m", i/4), fmt.Sprintf("m%d/p%d", i/4, i), l})
		}
		return all
	}
	all, none := Left{N: 4, Lossy: 4, Lost: 1, Worst: 1}, Left{N: 4}
	for _, tt := range []struct {
		name string
		ways []Way
		rows []KeptRow
		want string // a part of the points, notes or caption; of the error where none is drawn
		bad  error
	}{
		{"one", ways(1), rows(1, none), "m0/p0\tway 0\tby what on which\t1\t0\t0\t0\t0\t4", nil},
		{"all lost", ways(2), rows(9, all, all), "\t0\t0\t1\t1\t4\t4", nil},
		{"none lost", ways(2), rows(9, none, none), "\t1\t0\t0\t0\t0\t4", nil},
		{"sixty", ways(3), rows(60, none, all, Left{N: 9, Lossy: 1, Torn: 1e-9, Lost: 1e-9, Worst: 1e-8}), "m14/p59", nil},
		{"eight ways", ways(8), rows(3, none, all), "way 7\tby what on which\t\t\t\t\t\t0\n", nil},
		{"torn but for a bit", ways(1), rows(1, Left{N: 4, Lossy: 4, Torn: 0.9999999, Lost: 1e-7, Worst: 1}), "\t1e-07\t1", nil},
		{"long names", []Way{{strings.Repeat("W", 500), strings.Repeat("w", 500)}}, []KeptRow{{"m", strings.Repeat("W", 5000), []Left{none}}}, "caption", nil},
		{"letters of the world", ways(1), []KeptRow{{"日本", `<b>&"日本/ж`, []Left{none}}}, "<b>", nil},
		{"no row", ways(1), nil, "nothing was lost on purpose", ErrNoData},
		{"nothing was measured", ways(2), rows(3, Left{}), "nothing was lost on purpose", ErrNoData},
		{"no share", ways(1), rows(1, Left{N: 4, Lossy: 1, Lost: math.NaN()}), "m0/p0, way 0: 1 of 4 cycles are lossy, with 0 torn, NaN lost", summary.ErrInput},
		{"more than all", ways(1), rows(1, Left{N: 4, Lossy: 4, Lost: 0.7, Torn: 0.7}), "0.7 torn, 0.7 lost", summary.ErrInput},
		{"more lossy than there are", ways(1), rows(1, Left{N: 4, Lossy: 5}), "5 of 4", summary.ErrInput},
		{"more than the ways", ways(1), rows(1, none, none), "2 ways of loss, and there are 1", summary.ErrInput},
		{"too many rows", ways(1), rows(maxSeries+1, none), "121 rows in one chart", summary.ErrInput},
		{"too many ways", ways(maxWays + 1), rows(1, none), "9 ways of loss", summary.ErrInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drawn(t, Kept{Headline: Headline{Name: "k", Title: "What?"}, Ways: tt.ways, Rows: tt.rows}, tt.want, tt.bad)
		})
	}
}
