package plots

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// Effects has a row for each comparison of one unit of one cell between two commits:
// the ratio and its interval on a log axis in percent, where worse is to the right,
// over a band of what does not count. Rows stand in the caller's order, and the first
// maxEffects of them are drawn. It takes nothing from the results, which may be nil.
type Effects struct {
	Headline
	Rows    []Effect
	Notes   string // above the figures: which commits, how many rounds
	Caption string // below: machine, what the marks mean
}

// An Effect is a row of Effects.
type Effect struct {
	Name          string  // cell and unit, as the caller shortened it: Read/block=4KiB/method=mmap sec/op
	Ratio, Lo, Hi float64 // new ÷ old, oriented so that above 1 is worse; Lo = Hi = 0: no interval
	Bound         float64 // 1 or more: an effect within [1/Bound, Bound] does not count
	Again         *Span   // the second run, nil: there was none
	Verdict       string  // regressed, unconfirmed, undecided, improved, unchanged, waived
}

// A Span is a ratio and its interval; Lo = Hi = 0: none.
type Span struct{ Ratio, Lo, Hi float64 }

// maxEffects is the most rows that are drawn.
const maxEffects = 60

// verdicts are how the verdicts look, in the order of the legend. The shapes alone
// tell them apart, and none is open, as the second run's mark is.
var verdicts = []struct {
	name  string
	style style
}{
	{"regressed", style{vermil, box, solid}},
	{"unconfirmed", style{orange, diamond, solid}},
	{"undecided", style{purple, down, solid}},
	{"improved", style{green, up, solid}},
	{"unchanged", style{blue, disc, solid}},
	{"waived", style{inkless, cross, solid}},
}

// verdictStyle is false for what is no verdict.
func verdictStyle(name string) (s style, ok bool) {
	for _, v := range verdicts {
		if v.name == name {
			return v.style, true
		}
	}
	return s, false
}

// drawable reports whether a ratio has a place on the axis.
func (s Span) drawable() bool { return s.Ratio > 1/extreme && s.Ratio < extreme }

// interval reports whether there is one that has a place on the axis.
func (s Span) interval() bool { return s.Lo > 1/extreme && s.Lo <= s.Hi && s.Hi < extreme }

func (e Effect) span() Span { return Span{e.Ratio, e.Lo, e.Hi} }

// bound is how far from 1 does not count: 1 where the row says nothing of it.
func (e Effect) bound() float64 {
	if e.Bound > 1 && e.Bound < extreme {
		return e.Bound
	}
	return 1
}

// An effectsPage is Effects with what can be drawn of them.
type effectsPage struct {
	Effects
	all   []Effect // with a place on the axis
	rows  []Effect // the first of them
	names []string // of the rows, without what all have in common
	notes []string
	axis  yAxis
}

// sheet implements [Drawing].
func (e Effects) sheet(*summary.Results) (*sheet, error) {
	p, err := e.collect()
	if err != nil {
		return nil, err
	}
	g := p.grid()
	s := &sheet{title: e.Title, notes: strings.Join(p.notes, "\n"), caption: e.Caption, points: p.points()}
	s.w, s.h = g.size()
	legend := effectsLegendRow * vg.Length(len(p.legend(s.w)))
	s.h += legend
	s.body = func(c draw.Canvas, r vg.Rectangle) {
		p.drawLegend(c, r)
		r.Max.Y -= legend
		p.draw(c, r, g)
	}
	return s, nil
}

func (e Effects) collect() (*effectsPage, error) {
	if len(e.Rows) == 0 {
		return nil, noData("draw %s: there is no comparison", e.Name)
	}
	p := &effectsPage{Effects: e}
	for _, row := range e.Rows {
		if _, ok := verdictStyle(row.Verdict); !ok {
			return nil, summary.Errorf("draw %s: the verdict of %s is %q (take regressed, unconfirmed, undecided, improved, unchanged or waived)", e.Name, shorten(row.Name), row.Verdict)
		}
		if row.Again != nil && !row.Again.drawable() {
			row.Again = nil
		}
		if row.span().drawable() {
			p.all = append(p.all, row)
		}
	}
	left := len(e.Rows) - len(p.all)
	if len(p.all) == 0 {
		return nil, noData("draw %s: none of the ratios (%d) is positive and finite", e.Name, left)
	}
	p.rows = p.all[:min(len(p.all), maxEffects)]
	names, shared := lift(p.rows)
	p.names = names
	p.axis = p.ratios()
	beyond := slices.ContainsFunc(p.rows, func(e Effect) bool {
		return slices.ContainsFunc(e.spans(), func(s Span) bool { return slices.ContainsFunc(s.values(), p.beyond) })
	})

	note := func(format string, args ...any) { p.notes = append(p.notes, fmt.Sprintf(format, args...)) }
	if e.Notes != "" {
		note("%s", e.Notes)
	}
	if shared != "" {
		note("All rows: %s", shared)
	}
	if more := len(p.all) - len(p.rows); more > 0 {
		note("Drawn: the first %d rows; %d more are not.", len(p.rows), more)
	}
	if left > 0 {
		note("Left out: %d of %d, whose ratio is not positive and finite.", left, len(e.Rows))
	}
	if beyond {
		note("An arrow points beyond the axis, where it would press the rest: the figure on the right holds.")
	}
	return p, nil
}

