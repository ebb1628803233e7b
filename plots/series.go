package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchunit"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// A Stack is several quantities of the same cells, one below the other over one x
// axis: an effect and, under it, its causes at the same moment. It is declared like a
// [Chart]. Where it has hundreds of points its lines are
// bare; of few each has its mark and its interval.
type Stack struct {
	Headline
	Filter string // benchproc filter of the cells to draw
	X      string // key of the x axis, whose values are numbers, sizes or times
	XLabel string // what it shows, with its unit
	Series string // key that tells the lines apart
	Panels []Panel
}

// A Panel is one quantity of a Stack.
type Panel struct {
	Unit      string // as in the file or tidied
	Label     string // what the y axis shows, without its unit
	PerSecond bool   // divided by the seconds of an op
}

// Larger is the chart of a file that is larger than memory (iopath larger).
func Larger() Stack {
	return Stack{
		Headline: Headline{
			Name: "larger", Title: "What happens to each method when the file no longer fits into memory?",
			Section: "A file that is larger than memory", Lead: true,
		},
		Filter: ".name:Larger", X: "/at", XLabel: "time (s)", Series: "/method",
		Panels: []Panel{
			{Unit: "B/s", Label: "throughput"},
			{Unit: "majflt/op", Label: "major faults", PerSecond: true},
			{Unit: "stolen-pages/op", Label: "pages reclaimed", PerSecond: true},
			{Unit: "device-B/op", Label: "from the device", PerSecond: true},
			{Unit: "resident-B", Label: "page cache"},
		},
	}
}

// Pressure is the chart of a mapping and a heap beside a hungry neighbour (iopath
// pressure).
func Pressure() Stack {
	return Stack{
		Headline: Headline{
			Name: "pressure", Title: "What does a hungry neighbour leave of a mapping, and of a copy on the heap?",
			Section: "Beside a hungry neighbour", Lead: true,
		},
		Filter: ".name:Pressure", X: "/neighbour", XLabel: "neighbour's memory (MiB)", Series: "/method",
		Panels: []Panel{
			{Unit: "resident-B", Label: "resident"},
			{Unit: "swapped-B", Label: "swapped out"},
			{Unit: "sec/op", Label: "reading all again"},
			{Unit: "device-B/op", Label: "from the device for that"},
		},
	}
}

// The measures of a stack, in points, beside those of a chart.
const (
	stackH   = 96 // of a panel
	stackGap = 14
	axisRoom = 62 // left of the lines
	axisLow  = 34 // below the last panel
)

// A stackPage is a stack with its figures and its places.
type stackPage struct {
	Stack
	low, high   float64   // of x
	xs          []float64 // where there are few
	panels      []stackPanel
	names       []string
	styles      []style // of names
	given, desc string  // what all cells have in common, and the caption
}

// A stackPanel is a panel's lines, in the order of the names; y is in units of the
// axis.
type stackPanel struct {
	label string
	scale float64 // tidied units in one unit of the axis
	lines [][]stackPoint
	axis  yAxis
}

type stackPoint struct {
	x, y, lo, hi float64
	interval     bool
	n            int
	raw          []float64 // where there are few x
}

// sheet implements [Drawing].
func (s Stack) sheet(results *summary.Results) (*sheet, error) {
	p, err := s.collect(results)
	if err != nil {
		return nil, err
	}
	return p.sheet(), nil
}

// place reads a value of the x key.
func (s Stack) place(value string) (float64, bool) {
	if d, err := time.ParseDuration(value); err == nil {
		return d.Seconds(), true
	}
	v, ok := summary.ParseNumber(value)
	if strings.HasSuffix(value, "B") {
		v /= 1 << 20
	}
	return v, ok
}

