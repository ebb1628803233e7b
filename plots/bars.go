package plots

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchunit"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/suite"
	"iopath/internal/summary"
)

// Bars has a row for each series, of parts that add up to a total, the least total on
// top. The k-th measurements of the parts are of one round, so the total is that of
// each round, and has an interval of its own. A part that a series lacks is not there.
type Bars struct {
	Headline
	Filter string // benchproc filter of the cells to draw, "" for all
	Series string // key that tells the rows apart, such as /method
	Parts  []Part // from the left; three can be told apart
	Total  string // what the parts add up to, without its unit
	Note   string // what a reader of the parts must know, "" for nothing
}

// A Part is one quantity of Bars. All parts of a chart are of one kind: times, or sizes.
type Part struct {
	Unit  string // as in the file or tidied; X/GiB is computed from X/op
	Label string
	Of    string // unit of which this is a sampled share, with the others of it; "" for none
}

// cpuParts are what the CPU time of a job divides into.
var cpuParts = []Part{
	{"user-cpu-sec/GiB", "user", "cpu-sec/GiB"}, {"sys-cpu-sec/GiB", "system", "cpu-sec/GiB"}, {"peer-cpu-sec/GiB", "the other side", ""},
}

// transports are what a socket's workloads go over.
var transports = []string{"tcp", "unix", "veth"}

// cpuBars are the charts of CPU time by its parts, at the usual block.
func cpuBars() (all []Bars) {
	add := func(name, section, filter, what string) {
		all = append(all, Bars{
			Headline: Headline{Name: name + "-cpu-parts", Title: "Where does the CPU time go in " + what + "?", Section: section},
			Filter:   filter + " /block:" + usualBlock, Series: "/method", Parts: cpuParts, Total: "CPU time per GiB",
			Note: "The kernel samples how CPU time divides into user and system: a hint; each side's is exact. Of Go's own API over sockets it is the whole process's.",
		})
	}
	for _, cache := range []string{"warm", "cold"} {
		file, reads, sends := suite.File(cache), suite.Section("Read", cache), suite.Section("Send", cache)
		add("read-seq-"+cache, reads, ".name:Read /pattern:seq /cache:"+cache, "sequential reads of "+file)
		add("read-rand-"+cache, reads, ".name:Read /pattern:rand /cache:"+cache, "random reads of "+file)
		for _, t := range transports {
			add("send-"+t+"-"+cache, sends, ".name:Send /transport:"+t+" /cache:"+cache, "sending "+file+" "+suite.Over(t))
		}
	}
	for _, t := range transports {
		add("receive-"+t, suite.Section("Receive", ""), ".name:Receive /transport:"+t, "receiving a file "+suite.Over(t))
		add("relay-"+t, suite.Section("Relay", ""), ".name:Relay /transport:"+t, "relaying "+suite.Over(t))
	}
	for _, cache := range []string{"warm", "cold"} {
		add("copy-"+cache, suite.Section("Copy", ""), ".name:Copy /cache:"+cache, "copying "+suite.File(cache))
	}
	for _, pattern := range []string{"append", "seq", "rand"} {
		for _, sync := range []string{"none", "end"} {
			add("write-"+pattern+"-"+sync, suite.Section("Write", ""), ".name:Write /pattern:"+pattern+" /sync:"+sync, suite.Writing(pattern)+", "+suite.Synced(sync))
		}
	}
	return all
}

// A barPage is Bars with their figures.
type barPage struct {
	Bars
	*data
	rows []barRow // least total first
}

// A barRow is the total of a series, and the median of each part; NaN for one that the
// series lacks.
type barRow struct {
	name  string
	style style
	total point
	parts []float64
}

// sheet implements [Drawing].
func (b Bars) sheet(results *summary.Results) (*sheet, error) {
	p, err := b.collect(results)
	if err != nil {
		return nil, err
	}
	g := p.grid()
	s := &sheet{title: b.Title, notes: strings.Join(p.notes, "\n"), caption: p.caption, points: p.points()}
	s.w, s.h = g.size()
	s.body = func(c draw.Canvas, r vg.Rectangle) { p.draw(c, r, g) }
	return s, nil
}

