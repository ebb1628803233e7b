package plots

import (
	"fmt"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// Kept has a row for each policy, and in it a bar for each panel of ways of loss: what of
// the acknowledged data is intact, torn, lost. Rows stand in the caller's order. It takes
// nothing from the results, which may be nil.
type Kept struct {
	Headline
	Ways    []Way
	Panels  []KeptPanel // nil: each way has its own
	Rows    []KeptRow
	Notes   string // above the figures
	Caption string // below: machine, what the ways are
}

// A KeptPanel is shared by ways that have no row in common, so that each of its bars is of
// one of them.
type KeptPanel struct {
	Way       // what it is called
	Of  []int // indices of Kept.Ways
}

// A KeptRow is a policy of a method.
type KeptRow struct {
	Method string // has the colour
	Name   string // write/each
	Left   []Left // by way; those that lack at its end were not measured
}

// Left is what cycles left of what was acknowledged, as shares.
type Left struct {
	N, Lossy   int     // cycles, and those of them that lost or tore a record; N = 0: not measured
	Torn, Lost float64 // mean shares; the rest is intact
	Worst      float64 // the greatest share torn or lost of a cycle
}

// drawable reports whether the shares are some.
func (l Left) drawable() bool {
	const slack = 1e-9 // of the arithmetic
	return l.N > 0 && l.Lossy >= 0 && l.Lossy <= l.N && l.Torn >= 0 && l.Lost >= 0 && l.Torn+l.Lost <= 1+slack && l.Worst >= 0 && l.Worst <= 1+slack
}

// text writes what was torn or lost: the mean and the worst of so many cycles, or that
// none of n was, and what share of them may be so yet.
func (l Left) text() string {
	switch {
	case l.N == 0:
		return "not measured"
	case l.Lossy == 0:
		if bound := zeroBound(l.N); bound != "" {
			return fmt.Sprintf("0 of %d (< %s)", l.N, bound)
		}
		return fmt.Sprintf("0 of %d", l.N)
	}
	mean := shareText(min(1, l.Torn+l.Lost))
	if worst := shareText(min(1, l.Worst)); worst != mean {
		mean += " (" + worst + ")"
	}
	return mean + " of " + strconv.Itoa(l.N)
}

// percentages is an axis of shares.
var percentages = yAxis{max: 100, ticks: []plot.Tick{{Value: 0, Label: "0"}, {Value: 50, Label: "50"}, {Value: 100, Label: "100"}}}

// keptParts are those of a bar, as fillPart draws them.
var keptParts = []string{"intact", "torn", "lost"}

// Measures in points.
const (
	keptPitch  = 16
	keptH      = 10
	keptBar    = 66 // the least width of bars
	keptGap    = 14 // between panels
	keptTop    = 48 // for the legend and the names of the ways
	keptSliver = 1.6
)

// sheet implements [Drawing].
func (k Kept) sheet(*summary.Results) (*sheet, error) {
	p, err := k.collect()
	if err != nil {
		return nil, err
	}
	return &sheet{
		title: k.Title, notes: k.Notes, caption: joined(k.Caption, p.how()), points: p.points(),
		w: p.left + p.panel*vg.Length(len(p.Panels)) + keptGap*vg.Length(len(p.Panels)-1), h: keptTop + keptPitch*vg.Length(len(p.Rows)) + rowEnd,
		body: p.draw,
	}, nil
}

// A keptPage is Kept with a place for everything.
type keptPage struct {
	Kept
	styles            map[string]style
	left, panel, text vg.Length // widths: of the names, of a panel, and of the words in it
}

func (k Kept) collect() (*keptPage, error) {
	p := &keptPage{Kept: k}
	if err := p.share(); err != nil {
		return nil, err
	}
	p.Rows = slices.Clone(k.Rows)
	var methods []string
	measured := false
	names, small := face(10, false), face(8.5, false)
	for i, row := range p.Rows {
		if len(row.Left) > len(k.Ways) {
			return nil, summary.Errorf("draw %s: %s has %d ways of loss, and there are %d", k.Name, shorten(row.Name), len(row.Left), len(k.Ways))
		}
		row.Left = append(slices.Clone(row.Left), make([]Left, len(k.Ways)-len(row.Left))...)
		for w, l := range row.Left {
			if l != (Left{}) && !l.drawable() {
				return nil, summary.Errorf("draw %s: %s, %s: %d of %d cycles are lossy, with %s torn, %s lost, %s at worst (want shares from 0 to 1)",
					k.Name, shorten(row.Name), shorten(k.Ways[w].Name), l.Lossy, l.N, number(l.Torn), number(l.Lost), number(l.Worst))
			}
			measured = measured || l.N > 0
			p.text = max(p.text, small.Width(l.text()))
		}
		p.Rows[i].Left = row.Left
		for _, panel := range p.Panels {
			if ways := row.measured(panel); len(ways) > 1 {
				return nil, summary.Errorf("draw %s: %s was lost in %d of the ways that share the panel %s (want one)", k.Name, shorten(row.Name), len(ways), shorten(panel.How))
			}
		}
		p.left = max(p.left, names.Width(shortenTo(row.Name, rowName)))
		methods = append(methods, row.Method)
	}
	switch {
	case !measured:
		return nil, noData("draw %s: nothing was lost on purpose", k.Name)
	case len(p.Rows) > maxSeries:
		return nil, summary.Errorf("draw %s: %d rows in one chart, and %d are the most that a page has (draw fewer policies)", k.Name, len(p.Rows), maxSeries)
	case len(p.Panels) > maxWays:
		return nil, summary.Errorf("draw %s: %d ways of loss, and %d are the most that a page has (draw fewer)", k.Name, len(p.Panels), maxWays)
	}
	p.styles = writerStyles(methods)
	p.left += 8
	p.text += 6
	panels := vg.Length(len(p.Panels))
	p.panel = max(keptBar+p.text, (bodyW-p.left-keptGap*(panels-1))/panels)
	for _, panel := range p.Panels {
		p.panel = max(p.panel, wayWidth(panel.Way))
	}
	return p, nil
}

// share has each way in one panel.
func (p *keptPage) share() error {
	if p.Panels == nil {
		for w, way := range p.Ways {
			p.Panels = append(p.Panels, KeptPanel{way, []int{w}})
		}
	}
	times := make([]int, len(p.Ways))
	for _, panel := range p.Panels {
		for _, w := range panel.Of {
			if w < 0 || w >= len(times) {
				return summary.Errorf("draw %s: a panel is of way %d, and there are %d", p.Name, w, len(times))
			}
			times[w]++
		}
	}
	for w, n := range times {
		if n != 1 {
			return summary.Errorf("draw %s: %s is in %d panels (want one)", p.Name, shorten(p.Ways[w].Name), n)
		}
	}
	return nil
}

// measured are what a panel's ways left of a row, where they were measured.
func (r KeptRow) measured(panel KeptPanel) (all []Left) {
	for _, w := range panel.Of {
		if r.Left[w].N > 0 {
			all = append(all, r.Left[w])
		}
	}
	return all
}

// how says what the words beside the bars are.
func (p *keptPage) how() string {
	text := "Bars: mean shares of the acknowledged records. Beside them: what is torn or lost, the mean (the worst) of n cycles; 0 of n (< x): none of n cycles lost a record, and at 95 % fewer than x of all do."
	for _, row := range p.Rows {
		for _, l := range row.Left {
			if small := keptSliver / float64(p.panel-p.text); l.Torn > 0 && l.Torn < small || l.Lost > 0 && l.Lost < small {
				return text + " The least shares are drawn wider than they are, to be seen."
			}
		}
	}
	return text
}

// points are the figures behind the picture.
func (p *keptPage) points() [][]string {
	t := [][]string{{"policy", "way", "how", "intact", "torn", "lost", "worst", "lossy cycles", "n"}}
	for _, row := range p.Rows {
		for w, l := range row.Left {
			line := []string{row.Name, p.Ways[w].Name, p.Ways[w].How, "", "", "", "", "", "0"}
			if l.N > 0 {
				line = append(line[:3], number(max(0, 1-l.Torn-l.Lost)), number(l.Torn), number(l.Lost), number(l.Worst), strconv.Itoa(l.Lossy), strconv.Itoa(l.N))
			}
			t = append(t, line)
		}
	}
	return t
}

func (p *keptPage) draw(c draw.Canvas, r vg.Rectangle) {
	names, small := face(10, false), face(8.5, false)
	top := r.Max.Y - keptTop
	mid := func(i int) vg.Length { return top - keptPitch*(vg.Length(i)+0.5) }
	p.drawLegend(c, vg.Point{X: r.Min.X + p.left, Y: r.Max.Y - 11})
	for i, row := range p.Rows {
		if i > 0 && row.Method != p.Rows[i-1].Method {
			y := mid(i) + keptPitch/2
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.6}, r.Min.X, y, r.Max.X, y)
		}
		name := shortenTo(row.Name, rowName)
		c.SetColor(ink)
		c.FillString(names, vg.Point{X: r.Min.X + p.left - 8 - names.Width(name), Y: mid(i) - 3.5}, name)
	}
	for n, panel := range p.Panels {
		x := r.Min.X + p.left + (p.panel+keptGap)*vg.Length(n)
		box := vg.Rectangle{Min: vg.Point{X: x, Y: mid(len(p.Rows)) + keptPitch/2}, Max: vg.Point{X: x + p.panel - p.text, Y: top}}
		drawWay(c, panel.Way, vg.Point{X: x, Y: top + 17})
		c.SetColor(muted)
		c.FillString(small, vg.Point{X: box.Max.X + 6, Y: top + 5}, "torn or lost")
		valueAxis(c, percentages, box, "records (%)")
		for i, row := range p.Rows {
			l, y := Left{}, mid(i)
			if measured := row.measured(panel); len(measured) > 0 {
				l = measured[0]
				p.drawBar(c, l, p.styles[row.Method], vg.Rectangle{Min: vg.Point{X: box.Min.X, Y: y - keptH/2}, Max: vg.Point{X: box.Max.X, Y: y + keptH/2}})
			} else {
				c.StrokeLine2(draw.LineStyle{Color: bound, Width: 0.6, Dashes: dashes[dotted]}, box.Min.X, y, box.Max.X, y)
			}
			c.SetColor(ink)
			if l.N == 0 {
				c.SetColor(muted)
			}
			c.FillString(small, vg.Point{X: box.Max.X + 6, Y: y - 3}, l.text())
		}
	}
}

