package plots

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// compared is a made-up comparison with every verdict, an interval beyond the axis, and
// a row without interval or bound.
func compared() Effects {
	const cell = "Read/pattern=rand/cache=warm/size=16MiB/block="
	return Effects{
		Headline: Headline{Name: "effects", Title: "Did the new commit get slower?"},
		Rows: []Effect{
			{cell + "64KiB/method=pread sec/op", 10.2, 9.1, 11.5, 1.03, &Span{9.9, 1.2, 14}, "regressed"},
			{cell + "64KiB/method=mmap sec/op", 1.098, 1.081, 1.116, 1.03, &Span{1.09, 1.07, 1.11}, "regressed"},
			{cell + "1MiB/method=mmap sec/op", 1.07, 1.05, 1.09, 1.03, &Span{1.002, 0.99, 1.01}, "unconfirmed"},
			{cell + "4KiB/method=mmap+populate sec/op", 1.01, 0.93, 1.10, 1.05, nil, "undecided"},
			{cell + "4KiB/method=pread sec/op", 1.001, 0.997, 1.004, 1.02, nil, "unchanged"},
			{cell + "4KiB/method=mmap sec/op", 1.12, 1.11, 1.13, 1.02, nil, "waived"},
			{cell + "4KiB/method=os.File sec/op", 1, 0, 0, 1, nil, "unchanged"},
			{cell + "1MiB/method=os.File sec/op", 0.93, 0.92, 0.94, 1.03, nil, "improved"},
		},
		Notes:   "12 rounds of either commit.",
		Caption: "lab · n=12",
	}
}

