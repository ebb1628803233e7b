package plots

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// Age has a line for each writer: what a loss of the machine would take so long after
// the writer began, in seconds' worth of its writes. It takes nothing from the results,
// which may be nil.
type Age struct {
	Headline
	Lines   []AgeLine
	Bound   AgeBound // drawn where it is near the lines
	Notes   string   // above the figures
	Caption string   // below: machine, what the marks mean
}

// An AgeLine is a policy of a method.
type AgeLine struct {
	Method string // has the colour and the shape
	Name   string // write/none
	Points []AgePoint
}

// An AgePoint is a loss of the machine, both in seconds: since the writer began, and of
// its writes that are gone.
type AgePoint struct{ After, Lost float64 }

// An AgeBound is what is lost at most, were the kernel to keep to it; 0: there is none.
type AgeBound struct {
	Name    string // dirty_expire: 30 s
	Seconds float64
}

// drawable reports whether a point has a place on both axes.
func (p AgePoint) drawable() bool {
	return p.After >= 0 && p.After < extreme && p.Lost >= 0 && p.Lost < extreme
}

// Measures in points.
const (
	ageH      = 290 // of the panel
	ageDot    = 1.7
	ageLegend = 190 // a name that is wider takes two lines
	boundName = 36  // most characters of the bound's
)

// An agePage is Age with a place for everything.
type agePage struct {
	Age
	lines  []ageCurve // the one that loses most first
	notes  []string
	x, y   yAxis
	axis   vg.Length // what the axis of y takes
	bound  bool      // it is drawn
	legend [][]string
	wide   vg.Length // the legend
}

// An ageCurve is a line with the medians of its points.
type ageCurve struct {
	AgeLine
	style   style
	medians []AgePoint
	most    float64
}

// sheet implements [Drawing].
func (a Age) sheet(*summary.Results) (*sheet, error) {
	p, err := a.collect()
	if err != nil {
		return nil, err
	}
	tall := 0
	for _, rows := range p.legend {
		tall += len(rows)
	}
	return &sheet{
		title: a.Title, notes: strings.Join(p.notes, "\n"), caption: joined(a.Caption, p.how()), points: p.points(),
		w: bodyW, h: max(ageH, legendRow*vg.Length(tall+2)) + rowEnd, body: p.draw,
	}, nil
}

// how says what the dots are, and the lines where they are not through all of them.
func (p *agePage) how() string {
	if slices.ContainsFunc(p.lines, func(l ageCurve) bool { return len(l.medians) < len(l.Points) }) {
		return "Small dots: losses of the machine; lines: the medians of those at the same time."
	}
	return "Small dots: losses of the machine."
}

func (a Age) collect() (*agePage, error) {
	p := &agePage{Age: a}
	var methods []string
	total, left, last, most := 0, 0, 0.0, 0.0
	for _, line := range a.Lines {
		total += len(line.Points)
		points := slices.DeleteFunc(slices.Clone(line.Points), func(pt AgePoint) bool { return !pt.drawable() })
		left += len(line.Points) - len(points)
		if len(points) == 0 {
			continue
		}
		slices.SortStableFunc(points, func(a, b AgePoint) int { return cmp.Compare(a.After, b.After) })
		line.Points = points
		curve := ageCurve{AgeLine: line, medians: medians(points)}
		for _, pt := range points {
			last, curve.most = max(last, pt.After), max(curve.most, pt.Lost)
		}
		most = max(most, curve.most)
		methods = append(methods, line.Method)
		p.lines = append(p.lines, curve)
	}
	switch {
	case total == 0:
		return nil, noData("draw %s: no machine was lost", a.Name)
	case left == total:
		return nil, noData("draw %s: none of the points (%d) has a finite time and a finite loss", a.Name, total)
	case len(p.lines) > maxSeries:
		return nil, summary.Errorf("draw %s: %d lines in one chart, and %d are the most that can be told apart (draw fewer policies)", a.Name, len(p.lines), maxSeries)
	}
	slices.SortStableFunc(p.lines, func(a, b ageCurve) int { return cmp.Compare(b.most, a.most) })
	p.dress(writerStyles(methods))
	note := func(format string, args ...any) { p.notes = append(p.notes, fmt.Sprintf(format, args...)) }
	if a.Notes != "" {
		note("%s", a.Notes)
	}
	if left > 0 {
		note("Left out: %d of %d points, which have no finite time or no finite loss.", left, total)
	}
	if s := a.Bound.Seconds; s > 0 && s < extreme {
		const far = 4 // times what is lost: it would press the lines
		if p.bound = s <= far*most; p.bound {
			most = max(most, s)
		} else {
			note("Far above this chart: %s.", shorten(a.Bound.Name))
		}
	}
	p.x, p.y = linearAxis(0, last), linearAxis(0, most)
	small := face(9, false)
	for _, t := range p.y.ticks {
		p.axis = max(p.axis, small.Width(t.Label))
	}
	p.axis += 6 + 16 // its own name stands upright beside
	return p, nil
}