// drawBar draws what is intact, torn and lost from the left.
func (p *keptPage) drawBar(c draw.Canvas, l Left, s style, r vg.Rectangle) {
	whole := r.Max.X - r.Min.X
	widths := [3]vg.Length{0, vg.Length(l.Torn) * whole, vg.Length(l.Lost) * whole}
	for i := range widths[1:] {
		if w := &widths[i+1]; *w > 0 {
			*w = max(*w, keptSliver)
		}
	}
	widths[0] = whole - widths[1] - widths[2]
	if l.Torn+l.Lost >= 1 || widths[0] < 0 {
		widths[0] = 0
		sum := widths[1] + widths[2]
		widths[1], widths[2] = widths[1]*whole/sum, widths[2]*whole/sum
	}
	x := r.Min.X
	for i, w := range widths {
		if w > 0 {
			fillPart(c, i, colors[s.color], vg.Rectangle{Min: vg.Point{X: x, Y: r.Min.Y}, Max: vg.Point{X: x + w, Y: r.Max.Y}})
		}
		x += w
	}
}

func (p *keptPage) drawLegend(c draw.Canvas, at vg.Point) {
	f := face(9, false)
	for i, part := range keptParts {
		fillPart(c, i, muted, vg.Rectangle{Min: vg.Point{X: at.X, Y: at.Y - 1.5}, Max: vg.Point{X: at.X + keyW, Y: at.Y + 7.5}})
		c.SetColor(ink)
		c.FillString(f, vg.Point{X: at.X + keyW + 5, Y: at.Y}, part)
		at.X += keyW + 5 + f.Width(part) + 16
	}
}
