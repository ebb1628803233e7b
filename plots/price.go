package plots

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// Price has a panel for each way to lose a machine, with a dot for each policy: how fast
// it writes, on a log scale, over what of it is lost. Most policies lose nothing or all,
// and many are as fast as others: the dots stand where they are, however dense, and each
// has a line to its name in a column beside the axis. It takes nothing from the results,
// which may be nil.
type Price struct {
	Headline
	Rate    string // what the upright axis shows: acknowledged records/s
	Panels  []PricePanel
	Notes   string // above the figures
	Caption string // below: machine, what the ways are
}

// A PricePanel is a way to lose the machine.
type PricePanel struct {
	Way
	Points []PricePoint
}

// A Way is how a process or a machine is lost.
type Way struct {
	Name string // power loss
	How  string // voldisk on ext4; "" for nothing
}

// A PricePoint is a policy of a method.
type PricePoint struct {
	Method string // has the colour and the shape
	Name   string // stands in a column beside the axis: write/each
	Rate   float64
	// Shares of what was acknowledged: the mean of N cycles, and their worst.
	Lost, Worst float64
	N           int
}

// drawable reports whether a point has a place on both axes.
func (p PricePoint) drawable() bool {
	return p.Rate > 1/extreme && p.Rate < extreme && p.Lost >= 0 && p.Lost <= p.Worst && p.Worst <= 1
}

// writerLooks are those of writers that no benchmark has; the others have the suite's.
var writerLooks = map[string]style{
	"mmap.shared":  {vermil, down, solid},
	"mmap.private": {vermil, openUp, solid},
	"mmap.sync":    {vermil, openDiamond, solid},
	"mmap.dax":     {vermil, openBox, solid},
	"io_uring":     {purple, ring, solid},
}

// writerStyles are the looks of the methods of writing.
func writerStyles(methods []string) map[string]style {
	slices.Sort(methods)
	return assign(slices.Compact(methods), maps.Clone(writerLooks))
}

// maxWays is the most ways of loss that a page has.
const maxWays = 8

const (
	wayName = 36 // most characters of a way's name, and of how
	wayGap  = 6  // between the two, in points
)

// Measures in points.
const (
	priceH     = 380 // the least height of a panel
	priceTop   = 18  // for its name
	priceGap   = 14  // between two
	priceName  = 28  // most characters of a label
	priceLabel = 10  // what a label takes
	priceReach = 30  // at least, from the axis to the marks beside the labels
	priceSteep = 1.2 // and for each label: lines to many are steep and dense
	priceStub  = 4   // of it, the part at either end in which a line is level
	priceDot   = 2
	priceClear = 5   // from a level line to another dot, so that it plainly is not its own
	priceAxis  = 100 // the least width of 0 to 100 %
	priceRows  = 10  // between two rows of panels
	sideAxis   = 62  // for the axis of rates
)

// A pricePage is Price with a place for everything.
type pricePage struct {
	Price
	styles map[string]style
	axis   yAxis
	w, h   vg.Length    // of a panel
	reach  vg.Length    // from the axis to the marks beside the labels
	names  [2]vg.Length // what is beside the axis on either side
	notes  []string
}

// sheet implements [Drawing].
func (p Price) sheet(*summary.Results) (*sheet, error) {
	page, err := p.collect()
	if err != nil {
		return nil, err
	}
	columns, rows := page.arranged()
	return &sheet{
		title: p.Title, notes: strings.Join(page.notes, "\n"), caption: joined(p.Caption, page.how()), points: page.points(),
		w: sideAxis + page.w*vg.Length(columns) + priceGap*vg.Length(columns-1), h: (page.h+rowEnd+priceTop)*vg.Length(rows) + priceRows*vg.Length(rows-1),
		body: page.draw,
	}, nil
}

// arranged is how many panels stand side by side, and how many rows of them there are.
func (p *pricePage) arranged() (columns, rows int) {
	columns = min(2, len(p.Panels))
	return columns, (len(p.Panels) + columns - 1) / columns
}

