package plots

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
)

// pngDPI is twice the 96 of a screen.
const pngDPI = 192

// A pngCanvas is written with a palette: of true colours a chart has a few beside
// their mixtures at the edges, and takes three times the time and the space.
type pngCanvas struct{ *vgimg.Canvas }

func newPNG(w, h vg.Length) pngCanvas {
	return pngCanvas{vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(pngDPI))}
}

// WriteTo implements io.WriterTo.
func (c pngCanvas) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, paletted(c.Image())); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// paletted keeps the commonest 256 colours of an opaque image, and has the nearest of
// them stand for each of the others.
func paletted(img image.Image) image.Image {
	rgba, ok := img.(*image.RGBA)
	if !ok || !rgba.Opaque() {
		return img
	}
	type rgb [3]uint8
	pixels := func(each func(i int, c rgb)) {
		for y := range rgba.Rect.Dy() {
			row := rgba.Pix[y*rgba.Stride:][:4*rgba.Rect.Dx()]
			for x := 0; x < len(row); x += 4 {
				each(y*rgba.Rect.Dx()+x/4, rgb(row[x:x+3]))
			}
		}
	}
	counts := map[rgb]int{}
	var last rgb
	run := 0 // of equal pixels, which most are
	pixels(func(_ int, c rgb) {
		if c != last {
			counts[last] += run
			last, run = c, 0
		}
		run++
	})
	counts[last] += run
	common := slices.SortedFunc(maps.Keys(counts), func(a, b rgb) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), slices.Compare(a[:], b[:]))
	})
	common = common[:min(256, len(common))]
	var palette color.Palette
	for _, c := range common {
		palette = append(palette, color.RGBA{c[0], c[1], c[2], 0xFF})
	}
	out := image.NewPaletted(rgba.Rect, palette)
	index := map[rgb]uint8{}
	for i, c := range common {
		index[c] = uint8(i)
	}
	last = common[0]
	at := uint8(0)
	pixels(func(i int, c rgb) {
		if c != last {
			var known bool
			if at, known = index[c]; !known {
				at = uint8(palette.Index(color.RGBA{c[0], c[1], c[2], 0xFF}))
				index[c] = at
			}
			last = c
		}
		out.Pix[i] = at
	})
	return out
}