// lift takes from the rows' names what all of them have, such as pattern=rand, and
// returns the names and what was taken. Names that would be empty stay whole.
func lift(rows []Effect) (names []string, shared string) {
	var parts [][]string
	for _, row := range rows {
		names = append(names, row.Name)
		name, unit, ok := cutLast(row.Name, " ")
		all := strings.Split(name, "/")
		if ok {
			all = append(all, " "+unit) // a space tells it from a part of the name
		}
		parts = append(parts, all)
	}
	if len(rows) < 2 {
		return names, ""
	}
	var words []string
	for _, part := range parts[0] {
		if !slices.ContainsFunc(parts, func(other []string) bool { return !slices.Contains(other, part) }) {
			words = append(words, part)
		}
	}
	short := make([]string, len(rows))
	for i, all := range parts {
		rest := slices.DeleteFunc(slices.Clone(all), func(part string) bool { return slices.Contains(words, part) })
		if short[i] = strings.TrimSpace(strings.ReplaceAll(strings.Join(rest, "/"), "/ ", " ")); short[i] == "" {
			return names, ""
		}
	}
	for i, word := range words {
		key, value, ok := strings.Cut(strings.TrimSpace(word), "=")
		if words[i] = key; ok {
			words[i] += " " + sizeLabel(value)
		}
	}
	return short, strings.Join(words, " · ")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// spans are a row's runs.
func (e Effect) spans() []Span {
	if e.Again == nil {
		return []Span{e.span()}
	}
	return []Span{e.span(), *e.Again}
}

// values are the ratio and the ends of its interval.
func (s Span) values() []float64 {
	if s.interval() {
		return []float64{s.Ratio, s.Lo, s.Hi}
	}
	return []float64{s.Ratio}
}

// beyond reports whether a ratio has its place outside the axis.
func (p *effectsPage) beyond(v float64) bool {
	at := math.Log10(v)
	return at < p.axis.min || at > p.axis.max
}

// ratios is the axis of the rows. What is far out does not press the rest together:
// the axis ends at a change of least, or at twice the way of the row that all but one
// in seven are within.
func (p *effectsPage) ratios() yAxis {
	const least = 1.4
	var ways []float64
	for _, row := range p.rows {
		ways = append(ways, math.Abs(math.Log10(row.Ratio)))
	}
	slices.Sort(ways)
	limit := max(math.Log10(least), 2*ways[6*(len(ways)-1)/7])
	low, high := 0.0, 0.0
	see := func(values ...float64) {
		for _, v := range values {
			at := math.Log10(v)
			low, high = min(low, max(at, -limit)), max(high, min(at, limit))
		}
	}
	for _, row := range p.rows {
		see(row.bound(), 1/row.bound())
		for _, s := range row.spans() {
			see(s.values()...)
		}
	}
	return percentAxis(low, high)
}

// percentAxis is logarithmic from one power of ten to another, which it widens: the
// least is a percent to either side, and room for a word on both sides of zero.
func percentAxis(low, high float64) yAxis {
	low, high = min(low, -math.Log10(1.01)), max(high, math.Log10(1.01))
	low, high = min(low, -high/3), max(high, -low/3)
	a := yAxis{log: true, min: low - 0.04*(high-low), max: high + 0.04*(high-low)}
	a.zero = a.min
	span := a.max - a.min
	add := func(v float64) {
		if at := math.Log10(v); at >= a.min && at <= a.max {
			a.ticks = append(a.ticks, plot.Tick{Value: at, Label: effectLabel(v, 0)})
		}
	}
	defer func() { slices.SortFunc(a.ticks, func(s, t plot.Tick) int { return cmp.Compare(s.Value, t.Value) }) }()
	const apart = 1.0 / 7 // of the axis, the least between two labels
	if top := math.Pow(10, a.max); span < math.Log10(2.2) {
		// Even steps, by the distance of the two topmost.
		for _, step := range []float64{0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5} {
			if math.Log10(top/(top-step)) < apart*span {
				continue
			}
			for i := -math.Floor(1 / step); i <= math.Floor((top-1)/step); i++ {
				if v := math.Round(1e4*(1+i*step)) / 1e4; v > 0 {
					add(v)
				}
			}
			break
		}
		return a
	}
	// Decades, and between them what there is room for.
	every := max(1, math.Ceil(apart*span))
	for e := math.Ceil(a.min/every) * every; e <= a.max; e += every {
		add(math.Pow(10, e))
	}
	if every > 1 {
		return a
	}
	for _, m := range []float64{2, 5, 1.5, 1.2, 0.8} {
		for e := math.Floor(a.min); e <= math.Ceil(a.max); e++ {
			v := m * math.Pow(10, e)
			if m != 2 && m != 5 && e != 0 {
				continue
			}
			free := !slices.ContainsFunc(a.ticks, func(t plot.Tick) bool { return math.Abs(t.Value-math.Log10(v)) < apart*span*0.9 })
			if free {
				add(v)
			}
		}
	}
	return a
}

// effectLabel writes a ratio as a change, in percent with so many decimals at least:
// −10 %, 0, +10 %, and from twice on ×2 and ÷2.
func effectLabel(v float64, decimals int) string {
	text, unit := effectText(v, decimals)
	return text + unit
}

func effectText(v float64, decimals int) (text, unit string) {
	switch percent := 100 * (v - 1); {
	case v > 2-5e-4:
		return "×" + plain(round3(v)), ""
	case v < 0.5+5e-4:
		return "÷" + plain(round3(1/v)), ""
	case decimals == 0:
		if text = plain(round3(percent)); text == "0" {
			return text, ""
		}
	default:
		if text = strconv.FormatFloat(percent, 'f', decimals, 64); strings.Trim(text, "-0.") == "" {
			return strings.TrimPrefix(text, "-"), " %"
		}
		text = strings.Replace(text, "-", "−", 1)
	}
	if v > 1 {
		text = "+" + text
	}
	return text, " %"
}

// figure writes a ratio and its interval: +9.8 % [+8.1, +11.6].
func (s Span) figure() string {
	decimals := 1
	if !slices.ContainsFunc(s.values(), func(v float64) bool { return math.Abs(v-1) >= 0.00995 }) {
		decimals = 2
	}
	text := effectLabel(s.Ratio, decimals)
	if !s.interval() {
		return text
	}
	lo, loUnit := effectText(s.Lo, decimals)
	hi, hiUnit := effectText(s.Hi, decimals)
	if _, unit := effectText(s.Ratio, decimals); unit != loUnit || unit != hiUnit {
		lo, hi = lo+loUnit, hi+hiUnit // they do not share that of the ratio
	}
	return text + " [" + lo + ", " + hi + "]"
}

// points are the figures behind the picture, and those of the rows that it leaves out.
func (p *effectsPage) points() [][]string {
	t := [][]string{{"comparison", "verdict", "ratio", "lo", "hi", "bound", "again", "again lo", "again hi"}}
	for _, row := range p.all {
		line := []string{row.Name, row.Verdict}
		add := func(s Span) {
			lo, hi := "", ""
			if s.interval() {
				lo, hi = number(s.Lo), number(s.Hi)
			}
			line = append(line, number(s.Ratio), lo, hi)
		}
		add(row.span())
		line = append(line, number(row.bound()))
		if row.Again != nil {
			add(*row.Again)
		} else {
			line = append(line, "", "", "")
		}
		t = append(t, line)
	}
	return t
}

// Measures in points.
const (
	effectPitch      = 17
	effectsLegendRow = 16
	againR           = 2.1
)

// band is of what does not count, and pale enough for the lines of the axis on it.
var band = color.NRGBA{0xE9, 0xED, 0xF3, 0xFF}

func (p *effectsPage) grid() *grid {
	g := &grid{names: p.names, axis: p.axis, scale: 1, label: "change (log scale)", pitch: effectPitch, most: maxName}
	column := []string{"change [95 % interval]"}
	for _, row := range p.rows {
		column = append(column, row.span().figure())
	}
	g.columns = [][]string{column}
	g.under = func(c draw.Canvas, box vg.Rectangle, at func(float64) vg.Length, mid func(int) vg.Length) {
		c.SetColor(band)
		for i, row := range p.rows {
			if b := row.bound(); b > 1 {
				lo, hi := max(at(1/b), box.Min.X), min(at(b), box.Max.X)
				c.Fill(vg.Rectangle{Min: vg.Point{X: lo, Y: mid(i) - effectPitch/2 + 0.75}, Max: vg.Point{X: hi, Y: mid(i) + effectPitch/2 - 0.75}}.Path())
			}
		}
	}
	return g
}

func (p *effectsPage) draw(c draw.Canvas, r vg.Rectangle, g *grid) {
	at, mid, corner := g.draw(c, r)
	zero := at(1)
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1.1}, zero, mid(len(p.rows))+effectPitch/2, zero, mid(-1)-effectPitch/2)
	small := face(9, false)
	c.SetColor(muted)
	c.FillString(small, vg.Point{X: zero - 6 - small.Width("← better"), Y: corner.Y}, "← better")
	c.FillString(small, vg.Point{X: zero + 6, Y: corner.Y}, "worse →")
	for i, row := range p.rows {
		s, _ := verdictStyle(row.Verdict)
		y := mid(i)
		if row.Again != nil {
			p.drawSpan(c, *row.Again, style{s.color, ring, solid}, againR, at, y-4.6)
			y += 2
		}
		p.drawSpan(c, row.span(), s, glyphR, at, y)
	}
}