func (p Price) collect() (*pricePage, error) {
	page := &pricePage{Price: p}
	page.Panels = nil
	var methods []string
	low, high, total, left := math.Inf(1), math.Inf(-1), 0, 0
	for _, panel := range p.Panels {
		total += len(panel.Points)
		points := slices.DeleteFunc(slices.Clone(panel.Points), func(pt PricePoint) bool { return !pt.drawable() })
		left += len(panel.Points) - len(points)
		for _, pt := range points {
			low, high = min(low, pt.Rate), max(high, pt.Rate)
			methods = append(methods, pt.Method)
		}
		if len(points) > maxSeries {
			return nil, summary.Errorf("draw %s: %d points in one panel, and %d are the most that can be told apart (draw fewer policies)", p.Name, len(points), maxSeries)
		}
		if panel.Points = points; len(points) > 0 {
			page.Panels = append(page.Panels, panel)
		}
	}
	switch {
	case total == 0:
		return nil, noData("draw %s: no machine was lost", p.Name)
	case left == total:
		return nil, noData("draw %s: none of the points (%d) has a positive rate and a share lost from 0 to 1", p.Name, total)
	case len(page.Panels) > maxWays:
		return nil, summary.Errorf("draw %s: %d ways to lose a machine, and %d are the most that a page has (draw fewer)", p.Name, len(page.Panels), maxWays)
	}
	if p.Notes != "" {
		page.notes = append(page.notes, p.Notes)
	}
	if left > 0 {
		page.notes = append(page.notes, fmt.Sprintf("Left out: %d of %d points, which have no positive rate or no share lost from 0 to 1.", left, total))
	}
	page.styles, page.axis = writerStyles(methods), logAxis(low, high, false)
	f, labels := face(8.5, false), 0
	var widest [2]vg.Length // of names
	var heading vg.Length
	for _, panel := range page.Panels {
		heading = max(heading, wayWidth(panel.heading()))
		for k, side := range page.sides(panel.Points) {
			labels = max(labels, len(side))
			for _, i := range side {
				widest[k] = max(widest[k], f.Width(shortenTo(panel.Points[i].Name, priceName)))
			}
		}
	}
	page.h = max(priceH, priceLabel*vg.Length(labels+2))
	page.reach = max(priceReach, priceSteep*vg.Length(labels))
	for k, width := range widest {
		page.names[k] = priceReach // the axis' name is wider than the axis can be
		if width > 0 {
			page.names[k] = page.reach + 2*glyphR + 3 + width + 4
		}
	}
	columns, _ := page.arranged()
	page.w = max((bodyW-sideAxis-priceGap*vg.Length(columns-1))/vg.Length(columns), page.names[0]+priceAxis+page.names[1], heading)
	return page, nil
}

// cycles says how many each point of a panel is of, "" where they do not know.
func (p PricePanel) cycles() string {
	low, high := math.MaxInt, 0
	for _, pt := range p.Points {
		low, high = min(low, pt.N), max(high, pt.N)
	}
	switch {
	case high <= 0:
		return ""
	case low == high:
		return fmt.Sprintf("n=%d", low)
	}
	return fmt.Sprintf("n=%d–%d", low, high)
}

// heading is the way, and of how many cycles the points are.
func (p PricePanel) heading() Way {
	how := slices.DeleteFunc([]string{p.How, p.cycles()}, func(s string) bool { return s == "" })
	return Way{p.Name, strings.Join(how, " · ")}
}

// how says what the dots are, and what none lost of n is worth.
func (p *pricePage) how() string {
	text := "Small dots: means of n cycles"
	var bounds []string
	seen := map[int]bool{}
	whiskers := false
	for _, panel := range p.Panels {
		for _, pt := range panel.Points {
			whiskers = whiskers || pt.Worst > pt.Lost
			if bound := zeroBound(pt.N); pt.Lost == 0 && bound != "" && !seen[pt.N] {
				seen[pt.N] = true
				bounds = append(bounds, fmt.Sprintf("%s of n=%d", bound, pt.N))
			}
		}
	}
	if whiskers {
		text += "; whiskers: up to the worst of them"
	}
	text += "."
	if len(bounds) > 0 {
		text += " Where none of n cycles lost a record, fewer than 3/n of all do, at 95 %"
		if len(bounds) <= 3 {
			text += " (" + strings.Join(bounds, ", ") + ")"
		}
		text += "."
	}
	return text
}

