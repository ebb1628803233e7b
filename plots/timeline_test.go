package plots

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"iopath/internal/summary"
)

// nights makes a series of nightly runs with steps by so much at some of them.
func nights(seed uint64, n int, sd float64, steps map[int]float64) TimelineSeries {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := TimelineSeries{Name: fmt.Sprintf("Read/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=m%d-2", seed)}
	level := 1.0
	for i := range n {
		if by, ok := steps[i]; ok {
			level *= by
			s.Changes = append(s.Changes, TimelineChange{First: i, Label: fmt.Sprintf("%07x %s", 0x1a2b3c4+i*977, percent(by)), Worse: by > 1, P: 0.0005})
		}
		at := time.Date(2025, 11, 22, 3, 0, 0, 0, time.UTC).AddDate(0, 0, i)
		s.Points = append(s.Points, TimelinePoint{at, level * math.Exp(sd*rng.NormFloat64()), 10, fmt.Sprintf("%07x", 0x1a2b3c4+i*977)})
	}
	return s
}

func yearOfNights() Timeline {
	s := nights(1, 200, 0.006, map[int]float64{60: 1.123, 120: 0.95, 160: 1.031, 164: 1.031, 168: 0.96, 196: 1.04})
	s.Points[30].Ratio, s.Points[100].Ratio, s.Points[101].Ratio = 1.9, 0.6, 1.22
	return Timeline{
		Headline: Headline{Name: "history", Title: "Read, 64 KiB at random, warm, pread: when did it change?"},
		What:     "time", Series: s, Note: "pattern rand · cache warm · size 16 MiB · block 64 KiB · method pread",
		Source: "epyc-2vcpu (a94e61f7) · AMD EPYC · pinned base aaaaaaaaaaaa · 2025-11-22 to 2026-06-09",
	}
}

func severalNights() Timelines {
	t := Timelines{Headline: Headline{Name: "history-overview", Title: "What changed against the pinned base, and when?"}, What: "time", Source: "epyc-2vcpu (a94e61f7) · AMD EPYC", Note: "131 more series without a change are not drawn."}
	for i := range uint64(4) {
		s := nights(i+1, 100, 0.004+0.004*float64(i), map[int]float64{20 + int(i)*15: 1.25 - 0.12*float64(i), 90: 0.95})
		s.Points[10+i].Ratio = 2.5
		t.Series = append(t.Series, s)
	}
	return t
}