// dress gives the lines their looks and their names in the legend.
func (p *agePage) dress(styles map[string]style) {
	all := make([]series, len(p.lines))
	for i, line := range p.lines {
		all[i].style = styles[line.Method]
	}
	distinguish(all)
	f := face(10, false)
	for i := range p.lines {
		line := &p.lines[i]
		line.style = all[i].style
		name := shorten(line.Name) + ": nothing"
		if line.most > 0 {
			name = shorten(line.Name) + ": up to " + seconds(line.most)
		}
		rows := wrap(f, name, ageLegend)
		p.legend = append(p.legend, rows)
		for _, row := range rows {
			p.wide = max(p.wide, f.Width(row))
		}
	}
	p.wide = max(p.wide, f.Width(unflushed), f.Width(shortenTo(p.Bound.Name, boundName)))
}

// ageBound is how the bound looks.
var ageBound = draw.LineStyle{Color: bound, Width: 1.2}

// unflushed names the line of a loss of all.
const unflushed = "all that was written"

func seconds(v float64) string { return plain(round3(v)) + " s" }

// medians are the middle ones of the points at the same time, which ascends.
func medians(points []AgePoint) (all []AgePoint) {
	at := map[float64][]float64{}
	for _, p := range points {
		at[p.After] = append(at[p.After], p.Lost)
	}
	for _, after := range slices.Sorted(maps.Keys(at)) {
		lost := at[after]
		slices.Sort(lost)
		n := len(lost)
		all = append(all, AgePoint{after, lost[(n-1)/2]/2 + lost[n/2]/2})
	}
	return all
}

// points are the figures behind the picture.
func (p *agePage) points() [][]string {
	t := [][]string{{"policy", "after (s)", "lost (s)"}}
	for _, line := range p.lines {
		for _, pt := range line.Points {
			t = append(t, []string{line.Name, number(pt.After), number(pt.Lost)})
		}
	}
	return t
}

func (p *agePage) draw(c draw.Canvas, r vg.Rectangle) {
	panel := vg.Rectangle{
		Min: vg.Point{X: r.Min.X + p.axis, Y: r.Max.Y - ageH},
		Max: vg.Point{X: r.Max.X - 14 - thumbW - 6 - p.wide, Y: r.Max.Y},
	}
	place := func(v float64, ax yAxis, low, high vg.Length) vg.Length {
		return low + vg.Length((v-ax.min)/(ax.max-ax.min))*(high-low)
	}
	at := func(pt AgePoint) vg.Point {
		return vg.Point{X: place(pt.After, p.x, panel.Min.X, panel.Max.X), Y: place(pt.Lost, p.y, panel.Min.Y, panel.Max.Y)}
	}
	valueAxis(c, p.x, panel, "loss of the machine, since the writer began (s)")
	uprightAxis(c, p.y, panel, "acknowledged writes lost (seconds' worth)", r.Min.X)

	end := min(p.x.max, p.y.max)
	from, to := at(AgePoint{}), at(AgePoint{end, end})
	c.StrokeLine2(top(0), from.X, from.Y, to.X, to.Y)
	if p.bound {
		y := at(AgePoint{0, p.Bound.Seconds}).Y
		c.StrokeLine2(ageBound, panel.Min.X, y, panel.Max.X, y)
	}
	for _, line := range p.lines {
		var path []vg.Point
		for _, m := range line.medians {
			path = append(path, at(m))
		}
		c.StrokeLines(line.style.line(), path)
		for _, pt := range line.Points {
			rimmed(c, colors[line.style.color], at(pt), ageDot)
		}
	}
	for i, line := range p.lines {
		// Marks tell lines apart that lie on one another, so each has them in
		// other places.
		n := len(line.medians)
		every := max(1, n/5)
		for k := (every * i / len(p.lines)) % every; k < n; k += every {
			line.style.glyph(c, at(line.medians[k]), glyphR)
		}
	}
	p.drawLegend(c, vg.Point{X: panel.Max.X + 14, Y: r.Max.Y})
}

func (p *agePage) drawLegend(c draw.Canvas, at vg.Point) {
	f := face(10, false)
	y := at.Y
	for i, rows := range p.legend {
		s := p.lines[i].style
		c.StrokeLine2(s.line(), at.X, y-legendRow/2, at.X+thumbW, y-legendRow/2)
		s.glyph(c, vg.Point{X: at.X + thumbW/2, Y: y - legendRow/2}, glyphR)
		c.SetColor(ink)
		for _, row := range rows {
			c.FillString(f, vg.Point{X: at.X + thumbW + 6, Y: y - legendRow/2 - 3.5}, row)
			y -= legendRow
		}
	}
	line := func(s draw.LineStyle, name string) {
		c.StrokeLine2(s, at.X, y-legendRow/2, at.X+thumbW, y-legendRow/2)
		c.SetColor(muted)
		c.FillString(f, vg.Point{X: at.X + thumbW + 6, Y: y - legendRow/2 - 3.5}, name)
		y -= legendRow
	}
	line(top(0), unflushed)
	if p.bound {
		line(ageBound, shortenTo(p.Bound.Name, boundName))
	}
}