func TestEffects(t *testing.T) {
	s, err := compared().sheet(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "12 rounds of either commit.\nAll rows: Read · pattern rand · cache warm · size 16 MiB · sec/op\nAn arrow points beyond the axis, where it would press the rest: the figure on the right holds."
	if s.notes != want {
		t.Errorf("notes are %q, want %q", s.notes, want)
	}
	golden(t, "effects.svg", svgOf(t, s))
	golden(t, "effects.csv", csvOf(t, s))
}

// Drawings that have their own figures are drawn without results, and say what they lack.
func TestDrawWithoutResults(t *testing.T) {
	dir := t.TempDir()
	usual, others := Formats()
	for _, d := range []Drawing{compared(), found(), priced(), left(), aged()} {
		paths, err := Drawings{d}.Draw(nil, dir, slices.Concat(usual, others)...)
		if err != nil || len(paths) != 4 {
			t.Errorf("%s is drawn as %q, %v; want 4 files", d.About().Name, paths, err)
		}
		for _, p := range paths {
			if info, err := os.Stat(p); err != nil || info.Size() == 0 {
				t.Errorf("%s is missing or empty: %v", p, err)
			}
		}
	}
	none, noRule := Effects{Headline: Headline{Name: "e"}}, Power{Headline: Headline{Name: "p"}}
	for _, tt := range []struct {
		ds   Drawings
		want string
	}{
		{Drawings{none}, "draw e: there is no comparison"},
		{Drawings{noRule}, "draw p: no rule has a point"},
		{Drawings{none, noRule, Price{Headline: none.Headline}, Kept{Headline: none.Headline}, Age{Headline: none.Headline}}, "draw charts: no comparison has anything to draw"},
		{Drawings{}, "draw charts: no comparison has anything to draw"},
		{Drawings{Chart{Headline: Headline{Name: "c"}, X: "/x", Series: "/y", Unit: "B/s"}}, "no result passes the filter"},
		{Spine(), "no result is of a benchmark of the suite"},
	} {
		_, err := tt.ds.Draw(nil, filepath.Join(dir, "none"))
		if !errors.Is(err, ErrNoData) || !errors.Is(err, summary.ErrInput) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d drawings without figures: %v, want ErrNoData with %q", len(tt.ds), err, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("the directory was made for nothing")
	}
	if paths, err := (Drawings{none, found()}).Draw(nil, dir, "csv"); err != nil || len(paths) != 1 {
		t.Errorf("beside one without figures: %q, %v; want the other", paths, err)
	}
}

func TestEffectsExtremes(t *testing.T) {
	row := func(name string, ratio, lo, hi float64) Effect {
		return Effect{name, ratio, lo, hi, 1.02, nil, "regressed"}
	}
	many := func(n int) (rows []Effect) {
		for i := range n {
			rows = append(rows, row(fmt.Sprintf("R/method=m%d sec/op", i), 1.05, 1.04, 1.06))
		}
		return rows
	}
	again := row("a", 1.05, 1.04, 1.06)
	again.Again = &Span{Ratio: math.NaN()}
	wide := row("a", 1.05, 1.04, 1.06)
	wide.Bound = math.Inf(1)
	odd := row("a", 1, 1, 1)
	odd.Verdict = "faster"
	for _, tt := range []struct {
		name string
		rows []Effect
		want string // a part of the points or notes; of the error where none is drawn
		bad  error
	}{
		{"one", []Effect{row("R/method=m sec/op", 1.05, 1.04, 1.06)}, "R/method=m sec/op\tregressed\t1.05\t1.04\t1.06\t1.02\t\t\t\n", nil},
		{"sixty", many(60), "m59", nil},
		{"hundreds", many(300), "note: Drawn: the first 60 rows; 240 more are not.", nil},
		{"no place", []Effect{row("a", 1, 1, 1), row("b", 0, 0, 0), row("c", math.Inf(1), 1, 2), row("d", math.NaN(), 1, 2), row("e", -1, 1, 2)},
			"note: Left out: 4 of 5, whose ratio is not positive and finite.", nil},
		{"an interval without end", []Effect{row("a", 1.1, 0.9, math.Inf(1))}, "a\tregressed\t1.1\t\t\t1.02", nil},
		{"an interval from zero", []Effect{row("a", 1.1, 0, 2)}, "a\tregressed\t1.1\t\t\t", nil},
		{"an interval that is turned", []Effect{row("a", 1.1, 2, 1)}, "a\tregressed\t1.1\t\t\t", nil},
		{"a second run without ratio", []Effect{again}, "1.06\t1.02\t\t\t\n", nil},
		{"a bound without end", []Effect{wide}, "1.06\t1\t\t\t\n", nil},
		{"the same", []Effect{row("a", 1, 1, 1), row("a", 1, 1, 1)}, "a\tregressed\t1\t1\t1", nil},
		{"huge", []Effect{row("a", 1e299, 1e298, 1e299), row("b", 1e-299, 1e-299, 1)}, "1e+299", nil},
		{"markup and letters of the world", []Effect{row(`<b>&"日本/ж`, 1.1, 1, 1.2)}, "<b>", nil},
		{"a name of thousands", []Effect{row(strings.Repeat("W", 5000), 1.1, 1, 1.2)}, "caption", nil},
		{"no rows", nil, "there is no comparison", ErrNoData},
		{"none has a place", []Effect{row("a", 0, 0, 0)}, "none of the ratios (1) is positive and finite", ErrNoData},
		{"no verdict", []Effect{odd}, `the verdict of a is "faster" (take regressed`, summary.ErrInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Effects{Headline: Headline{Name: "e", Title: "Slower?"}, Rows: tt.rows}.sheet(nil)
			if tt.bad != nil {
				if !errors.Is(err, tt.bad) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error is %v, want %v with %q", err, tt.bad, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.text(); !strings.Contains(got, tt.want) || strings.Contains(got, "(a row of") {
				t.Errorf("points are\n%swant %q in them, and rows of one length", got, tt.want)
			}
			svgOf(t, s)
		})
	}
}

// What all names have moves to the notes, and what tells rows apart stays.
func TestLift(t *testing.T) {
	for _, tt := range []struct {
		names        string
		want, shared string
	}{
		{"R/p=seq/b=4KiB/m=a sec/op, R/p=seq/b=8KiB/m=a sec/op", "b=4KiB, b=8KiB", "R · p seq · m a · sec/op"},
		{"R/p=seq/m=a sec/op, R/p=seq/m=a B/s", "sec/op, B/s", "R · p seq · m a"},
		{"R/b=4KiB/m=a sec/op, S/b=4KiB/m=b B/s", "R/m=a sec/op, S/m=b B/s", "b 4 KiB"},
		{"R/m=a sec/op, S/m=b B/s", "R/m=a sec/op, S/m=b B/s", ""},
		{"op/m=a sec/op, op/m=a sec/op", "op/m=a sec/op, op/m=a sec/op", ""},
		{"R/m=a sec/op", "R/m=a sec/op", ""},
		{"R/sec/op, R/x sec/op", "sec/op, x sec/op", "R"},
	} {
		var rows []Effect
		for _, name := range strings.Split(tt.names, ", ") {
			rows = append(rows, Effect{Name: name})
		}
		names, shared := lift(rows)
		if got := strings.Join(names, ", "); got != tt.want || shared != tt.shared {
			t.Errorf("lift(%s) = %q, %q; want %q, %q", tt.names, got, shared, tt.want, tt.shared)
		}
	}
}

// One row far out leaves the others apart; where most are, the axis goes there.
func TestEffectsAxis(t *testing.T) {
	axis := func(ratios ...float64) (*effectsPage, string) {
		var rows []Effect
		for _, r := range ratios {
			rows = append(rows, Effect{Ratio: r, Verdict: "regressed"})
		}
		p, err := Effects{Rows: rows}.collect()
		if err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, tick := range p.axis.ticks {
			labels = append(labels, tick.Label)
		}
		return p, strings.Join(labels, ", ")
	}
	for _, tt := range []struct {
		ratios []float64
		want   string
		beyond bool
	}{
		{[]float64{1, 1}, "−1 %, −0.5 %, 0, +0.5 %, +1 %", false},
		{[]float64{0.93, 1.1}, "−5 %, 0, +5 %, +10 %", false},
		{[]float64{1.1, 1.02, 1.01, 1.03, 10}, "−10 %, 0, +10 %, +20 %, +30 %, +40 %", true},
		{[]float64{10, 9, 8}, "÷2, 0, ×2, ×5, ×10", false},
		{[]float64{0.4, 1.9}, "÷2, −20 %, 0, +50 %, ×2", false},
		{[]float64{1e12}, "÷1,000, 0, ×1,000, ×1,000,000, ×1,000,000,000, ×1,000,000,000,000", false},
	} {
		p, got := axis(tt.ratios...)
		beyond := slices.ContainsFunc(tt.ratios, p.beyond)
		if got != tt.want || beyond != tt.beyond {
			t.Errorf("the axis of %v has %q, with some beyond it: %v; want %q, %v", tt.ratios, got, beyond, tt.want, tt.beyond)
		}
	}
}

func TestEffectFigures(t *testing.T) {
	for _, tt := range []struct {
		span Span
		want string
	}{
		{Span{1.098, 1.081, 1.116}, "+9.8 % [+8.1, +11.6]"},
		{Span{0.93, 0.92, 0.94}, "−7.0 % [−8.0, −6.0]"},
		{Span{1.0012, 0.9995, 1.003}, "+0.12 % [−0.05, +0.30]"},
		{Span{0.9999, 0.95, 1.05}, "0.0 % [−5.0, +5.0]"},
		{Span{1.98, 1.5, 2.5}, "+98.0 % [+50.0 %, ×2.5]"},
		{Span{10.2, 9.1, 11.5}, "×10.2 [×9.1, ×11.5]"},
		{Span{0.2, 0.18, 0.7}, "÷5 [÷5.56, −30.0 %]"},
		{Span{1.05, 0, 0}, "+5.0 %"},
	} {
		if got := tt.span.figure(); got != tt.want {
			t.Errorf("%v is written %q, want %q", tt.span, got, tt.want)
		}
	}
}

// In grey, shapes alone tell the verdicts apart; the legend has those that occur.
func TestEffectsLegend(t *testing.T) {
	shapes, hues := map[int]string{}, map[int]string{}
	for _, v := range verdicts {
		if other := shapes[v.style.shape] + hues[v.style.color]; other != "" || v.style.shape == ring {
			t.Errorf("%s looks like %s, or like a second run", v.name, other)
		}
		shapes[v.style.shape], hues[v.style.color] = v.name, v.name
	}
	entries := func(rows ...Effect) string {
		p, err := Effects{Rows: rows}.collect()
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, line := range p.legend(bodyW) {
			for _, k := range line {
				texts = append(texts, k.text)
			}
		}
		return strings.Join(texts, ", ")
	}
	plain := Effect{Ratio: 1, Verdict: "unchanged"}
	bounded := Effect{Ratio: 1.1, Bound: 1.05, Verdict: "regressed", Again: &Span{Ratio: 1.1}}
	for _, tt := range []struct{ got, want string }{
		{entries(plain), "unchanged"},
		{entries(plain, bounded), "regressed, unchanged, second run, too small to count"},
		{entries(compared().Rows...), "regressed, unconfirmed, undecided, improved, unchanged, waived, second run, too small to count"},
	} {
		if tt.got != tt.want {
			t.Errorf("the legend has %q, want %q", tt.got, tt.want)
		}
	}
}
