package plots

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// found is a made-up power curve of two rules, whose points are not in order.
func found() Power {
	return Power{
		Headline: Headline{Name: "power", Title: "How small a slowdown is found?"},
		Lines: []PowerLine{
			{"a method in 4 cells", []PowerPoint{{0.02, 0.9, 0.85, 0.93, 200}, {0, 0.005, 0.001, 0.028, 200}, {0.05, 1, 0.98, 1, 200}, {0.1, 1, 0.98, 1, 200}}},
			{"a single cell", []PowerPoint{{0, 0, 0, 0.019, 200}, {0.02, 0.3, 0.24, 0.37, 200}, {0.05, 0.93, 0.89, 0.96, 200}, {0.1, 1, 0, 0, 200}}},
		},
		Notes:   "A wait of so much of the method's time.",
		Caption: "lab",
	}
}

func TestPower(t *testing.T) {
	s, err := found().sheet(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"series\tslowdown (%)\truns that found it (%)\tlo\thi\tn\na method in 4 cells\t0\t0.5\t0.1\t2.8\t200\na method in 4 cells\t2\t90\t",
		"a single cell\t0\t0\t0\t1.9\t200\n", "a single cell\t10\t100\t\t\t200\n",
		"floor: false alarms: 1 %\t\t1\t", "floor: target: 95 %\t\t95\t", "caption: lab\nEach point: n=200.\n",
	} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("the curve is\n%swant %q in it", s.text(), want)
		}
	}
	golden(t, "power.svg", svgOf(t, s))
	golden(t, "power.csv", csvOf(t, s))
}

// The share of nothing found and that of all are both in sight, and small slowdowns
// have more room than great ones.
func TestPowerAxes(t *testing.T) {
	d, err := found().collect()
	if err != nil {
		t.Fatal(err)
	}
	if ax := (&lines{data: d}).yAxis(); ax.min > 0 || ax.max < 100 {
		t.Errorf("shares go from %g to %g, want 0 to 100 in them", ax.min, ax.max)
	}
	if small, great := d.pos[1]-d.pos[0], d.pos[3]-d.pos[2]; len(d.pos) != 4 || small <= great {
		t.Errorf("slowdowns of %s are at %v, want 0 to 2 to have more room than 5 to 10", d.xs, d.pos)
	}
	for _, tt := range []struct {
		slowdown, place float64
		name            string
	}{{0, 0, "0"}, {0.07, math.Sqrt(7), "7"}, {-0.04, -2, "−4"}, {math.Copysign(0, -1), 0, "0"}, {0.0025, 0.5, "0.25"}} {
		if place, name := percentPlace(tt.slowdown); place != tt.place || name != tt.name || math.Signbit(place) != (tt.place < 0) {
			t.Errorf("%g is at %g and called %q, want %g and %q", tt.slowdown, place, name, tt.place, tt.name)
		}
	}
}

func TestPowerExtremes(t *testing.T) {
	line := func(name string, points ...PowerPoint) PowerLine { return PowerLine{name, points} }
	at := func(slowdown, share float64, n int) PowerPoint { return PowerPoint{slowdown, share, 0, 0, n} }
	var forty, tooMany []PowerLine
	for i := range maxSeries + 1 {
		tooMany = append(tooMany, line(fmt.Sprint("rule ", i), at(0, 0, 1), at(0.05, 1, 1)))
	}
	forty = tooMany[:40]
	for _, tt := range []struct {
		name  string
		lines []PowerLine
		want  string // a part of the points, notes or caption; of the error where none is drawn
		none  bool
	}{
		{"one point", []PowerLine{line("a", at(0.05, 0.5, 0))}, "a\t5\t50\t\t\t0", false},
		{"one slowdown, two rules", []PowerLine{line("a", at(0.05, 0.5, 9)), line("b", at(0.05, 1, 9))}, "b\t5\t100\t\t\t9", false},
		{"runs that differ", []PowerLine{line("a", at(0, 0, 9), at(0.05, 1, 19)), line("b", at(0, 0, 5))}, "a (n=9–19)\t0", false},
		{"forty rules", forty, "rule 39\t5\t100", false},
		{"a rule without points", []PowerLine{line("a"), line("b", at(0.05, 1, 9))}, "b\t5\t100", false},
		{"no place", []PowerLine{line("a", at(0, 0, 1), at(math.Inf(1), 1, 1), at(0.05, math.NaN(), 1), at(0.05, 1.5, 1))}, "note: Left out: 3 of 4 points", false},
		{"an interval beyond all", []PowerLine{line("a", PowerPoint{0.05, 0.5, 0.4, 1.5, 9})}, "a\t5\t50\t\t\t9", false},
		{"far apart", []PowerLine{line("a", at(-1e297, 0, 1), at(1e297, 1, 1))}, "1e+299", false},
		{"a name of thousands", []PowerLine{line(strings.Repeat("W", 5000), at(0.05, 1, 9))}, "caption", false},
		{"no lines", nil, "no rule has a point", true},
		{"none has a place", []PowerLine{line("a", at(0, 2, 1))}, "none of the points (1)", true},
		{"too many", tooMany, "121 lines in one chart", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Power{Headline: Headline{Name: "p", Title: "What?"}, Lines: tt.lines}.sheet(nil)
			if tt.none {
				if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrNoData) != (len(tt.lines) <= maxSeries) {
					t.Errorf("error is %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.text(); !strings.Contains(got, tt.want) {
				t.Errorf("points are\n%swant %q in them", got, tt.want)
			}
			svgOf(t, s)
		})
	}
}
