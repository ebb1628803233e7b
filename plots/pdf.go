package plots

import (
	"math"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgpdf"
)

// pdfCanvas draws letters as their outlines, as the SVG does: vgpdf knows the 8-bit
// letters of Windows alone, and × and − are none. Circles are curves, which vgpdf
// would paint apart from the path that they belong to.
type pdfCanvas struct{ *vgpdf.Canvas }

func init() {
	// The same input gives the same bytes: a file says nothing of when it was made.
	fpdf.SetDefaultCreationDate(time.Unix(0, 0).UTC())
	fpdf.SetDefaultModificationDate(time.Unix(0, 0).UTC())
	fpdf.SetDefaultCatalogSort(true)
}

func newPDF(w, h vg.Length) pdfCanvas { return pdfCanvas{vgpdf.New(w, h)} }

func (c pdfCanvas) Fill(p vg.Path) { c.Canvas.Fill(curved(p)) }

func (c pdfCanvas) Stroke(p vg.Path) { c.Canvas.Stroke(curved(p)) }

// FillString implements vg.Canvas. A letter that the font lacks is its box.
func (c pdfCanvas) FillString(f font.Face, pt vg.Point, s string) {
	var (
		buf   sfnt.Buffer
		em    = fixed.Int26_6(f.Face.UnitsPerEm())
		scale = f.Font.Size / vg.Length(em)
		p     vg.Path
	)
	glyphs, _ := glyphsOf(f, s)
	for _, letter := range glyphs {
		segments, err := f.Face.LoadGlyph(&buf, letter.index, em, nil)
		if err != nil {
			continue
		}
		at := func(to fixed.Point26_6) vg.Point {
			return vg.Point{X: pt.X + vg.Length(letter.x+int(to.X))*scale, Y: pt.Y - vg.Length(to.Y)*scale}
		}
		for i, s := range segments {
			switch s.Op {
			case sfnt.SegmentOpMoveTo:
				if i > 0 {
					p.Close()
				}
				p.Move(at(s.Args[0]))
			case sfnt.SegmentOpLineTo:
				p.Line(at(s.Args[0]))
			case sfnt.SegmentOpQuadTo:
				p.QuadTo(at(s.Args[0]), at(s.Args[1]))
			case sfnt.SegmentOpCubeTo:
				p.CubeTo(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
			}
		}
		if len(segments) > 0 {
			p.Close()
		}
	}
	if len(p) > 0 {
		c.Canvas.Fill(p)
	}
}

// curved replaces the arcs of a path by Bézier curves of at most a quarter.
func curved(p vg.Path) vg.Path {
	var out vg.Path
	for _, comp := range p {
		if comp.Type != vg.ArcComp {
			out = append(out, comp)
			continue
		}
		parts := max(1, math.Ceil(math.Abs(comp.Angle)/(math.Pi/2)))
		step := comp.Angle / parts
		// https://pomax.github.io/bezierinfo/#circles_cubic
		reach := vg.Length(4.0 / 3 * math.Tan(step/4))
		on := func(a float64) vg.Point {
			return vg.Point{X: comp.Pos.X + comp.Radius*vg.Length(math.Cos(a)), Y: comp.Pos.Y + comp.Radius*vg.Length(math.Sin(a))}
		}
		ahead := func(a float64, by vg.Length) vg.Point {
			at := on(a)
			return vg.Point{X: at.X - by*comp.Radius*vg.Length(math.Sin(a)), Y: at.Y + by*comp.Radius*vg.Length(math.Cos(a))}
		}
		if begin := on(comp.Start); len(out) == 0 || out[len(out)-1].Type == vg.CloseComp {
			out.Move(begin)
		} else {
			out.Line(begin)
		}
		for i := range int(parts) {
			a := comp.Start + float64(i)*step
			out.CubeTo(ahead(a, reach), ahead(a+step, -reach), on(a+step))
		}
	}
	return out
}
