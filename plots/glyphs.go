package plots

import (
	xfont "golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
)

// A glyph is a letter in its place on a line, in units of the font.
type glyph struct {
	index sfnt.GlyphIndex
	x     int
}

// glyphsOf lays out a string, kerning included; ok is false where the font lacks
// one of its letters, which then is an empty box.
func glyphsOf(f font.Face, s string) (glyphs []glyph, ok bool) {
	var (
		buf  sfnt.Buffer
		em   = fixed.Int26_6(f.Face.UnitsPerEm()) // so that all comes in font units
		x    fixed.Int26_6
		prev sfnt.GlyphIndex
	)
	ok = true
	for i, letter := range s {
		index, err := f.Face.GlyphIndex(&buf, letter)
		ok = ok && err == nil && index != 0
		if i > 0 {
			if kern, err := f.Face.Kern(&buf, prev, index, em, xfont.HintingNone); err == nil {
				x += kern
			}
		}
		prev = index
		glyphs = append(glyphs, glyph{index, int(x)})
		advance, err := f.Face.GlyphAdvance(&buf, index, em, xfont.HintingNone)
		ok = ok && err == nil
		x += advance
	}
	return glyphs, ok
}