// zeroBound is what the share of lossy cycles is under, at 95 %, where none of n was:
// the rule of three. It is "" for so few that it says nothing.
func zeroBound(n int) string {
	if n <= 3 {
		return ""
	}
	return shareText(3 / float64(n))
}

// shareText writes a share in percent, and never as none or all what is not.
func shareText(v float64) string {
	switch percent := 100 * v; {
	case v == 0 || v == 1:
		return plain(percent) + " %"
	case percent < 0.01:
		return "< 0.01 %"
	case percent > 99.9:
		return "> 99.9 %"
	case percent < 1:
		return plain(math.Round(100*percent)/100) + " %"
	case percent < 10 || percent > 99:
		return plain(math.Round(10*percent)/10) + " %"
	default:
		return plain(math.Round(percent)) + " %"
	}
}

// points are the figures behind the picture.
func (p *pricePage) points() [][]string {
	t := [][]string{{"way", "how", "policy", p.Rate, "lost", "worst", "n"}}
	for _, panel := range p.Panels {
		for _, pt := range panel.Points {
			t = append(t, []string{panel.Name, panel.How, pt.Name, number(pt.Rate), number(pt.Lost), number(pt.Worst), strconv.Itoa(pt.N)})
		}
	}
	return t
}

// sides are the points that are named on the left of the axis, and those on its right, the
// slowest first. A line to a name is level as far as the end of the axis: it goes where it
// passes no other dot and no other's whisker, and of two such ways the shorter.
func (p *pricePage) sides(points []PricePoint) (sides [2][]int) {
	for i, pt := range points {
		clear := [2]vg.Length{priceClear, priceClear}
		for j, other := range points {
			far := vg.Length(math.Abs(float64(p.y(pt.Rate, priceH) - p.y(other.Rate, priceH))))
			if j != i && other.Lost < pt.Lost {
				clear[0] = min(clear[0], far)
			}
			if j != i && other.Worst > pt.Lost {
				clear[1] = min(clear[1], far)
			}
		}
		k := 0
		// A whisker has the line on it already.
		if clear[1] > clear[0] || clear[1] == clear[0] && 1-pt.Worst < pt.Lost {
			k = 1
		}
		sides[k] = append(sides[k], i)
	}
	for _, side := range sides {
		slices.SortStableFunc(side, func(a, b int) int { return cmp.Compare(points[a].Rate, points[b].Rate) })
	}
	return sides
}

// y is the height of a rate above the lower end of a panel of height h.
func (p *pricePage) y(rate float64, h vg.Length) vg.Length {
	return h * vg.Length((p.axis.at(rate)-p.axis.min)/(p.axis.max-p.axis.min))
}

func (p *pricePage) draw(c draw.Canvas, r vg.Rectangle) {
	columns, rows := p.arranged()
	for row := range rows {
		top := r.Max.Y - priceTop - (p.h+rowEnd+priceTop+priceRows)*vg.Length(row)
		for column := range columns {
			i := row*columns + column
			if i >= len(p.Panels) {
				break
			}
			x := r.Min.X + sideAxis + (p.w+priceGap)*vg.Length(column)
			box := vg.Rectangle{Min: vg.Point{X: x, Y: top - p.h}, Max: vg.Point{X: x + p.w, Y: top}}
			label := ""
			if column == 0 {
				label = p.Rate + " (log scale)"
			}
			p.drawPanel(c, p.Panels[i], box, label)
		}
	}
}

