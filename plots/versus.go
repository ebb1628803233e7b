package plots

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchunit"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/suite"
	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// Versus has a row for each series, with its throughput in two states on one log axis,
// such as warm and cold, and how many times slower the second is. The fastest of the
// second state is on top. A series with one state alone has its row too.
type Versus struct {
	Headline
	Filter string    // benchproc filter of the cells to draw, "" for all
	Series string    // key that tells the rows apart, such as /method
	Key    string    // key that tells the states apart, such as /cache
	Values [2]string // its values, the faster state first
	Unit   string    // of a throughput, as in the file or tidied
	Beside string    // unit of the second state that has a column, "" for none
}

// coldAgainstWarm are the charts of what the page cache is worth, at the usual block,
// and for random reads at that of a page too.
func coldAgainstWarm() (all []Versus) {
	add := func(name, filter, what, block string) {
		all = append(all, Versus{
			Headline: Headline{
				Name: name + "-cold-against-warm", Title: "What is the page cache worth to " + what + "?",
				Section: "An uncached file against a cached one", Lead: true,
			},
			Filter: filter + " /block:" + block, Series: "/method",
			Key: "/cache", Values: [2]string{"warm", "cold"}, Unit: "B/s", Beside: "read-amplification",
		})
	}
	for _, w := range []struct{ pattern, what string }{
		{"seq", "sequential reads"}, {"rand", "random reads"}, {"sparse", "sparse reads"},
		{"stride", "strided reads"}, {"reverse", "backward reads"}, {"zipf", "zipfian reads"},
	} {
		add("read-"+w.pattern, ".name:Read /pattern:"+w.pattern, w.what, usualBlock)
		if w.pattern == "rand" {
			add("read-rand-page", ".name:Read /pattern:rand", "random reads of "+sizeLabel("4KiB"), "4KiB")
		}
	}
	for _, t := range transports[:2] {
		add("send-"+t, ".name:Send /transport:"+t, "sending a file "+suite.Over(t), usualBlock)
	}
	return all
}

// A versusPage is a Versus with its figures.
type versusPage struct {
	Versus
	*data
	rows   []versusRow
	beside bool // some row has it
}

// A versusRow is a series in both states; a state that was not measured is nil.
type versusRow struct {
	name   string
	style  style
	states [2]*point
	slower *verdict.Ratio // how many times the first state is faster, round by round
	cells  [2]*summary.Cell
	beside *summary.Figure
}

// sheet implements [Drawing].
func (v Versus) sheet(results *summary.Results) (*sheet, error) {
	p, err := v.collect(results)
	if err != nil {
		return nil, err
	}
	g := p.grid()
	s := &sheet{title: v.Title, notes: strings.Join(p.notes, "\n"), caption: p.caption, points: p.points()}
	s.w, s.h = g.size()
	s.body = func(c draw.Canvas, r vg.Rectangle) { p.draw(c, r, g) }
	return s, nil
}

func (v Versus) collect(results *summary.Results) (*versusPage, error) {
	cells, err := results.Cells(v.Filter, v.Series, v.Key)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", v.Name, err)
	}
	_, unit := benchunit.Tidy(1, v.Unit)
	cells, left := usual(cells)
	cells = slices.DeleteFunc(cells, func(c *summary.Cell) bool {
		drawable := !slices.ContainsFunc(c.Values(unit), func(v float64) bool { return v < 0 || v > extreme })
		return len(c.Values(unit)) == 0 || !drawable || v.state(c) < 0
	})
	p := &versusPage{Versus: v, data: &data{chart: Chart{X: v.Key, Series: v.Series, Log: true}, xs: v.Values[:]}}
	p.addRows(cells, unit, styleAll(results, v.Series))
	if !slices.ContainsFunc(p.rows, func(r versusRow) bool { return r.states[0] != nil && r.states[1] != nil }) {
		return nil, noData("draw %s: nothing has %s both where %s is %s and where it is %s", v.Name, v.Unit, strings.TrimLeft(v.Key, "/."), v.Values[0], v.Values[1])
	}
	if len(p.rows) > maxSeries {
		return nil, summary.Errorf("draw %s: %d rows in one chart, and %d are the most that can be told apart (narrow the filter)", v.Name, len(p.rows), maxSeries)
	}
	for _, row := range p.rows {
		s := series{name: row.name}
		for _, state := range row.states {
			if state != nil {
				s.points = append(s.points, *state)
			}
		}
		p.series = append(p.series, s)
	}
	p.scale(unit)
	p.addNotes(cells)
	if left != "" {
		p.note("%s", left)
	}
	p.caption = caption(results, p.data, cells) + " ×: geometric means of the ratios of the same round, with 95 % intervals."
	return p, nil
}

// state is the index of the cell's value of the key, -1 for one that is not asked for.
func (v Versus) state(c *summary.Cell) int { return slices.Index(v.Values[:], c.Key(v.Key)) }

