package plots

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"iopath/internal/summary"
)

// Power has a line for each rule of comparing: the share of runs in which it found a
// slowdown, by how great that was. At 0, where both sides are the same (A/A), that is
// the share of false alarms. Lines stand in the caller's order. It takes nothing from
// the results, which may be nil.
type Power struct {
	Headline
	Lines   []PowerLine
	Notes   string // above the figures: what slowed what down
	Caption string // below: machine, what the marks mean
}

// A PowerLine is a rule, or a group of cells: a method in 4 cells, or cells with a
// spread below 2 %.
type PowerLine struct {
	Name   string
	Points []PowerPoint
}

// A PowerPoint is what a rule found of one slowdown.
type PowerPoint struct {
	Slowdown      float64 // 0.05 is 5 %
	Found, Lo, Hi float64 // shares of the runs; Lo = Hi = 0: no interval
	N             int     // runs
}

// What a rule is held to.
const (
	powerTarget = 95 // percent of the slowdowns are found
	falseAlarms = 1  // percent of the runs find one where there is none
)

// drawable reports whether a point has a place on both axes.
func (p PowerPoint) drawable() bool {
	return math.Abs(p.Slowdown) < extreme/100 && p.Found >= 0 && p.Found <= 1
}

// interval reports whether there is one of shares. A share of none found has one too,
// whose upper end is above 0.
func (p PowerPoint) interval() bool { return p.Lo >= 0 && p.Lo <= p.Hi && p.Hi > 0 && p.Hi <= 1 }

// sheet implements [Drawing].
func (p Power) sheet(*summary.Results) (*sheet, error) {
	d, err := p.collect()
	if err != nil {
		return nil, err
	}
	s := d.sheet()
	s.points[0][1] = "slowdown (%)"
	return s, nil
}

func (p Power) collect() (*data, error) {
	d := &data{chart: Chart{Headline: p.Headline, X: "slowdown (%, on a square-root scale)"}, ordered: true, caption: p.Caption, yScale: 1, yLabel: "runs that found it (%)"}
	if p.Notes != "" {
		d.note("%s", p.Notes)
	}
	at := map[float64]string{} // the x values, by their places
	total, left := 0, 0
	for _, line := range p.Lines {
		for _, pt := range line.Points {
			total++
			if pt.drawable() {
				place, name := percentPlace(pt.Slowdown)
				at[place] = name
			} else {
				left++
			}
		}
	}
	switch {
	case total == 0:
		return nil, noData("draw %s: no rule has a point", p.Name)
	case left == total:
		return nil, noData("draw %s: none of the points (%d) has a finite slowdown and a share from 0 to 1", p.Name, total)
	case len(p.Lines) > maxSeries:
		return nil, summary.Errorf("draw %s: %d lines in one chart, and %d are the most that can be told apart (draw fewer rules)", p.Name, len(p.Lines), maxSeries)
	case left > 0:
		d.note("Left out: %d of %d points, which have no finite slowdown or no share from 0 to 1.", left, total)
	}
	for _, place := range slices.Sorted(maps.Keys(at)) {
		d.pos, d.xs = append(d.pos, place), append(d.xs, at[place])
	}
	runs := powerRuns(p.Lines...)
	if strings.Contains(runs, "–") {
		runs = "" // each line has its own
	} else if runs != "" {
		d.caption = joinLines(p.Caption, "Each point: "+runs+".")
	}
	for _, line := range p.Lines {
		s := series{name: line.Name, style: powerStyle(len(d.series))}
		if own := powerRuns(line); runs == "" && own != "" {
			s.name += " (" + own + ")"
		}
		for _, pt := range line.Points {
			if !pt.drawable() {
				continue
			}
			place, _ := percentPlace(pt.Slowdown)
			fig := summary.Figure{Value: 100 * pt.Found, N: pt.N}
			if pt.interval() {
				fig.Lo, fig.Hi, fig.Interval = 100*pt.Lo, 100*pt.Hi, true
			}
			s.points = append(s.points, point{x: slices.Index(d.pos, place), fig: fig})
		}
		if len(s.points) > 0 {
			slices.SortStableFunc(s.points, func(a, b point) int { return a.x - b.x })
			d.series = append(d.series, s)
		}
	}
	if n := len(d.series); n > 1 {
		for i := range d.series {
			d.series[i].side = 2*float64(i)/float64(n-1) - 1
		}
	}
	distinguish(d.series)
	d.floors = []floor{
		{fmt.Sprintf("false alarms: %d %%", falseAlarms), falseAlarms},
		{fmt.Sprintf("target: %d %%", powerTarget), powerTarget},
	}
	return d, nil
}

// percentPlace is the place of a slowdown, and its name in percent, without what the
// arithmetic left behind. On a scale of square roots the small ones, at which rules
// differ, have room, and zero its place.
func percentPlace(slowdown float64) (place float64, name string) {
	percent, _ := strconv.ParseFloat(number(100*slowdown), 64)
	return math.Copysign(math.Sqrt(math.Abs(percent)), percent) + 0, plain(percent + 0) // no negative zero
}

// powerRuns says how many runs the points are of, "" where they do not know.
func powerRuns(lines ...PowerLine) string {
	low, high := math.MaxInt, 0
	for _, line := range lines {
		for _, pt := range line.Points {
			if pt.drawable() {
				low, high = min(low, pt.N), max(high, pt.N)
			}
		}
	}
	switch {
	case high <= 0:
		return ""
	case low == high:
		return fmt.Sprintf("n=%d", low)
	}
	return fmt.Sprintf("n=%d–%d", low, high)
}

// powerStyle is how the i-th line looks, which has no name of the suite.
func powerStyle(i int) style {
	order := []int{blue, vermil, green, purple, orange, inkless, sky}
	return style{order[i%len(order)], i % numShapes, i % len(dashes)}
}
