package plots

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// aged is what a kernel that looks each 5 s for what is dirty since 30 s leaves of three
// writers, of which one syncs.
func aged() Age {
	a := Age{
		Headline: Headline{Name: "age", Title: "How many seconds of writes does a power cut take?"},
		Bound:    AgeBound{"dirty_expire: 30 s", 30},
		Caption:  "lab",
	}
	for i, name := range []string{"write/each", "write/none", "mmap.shared/none", "mmap.shared/64"} {
		method, _, _ := strings.Cut(name, "/")
		line := AgeLine{Method: method, Name: name}
		for k := range 32 {
			after := 2.5*float64(k+1) - 0.3
			begun := 0.0 // what is dirty is no older
			for look := 5 - 1.7*float64(i); look <= after; look += 5 {
				if look-begun >= 30 {
					begun = look
				}
			}
			for image := range 3 {
				lost := (after - begun) * (1 - 0.01*float64(image))
				if !strings.HasSuffix(name, "none") {
					lost = 0
				}
				line.Points = append(line.Points, AgePoint{after, lost})
			}
		}
		a.Lines = append(a.Lines, line)
	}
	return a
}

func TestAge(t *testing.T) {
	s, err := aged().sheet(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"policy\tafter (s)\tlost (s)\nwrite/none\t2.2\t2.2\n", "write/each\t79.7\t0\n", "lines: the medians"} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the lines are\n%swant %q in them", s.text(), want)
		}
	}
	p, err := aged().collect()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.legend[0][0]; len(p.lines[0].medians) != 32 || !strings.HasPrefix(got, "write/none: up to 32.2 s") || !p.bound {
		t.Errorf("%d medians of %q, bound drawn: %v; want 32, what loses most, true", len(p.lines[0].medians), got, p.bound)
	}
	golden(t, "age.svg", svgOf(t, s))
	golden(t, "age.csv", csvOf(t, s))
}

func TestAgeExtremes(t *testing.T) {
	line := func(name string, points ...AgePoint) AgeLine { return AgeLine{"m", name, points} }
	var sixty, tooMany []AgeLine
	for i := range maxSeries + 1 {
		tooMany = append(tooMany, line(fmt.Sprint("m/", i), AgePoint{1, float64(i)}, AgePoint{2, 0}))
	}
	sixty = tooMany[:60]
	inf, nan := math.Inf(1), math.NaN()
	for _, tt := range []struct {
		name  string
		lines []AgeLine
		want  string // a part of the points, notes or caption; of the error where none is drawn
		bad   error
	}{
		{"one", []AgeLine{line("a", AgePoint{1, 1})}, "a\t1\t1", nil},
		{"none at the same time", []AgeLine{line("a", AgePoint{1, 1}, AgePoint{2, 1}), line("b", AgePoint{1, 1})}, "caption: Small dots: losses of the machine.\n", nil},
		{"at the same time", []AgeLine{line("a", AgePoint{1, 1}, AgePoint{1, 2})}, "; lines: the medians of those at the same time.", nil},
		{"at once", []AgeLine{line("a", AgePoint{0, 0})}, "a\t0\t0", nil},
		{"none lost", []AgeLine{line("a", AgePoint{1, 0}, AgePoint{5, 0})}, "note: Far above this chart: expire.", nil},
		{"out of order", []AgeLine{line("a", AgePoint{5, 2}, AgePoint{1, 1})}, "a\t1\t1\na\t5\t2", nil},
		{"no place", []AgeLine{line("a", AgePoint{1, 1}, AgePoint{nan, 1}, AgePoint{1, inf}, AgePoint{-1, 1}, AgePoint{1, nan})}, "note: Left out: 4 of 5 points", nil},
		{"sixty", sixty, "m/59\t1\t59", nil},
		{"huge", []AgeLine{line("a", AgePoint{1e299, 1e299})}, "1e+299", nil},
		{"tiny", []AgeLine{line("a", AgePoint{1e-300, 1e-300})}, "1e-300", nil},
		{"a long name", []AgeLine{line(strings.Repeat("W", 5000), AgePoint{1, 1})}, "caption", nil},
		{"letters of the world", []AgeLine{line(`<b>&"日本/ж`, AgePoint{1, 1})}, "<b>", nil},
		{"no lines", nil, "no machine was lost", ErrNoData},
		{"none has a place", []AgeLine{line("a", AgePoint{nan, 1})}, "none of the points (1)", ErrNoData},
		{"too many", tooMany, "121 lines in one chart", summary.ErrInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drawn(t, Age{Headline: Headline{Name: "a", Title: "What?"}, Lines: tt.lines, Bound: AgeBound{"expire", 30}}, tt.want, tt.bad)
		})
	}
}