func (s Stack) collect(results *summary.Results) (*stackPage, error) {
	cells, err := results.Cells(s.Filter, s.X, s.Series)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", s.Name, err)
	}
	p := &stackPage{Stack: s, low: math.Inf(1), high: math.Inf(-1)}
	cells = slices.DeleteFunc(cells, func(c *summary.Cell) bool {
		x, ok := s.place(c.Key(s.X))
		if ok {
			p.low, p.high = min(p.low, x), max(p.high, x)
		}
		return !ok
	})
	if len(cells) == 0 {
		return nil, noData("draw %s: no result passes the filter %q", s.Name, s.Filter)
	}
	for _, c := range cells {
		if x, _ := s.place(c.Key(s.X)); !slices.Contains(p.xs, x) {
			p.xs = append(p.xs, x)
		}
	}
	slices.Sort(p.xs)
	if len(p.xs) > marks {
		p.xs = nil
	}
	label := labels(cells, Chart{X: s.X, Series: s.Series})
	styles := styleAll(results, s.Series)
	var list []series
	for _, c := range cells {
		name := label(c)
		if !slices.ContainsFunc(list, func(s series) bool { return s.name == name }) {
			list = append(list, series{name: name, style: styles[c.Key(s.Series)]})
		}
	}
	slices.SortFunc(list, func(a, b series) int { return summary.Compare(a.name, b.name) }) // rounds run in random order
	distinguish(list)
	for _, one := range list {
		p.names = append(p.names, one.name)
		p.styles = append(p.styles, one.style)
	}
	for _, panel := range s.Panels {
		if drawn, ok := p.panel(panel, cells, label); ok {
			p.panels = append(p.panels, drawn)
		}
	}
	if len(p.panels) == 0 {
		return nil, noData("draw %s: no result has a unit of its panels", s.Name)
	}
	d := &data{chart: Chart{X: s.X, Series: s.Series}, series: []series{{points: p.counted(cells)}}}
	p.given = common(cells, s.X, s.Series)
	p.desc, _, _ = strings.Cut(caption(results, d, cells), "\n")
	if slices.ContainsFunc(d.series[0].points, func(p point) bool { return p.fig.N > 1 }) {
		p.desc += "\nLines: medians over the rounds"
		if p.xs != nil {
			p.desc += fmt.Sprintf("; bars: 95 %% intervals, where n is %d or more; faint: the measurements", summary.MinSamples)
		}
		p.desc += "."
	}
	return p, nil
}

// common is what all cells' names have in common, beside those keys.
func common(cells []*summary.Cell, keys ...string) string {
	var words []string
	for _, p := range cells[0].Keys() {
		differs := func(c *summary.Cell) bool { return c.Key("/"+p.Key) != p.Value }
		if p.Key != "gomaxprocs" && !slices.Contains(keys, "/"+p.Key) && !slices.ContainsFunc(cells, differs) {
			words = append(words, p.Key+" "+sizeLabel(p.Value))
		}
	}
	return strings.Join(words, " · ")
}

// counted stands for the cells' number of measurements in the caption.
func (p *stackPage) counted(cells []*summary.Cell) []point {
	_, unit := benchunit.Tidy(1, p.Panels[0].Unit)
	var points []point
	for _, c := range cells {
		if f, ok := c.Figure(unit); ok {
			points = append(points, point{fig: f})
		}
	}
	return points
}

// panel takes one quantity of the cells; ok is false where none has it.
func (p *stackPage) panel(of Panel, cells []*summary.Cell, label func(*summary.Cell) string) (drawn stackPanel, ok bool) {
	_, unit := benchunit.Tidy(1, of.Unit)
	drawn.lines = make([][]stackPoint, len(p.names))
	low, high := 0.0, 0.0
	for _, c := range cells {
		f, has := c.Figure(unit)
		if !has || math.Abs(f.Value) > extreme {
			continue
		}
		if of.PerSecond {
			took, has := c.Figure("sec/op")
			if !has || took.Value <= 0 {
				continue
			}
			f.Value /= took.Value
			f.Interval = false // it would be that of two quantities
		}
		x, _ := p.place(c.Key(p.X))
		i := slices.Index(p.names, label(c))
		at := stackPoint{x: x, y: f.Value, lo: f.Lo, hi: f.Hi, interval: f.Interval, n: f.N}
		if p.xs != nil && !of.PerSecond {
			at.raw = point{raw: c.Values(unit)}.drawn()
			for _, v := range at.raw {
				low, high = min(low, v), max(high, v)
			}
		}
		drawn.lines[i] = append(drawn.lines[i], at)
		low, high = min(low, f.Value), max(high, f.Value)
		if f.Interval && p.xs != nil {
			low, high = min(low, f.Lo), max(high, f.Hi)
		}
		ok = true
	}
	scale, axisUnit := stackUnit(unit, of.PerSecond, high)
	drawn.label, drawn.scale = of.Label+axisUnit, scale
	for _, line := range drawn.lines {
		slices.SortFunc(line, func(a, b stackPoint) int { return cmp.Compare(a.x, b.x) })
		for i := range line {
			line[i].y /= scale
			line[i].lo /= scale
			line[i].hi /= scale
		}
	}
	drawn.axis = linearAxis(low/scale, high/scale)
	return drawn, ok
}