func (b Bars) collect(results *summary.Results) (*barPage, error) {
	cells, err := results.Cells(b.Filter, b.Series)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", b.Name, err)
	}
	p := &barPage{Bars: b, data: &data{chart: Chart{Series: b.Series, Y: b.Total}, xs: []string{""}}}
	kept, left := usual(cells)
	used := slices.DeleteFunc(slices.Clone(kept), func(c *summary.Cell) bool { return !b.has(c) })
	label := labels(used, p.chart)
	styles := styleAll(results, b.Series)
	var drawn []*summary.Cell
	for _, c := range used {
		row, err := b.row(c)
		row.name, row.style = label(c), styles[c.Key(b.Series)]
		if err != nil {
			p.note("%s is not drawn: %v.", shorten(row.name), err)
			continue
		}
		p.rows, drawn = append(p.rows, row), append(drawn, c)
	}
	switch {
	case len(cells) == 0:
		return nil, noData("draw %s: no result passes the filter %q (iopath table shows what there is)", b.Name, b.Filter)
	case len(used) == 0:
		return nil, noData("draw %s: no result has a unit of its parts", b.Name)
	case len(drawn) == 0:
		return nil, noData("draw %s: no row can be drawn: %s", b.Name, p.notes[0])
	case len(drawn) > maxSeries:
		return nil, summary.Errorf("draw %s: %d rows in one chart, and %d are the most that can be told apart (narrow the filter)", b.Name, len(drawn), maxSeries)
	}
	slices.SortFunc(p.rows, func(a, b barRow) int {
		return cmp.Or(cmp.Compare(a.total.fig.Value, b.total.fig.Value), summary.Compare(a.name, b.name))
	})
	for _, row := range p.rows {
		p.series = append(p.series, series{name: row.name, style: row.style, points: []point{row.total}})
	}
	_, unit := benchunit.Tidy(1, b.Parts[0].Unit)
	p.scale(unit)
	p.notes = slices.DeleteFunc(append([]string{common(drawn, b.Series), left, b.Note}, p.notes...), func(s string) bool { return s == "" })
	facts, _, _ := strings.Cut(caption(results, p.data, drawn), "\n")
	p.caption = facts + "\n" + p.how()
	return p, nil
}

func (b Bars) has(c *summary.Cell) bool {
	return slices.ContainsFunc(b.Parts, func(part Part) bool {
		_, unit := benchunit.Tidy(1, part.Unit)
		return len(c.Values(unit)) > 0
	})
}

// row adds up a cell's parts, round by round. The error is a clause that says why it
// cannot.
func (b Bars) row(c *summary.Cell) (row barRow, err error) {
	var totals []float64
	shares := map[string]float64{} // the sums of what is sampled of one unit
	for _, part := range b.Parts {
		_, unit := benchunit.Tidy(1, part.Unit)
		values := c.Values(unit)
		if len(values) == 0 {
			row.parts = append(row.parts, math.NaN())
			continue
		}
		if totals == nil {
			totals = make([]float64, len(values))
		}
		if len(values) != len(totals) {
			return row, fmt.Errorf("its rounds do not all have %q", part.Label)
		}
		sum := 0.0
		for k, v := range values {
			if v < 0 || v > extreme {
				return row, fmt.Errorf("%q of %s has no place on the axis", part.Label, number(v))
			}
			totals[k] += v
			sum += v / float64(len(values))
		}
		if _, ok := c.Figure(part.Of); !ok {
			fig, _ := summary.Summarize(values)
			sum = fig.Value
		}
		row.parts = append(row.parts, sum)
		shares[part.Of] += sum
	}
	row.total.raw = totals
	row.total.fig, _ = summary.Summarize(totals)
	// What is sampled divides the median of its unit, as all rounds together do, which
	// is where sampling is at its best.
	for i, part := range b.Parts {
		if fig, ok := c.Figure(part.Of); ok && shares[part.Of] > 0 {
			row.parts[i] *= fig.Value / shares[part.Of]
		}
	}
	return row, nil
}

