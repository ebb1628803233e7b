package plots

import (
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Where there is but one x, lines would be dots above one another. Such a chart has
// a row for each series instead, the highest on top, and its values to the right.

// Measures in points.
const (
	rowH   = 17
	rowTop = 18 // for the names of bounds
	rowEnd = 34 // for the axis of values
)

// inRows reports whether the chart is drawn so.
func (d *data) inRows() bool { return len(d.xs) == 1 && len(d.series) > 1 }

// rowsHeight is what the rows take.
func (d *data) rowsHeight() vg.Length {
	return rowTop + rowH*vg.Length(len(d.series)) + rowEnd
}

func (p *lines) drawRows(c draw.Canvas, r vg.Rectangle) {
	names := face(10, false)
	var left vg.Length
	rows := make([]string, len(p.series))
	for i, s := range p.series {
		rows[i] = shortenTo(sizeLabel(s.name), 60)
		left = max(left, names.Width(rows[i]))
	}
	left += r.Min.X + 8
	right := r.Max.X - 8
	upper, bottom := r.Max.Y-rowTop, r.Min.Y+rowEnd
	ax := p.yAxis()
	at := func(v float64) vg.Length {
		share := (ax.at(v/p.yScale) - ax.min) / (ax.max - ax.min)
		return left + vg.Length(share)*(right-left)
	}
	valueAxis(c, ax, vg.Rectangle{Min: vg.Point{X: left, Y: bottom}, Max: vg.Point{X: right, Y: upper}},
		shortenTo(p.yLabel+", "+strings.TrimLeft(p.chart.X, "./")+" "+p.xName(p.xs[0]), 90))
	end := vg.Length(math.Inf(-1))
	for i, ceiling := range p.ceils {
		x := at(ceiling.points[0].fig.Value)
		c.StrokeLine2(top(i), x, bottom, x, upper)
		end = p.nameBound(c, sizeLabel(ceiling.name), x, upper, end, r)
	}
	for _, f := range p.floors {
		x := at(f.value)
		c.StrokeLine2(low, x, bottom, x, upper)
		end = p.nameBound(c, f.name, x, upper, end, r)
	}
	for i, s := range p.series {
		mid := upper - rowH*(vg.Length(i)+0.5)
		c.SetColor(ink)
		c.FillString(names, vg.Point{X: left - 8 - names.Width(rows[i]), Y: mid - 3.5}, rows[i])
		p.drawRow(c, s, mid, at)
	}
}

// drawRow draws the measurements of a series, their interval and their median.
func (p *lines) drawRow(c draw.Canvas, s series, mid vg.Length, at func(float64) vg.Length) {
	pale := colors[s.style.color]
	pale.A = 0x60
	c.SetColor(pale)
	for _, pt := range s.points {
		raw := pt.drawn()
		for i, v := range raw {
			// In the order of the rounds, from the top down.
			x, y := at(v), mid+min(1.3, 9/vg.Length(len(raw)))*(vg.Length(len(raw)-1)/2-vg.Length(i))
			var dot vg.Path
			dot.Move(vg.Point{X: x + 1.2, Y: y})
			dot.Arc(vg.Point{X: x, Y: y}, 1.2, 0, 2*math.Pi)
			dot.Close()
			c.Fill(dot)
		}
	}
	bar := draw.LineStyle{Color: colors[s.style.color], Width: 0.9}
	for _, pt := range s.points {
		if pt.fig.Interval && pt.fig.Lo != pt.fig.Hi {
			lo, hi := at(pt.fig.Lo), at(pt.fig.Hi)
			c.StrokeLine2(bar, lo, mid, hi, mid)
			for _, x := range []vg.Length{lo, hi} {
				c.StrokeLine2(bar, x, mid-2.2, x, mid+2.2)
			}
		}
		s.style.glyph(c, vg.Point{X: at(pt.fig.Value), Y: mid}, glyphR)
	}
}

// nameBound writes the name of a bound above its line, and returns where it ends. One
// that would run into the name before, or out of the chart, moves.
func (p *lines) nameBound(c draw.Canvas, name string, x, top, end vg.Length, r vg.Rectangle) vg.Length {
	width := p.small.Width(name)
	x = max(min(x-width/2, r.Max.X-width), end+6, r.Min.X)
	c.SetColor(bound)
	c.FillString(p.small, vg.Point{X: x, Y: top + 4}, name)
	return x + width
}
