package plots

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"math"
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
	if !ok || rgba.Rect.Empty() || rgba.Stride != 4*rgba.Rect.Dx() {
		return img
	}
	pix := rgba.Pix
	at := func(i int) uint32 { return binary.BigEndian.Uint32(pix[i:]) }
	counts := map[uint32]int{}
	last, run := at(0), 0 // of equal pixels, which most are
	for i := 0; i < len(pix); i += 4 {
		if c := at(i); c != last {
			counts[last] += run
			last, run = c, 0
		}
		run++
	}
	counts[last] += run
	common := slices.SortedFunc(maps.Keys(counts), func(a, b uint32) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	common = common[:min(256, len(common))]
	var palette color.Palette
	index := map[uint32]uint8{}
	for i, c := range common {
		palette = append(palette, color.RGBA{uint8(c >> 24), uint8(c >> 16), uint8(c >> 8), uint8(c)})
		index[c] = uint8(i)
	}
	out := image.NewPaletted(rgba.Rect, palette)
	last = common[0]
	var now uint8
	for i := range out.Pix {
		if c := at(4 * i); c != last {
			var known bool
			if now, known = index[c]; !known {
				now = nearest(common, c)
				index[c] = now
			}
			last = c
		}
		out.Pix[i] = now
	}
	return out
}

// nearest is the index of the colour with the least distance, which is that of
// color.Palette.
func nearest(colors []uint32, c uint32) (best uint8) {
	least := math.MaxInt
	for i, other := range colors {
		distance := 0
		for shift := 8; shift <= 24; shift += 8 {
			d := int(c>>shift&0xFF) - int(other>>shift&0xFF)
			distance += d * d
		}
		if distance < least {
			best, least = uint8(i), distance
		}
	}
	return best
}