// how says what the marks are.
func (p *barPage) how() string {
	low, high := math.MaxInt, 0
	for _, row := range p.rows {
		low, high = min(low, row.total.fig.N), max(high, row.total.fig.N)
	}
	const bars = "Bars: medians of each side; the mark: the total's"
	switch {
	case high == 1:
		return "Bars: single measurements, no interval."
	case high < summary.MinSamples:
		return fmt.Sprintf("%s; dots: totals of the rounds. No interval: a 95 %% one needs n=%d.", bars, summary.MinSamples)
	case low < summary.MinSamples:
		return fmt.Sprintf("%s; whiskers: 95 %% intervals of the total, none where n < %d; dots: totals of the rounds.", bars, summary.MinSamples)
	}
	return bars + "; whiskers: 95 % intervals of the total; dots: totals of the rounds."
}

// points are the figures behind the picture, in units of the axis.
func (p *barPage) points() [][]string {
	heading := []string{strings.TrimLeft(p.Bars.Series, "/.")}
	for _, part := range p.Parts {
		heading = append(heading, part.Label)
	}
	t := [][]string{append(heading, p.yLabel, "lo", "hi", "n")}
	for _, row := range p.rows {
		cells := []string{row.name}
		for _, v := range row.parts {
			text := ""
			if !math.IsNaN(v) {
				text = number(v / p.yScale)
			}
			cells = append(cells, text)
		}
		fig, lo, hi := row.total.fig, "", ""
		if fig.Interval {
			lo, hi = number(fig.Lo/p.yScale), number(fig.Hi/p.yScale)
		}
		t = append(t, append(cells, number(fig.Value/p.yScale), lo, hi, strconv.Itoa(fig.N)))
	}
	return t
}

// Measures in points.
const (
	barPitch = 21
	barH     = 10
	keyW     = 20 // a part's field in the legend
)

func (p *barPage) grid() *grid {
	g := &grid{axis: (&lines{data: p.data}).yAxis(), scale: p.yScale, label: p.yLabel, pitch: barPitch}
	_, axisUnit, _ := strings.Cut(p.yLabel, "(")
	totals := []string{"total"}
	if axisUnit != "" {
		totals[0] += " (" + axisUnit
	}
	for _, row := range p.rows {
		g.names = append(g.names, row.name)
		text := plain(round3(row.total.fig.Value / p.yScale))
		if pm, ok := row.total.fig.PlusMinus(); ok && pm > 0 {
			text += " ± " + summary.Percent(pm)
		}
		totals = append(totals, text)
	}
	g.columns = [][]string{totals}
	small := face(9, false)
	for _, i := range p.present() {
		g.legend += keyW + 5 + small.Width(p.Parts[i].Label) + 16
	}
	return g
}

// present are the indices of the parts that some row has.
func (p *barPage) present() (parts []int) {
	for i := range p.Parts {
		if slices.ContainsFunc(p.rows, func(r barRow) bool { return !math.IsNaN(r.parts[i]) }) {
			parts = append(parts, i)
		}
	}
	return parts
}

func (p *barPage) draw(c draw.Canvas, r vg.Rectangle, g *grid) {
	at, mid, legend := g.draw(c, r)
	small := face(9, false)
	for _, i := range p.present() {
		fillPart(c, i, muted, vg.Rectangle{Min: vg.Point{X: legend.X, Y: legend.Y - 1.5}, Max: vg.Point{X: legend.X + keyW, Y: legend.Y + 7.5}})
		c.SetColor(ink)
		c.FillString(small, vg.Point{X: legend.X + keyW + 5, Y: legend.Y}, p.Parts[i].Label)
		legend.X += keyW + 5 + small.Width(p.Parts[i].Label) + 16
	}
	for i, row := range p.rows {
		y, sum := mid(i), 0.0
		for k, v := range row.parts {
			if math.IsNaN(v) {
				continue
			}
			fillPart(c, k, colors[row.style.color], vg.Rectangle{Min: vg.Point{X: at(sum), Y: y - 3}, Max: vg.Point{X: at(sum + v), Y: y - 3 + barH}})
			sum += v
		}
		if fig := row.total.fig; fig.Interval && fig.Lo != fig.Hi {
			whisker(c, at(fig.Lo), at(fig.Hi), y-3+barH/2)
		}
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1.6}, at(row.total.fig.Value), y-4.5, at(row.total.fig.Value), y-1.5+barH)
		pale := colors[row.style.color]
		pale.A = 0xA0
		dots(c, pale, row.total.drawn(), at, y-6.5, 4)
	}
}