func (p *pricePage) drawPanel(c draw.Canvas, panel PricePanel, box vg.Rectangle, label string) {
	uprightAxis(c, p.axis, box, label, box.Min.X-sideAxis)
	drawWay(c, panel.heading(), vg.Point{X: box.Min.X, Y: box.Max.Y + 6})

	axis := box
	axis.Min.X, axis.Max.X = box.Min.X+p.names[0], box.Max.X-p.names[1]
	at := func(share, rate float64) vg.Point {
		return vg.Point{X: axis.Min.X + vg.Length(share)*(axis.Max.X-axis.Min.X), Y: axis.Min.Y + p.y(rate, p.h)}
	}
	p.drawShares(c, box, axis)
	p.drawNames(c, panel, axis, at)
	for _, pt := range panel.Points {
		if pt.Worst > pt.Lost {
			bar := draw.LineStyle{Color: colors[p.styles[pt.Method].color], Width: 1.2}
			from, to := at(pt.Lost, pt.Rate), at(pt.Worst, pt.Rate)
			c.StrokeLine2(bar, from.X, from.Y, to.X, to.Y)
			c.StrokeLine2(bar, to.X, to.Y-3, to.X, to.Y+3)
		}
	}
	for _, pt := range panel.Points {
		rimmed(c, colors[p.styles[pt.Method].color], at(pt.Lost, pt.Rate), priceDot)
	}
}

// drawShares draws the axis of what is lost below a panel.
func (p *pricePage) drawShares(c draw.Canvas, box, axis vg.Rectangle) {
	line, small := draw.LineStyle{Color: muted, Width: 0.6}, face(9, false)
	c.StrokeLine2(line, box.Min.X, box.Min.Y, box.Max.X, box.Min.Y)
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		x, text := axis.Min.X+vg.Length(share)*(axis.Max.X-axis.Min.X), plain(100*share)
		grid := draw.LineStyle{Color: faint, Width: 0.6}
		if share == 0 || share == 1 {
			grid.Width = 1.6
		}
		c.StrokeLine2(grid, x, box.Min.Y, x, box.Max.Y)
		c.StrokeLine2(line, x, box.Min.Y, x, box.Min.Y-4)
		c.SetColor(muted)
		c.FillString(small, vg.Point{X: x - small.Width(text)/2, Y: box.Min.Y - 14}, text)
	}
	f, name := face(10, false), "acknowledged data lost or torn (%)"
	c.SetColor(ink)
	c.FillString(f, vg.Point{X: (axis.Min.X + axis.Max.X - f.Width(name)) / 2, Y: box.Min.Y - rowEnd + 4}, name)
}

// drawNames writes the points' names in columns on both sides of the axis, each with its
// method's mark and a line to its dot. Lines are level beyond the axis, and in the names'
// order from there: none crosses another.
func (p *pricePage) drawNames(c draw.Canvas, panel PricePanel, axis vg.Rectangle, at func(share, rate float64) vg.Point) {
	f, line := face(8.5, false), draw.LineStyle{Color: bound, Width: 0.5}
	for k, side := range p.sides(panel.Points) {
		end, out := axis.Min.X, vg.Length(-1)
		if k == 1 {
			end, out = axis.Max.X, 1
		}
		mark := end + out*p.reach
		want := make([]vg.Length, len(side))
		for n, i := range side {
			want[n] = p.y(panel.Points[i].Rate, p.h)
		}
		for n, y := range apart(want, priceLabel, priceLabel/2+2, p.h-priceLabel/2-2) {
			pt := panel.Points[side[n]]
			dot, name := at(pt.Lost, pt.Rate), vg.Point{X: mark, Y: axis.Min.Y + y}
			c.StrokeLines(line, []vg.Point{dot, {X: end + out*priceStub, Y: dot.Y}, {X: mark - out*(glyphR+priceStub), Y: name.Y}, name})

			text := shortenTo(pt.Name, priceName)
			width := f.Width(text)
			x := mark + glyphR + 3
			if k == 0 {
				x = mark - glyphR - 3 - width
			}
			c.SetColor(color.White) // no line of the axis runs through a name
			c.Fill(vg.Rectangle{Min: vg.Point{X: x - 1, Y: name.Y - 4.5}, Max: vg.Point{X: x + width + 1, Y: name.Y + 4.5}}.Path())
			p.styles[pt.Method].glyph(c, name, glyphR)
			c.SetColor(ink)
			c.FillString(f, vg.Point{X: x, Y: name.Y - 3}, text)
		}
	}
}