func TestTimeline(t *testing.T) {
	for _, d := range []Drawing{yearOfNights(), severalNights()} {
		s, err := d.sheet(nil)
		if err != nil {
			t.Fatal(err)
		}
		name := d.About().Name
		golden(t, name+".svg", svgOf(t, s))
		if name == "history" {
			golden(t, name+".csv", csvOf(t, s))
		}
		if dir := os.Getenv("TIMELINE_PNG"); dir != "" {
			if _, err := (Drawings{d}).Draw(nil, dir, "png"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// No two labels meet, and none runs out of the page.
func TestTimelineLabels(t *testing.T) {
	for seed := range uint64(50) {
		steps := map[int]float64{}
		rng := rand.New(rand.NewPCG(seed, 7))
		for range 1 + rng.IntN(20) {
			steps[1+rng.IntN(99)] = 1.1
		}
		s := nights(seed, 100, 0.01, steps)
		segments, err := s.segments()
		if err != nil {
			t.Fatal(err)
		}
		var dates []time.Time
		for _, p := range s.Points {
			dates = append(dates, p.At)
		}
		l := timeline{Timeline: Timeline{Series: s}, segments: segments, scale: newTimeScale(dates), span: spanOf(s, segments)}
		labels := l.place(l.panel())
		small := face(8.5, false)
		for i, a := range labels {
			if end := a.left + small.Width(a.text); a.left < 0 || end > bodyW {
				t.Errorf("seed %d: %s is from %g to %g, beyond the page", seed, a.text, a.left, end)
			}
			for _, b := range labels[:i] {
				if a.lane == b.lane && a.left < b.left+small.Width(b.text) && b.left < a.left+small.Width(a.text) {
					t.Errorf("seed %d: %s runs into %s", seed, a.text, b.text)
				}
			}
			for k, b := range labels {
				if k != i && b.lane >= a.lane && a.left < b.x && b.x < a.left+small.Width(a.text) {
					t.Errorf("seed %d: the line of %s runs through %s", seed, b.text, a.text)
				}
			}
		}
	}
}

func TestTimelineExtremes(t *testing.T) {
	at := func(days ...int) (all []TimelinePoint) {
		for _, d := range days {
			all = append(all, TimelinePoint{time.Date(2026, 1, 1+d, 0, 0, 0, 0, time.UTC), 1.01, 6, "c"})
		}
		return all
	}
	with := func(p []TimelinePoint, ratio float64) []TimelinePoint {
		p[len(p)-1].Ratio = ratio
		return p
	}
	for _, c := range []struct {
		name   string
		series TimelineSeries
		want   string // in the points, notes or caption; in the error where it begins with !
	}{
		{"one run", TimelineSeries{Points: at(0)}, "runs (1)"},
		{"one night, two runs", TimelineSeries{Points: at(0, 0)}, "runs (2)"},
		{"all equal", TimelineSeries{Points: at(0, 1, 2, 3)}, "1.01"},
		{"a ratio of thousands", TimelineSeries{Points: with(at(0, 1, 2, 3), 5000)}, "up to +499,900 %"},
		{"next to nothing", TimelineSeries{Points: with(at(0, 1, 2, 3), 1e-5)}, "down to −100 %"},
		{"a decade", TimelineSeries{Points: at(0, 1000, 2000, 3650)}, "runs (4)"},
		{"a change in the last run", TimelineSeries{Points: at(0, 1, 2), Changes: []TimelineChange{{First: 2, Label: strings.Repeat("W", 300), P: 0.001}}}, "0.001"},
		{"markup", TimelineSeries{Name: `<b>&"`, Points: at(0, 1), Changes: []TimelineChange{{First: 1, Label: "<i>"}}}, "<b>"},
		{"no run", TimelineSeries{}, "!no run"},
		{"zero", TimelineSeries{Points: with(at(0, 1), 0)}, "!no place"},
		{"not a number", TimelineSeries{Points: with(at(0, 1), math.NaN())}, "!no place"},
		{"infinite", TimelineSeries{Points: with(at(0, 1), math.Inf(1))}, "!no place"},
		{"out of order", TimelineSeries{Points: at(1, 0)}, "!older"},
		{"a change beyond the end", TimelineSeries{Points: at(0, 1), Changes: []TimelineChange{{First: 2}}}, "!out of order"},
		{"a change at the beginning", TimelineSeries{Points: at(0, 1), Changes: []TimelineChange{{First: 0}}}, "!out of order"},
	} {
		for _, d := range []Drawing{
			Timeline{Headline: Headline{Name: "t", Title: "What?"}, What: "time", Series: c.series},
			Timelines{Headline: Headline{Name: "t", Title: "What?"}, What: "time", Series: []TimelineSeries{c.series}},
		} {
			s, err := d.sheet(nil)
			if want, fails := strings.CutPrefix(c.want, "!"); fails {
				if !errors.Is(err, summary.ErrInput) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %T: %v, want bad input with %q", c.name, d, err, want)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %T: %v", c.name, d, err)
				continue
			}
			if _, one := d.(Timeline); one && !strings.Contains(s.text(), c.want) {
				t.Errorf("%s: %s\nwant %q in it", c.name, s.text(), c.want)
			}
			svgOf(t, s)
		}
	}
}

// Where most runs stand on one another, they stand side by side.
func TestTimeScale(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2020, 1, 1+d, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name  string
		dates func() []time.Time
		side  bool
		ticks int // at least, of at most 9
	}{
		{"a run", func() []time.Time { return []time.Time{day(0)} }, false, 1},
		{"a week", func() (all []time.Time) {
			for i := range 7 {
				all = append(all, day(i))
			}
			return all
		}, false, 6},
		{"two months", func() (all []time.Time) {
			for i := range 60 {
				all = append(all, day(i))
			}
			return all
		}, false, 7},
		{"a year", func() (all []time.Time) {
			for i := range 365 {
				all = append(all, day(i))
			}
			return all
		}, false, 5},
		{"ten years", func() (all []time.Time) {
			for i := range 3650 {
				all = append(all, day(i))
			}
			return all
		}, false, 4},
		{"a run, and a busy week ten years later", func() (all []time.Time) {
			all = append(all, day(0))
			for i := range 60 {
				all = append(all, day(3650).Add(time.Duration(i)*time.Hour))
			}
			return all
		}, true, 5},
	} {
		s := newTimeScale(c.dates())
		if got := s.runs != nil; got != c.side {
			t.Errorf("%s: side by side: %v, want %v", c.name, got, c.side)
		}
		ticks := s.ticks(9)
		if len(ticks) < c.ticks || len(ticks) > 10 {
			t.Errorf("%s: %d ticks, want %d to 10: %v", c.name, len(ticks), c.ticks, ticks)
		}
		for _, tick := range ticks {
			if tick.at < 0 || tick.at > 1 {
				t.Errorf("%s: a tick at %g", c.name, tick.at)
			}
		}
	}
}
