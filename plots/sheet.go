package plots

import (
	"bytes"
	"encoding/csv"
	"image/color"
	"io"
	"strconv"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A sheet is a drawing with its figures and its measures, ready for any format:
// title and notes above, the body, the caption below, each in room of its own.
type sheet struct {
	title, notes, caption string
	w, h                  vg.Length // of the body
	body                  func(c draw.Canvas, r vg.Rectangle)
	points                [][]string // the table behind the picture, its heading first
}

// Measures in points.
const (
	margin   = 10
	pageW    = 630 // at least: what a README shows at its full size
	bodyW    = pageW - 2*margin
	titleRow = 16
	smallRow = 12
)

// page is a sheet laid out.
type page struct {
	*sheet
	w, h                  vg.Length
	title, notes, caption []string
}

func (s *sheet) layout() *page {
	p := &page{sheet: s, w: max(s.w+2*margin, pageW)}
	inner := p.w - 2*margin
	p.title = wrap(face(13, true), shortenTo(s.title, 300), inner)
	p.notes = wrap(face(8.5, false), shortenTo(s.notes, 2000), inner)
	p.caption = wrap(face(8.5, false), shortenTo(s.caption, 2000), inner)
	p.h = margin + titleRow*vg.Length(len(p.title)) + smallRow*vg.Length(len(p.notes)) + 8 +
		s.h + 8 + smallRow*vg.Length(len(p.caption)) + margin
	return p
}

func (p *page) draw(c draw.Canvas) {
	// An opaque ground, which a PNG has anyway: the chart is read on dark pages too.
	if _, ok := c.Canvas.(pngCanvas); !ok {
		c.SetColor(color.White)
		c.Fill(c.Rectangle.Path())
	}
	y := p.h - margin
	lines := func(f font.Face, col color.Color, pitch vg.Length, texts []string) {
		c.SetColor(col)
		for _, t := range texts {
			y -= pitch
			c.FillString(f, vg.Point{X: margin, Y: y + pitch/4}, t)
		}
	}
	lines(face(13, true), ink, titleRow, p.title)
	lines(face(8.5, false), muted, smallRow, p.notes)
	y -= 8
	p.body(c, vg.Rectangle{Min: vg.Point{X: margin, Y: y - p.sheet.h}, Max: vg.Point{X: p.w - margin, Y: y}})
	y -= p.sheet.h + 8
	lines(face(8.5, false), muted, smallRow, p.caption)
}

// render draws the sheet in one of the Formats.
func (s *sheet) render(format string) io.WriterTo {
	p := s.layout()
	switch format {
	case "csv":
		return table(s.points)
	case "svg":
		c := newSVG(p.w, p.h, s.title, joinLines(s.notes, s.caption))
		p.draw(draw.New(c))
		return c
	case "pdf":
		c := newPDF(p.w, p.h)
		p.draw(draw.New(c))
		return c
	}
	c := newPNG(p.w, p.h)
	p.draw(draw.New(c))
	return c
}

func joinLines(a, b string) string {
	if a == "" {
		return b
	}
	return a + "\n" + b
}

// A table is written as RFC 4180 has it.
type table [][]string

func (t table) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(t); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// number writes a figure for a table, with all the digits that mean anything.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