// fillPart fills the field of the i-th part in a series' colour: solid, hatched or
// open, so that parts are told apart by more than their lightness.
func fillPart(c draw.Canvas, i int, col color.NRGBA, r vg.Rectangle) {
	switch i % 3 {
	case 0:
		c.SetColor(col)
		c.Fill(r.Path())
	case 1:
		c.SetColor(tint(col, 0.3))
		c.Fill(r.Path())
		hatch(c, r, draw.LineStyle{Color: col, Width: 1}, 4)
	case 2:
		c.SetColor(color.White)
		c.Fill(r.Path())
	}
	c.SetLineStyle(draw.LineStyle{Color: col, Width: 0.8})
	c.Stroke(r.Path())
}

// tint mixes a colour with the white ground: share is what it has of it.
func tint(c color.NRGBA, share float64) color.NRGBA {
	mix := func(v uint8) uint8 { return uint8(255 - share*float64(255-v) + 0.5) }
	return color.NRGBA{mix(c.R), mix(c.G), mix(c.B), 0xFF}
}

// hatch draws lines from lower left to upper right, in one phase all over the page.
func hatch(c draw.Canvas, r vg.Rectangle, style draw.LineStyle, pitch vg.Length) {
	var path vg.Path
	h := r.Max.Y - r.Min.Y
	phase := vg.Length(math.Ceil(float64((r.Min.X-h-r.Min.Y)/pitch)))*pitch + r.Min.Y
	for x := phase; x < r.Max.X; x += pitch {
		from, to := max(x, r.Min.X), min(x+h, r.Max.X)
		if from < to {
			path.Move(vg.Point{X: from, Y: r.Min.Y + from - x})
			path.Line(vg.Point{X: to, Y: r.Min.Y + to - x})
		}
	}
	if len(path) > 0 {
		c.SetLineStyle(style)
		c.Stroke(path)
	}
}

// whisker draws an interval from left to right, set off from what it lies on.
func whisker(c draw.Canvas, lo, hi, y vg.Length) {
	for _, line := range []draw.LineStyle{{Color: color.White, Width: 3}, {Color: ink, Width: 1}} {
		c.StrokeLine2(line, lo, y, hi, y)
		for _, x := range []vg.Length{lo, hi} {
			c.StrokeLine2(line, x, y-2.5, x, y+2.5)
		}
	}
}

// dots draws measurements in the order of the rounds, spread from the top down so that
// equal ones are seen.
func dots(c draw.Canvas, col color.Color, raw []float64, at func(float64) vg.Length, mid, spread vg.Length) {
	c.SetColor(col)
	for i, v := range raw {
		x, y := at(v), mid
		if n := len(raw); n > 1 {
			y += spread * (0.5 - vg.Length(i)/vg.Length(n-1))
		}
		var dot vg.Path
		dot.Move(vg.Point{X: x + 1.1, Y: y})
		dot.Arc(vg.Point{X: x, Y: y}, 1.1, 0, 2*math.Pi)
		dot.Close()
		c.Fill(dot)
	}
}

// A grid has a row for each series: its name, a place on an axis of values that all
// share, and columns of text. Bars, Versus and Effects draw into it.
type grid struct {
	names   []string
	axis    yAxis
	scale   float64 // what a unit of the axis is
	label   string  // of the axis
	pitch   vg.Length
	columns [][]string // a heading, and a text for each row
	legend  vg.Length  // the width of what comes above the axis
	most    int        // characters of a name that are shown, 0 for rowName

	// under draws what lies below the lines of the axis, nil for nothing.
	under func(c draw.Canvas, box vg.Rectangle, at func(float64) vg.Length, mid func(int) vg.Length)
}

// Measures in points.
const (
	gridTop   = 20  // for the legend and the headings of the columns
	gridAxis  = 260 // the least width of the axis
	columnGap = 14
	rowName   = 60 // most characters of a row's name, unless the grid says more
)