// rimmed draws a dot that stands out from what it lies on.
func rimmed(c draw.Canvas, col color.NRGBA, at vg.Point, r vg.Length) {
	for _, disc := range []struct {
		color color.Color
		r     vg.Length
	}{{color.White, r + 0.5}, {col, r}} {
		var p vg.Path
		p.Move(vg.Point{X: at.X + disc.r, Y: at.Y})
		p.Arc(at, disc.r, 0, 2*math.Pi)
		p.Close()
		c.SetColor(disc.color)
		c.Fill(p)
	}
}

// apart moves heights, which ascend, as little as can be (by the sum of squares) so that
// they are pitch apart, from low to high; the pitch gives way where there is no room for it.
func apart(want []vg.Length, pitch, low, high vg.Length) []vg.Length {
	pitch = min(pitch, (high-low)/vg.Length(max(1, len(want)-1)))
	// Less the pitch times its index no height may be under the one before: those that are
	// (pool adjacent violators) share their mean.
	type pool struct {
		sum vg.Length
		n   int
	}
	mean := func(p pool) vg.Length { return p.sum / vg.Length(p.n) }
	var pools []pool
	for i, y := range want {
		pools = append(pools, pool{y - pitch*vg.Length(i), 1})
		for n := len(pools) - 1; n > 0 && mean(pools[n]) < mean(pools[n-1]); n-- {
			pools[n-1].sum += pools[n].sum
			pools[n-1].n += pools[n].n
			pools = pools[:n]
		}
	}
	var got []vg.Length
	for _, p := range pools {
		y := max(low, min(mean(p), high-pitch*vg.Length(len(want)-1)))
		for range p.n {
			got = append(got, y+pitch*vg.Length(len(got)))
		}
	}
	return got
}

// drawWay writes the name of a way, and beside it how.
func drawWay(c draw.Canvas, w Way, at vg.Point) {
	bold, name := face(10, true), shortenTo(w.Name, wayName)
	c.SetColor(ink)
	c.FillString(bold, at, name)
	c.SetColor(muted)
	c.FillString(face(8.5, false), vg.Point{X: at.X + bold.Width(name) + wayGap, Y: at.Y}, shortenTo(w.How, wayName))
}

// wayWidth is what drawWay takes.
func wayWidth(w Way) vg.Length {
	bold, small := face(10, true), face(8.5, false)
	return bold.Width(shortenTo(w.Name, wayName)) + wayGap + small.Width(shortenTo(w.How, wayName))
}

// uprightAxis draws an axis of values to the left of a panel, and its lines through it.
// Without a label the panel on its left has it.
func uprightAxis(c draw.Canvas, ax yAxis, r vg.Rectangle, label string, left vg.Length) {
	line, small := draw.LineStyle{Color: muted, Width: 0.6}, face(9, false)
	c.StrokeLine2(line, r.Min.X, r.Min.Y, r.Min.X, r.Max.Y)
	for _, t := range ax.ticks {
		if t.Value < ax.min || t.Value > ax.max {
			continue
		}
		y := r.Min.Y + vg.Length((t.Value-ax.min)/(ax.max-ax.min))*(r.Max.Y-r.Min.Y)
		if t.Label == "" {
			c.StrokeLine2(line, r.Min.X-2, y, r.Min.X, y)
			continue
		}
		if y > r.Min.Y {
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.6}, r.Min.X, y, r.Max.X, y)
		}
		c.StrokeLine2(line, r.Min.X-4, y, r.Min.X, y)
		if label != "" {
			c.SetColor(muted)
			c.FillString(small, vg.Point{X: r.Min.X - 6 - small.Width(t.Label), Y: y - 3}, t.Label)
		}
	}
	if label == "" {
		return
	}
	f := face(10, false)
	c.Push()
	c.Translate(vg.Point{X: left + 9, Y: (r.Min.Y + r.Max.Y - f.Width(label)) / 2})
	c.Rotate(math.Pi / 2)
	c.SetColor(ink)
	c.FillString(f, vg.Point{}, label)
	c.Pop()
}