func (p *versusPage) addRows(cells []*summary.Cell, unit string, styles map[string]style) {
	_, besideUnit := benchunit.Tidy(1, p.Beside)
	label := labels(cells, p.chart)
	byName := map[string]int{}
	for _, c := range cells {
		name := label(c)
		i, ok := byName[name]
		if !ok {
			i = len(p.rows)
			byName[name] = i
			p.rows = append(p.rows, versusRow{name: name, style: styles[c.Key(p.Versus.Series)]})
		}
		fig, _ := c.Figure(unit)
		p.rows[i].states[p.state(c)], p.rows[i].cells[p.state(c)] = &point{p.state(c), fig, c.Values(unit)}, c
		if beside, ok := c.Figure(besideUnit); ok && p.state(c) == 1 {
			p.rows[i].beside, p.beside = &beside, true
		}
	}
	for i, row := range p.rows {
		if row.cells[0] == nil || row.cells[1] == nil {
			continue
		}
		first, second := summary.Paired(row.cells[0], row.cells[1], unit)
		if r, ok := verdict.Paired(first, second, summary.Confidence); ok && r.Value <= extreme {
			p.rows[i].slower = &r
		}
	}
	at := func(r versusRow, state int) float64 {
		if r.states[state] == nil {
			return -1
		}
		return r.states[state].fig.Value
	}
	slices.SortFunc(p.rows, func(a, b versusRow) int {
		return cmp.Or(cmp.Compare(at(b, 1), at(a, 1)), cmp.Compare(at(b, 0), at(a, 0)), summary.Compare(a.name, b.name))
	})
}

// addNotes says what all cells have in common, and what those of one state have beyond
// that: a cold file can have another size than a warm one.
func (p *versusPage) addNotes(cells []*summary.Cell) {
	all := common(cells, p.Versus.Series, p.Key)
	if all != "" {
		p.note("%s", all)
	}
	var words []string
	for state, value := range p.Values {
		of := slices.DeleteFunc(slices.Clone(cells), func(c *summary.Cell) bool { return p.state(c) != state })
		own := slices.DeleteFunc(strings.Split(common(of, p.Versus.Series, p.Key), " · "), func(s string) bool {
			return s == "" || slices.Contains(strings.Split(all, " · "), s)
		})
		if len(own) > 0 {
			words = append(words, value+": "+strings.Join(own, ", "))
		}
	}
	if len(words) > 0 {
		p.note("%s", strings.Join(words, "; "))
	}
}

// points are the figures behind the picture, in units of the axis.
func (p *versusPage) points() [][]string {
	t := [][]string{{strings.TrimLeft(p.Versus.Series, "/."), strings.TrimLeft(p.Key, "/."), p.yLabel, "lo", "hi", "n", "times slower", p.Beside}}
	for _, row := range p.rows {
		for state, pt := range row.states {
			if pt == nil {
				continue
			}
			lo, hi, slower, beside := "", "", "", ""
			if pt.fig.Interval {
				lo, hi = number(pt.fig.Lo/p.yScale), number(pt.fig.Hi/p.yScale)
			}
			if row.slower != nil && state == 1 {
				slower = number(row.slower.Value)
			}
			if row.beside != nil && state == 1 {
				beside = number(row.beside.Value)
			}
			t = append(t, []string{row.name, p.Values[state], number(pt.fig.Value / p.yScale), lo, hi, strconv.Itoa(pt.fig.N), slower, beside})
		}
	}
	return t
}

// Measures in points.
const versusPitch = 18

func (p *versusPage) grid() *grid {
	g := &grid{axis: (&lines{data: p.data}).yAxis(), scale: p.yScale, label: p.yLabel, pitch: versusPitch}
	slower := []string{p.Values[1] + " is slower"}
	beside := []string{strings.ReplaceAll(p.Beside, "-", " ")}
	for _, row := range p.rows {
		g.names = append(g.names, row.name)
		text := "–"
		if row.slower != nil {
			text = strings.TrimSpace(row.slower.Times() + " × " + row.slower.Bounds())
		}
		slower = append(slower, text)
		text = "–"
		if row.beside != nil {
			text = strconv.FormatFloat(row.beside.Value, 'f', 2, 64) + " ×"
			if row.beside.Value >= 100 {
				text = plain(round3(row.beside.Value)) + " ×"
			}
		}
		beside = append(beside, text)
	}
	g.columns = [][]string{slower}
	if p.beside {
		g.columns = append(g.columns, beside)
	}
	small := face(9, false)
	for _, value := range p.Values {
		g.legend += 14 + small.Width(value) + 16
	}
	return g
}

// stateMark is how a state looks in a series' colour.
func stateMark(state int, s style) style {
	s.shape = [2]int{disc, ring}[state]
	return s
}

func (p *versusPage) draw(c draw.Canvas, r vg.Rectangle, g *grid) {
	at, mid, legend := g.draw(c, r)
	small := face(9, false)
	for state, value := range p.Values {
		stateMark(state, style{color: inkless}).glyph(c, vg.Point{X: legend.X + glyphR, Y: legend.Y + 3}, glyphR)
		c.SetColor(ink)
		c.FillString(small, vg.Point{X: legend.X + 12, Y: legend.Y}, value)
		legend.X += 14 + small.Width(value) + 16
	}
	for i, row := range p.rows {
		y := mid(i)
		if row.states[0] != nil && row.states[1] != nil {
			c.StrokeLine2(draw.LineStyle{Color: tint(colors[row.style.color], 0.45), Width: 1}, at(row.states[0].fig.Value), y, at(row.states[1].fig.Value), y)
		}
		for state, pt := range row.states {
			if pt == nil {
				continue
			}
			pale := colors[row.style.color]
			pale.A = 0x60
			dots(c, pale, pt.drawn(), at, y, 9)
			if fig := pt.fig; fig.Interval && fig.Lo != fig.Hi {
				bar := draw.LineStyle{Color: colors[row.style.color], Width: 0.9}
				c.StrokeLine2(bar, at(fig.Lo), y, at(fig.Hi), y)
				for _, x := range []vg.Length{at(fig.Lo), at(fig.Hi)} {
					c.StrokeLine2(bar, x, y-2.2, x, y+2.2)
				}
			}
			stateMark(state, row.style).glyph(c, vg.Point{X: at(pt.fig.Value), Y: y}, glyphR)
		}
	}
}