func (g *grid) shown(name string) string { return shortenTo(sizeLabel(name), cmp.Or(g.most, rowName)) }

func (g *grid) left() (width vg.Length) {
	f := face(10, false)
	for _, name := range g.names {
		width = max(width, f.Width(g.shown(name)))
	}
	return width + 8
}

// columnsW are the widths of the columns, and all of them together.
func (g *grid) columnsW() (each []vg.Length, all vg.Length) {
	f := face(9, false)
	for _, column := range g.columns {
		var width vg.Length
		for _, text := range column {
			width = max(width, f.Width(text))
		}
		each = append(each, width)
		all += width + columnGap
	}
	return each, all
}

func (g *grid) size() (w, h vg.Length) {
	_, columns := g.columnsW()
	w = max(bodyW, g.left()+max(gridAxis, g.legend)+columns)
	return w, gridTop + g.pitch*vg.Length(len(g.names)) + rowEnd
}

// draw draws all but the rows' own marks, and tells where they go: at is the place of a
// value, mid that of a row, legend where the text above the axis begins.
func (g *grid) draw(c draw.Canvas, r vg.Rectangle) (at func(float64) vg.Length, mid func(int) vg.Length, legend vg.Point) {
	widths, columns := g.columnsW()
	box := vg.Rectangle{
		Min: vg.Point{X: r.Min.X + g.left(), Y: r.Min.Y + rowEnd},
		Max: vg.Point{X: r.Max.X - columns, Y: r.Max.Y - gridTop},
	}
	legend = vg.Point{X: box.Min.X, Y: box.Max.Y + 9}
	mid = func(i int) vg.Length { return box.Max.Y - g.pitch*(vg.Length(i)+0.5) }
	at = func(v float64) vg.Length {
		return box.Min.X + vg.Length((g.axis.at(v/g.scale)-g.axis.min)/(g.axis.max-g.axis.min))*(box.Max.X-box.Min.X)
	}
	if g.under != nil {
		g.under(c, box, at, mid)
	}
	valueAxis(c, g.axis, box, g.label)
	names, small := face(10, false), face(9, false)
	for i, name := range g.names {
		name = g.shown(name)
		c.SetColor(ink)
		c.FillString(names, vg.Point{X: box.Min.X - 8 - names.Width(name), Y: mid(i) - 3.5}, name)
	}
	x := box.Max.X
	for k, column := range g.columns {
		x += columnGap + widths[k]
		for i, text := range column {
			y := mid(i-1) - 3
			c.SetColor(ink)
			if i == 0 {
				y = legend.Y
				c.SetColor(muted)
			}
			c.FillString(small, vg.Point{X: x - small.Width(text), Y: y}, text)
		}
	}
	return at, mid, legend
}

// valueAxis draws the axis below the rows, and its lines through them.
func valueAxis(c draw.Canvas, ax yAxis, r vg.Rectangle, label string) {
	line := draw.LineStyle{Color: muted, Width: 0.6}
	c.StrokeLine2(line, r.Min.X, r.Min.Y, r.Max.X, r.Min.Y)
	small := face(9, false)
	end := vg.Length(math.Inf(-1))
	for _, t := range ax.ticks {
		x := r.Min.X + vg.Length((t.Value-ax.min)/(ax.max-ax.min))*(r.Max.X-r.Min.X)
		if t.Label == "" {
			c.StrokeLine2(line, x, r.Min.Y, x, r.Min.Y-2)
			continue
		}
		c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.6}, x, r.Min.Y, x, r.Max.Y)
		c.StrokeLine2(line, x, r.Min.Y, x, r.Min.Y-4)
		if half := small.Width(t.Label) / 2; x-half > end+5 {
			end = x + half
			c.SetColor(muted)
			c.FillString(small, vg.Point{X: x - half, Y: r.Min.Y - 14}, t.Label)
		}
	}
	f := face(10, false)
	c.SetColor(ink)
	c.FillString(f, vg.Point{X: (r.Min.X + r.Max.X - f.Width(label)) / 2, Y: r.Min.Y - rowEnd + 4}, label)
}
