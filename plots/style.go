package plots

import (
	"hash/fnv"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// A style is how a series looks: never by its colour alone, so that it also
// reads in grey print.
type style struct{ color, shape, dash int }

// The colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), without
// their yellow, which is lost on white.
var colors = []color.NRGBA{
	blue:    {0x00, 0x72, 0xB2, 0xFF},
	vermil:  {0xD5, 0x5E, 0x00, 0xFF},
	green:   {0x00, 0x9E, 0x73, 0xFF},
	purple:  {0xCC, 0x79, 0xA7, 0xFF},
	orange:  {0xE6, 0x9F, 0x00, 0xFF},
	sky:     {0x56, 0xB4, 0xE9, 0xFF},
	inkless: {0x00, 0x00, 0x00, 0xFF},
}

const (
	blue = iota
	vermil
	green
	purple
	orange
	sky
	inkless
)

var dashes = [][]vg.Length{
	nil,
	{6, 2.5},
	{1.5, 2},
	{6, 2, 1.5, 2},
	{10, 3},
}

const (
	solid = iota
	dashed
	dotted
	dashDot
	longDash
)

const (
	disc = iota
	box
	up
	diamond
	down
	ring
	openBox
	openUp
	openDiamond
	cross
	plus
	numShapes
)

// known fixes the looks of the suite's names: a colour is a family (blue and sky
// copy through a buffer, vermilion maps, orange has the bytes in shared pages, purple
// has the kernel move them, black goes past the page cache, green is Go's own API).
var known = map[string]style{
	"pread":               {blue, box, solid},
	"read":                {sky, up, dashed},
	"readv":               {blue, down, dashed},
	"preadv2+nowait":      {sky, openUp, dotted},
	"preadv2+dontcache":   {sky, openDiamond, dashDot},
	"odirect":             {inkless, box, dashed},
	"io_uring.1":          {purple, ring, dotted},
	"io_uring.8":          {purple, openBox, dashed},
	"io_uring.32":         {purple, disc, dashDot},
	"io_uring.1+odirect":  {inkless, ring, solid},
	"io_uring.8+odirect":  {inkless, openBox, dashDot},
	"io_uring.32+odirect": {inkless, disc, longDash},

	"mmap":               {vermil, disc, solid},
	"mmap+private":       {vermil, openUp, dashed},
	"mmap+populate":      {vermil, up, solid},
	"mmap+populate_read": {vermil, openDiamond, dashed},
	"mmap+sequential":    {vermil, diamond, dotted},
	"mmap+random":        {vermil, cross, solid},
	"mmap+willneed":      {vermil, plus, dotted},
	"mmap+hugepage":      {vermil, box, longDash},
	"mmap+kept":          {orange, disc, dashed},
	"memfd":              {orange, box, dotted},
	"hugetlb":            {orange, diamond, solid},

	"os.File":     {green, diamond, dashDot},
	"ReadAt":      {green, box, dashDot},
	"bufio":       {green, up, dashDot},
	"os.ReadFile": {green, disc, dotted},
	"exp.mmap":    {green, ring, dashDot},

	"write":       {sky, disc, dashed},
	"pwrite":      {blue, disc, dotted},
	"writev":      {blue, openUp, dotted},
	"mmap+append": {vermil, down, dashed},

	"read+write":       {blue, openBox, solid},
	"mmap+write":       {vermil, ring, solid},
	"sendfile":         {purple, up, solid},
	"splice":           {orange, down, dashed},
	"splice+1MiB":      {orange, openUp, dashed},
	"vmsplice":         {orange, cross, solid},
	"zerocopy":         {vermil, openBox, dashDot},
	"io_uring.send_zc": {purple, cross, dashed},
	"io.Copy":          {green, openDiamond, dashDot},
	"io.CopyBuffer":    {green, openUp, dashDot},
	"net.http":         {green, plus, dashDot},
	"mmap+mmap":        {vermil, openBox, longDash},
	"copy_file_range":  {purple, diamond, dashed},
	"reflink":          {inkless, diamond, dotted},

	"ring.memfd":    {vermil, disc, longDash},
	"ring.file":     {orange, ring, longDash},
	"pipe":          {blue, diamond, solid},
	"pipe+vmsplice": {orange, plus, dotted},
	"unix":          {sky, box, dashed},
	"tcp":           {purple, box, dashDot},

	"map+shared":        {vermil, disc, dashed},
	"map+private":       {vermil, openUp, dotted},
	"map+populate":      {vermil, up, longDash},
	"map+anon":          {blue, box, dashed},
	"map+anon+populate": {blue, up, dashed},
	"map+anon+hugepage": {blue, openDiamond, dashed},
	"map+hugetlb":       {orange, diamond, dashed},
	"map+memfd":         {orange, box, solid},
	"map+device":        {inkless, up, solid},
	"map+devmem":        {inkless, down, dotted},
	"heap":              {green, disc, longDash},

	"null": {inkless, cross, dotted},
}

// styleAll gives each value of the series key in the whole file its style, so
// that it is the same in all charts of the file. A name without a fixed style
// takes the one that its hash picks, and steps on where that is taken: first
// no two share colour and shape, then no two share all three.
func styleAll(results *summary.Results, key string) map[string]style {
	names := results.KeyValues(key)
	slices.Sort(names)
	return assign(names, map[string]style{})
}

// assign adds styles for names to those that have one.
func assign(names []string, styles map[string]style) map[string]style {
	pairs := map[[2]int]bool{}
	taken := map[style]bool{}
	take := func(name string, s style) {
		styles[name] = s
		pairs[[2]int{s.color, s.shape}], taken[s] = true, true
	}
	for _, s := range styles {
		pairs[[2]int{s.color, s.shape}], taken[s] = true, true
	}
	// The fixed styles are spoken for even where the file lacks their names: another
	// run may have them. Their colours with their shapes are so where it has them.
	for name, s := range known {
		styles[name], taken[s] = s, true
		if slices.Contains(names, name) {
			take(name, s)
		}
	}
	all := len(colors) * numShapes * len(dashes)
	for _, name := range names {
		if _, ok := styles[name]; ok {
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(name))
		start := int(h.Sum32() % uint32(all))
		at := func(i int) style {
			i = (start + i) % all
			return style{i % len(colors), i / len(colors) % numShapes, i / (len(colors) * numShapes)}
		}
		choice := at(0)
		free := func(ok func(style) bool) bool {
			for i := range all {
				if s := at(i); ok(s) {
					choice = s
					return true
				}
			}
			return false
		}
		_ = free(func(s style) bool { return !pairs[[2]int{s.color, s.shape}] }) ||
			free(func(s style) bool { return !taken[s] })
		take(name, choice)
	}
	return styles
}

// distinguish gives series of one chart that would look alike in grey, because one
// name stands for several (a consumer or a size apart) or two names have the same
// shape and dash, styles of their own. The first to have a style keeps it.
func distinguish(list []series) {
	type look struct{ shape, dash int }
	taken := map[look]bool{}
	for i := range list {
		s := &list[i].style
		// Another dash where there is one: the shape tells the name.
		for n := 0; taken[look{s.shape, s.dash}] && n < numShapes*len(dashes); n++ {
			s.dash = (s.dash + 1) % len(dashes)
			if (n+1)%len(dashes) == 0 {
				s.shape = (s.shape + 1) % numShapes
			}
		}
		taken[look{s.shape, s.dash}] = true
	}
}

func (s style) line() draw.LineStyle {
	return draw.LineStyle{Color: colors[s.color], Width: 1.4, Dashes: dashes[s.dash]}
}

// polygons are the outlines of the shapes but the round ones, in radii.
var polygons = [numShapes][][2]float64{
	box:         {{-.85, -.85}, {.85, -.85}, {.85, .85}, {-.85, .85}},
	up:          {{-1, -.75}, {1, -.75}, {0, 1.1}},
	diamond:     {{0, -1.2}, {1.2, 0}, {0, 1.2}, {-1.2, 0}},
	down:        {{-1, .75}, {0, -1.1}, {1, .75}},
	openBox:     {{-.85, -.85}, {.85, -.85}, {.85, .85}, {-.85, .85}},
	openUp:      {{-1, -.75}, {1, -.75}, {0, 1.1}},
	openDiamond: {{0, -1.2}, {1.2, 0}, {0, 1.2}, {-1.2, 0}},
}

// glyph draws the shape about pt. Open shapes are filled white, so that no
// line runs through them.
func (s style) glyph(c draw.Canvas, pt vg.Point, r vg.Length) {
	c.SetLineStyle(draw.LineStyle{Color: colors[s.color], Width: 1.2})
	at := func(x, y float64) vg.Point { return vg.Point{X: pt.X + vg.Length(x)*r, Y: pt.Y + vg.Length(y)*r} }
	switch s.shape {
	case cross, plus:
		ends := [][2]float64{{-.9, -.9}, {.9, .9}, {-.9, .9}, {.9, -.9}}
		if s.shape == plus {
			ends = [][2]float64{{-1.2, 0}, {1.2, 0}, {0, -1.2}, {0, 1.2}}
		}
		for i := 0; i < len(ends); i += 2 {
			c.Stroke(vg.Path{{Type: vg.MoveComp, Pos: at(ends[i][0], ends[i][1])}, {Type: vg.LineComp, Pos: at(ends[i+1][0], ends[i+1][1])}})
		}
		return
	}
	var p vg.Path
	if s.shape == disc || s.shape == ring {
		p.Move(at(1, 0))
		p.Arc(pt, r, 0, 2*math.Pi)
	} else {
		for i, v := range polygons[s.shape] {
			if i == 0 {
				p.Move(at(v[0], v[1]))
			} else {
				p.Line(at(v[0], v[1]))
			}
		}
	}
	p.Close()
	if s.shape >= ring {
		c.SetColor(color.White)
		c.Fill(p)
		c.SetColor(colors[s.color])
		c.Stroke(p)
		return
	}
	c.Fill(p)
}