// stackUnit is how the figures up to top are written.
func stackUnit(unit string, perSecond bool, top float64) (scale float64, text string) {
	switch {
	case strings.HasPrefix(unit, "sec") || strings.Contains(unit, "-sec/"):
		scale, text = timeUnit(top)
	case benchunit.ClassOf(unit) == benchunit.Binary:
		sizes := []string{"B", "KiB", "MiB", "GiB", "TiB"}
		for scale = 1; len(sizes) > 1 && top >= 1024*scale; sizes = sizes[1:] {
			scale *= 1024
		}
		text = sizes[0]
		if perSecond || strings.HasSuffix(unit, "/s") {
			text += "/s"
		}
	case top >= 1e4:
		scale, text = 1e3, "1000"
		if perSecond {
			text += "/s"
		}
	default:
		scale = 1
		if perSecond {
			text = "/s"
		}
	}
	if text == "" {
		return scale, ""
	}
	return scale, " (" + text + ")"
}

func (p *stackPage) sheet() *sheet {
	var widest vg.Length
	label := face(10, false)
	for _, name := range p.names {
		widest = max(widest, label.Width(sizeLabel(name)))
	}
	return &sheet{
		title: p.Title, notes: p.given, caption: p.desc, points: p.points(),
		w:    panelW + 12 + thumbW + 6 + widest,
		h:    max(vg.Length(len(p.panels))*(stackH+stackGap+12)+axisLow-stackGap, 12+legendRow*vg.Length(len(p.names))),
		body: p.draw,
	}
}

// points are the figures behind the picture, in units of each axis.
func (p *stackPage) points() [][]string {
	t := [][]string{{"panel", "series", p.XLabel, "value", "lo", "hi", "n"}}
	for _, panel := range p.panels {
		for i, line := range panel.lines {
			for _, pt := range line {
				lo, hi := "", ""
				if pt.interval {
					lo, hi = number(pt.lo), number(pt.hi)
				}
				t = append(t, []string{panel.label, p.names[i], number(pt.x), number(pt.y), lo, hi, strconv.Itoa(pt.n)})
			}
		}
	}
	return t
}

func (p *stackPage) draw(c draw.Canvas, r vg.Rectangle) {
	y := r.Max.Y
	p.legend(c, vg.Point{X: r.Min.X + panelW + 12, Y: y - 12})
	for i, panel := range p.panels {
		y -= 12
		c.SetColor(ink)
		c.FillString(face(9, false), vg.Point{X: r.Min.X + axisRoom, Y: y + 3}, panel.label)
		p.lines(c, panel, vg.Rectangle{
			Min: vg.Point{X: r.Min.X + axisRoom, Y: y - stackH}, Max: vg.Point{X: r.Min.X + panelW, Y: y},
		}, i == len(p.panels)-1)
		y -= stackH + stackGap
	}
}

func (p *stackPage) legend(c draw.Canvas, at vg.Point) {
	x := at.X
	for i, name := range p.names {
		mid := at.Y - legendRow/2 - vg.Length(i)*legendRow
		c.StrokeLine2(p.styles[i].line(), x, mid, x+thumbW, mid)
		p.styles[i].glyph(c, vg.Point{X: x + thumbW/2, Y: mid}, glyphR)
		c.SetColor(ink)
		c.FillString(face(10, false), vg.Point{X: x + thumbW + 6, Y: mid - 3.5}, sizeLabel(name))
	}
}

