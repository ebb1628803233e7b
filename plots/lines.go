package plots

import (
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Measures in points. With short names the lines and their legend are as wide as
// a page.
const (
	panelW    = 500
	panelH    = 290
	legendRow = 15
	legendMax = 210 // a name that is wider takes two lines
	thumbW    = 32
	glyphR    = 3.2
	beside    = 3.8 // between series at one x, half of it to either side
)

var (
	ink   = color.NRGBA{0x22, 0x22, 0x22, 0xFF}
	muted = color.NRGBA{0x55, 0x55, 0x55, 0xFF}
	faint = color.NRGBA{0xE3, 0xE3, 0xE3, 0xFF}
	bound = color.NRGBA{0x77, 0x77, 0x77, 0xFF}
	low   = draw.LineStyle{Color: bound, Width: 0.6}
)

// top is the style of the i-th ceiling.
func top(i int) draw.LineStyle {
	return draw.LineStyle{Color: bound, Width: 1.2, Dashes: [][]vg.Length{{5, 3}, {2, 2}, {9, 3, 2, 3}}[i%3]}
}

func face(size vg.Length, bold bool) font.Face {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return font.DefaultCache.Lookup(f, size)
}

func textStyle(size vg.Length) text.Style {
	return text.Style{Color: ink, Font: face(size, false).Font, Handler: plot.DefaultTextHandler}
}

// wrap breaks text into lines of at most width, at spaces where it can.
func wrap(f font.Face, text string, width vg.Length) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && f.Width(line+" "+word) > width {
				lines = append(lines, line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
			for f.Width(line) > width {
				r := []rune(line)
				n := len(r) - 1
				for n > 1 && f.Width(string(r[:n])) > width {
					n--
				}
				lines = append(lines, string(r[:n]))
				line = string(r[n:])
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	for i := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSuffix(lines[i], " ·"), "· ") // the caption's separator
	}
	return lines
}

// lines is a chart with a place for everything: the axes, and the legend on their
// right in room of its own.
type lines struct {
	*data
	small, label font.Face
	legend       [][]string // the ceilings, then the series; a name may take lines
}

func (d *data) sheet() *sheet {
	s := &sheet{title: d.chart.Title, notes: strings.Join(d.notes, "\n"), caption: d.caption, points: d.points()}
	l := &lines{data: d, small: face(8.5, false), label: face(10, false)}
	if d.inRows() {
		s.h, s.body = d.rowsHeight(), l.drawRows
		return s
	}
	var names []string
	for _, c := range d.ceils {
		names = append(names, sizeLabel(c.name))
	}
	for _, s := range d.series {
		names = append(names, sizeLabel(s.name))
	}
	var widest, tall vg.Length
	for _, name := range names {
		rows := wrap(l.label, name, legendMax)
		l.legend = append(l.legend, rows)
		tall += legendRow * vg.Length(len(rows))
		for _, row := range rows {
			widest = max(widest, l.label.Width(row))
		}
	}
	s.w, s.h, s.body = panelW+12+thumbW+6+widest, panelH, l.draw
	ticks, upright := l.xTicks()
	if upright {
		f := face(9, false)
		for _, t := range ticks {
			s.h = max(s.h, panelH+f.Width(t.Label))
		}
	}
	s.h = max(s.h, tall+6)
	return s
}

func (p *lines) draw(c draw.Canvas, r vg.Rectangle) {
	panel := draw.Canvas{Canvas: c.Canvas, Rectangle: r}
	panel.Max.X = r.Min.X + panelW
	p.panel().Draw(panel)
	p.drawLegend(c, vg.Point{X: panel.Max.X + 12, Y: r.Max.Y})
}

func (p *lines) drawLegend(c draw.Canvas, at vg.Point) {
	y := at.Y
	ceilings := len(p.legend) - len(p.series)
	for i, rows := range p.legend {
		mid := y - legendRow/2
		if i < ceilings {
			c.StrokeLine2(top(i), at.X, mid, at.X+thumbW, mid)
		} else {
			s := p.series[i-ceilings]
			if p.ordered {
				c.StrokeLine2(s.style.line(), at.X, mid, at.X+thumbW, mid)
			}
			s.style.glyph(c, vg.Point{X: at.X + thumbW/2, Y: mid}, glyphR)
		}
		c.SetColor(ink)
		for _, row := range rows {
			c.FillString(p.label, vg.Point{X: at.X + thumbW + 6, Y: y - legendRow/2 - 3.5}, row)
			y -= legendRow
		}
	}
}

// panel makes the axes and hands the drawing inside them to gonum. Both axes
// are linear to gonum: positions on a log axis are logarithms already, so
// nothing that is zero or below can reach a logarithm.
func (p *lines) panel() *plot.Plot {
	g := plot.New()
	g.BackgroundColor = nil
	ax := p.yAxis()
	g.Y.Min, g.Y.Max = ax.min, ax.max
	g.Y.Tick.Marker = plot.ConstantTicks(ax.ticks)
	g.Y.Label.Text = shortenTo(p.yLabel, 60)
	g.X.Label.Text = shortenTo(p.xLabel(), 60)
	g.X.Min, g.X.Max = p.xRange()
	ticks, upright := p.xTicks()
	g.X.Tick.Marker = plot.ConstantTicks(ticks)

	for _, a := range []*plot.Axis{&g.X, &g.Y} {
		a.Label.TextStyle = textStyle(10)
		a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
		a.Label.Padding = 6
		a.Tick.Label = textStyle(9)
		a.Tick.Label.Color = muted
		a.Tick.LineStyle = draw.LineStyle{Color: muted, Width: 0.6}
		a.LineStyle = a.Tick.LineStyle
		a.Tick.Length = 4
		a.Padding = 0
	}
	g.X.Tick.Label.XAlign, g.X.Tick.Label.YAlign = draw.XCenter, draw.YTop
	if upright {
		g.X.Tick.Label.Rotation = math.Pi / 2
		g.X.Tick.Label.XAlign, g.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
	}
	g.Y.Tick.Label.XAlign, g.Y.Tick.Label.YAlign = draw.XRight, draw.YCenter
	g.Add(curves{p, ax})
	return g
}

func (p *lines) xLabel() string {
	switch key := strings.TrimLeft(p.chart.X, "/."); {
	case len(p.chart.Across) > 0:
		return "share of the blocks that took no longer"
	case key == "block":
		return "block (bytes of one call)"
	case key == "file":
		return "run"
	default:
		return key
	}
}

// xRange leaves room beside the outermost points, and for the names of floors
// to the right of them all.
func (p *lines) xRange() (low, high float64) {
	low, high = slices.Min(p.pos), slices.Max(p.pos)
	edge := 0.07 * (high - low)
	switch {
	case low == high:
		edge = 1
	case len(p.pos) > 12:
		edge /= 2
	}
	var names vg.Length
	for _, f := range p.floors {
		names = max(names, p.small.Width(f.name)+6+min(beside*vg.Length(len(p.series)-1), 20))
	}
	// The room that the names have of the whole width is what edge has now.
	right := max(edge, float64(names/axisW)*(high-low+edge)/(1-float64(names/axisW)))
	return low - edge, high + right
}

// axisW is about what the y axis leaves of the panel.
const axisW = panelW - 60

// xTicks labels the x values themselves, leaving out labels that would run
// into their left neighbour. Words that would are set upright instead.
func (p *lines) xTicks() (ticks []plot.Tick, upright bool) {
	low, high := p.xRange()
	span := high - low
	f := face(9, false)
	at := func(i int) vg.Length { return vg.Length(p.pos[i]/span) * axisW }
	end := vg.Length(math.Inf(-1))
	clash := false
	for i, x := range p.xs {
		half := f.Width(p.xName(x)) / 2
		clash = clash || at(i)-half < end+5
		end = at(i) + half
	}
	upright = clash && !p.ordered
	end = vg.Length(math.Inf(-1))
	for i, x := range p.xs {
		label := p.xName(x)
		half := f.Width(label) / 2
		if upright {
			half = 5
			label = shortenTo(label, 40) + "\u00a0" // off the axis
		}
		if at(i)-half < end+5 && !(upright && len(p.xs) < 40) {
			label = "" // a minor tick
		} else {
			end = at(i) + half
		}
		ticks = append(ticks, plot.Tick{Value: p.pos[i], Label: label})
	}
	return ticks, upright
}

// An axis of values: linear from zero, or in decades.
type yAxis struct {
	log      bool
	min, max float64 // in places
	zero     float64 // the place of zero and below on a log axis
	ticks    []plot.Tick
}

// at gives the place of a value, which is in units of the axis.
func (a yAxis) at(v float64) float64 {
	if !a.log {
		return v
	}
	if v <= 0 {
		return a.zero
	}
	return max(math.Log10(v), a.min)
}

func (p *lines) yAxis() yAxis {
	low, high := math.Inf(1), math.Inf(-1)
	zero := false
	see := func(v float64) {
		v /= p.yScale
		if p.chart.Log && v <= 0 {
			zero = true
			return
		}
		low, high = min(low, v), max(high, v)
	}
	seePoints := func(points []point) {
		for _, pt := range points {
			see(pt.fig.Value)
			for _, v := range pt.drawn() {
				see(v)
			}
			if pt.fig.Interval {
				see(pt.fig.Lo)
				see(pt.fig.Hi)
			}
		}
	}
	for _, s := range p.series {
		seePoints(s.points)
	}
	for _, c := range p.ceils {
		seePoints(c.points)
	}
	for _, f := range p.floors {
		see(f.value)
	}
	if p.chart.Ratio != nil {
		return ratioAxis(low, high)
	}
	if p.chart.Log {
		return logAxis(low, high, zero)
	}
	return linearAxis(low, high)
}

func linearAxis(low, high float64) yAxis {
	low, high = min(low, 0), max(high, 0)
	if low == high {
		high = 1
	}
	// Steps of 1, 2, 2.5 or 5 that make five ticks or so. Halves keep the
	// span of extreme values finite.
	span := high/2 - low/2
	step := math.Pow(10, math.Floor(math.Log10(span/2.5)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if span/(step*m) <= 3.2 {
			step *= m
			break
		}
	}
	a := yAxis{min: low * 1.05, max: high * 1.03}
	for i := math.Ceil(low / step); i <= math.Floor(high/step+1.0001) && len(a.ticks) < 20; i++ {
		v := i * step
		if v > high*1.03 {
			if v > high+0.35*step {
				break
			}
			a.max = v
		}
		a.ticks = append(a.ticks, plot.Tick{Value: v, Label: plain(round3(v))})
	}
	return a
}

// ratioAxis is logarithmic, so that twice and half are as far from 1, with ticks as
// a linear one has them where it spans less than three times.
func ratioAxis(low, high float64) yAxis {
	low, high = min(low, 1/1.05), max(high, 1.05)
	if high/low > 8 {
		return logAxis(low, high, false)
	}
	a := yAxis{log: true, min: math.Log10(low) - 0.03*math.Log10(high/low), max: math.Log10(high) + 0.03*math.Log10(high/low)}
	a.zero = a.min
	step := math.Pow(10, math.Floor(math.Log10(high-low)))
	for _, m := range []float64{0.1, 0.2, 0.25, 0.5, 1, 2} {
		if (high-low)/(step*m) <= 7 {
			step *= m
			break
		}
	}
	for i := math.Ceil(low / step); i*step <= high; i++ {
		if v := round3(i * step); v > 0 {
			a.ticks = append(a.ticks, plot.Tick{Value: math.Log10(v), Label: plain(v)})
		}
	}
	return a
}

func logAxis(low, high float64, zero bool) yAxis {
	if math.IsInf(low, 0) { // zeros alone
		low, high = 1, 1
	}
	// Its ends are a 1, a 2 or a 5 of a decade.
	const slack = 1e-9
	a := yAxis{log: true}
	for _, m := range []float64{1, 2, 5} {
		if at := math.Floor(math.Log10(low)+slack) + math.Log10(m); at <= math.Log10(low)+slack {
			a.min = at
		}
	}
	for _, m := range []float64{10, 5, 2, 1} {
		if at := math.Floor(math.Log10(high)+slack) + math.Log10(m); at >= math.Log10(high)-slack {
			a.max = at
		}
	}
	if a.max-math.Log10(high) < 0.05 {
		a.max += 0.1
	}
	if a.max-a.min < 1 {
		a.min = math.Floor(a.min + slack)
		a.max = max(a.min+1.05, math.Log10(high)+0.05)
	}
	first, decades, least := math.Floor(a.min+slack), a.max-a.min, a.min-slack
	a.zero = a.min
	if zero {
		a.min -= 0.12*decades + 0.2
		a.zero = a.min
		a.ticks = append(a.ticks, plot.Tick{Value: a.zero, Label: "0"})
	}
	every := max(1, math.Ceil(decades/8))
	for e := first; e <= a.max+slack; e += 1 {
		v := math.Pow(10, e)
		tick := plot.Tick{Value: e}
		if math.Mod(e-first, every) == 0 {
			tick.Label = plain(v)
		}
		if e >= least {
			a.ticks = append(a.ticks, tick)
		}
		for m := 2.0; m < 10 && decades <= 8; m++ {
			tick := plot.Tick{Value: e + math.Log10(m)}
			if tick.Value > a.max {
				break
			}
			if tick.Value < least {
				continue
			}
			if decades <= 3.3 && (m == 2 || m == 5) {
				tick.Label = plain(m * v)
			}
			a.ticks = append(a.ticks, tick)
		}
	}
	return a
}

// plain writes a number as one reads it: 100,000 and never 1e+05, unless that
// would be longer than a tick can be.
func plain(v float64) string {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e13) {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	whole, frac, hasFrac := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if hasFrac {
		whole += "." + frac
	}
	if v < 0 {
		whole = "−" + whole
	}
	return whole
}

// round3 takes off what the arithmetic left behind the third digit.
func round3(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return r
}

// curves draws the inside of the axes.
type curves struct {
	*lines
	y yAxis
}

func (l curves) Plot(c draw.Canvas, g *plot.Plot) {
	for _, t := range l.y.ticks {
		if t.Label != "" && t.Value > l.y.min && t.Value <= l.y.max {
			y := c.Y(g.Y.Norm(t.Value))
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.6}, c.Min.X, y, c.Max.X, y)
		}
	}
	at := func(p point, v, side float64) vg.Point {
		return vg.Point{
			X: c.X(g.X.Norm(l.pos[p.x])) + vg.Length(side)*l.spread(c, g),
			Y: c.Y(g.Y.Norm(l.y.at(v / l.yScale))),
		}
	}
	path := func(points []point, side float64) []vg.Point {
		var pts []vg.Point
		for _, p := range points {
			pts = append(pts, at(p, p.fig.Value, side))
		}
		return pts
	}
	for i, ceiling := range l.ceils {
		// A ceiling holds between the sizes and beyond them.
		pts := path(ceiling.points, 0)
		pts = slices.Concat([]vg.Point{{X: c.Min.X, Y: pts[0].Y}}, pts, []vg.Point{{X: c.Max.X, Y: pts[len(pts)-1].Y}})
		c.StrokeLines(top(i), pts)
	}
	l.drawBreak(c, g)
	l.drawFloors(c, g)
	for _, s := range l.series {
		pale := colors[s.style.color]
		pale.A = 0x60
		c.SetColor(pale)
		for _, p := range s.points {
			raw := p.drawn()
			for i, v := range raw {
				// Side by side in the order of the rounds, so that
				// equal ones and a drift are seen.
				pt := at(p, v, s.side)
				pt.X += min(1.3, 7/vg.Length(len(raw))) * (vg.Length(i) - vg.Length(len(raw)-1)/2)
				var dot vg.Path
				dot.Move(vg.Point{X: pt.X + 1.2, Y: pt.Y})
				dot.Arc(pt, 1.2, 0, 2*math.Pi)
				dot.Close()
				c.Fill(dot)
			}
		}
	}
	if l.ordered {
		for _, s := range l.series {
			c.StrokeLines(s.style.line(), path(s.points, s.side))
		}
	}
	for _, s := range l.series {
		bar := draw.LineStyle{Color: colors[s.style.color], Width: 0.9}
		for _, p := range s.points {
			if !p.fig.Interval || p.fig.Lo == p.fig.Hi {
				continue
			}
			lo, hi := at(p, p.fig.Lo, s.side), at(p, p.fig.Hi, s.side)
			c.StrokeLine2(bar, lo.X, lo.Y, hi.X, hi.Y)
			for _, end := range []vg.Point{lo, hi} {
				c.StrokeLine2(bar, end.X-2.2, end.Y, end.X+2.2, end.Y)
			}
		}
	}
	for _, s := range l.series {
		for _, pt := range path(s.points, s.side) {
			s.style.glyph(c, pt, glyphR)
		}
	}
}