// drawSpan draws an interval and the mark in it; what is beyond the axis is an arrow at
// its end.
func (p *effectsPage) drawSpan(c draw.Canvas, s Span, mark style, radius vg.Length, at func(float64) vg.Length, y vg.Length) {
	col := colors[mark.color]
	left, right := at(math.Pow(10, p.axis.min)), at(math.Pow(10, p.axis.max))
	clamp := func(v float64) vg.Length { return max(left, min(at(v), right)) }
	bar := draw.LineStyle{Color: col, Width: radius / 3}
	end := func(v float64) {
		x := clamp(v)
		switch {
		case !p.beyond(v):
			c.StrokeLine2(bar, x, y-radius*0.7, x, y+radius*0.7)
		case v > 1:
			arrowHead(c, col, right, y, 1)
		default:
			arrowHead(c, col, left, y, -1)
		}
	}
	if s.interval() {
		c.StrokeLine2(bar, clamp(s.Lo), y, clamp(s.Hi), y)
		end(s.Lo)
		end(s.Hi)
	}
	x := clamp(s.Ratio)
	if p.beyond(s.Ratio) { // the mark stands before its arrow
		end(s.Ratio)
		x = max(left+9, min(x, right-9))
	}
	mark.glyph(c, vg.Point{X: x, Y: y}, radius)
}