// xTicks are the values themselves where there are few.
func (p *stackPage) xTicks() (ticks []plot.Tick) {
	for _, x := range p.xs {
		ticks = append(ticks, plot.Tick{Value: x, Label: plain(round3(x))})
	}
	if p.xs != nil {
		return ticks
	}
	return slices.DeleteFunc(linearAxis(0, p.high).ticks, func(t plot.Tick) bool { return t.Value < p.low || t.Value > p.high })
}

// lines draws one panel into the box: its axes, then its lines.
func (p *stackPage) lines(c draw.Canvas, panel stackPanel, box vg.Rectangle, last bool) {
	text := face(9, false)
	span := max(p.high-p.low, 1e-9)
	edge := vg.Length(0)
	if p.xs != nil { // room for series side by side
		edge = 0.06 * (box.Max.X - box.Min.X)
	}
	xAt := func(x float64) vg.Length {
		return box.Min.X + edge + vg.Length((x-p.low)/span)*(box.Max.X-box.Min.X-2*edge)
	}
	yAt := func(y float64) vg.Length {
		return box.Min.Y + vg.Length((y-panel.axis.min)/(panel.axis.max-panel.axis.min))*(box.Max.Y-box.Min.Y)
	}
	grid := draw.LineStyle{Color: faint, Width: 0.6}
	for _, t := range panel.axis.ticks {
		c.StrokeLine2(grid, box.Min.X, yAt(t.Value), box.Max.X, yAt(t.Value))
		c.SetColor(muted)
		c.FillString(text, vg.Point{X: box.Min.X - 5 - text.Width(t.Label), Y: yAt(t.Value) - 3}, t.Label)
	}
	for _, t := range p.xTicks() {
		c.StrokeLine2(grid, xAt(t.Value), box.Min.Y, xAt(t.Value), box.Max.Y)
		if last {
			c.SetColor(muted)
			c.FillString(text, vg.Point{X: xAt(t.Value) - text.Width(t.Label)/2, Y: box.Min.Y - 12}, t.Label)
		}
	}
	if last {
		c.SetColor(ink)
		f := face(10, false)
		c.FillString(f, vg.Point{X: (box.Min.X+box.Max.X)/2 - f.Width(p.XLabel)/2, Y: box.Min.Y - 26}, p.XLabel)
	}
	for i, line := range panel.lines {
		var pts []vg.Point
		var aside vg.Length // so that none hides another
		if n := len(panel.lines); p.xs != nil && n > 1 {
			aside = edge * 0.8 * (2*vg.Length(i)/vg.Length(n-1) - 1)
		}
		for _, at := range line {
			pts = append(pts, vg.Point{X: xAt(at.x) + aside, Y: yAt(at.y)})
		}
		if len(pts) > 1 {
			c.StrokeLines(p.styles[i].line(), pts)
		}
		for k, at := range line {
			pale := colors[p.styles[i].color]
			pale.A = 0x60
			c.SetColor(pale)
			for _, v := range at.raw {
				var dot vg.Path
				dot.Move(vg.Point{X: pts[k].X + 1, Y: yAt(v / panel.scale)})
				dot.Arc(vg.Point{X: pts[k].X, Y: yAt(v / panel.scale)}, 1, 0, 2*math.Pi)
				dot.Close()
				c.Fill(dot)
			}
			if at.interval && p.xs != nil {
				bar := draw.LineStyle{Color: colors[p.styles[i].color], Width: 0.9}
				c.StrokeLine2(bar, pts[k].X, yAt(at.lo), pts[k].X, yAt(at.hi))
			}
		}
		for k := 0; k < len(pts); k += max(1, len(pts)/marks) {
			p.styles[i].glyph(c, pts[k], glyphR*0.8)
		}
	}
}

// marks is about how many points of a line have its shape: all of a short one.
const marks = 10
