package plots

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"io"
	"strconv"

	xfont "golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// svgCanvas carries the outlines of the letters that a chart uses, so that it
// looks alike in every viewer and nothing runs out of its place. The font as
// a whole would be half a megabyte in each file, and not every viewer takes
// one; neither does every viewer keep to textLength. A title and a
// description stand in for the text.
//
// A letter that the font lacks leaves its string as text, held to its length.
type svgCanvas struct {
	*vgsvg.Canvas
	title, desc string
	color       color.Color
	strings     []svgString
	defs        bytes.Buffer
	defined     map[string]bool
}

// A svgString is a string drawn: as outlines, or else with the length it has.
type svgString struct {
	outline string
	length  vg.Length
}

func newSVG(w, h vg.Length, title, desc string) *svgCanvas {
	return &svgCanvas{Canvas: vgsvg.NewWith(vgsvg.UseWH(w, h)), title: title, desc: desc, defined: map[string]bool{}}
}

func (c *svgCanvas) SetColor(col color.Color) {
	c.color = col
	c.Canvas.SetColor(col)
}

// FillString lets vgsvg write the string, which WriteTo then replaces.
func (c *svgCanvas) FillString(f font.Face, pt vg.Point, s string) {
	c.strings = append(c.strings, svgString{c.outline(f, pt, s), f.Width(s)})
	c.Canvas.FillString(f, pt, s)
}

func (c *svgCanvas) outline(f font.Face, pt vg.Point, s string) string {
	glyphs, ok := glyphsOf(f, s)
	if !ok {
		return ""
	}
	var out bytes.Buffer
	kind := "r"
	if f.Font.Weight == xfont.WeightBold {
		kind = "b"
	}
	r, g, b, _ := c.color.RGBA()
	fmt.Fprintf(&out, `<g fill="#%02X%02X%02X" transform="translate(%.5g, %.5g) scale(%.5g)">`,
		r>>8, g>>8, b>>8, pt.X.Points(), pt.Y.Points(), f.Font.Size.Points()/float64(f.Face.UnitsPerEm()))
	for _, letter := range glyphs {
		id := kind + strconv.Itoa(int(letter.index))
		if c.define(f, letter.index, id) {
			fmt.Fprintf(&out, `<use xlink:href="#%s" x="%d"/>`, id, letter.x)
		}
	}
	out.WriteString("</g>\n")
	return out.String()
}

// define writes a letter's outline once, and reports whether it has any: a
// space has none.
func (c *svgCanvas) define(f font.Face, glyph sfnt.GlyphIndex, id string) bool {
	if seen, ok := c.defined[id]; ok {
		return seen
	}
	var buf sfnt.Buffer
	segments, err := f.Face.LoadGlyph(&buf, glyph, fixed.Int26_6(f.Face.UnitsPerEm()), nil)
	c.defined[id] = err == nil && len(segments) > 0
	if !c.defined[id] {
		return false
	}
	fmt.Fprintf(&c.defs, `<path id="%s" d="`, id)
	for _, s := range segments {
		op, n := "M", 1
		switch s.Op {
		case sfnt.SegmentOpLineTo:
			op = "L"
		case sfnt.SegmentOpQuadTo:
			op, n = "Q", 2
		case sfnt.SegmentOpCubeTo:
			op, n = "C", 3
		}
		c.defs.WriteString(op)
		for i, p := range s.Args[:n] {
			if i > 0 {
				c.defs.WriteByte(' ')
			}
			fmt.Fprintf(&c.defs, "%d %d", int(p.X), -int(p.Y)) // fonts here have y downwards
		}
	}
	c.defs.WriteString("Z\"/>\n")
	return true
}

// WriteTo implements io.WriterTo.
func (c *svgCanvas) WriteTo(w io.Writer) (int64, error) {
	var raw, out bytes.Buffer
	if _, err := c.Canvas.WriteTo(&raw); err != nil {
		return 0, err
	}
	// What stands in a text is escaped, so these two mark its ends and
	// nothing else.
	begin, end := []byte("<text "), []byte("</text>\n")
	head, rest, more := bytes.Cut(raw.Bytes(), begin)
	head = bytes.Replace(head, []byte("<svg "), []byte(`<svg role="img" `), 1)
	if before, after, ok := bytes.Cut(head, []byte("<g ")); ok {
		out.Write(before)
		fmt.Fprintf(&out, "<title>%s</title>\n<desc>%s</desc>\n<defs>\n%s</defs>\n<g ", html.EscapeString(c.title), html.EscapeString(c.desc), c.defs.Bytes())
		head = after
	}
	out.Write(head)
	for _, s := range c.strings {
		if !more {
			break
		}
		var text, after []byte
		text, after, _ = bytes.Cut(rest, end)
		if s.outline != "" {
			out.WriteString(s.outline)
		} else {
			fmt.Fprintf(&out, `<text textLength="%.5g" lengthAdjust="spacingAndGlyphs" %s%s`, s.length.Points(), text, end)
		}
		head, rest, more = bytes.Cut(after, begin)
		out.Write(head)
	}
	return out.WriteTo(w)
}