func arrowHead(c draw.Canvas, col color.Color, x, y, side vg.Length) {
	var p vg.Path
	p.Move(vg.Point{X: x, Y: y})
	p.Line(vg.Point{X: x - 5*side, Y: y + 2.6})
	p.Line(vg.Point{X: x - 5*side, Y: y - 2.6})
	p.Close()
	c.SetColor(col)
	c.Fill(p)
}

// An effectKey is an entry of the legend: a mark, or the band where radius is 0.
type effectKey struct {
	style  style
	radius vg.Length
	text   string
}

func (k effectKey) mark() vg.Length {
	if k.radius == 0 {
		return keyW
	}
	return 2 * glyphR
}

func (k effectKey) width() vg.Length {
	f := face(9, false)
	return k.mark() + 5 + f.Width(k.text) + 16
}

// legend are the lines of the legend: the verdicts that some row has, and what else the
// marks are.
func (p *effectsPage) legend(width vg.Length) (lines [][]effectKey) {
	x := width
	add := func(ok bool, k effectKey) {
		if !ok {
			return
		}
		if x+k.width()-16 > width {
			lines, x = append(lines, nil), 0
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], k)
		x += k.width()
	}
	has := func(f func(Effect) bool) bool { return slices.ContainsFunc(p.rows, f) }
	for _, v := range verdicts {
		add(has(func(e Effect) bool { return e.Verdict == v.name }), effectKey{v.style, glyphR, v.name})
	}
	add(has(func(e Effect) bool { return e.Again != nil }), effectKey{style{inkless, ring, solid}, againR, "second run"})
	add(has(func(e Effect) bool { return e.bound() > 1 }), effectKey{text: "too small to count"})
	return lines
}

func (p *effectsPage) drawLegend(c draw.Canvas, r vg.Rectangle) {
	f := face(9, false)
	for i, line := range p.legend(r.Max.X - r.Min.X) {
		x, y := r.Min.X, r.Max.Y-effectsLegendRow*(vg.Length(i)+0.5)
		for _, k := range line {
			if k.radius == 0 {
				c.SetColor(band)
				field := vg.Rectangle{Min: vg.Point{X: x, Y: y - 4.5}, Max: vg.Point{X: x + keyW, Y: y + 4.5}}
				c.Fill(field.Path())
				c.SetLineStyle(draw.LineStyle{Color: faint, Width: 0.6})
				c.Stroke(field.Path())
			} else {
				k.style.glyph(c, vg.Point{X: x + glyphR, Y: y}, k.radius)
			}
			c.SetColor(ink)
			c.FillString(f, vg.Point{X: x + k.mark() + 5, Y: y - 3}, k.text)
			x += k.width()
		}
	}
}