// drawBreak breaks a log axis above its zero, which is no decade below.
func (l curves) drawBreak(c draw.Canvas, g *plot.Plot) {
	if !l.y.log || l.y.zero != l.y.min || len(l.y.ticks) == 0 || l.y.ticks[0].Label != "0" {
		return
	}
	y := c.Min.Y + 9
	c.SetColor(color.White)
	c.Fill(vg.Rectangle{Min: vg.Point{X: c.Min.X - 4, Y: y}, Max: vg.Point{X: c.Min.X + 4, Y: y + 3}}.Path())
	for _, edge := range []vg.Length{y, y + 3} {
		c.StrokeLine2(draw.LineStyle{Color: muted, Width: 0.6}, c.Min.X-4, edge-1.5, c.Min.X+4, edge+1.5)
	}
}

// drawFloors draws each floor with its name on it, at the right end where no
// series comes. A name that would stand on the one below it moves up, over the
// lines there: its figure tells which it is of.
func (l curves) drawFloors(c draw.Canvas, g *plot.Plot) {
	const pitch = 10
	var places []vg.Length
	for _, f := range l.floors {
		y := c.Y(g.Y.Norm(l.y.at(f.value / l.yScale)))
		c.StrokeLine2(low, c.Min.X, y, c.Max.X, y)
		places = append(places, y)
	}
	free := vg.Length(math.Inf(-1))
	for i, f := range l.floors {
		at := max(places[i]+2.5, free)
		width := l.small.Width(f.name)
		c.SetColor(color.White)
		c.Fill(vg.Rectangle{Min: vg.Point{X: c.Max.X - width - 2, Y: at - 1.5}, Max: vg.Point{X: c.Max.X, Y: at + 7}}.Path())
		c.SetColor(muted)
		c.FillString(l.small, vg.Point{X: c.Max.X - width, Y: at}, f.name)
		free = at + pitch
	}
}

// spread is how far the outermost series stand beside their x: enough to see
// each, and never so far that an x could be taken for its neighbour.
func (l curves) spread(c draw.Canvas, g *plot.Plot) vg.Length {
	gap := c.Max.X - c.Min.X
	for i := 1; i < len(l.pos); i++ {
		gap = min(gap, c.X(g.X.Norm(l.pos[i]))-c.X(g.X.Norm(l.pos[i-1])))
	}
	return min(beside*vg.Length(len(l.series)-1), 0.2*gap, c.X(g.X.Norm(l.pos[0]))-c.Min.X-glyphR)
}
