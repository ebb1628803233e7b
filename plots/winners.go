package plots

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchunit"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/suite"
	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// Winners is a map of which series is the best, a field for each workload: the winner,
// tinted by its family, and its lead over the best of another family, hatched where
// internal/verdict finds that it is within noise. Series that are variants of one
// another are a family, and do not compete with each other.
type Winners struct {
	Headline
	Filter  string   // benchproc filter of the cells that compete, "" for all
	Series  string   // key whose values compete, such as /method
	Columns string   // key of the columns, such as /block
	Rows    []string // keys of the rows; others in which workloads differ that would share a field join them
	Order   []string // of the rows' values, where they are words with an order; others come behind
	Unit    string   // as in the file or tidied; its Unit line says which way is better
	Measure string   // what it measures, in words
}

// winners are the suite's own, by the roles that a method can have.
func winners() (all []Winners) {
	add := func(name, what, filter, columns string, rows ...string) {
		all = append(all, Winners{
			Headline: Headline{Name: "winners-" + name, Title: "Which method wins at " + what + ", and by how much?", Section: "Who wins", Lead: true},
			Filter:   filter, Series: "/method", Columns: columns, Rows: rows, Order: suite.Policies, Unit: "B/s", Measure: "throughput",
		})
	}
	// Where the other side sets the pace, a method shows in what it leaves of the CPU.
	cpu := func(name, what, who, filter string, rows ...string) {
		all = append(all, Winners{
			Headline: Headline{Name: "winners-" + name + "-cpu", Title: "Which method takes the least CPU time of the " + who + " for " + what + "?", Section: "Who wins"},
			Filter:   filter, Series: "/method", Columns: "/block", Rows: rows, Unit: "cpu-sec/op", Measure: "the " + who + "'s CPU time",
		})
	}
	add("read", "reading a file", ".name:Read", "/block", "/pattern", "/cache")
	add("send", "sending a file", ".name:Send", "/block", "/transport", "/cache")
	cpu("send", "sending a file", "sender", ".name:Send", "/transport", "/cache")
	add("receive", "receiving a file", ".name:Receive", "/block", "/transport")
	cpu("receive", "receiving a file", "receiver", ".name:Receive", "/transport")
	cpu("relay", "relaying from socket to socket", "relay", ".name:Relay", "/transport")
	add("copy", "copying a file", ".name:Copy", "/block", "/cache")
	add("write", "writing a file", ".name:Write", "/block", "/pattern", "/sync")
	add("channel", "moving bytes between two processes", ".name:Channel", "/block", "/what")
	add("open", "opening, reading and closing small files", ".name:Open", "/size", ".name")
	add("map", "mapping, touching and unmapping memory", ".name:Map", "/size", "/touch")
	add("parallel", "reading a file with several workers", ".name:Parallel", "/workers", "/pattern", "/cache", "/as")
	return all
}

// A family is what variants of one way of moving bytes have in common, in the words of
// the legend, and its colour.
type family struct {
	name  string
	color int
}

// families are those of the suite's names. They are the colours of the known looks but
// where one colour there is of several kinds.
var families = func() map[string]family {
	all := map[string]family{}
	for _, f := range []struct {
		family
		members string
	}{
		{family{"copies through a buffer", blue}, "pread read readv preadv2+nowait preadv2+dontcache write pwrite writev read+write pipe"},
		{family{"maps", vermil}, "mmap mmap+private mmap+populate mmap+populate_read mmap+sequential mmap+random mmap+willneed mmap+hugepage mmap+kept mmap+append mmap+write mmap+mmap"},
		{family{"moved by the kernel", purple}, "sendfile splice splice+1MiB copy_file_range"},
		{family{"lends its pages", orange}, "vmsplice zerocopy io_uring.send_zc pipe+vmsplice"},
		{family{"copies, queued with io_uring", sky}, "io_uring.1 io_uring.8 io_uring.32"},
		{family{"past the page cache", inkless}, "odirect io_uring.1+odirect io_uring.8+odirect io_uring.32+odirect"},
		{family{"shares the blocks on disk", inkless}, "reflink"},
		{family{"shared memory", vermil}, "ring.memfd ring.file"},
		{family{"socket", purple}, "unix tcp"},
		{family{"a file's pages", vermil}, "map+shared map+private map+populate"},
		{family{"anonymous memory", blue}, "map+anon map+anon+populate map+anon+hugepage"},
		{family{"memory of a kind of its own", orange}, "map+hugetlb map+memfd"},
	} {
		for name := range strings.FieldsSeq(f.members) {
			all[name] = f.family
		}
	}
	return all
}()

// familyOf names a method's family; an unknown one is a family of its own.
func familyOf(method string) string { return cmp.Or(families[method].name, method) }

// goAPI are Go's own, which a map leaves out and advice does not.
var goAPI = suite.Aside{
	Why:     "Go's own API",
	Methods: strings.Fields("os.File ReadAt bufio os.ReadFile exp.mmap io.Copy io.CopyBuffer net.http heap"),
}

// aside are the methods that do not compete, with the reason.
var aside = append([]suite.Aside{goAPI}, suite.Asides...)

// A winnersPage is Winners with their figures.
type winnersPage struct {
	Winners
	rows, columns  []string
	fields         map[[2]int]field // by row and column
	families       []family         // those that a field is tinted by, in the order of the legend
	notes, caption string
}

// A field is a workload's standing.
type field struct {
	verdict.Standing
	winner, rival string
	family        family
}

// What is known of a winner.
const (
	leads   = "leads"
	noise   = "within noise"
	tooFew  = "too few rounds"
	noRival = "no rival"
)

func (f field) state() string {
	switch {
	case f.Rival == nil:
		return noRival
	case !f.Lead.Interval:
		return tooFew
	case !f.Leads:
		return noise
	}
	return leads
}

// sheet implements [Drawing].
func (w Winners) sheet(results *summary.Results) (*sheet, error) {
	p, err := w.collect(results)
	if err != nil {
		return nil, err
	}
	s := &sheet{title: w.Title, notes: p.notes, caption: p.caption, points: p.points(), body: p.draw}
	s.w, s.h = p.size()
	return s, nil
}

func (w Winners) collect(results *summary.Results) (*winnersPage, error) {
	_, unit := benchunit.Tidy(1, w.Unit)
	standings, err := verdict.Standings(results, w.Filter, unit, verdict.Options{
		Series: w.Series, Leave: suite.NoContest(), Watch: goAPI.Methods, Family: familyOf,
	})
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", w.Name, err)
	}
	standings = slices.DeleteFunc(standings, func(s verdict.Standing) bool { return valueOf(s, w.Columns) == "" })
	if len(standings) < 2 {
		return nil, noData("draw %s: %d of its workloads were measured with the unit %q and the key %q, and a map of one field is none", w.Name, len(standings), w.Unit, w.Columns)
	}
	p := &winnersPage{Winners: w, fields: map[[2]int]field{}}
	p.place(standings, styleAll(results, w.Series))
	var used []*summary.Cell
	d := &data{chart: Chart{X: w.Columns, Series: w.Series}, series: []series{{}}}
	for _, s := range standings {
		for _, c := range s.Cells {
			fig, _ := c.Figure(unit)
			used, d.series[0].points = append(used, c), append(d.series[0].points, point{fig: fig})
		}
	}
	p.notes = joinLines(common(used, slices.Concat(w.Rows, []string{w.Columns, w.Series})...),
		"By "+w.Measure+" (median); below the winner's name, its lead over the best of another family, round by round.")
	left, err := w.left(results)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", w.Name, err)
	}
	facts, _, _ := strings.Cut(caption(results, d, used), "\n")
	p.caption = facts
	if p.any(leads) {
		p.caption += fmt.Sprintf("\nThe tint is the stronger, the greater a lead that is beyond noise, and more than %s.", summary.Percent(verdict.MinLead-1))
	}
	if left != "" {
		p.caption += "\n" + left
	}
	return p, nil
}

// any reports whether a field has that state.
func (p *winnersPage) any(state string) bool {
	for _, f := range p.fields {
		if f.state() == state {
			return true
		}
	}
	return false
}

// left says who does not compete.
func (w Winners) left(results *summary.Results) (string, error) {
	cells, err := results.Cells(w.Filter)
	if err != nil {
		return "", err
	}
	var words []string
	for _, a := range aside {
		there := slices.DeleteFunc(slices.Clone(a.Methods), func(m string) bool {
			return !slices.ContainsFunc(cells, func(c *summary.Cell) bool { return c.Key(w.Series) == m })
		})
		if len(there) > 0 {
			words = append(words, strings.Join(there, ", ")+" ("+a.Why+")")
		}
	}
	if len(words) == 0 {
		return "", nil
	}
	return "Not in the contest: " + strings.Join(words, "; ") + ".", nil
}

// valueOf is the value of a key that the cells of a standing have in common.
func valueOf(s verdict.Standing, key string) string {
	if key == ".name" {
		return s.Name
	}
	for _, p := range s.Head {
		if "/"+p.Key == key {
			return p.Value
		}
	}
	return ""
}

// place gives each standing its field.
func (p *winnersPage) place(standings []verdict.Standing, styles map[string]style) {
	keys := p.rowKeys(standings)
	row := func(s verdict.Standing) []string {
		values := make([]string, len(keys))
		for i, key := range keys {
			values[i] = valueOf(s, key)
		}
		return values
	}
	rank := func(value string) int {
		if i := slices.Index(p.Order, value); i >= 0 {
			return i
		}
		return len(p.Order)
	}
	var rows [][]string
	for _, s := range standings {
		rows = append(rows, row(s))
		p.columns = append(p.columns, valueOf(s, p.Columns))
	}
	slices.SortFunc(p.columns, summary.Compare)
	p.columns = slices.Compact(p.columns)
	slices.SortFunc(rows, func(a, b []string) int {
		return slices.CompareFunc(a, b, func(a, b string) int { return cmp.Or(rank(a)-rank(b), summary.Compare(a, b)) })
	})
	rows = slices.CompactFunc(rows, slices.Equal)
	for _, r := range rows {
		var words []string
		for _, value := range r {
			if value != "" {
				words = append(words, sizeLabel(value))
			}
		}
		p.rows = append(p.rows, strings.Join(words, ", "))
	}
	for _, s := range standings {
		at := slices.IndexFunc(rows, func(r []string) bool { return slices.Equal(r, row(s)) })
		f := field{Standing: s, winner: s.Best.Key(p.Series)}
		if s.Rival != nil {
			f.rival = s.Rival.Key(p.Series)
		}
		var known bool
		if f.family, known = families[f.winner]; !known {
			f.family = family{f.winner, styles[f.winner].color}
		}
		if tinted := f.state() == leads || f.state() == noise; tinted && !slices.Contains(p.families, f.family) {
			p.families = append(p.families, f.family)
		}
		p.fields[[2]int{at, slices.Index(p.columns, valueOf(s, p.Columns))}] = f
	}
	slices.SortFunc(p.families, func(a, b family) int { return cmp.Or(a.color-b.color, strings.Compare(a.name, b.name)) })
}

// rowKeys are the keys of the rows, and those in which standings differ that would
// have the same field by these alone.
func (p *winnersPage) rowKeys(standings []verdict.Standing) []string {
	keys := slices.Clone(p.Rows)
	same := func(a, b verdict.Standing) bool {
		return !slices.ContainsFunc(slices.Concat(keys, []string{p.Columns}), func(key string) bool { return valueOf(a, key) != valueOf(b, key) })
	}
	for i, a := range standings {
		for _, b := range standings[:i] {
			if !same(a, b) {
				continue
			}
			for _, pair := range slices.Concat(a.Head, b.Head) {
				if key := "/" + pair.Key; valueOf(a, key) != valueOf(b, key) && !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
			}
			if a.Name != b.Name && !slices.Contains(keys, ".name") {
				keys = append(keys, ".name")
			}
		}
	}
	return keys
}

// points are the figures behind the picture.
func (p *winnersPage) points() [][]string {
	t := [][]string{{"row", strings.TrimLeft(p.Columns, "/."), "winner", "family", "rival", "lead", "lo", "hi", "n", "verdict"}}
	for i, row := range p.rows {
		for k, column := range p.columns {
			f, ok := p.fields[[2]int{i, k}]
			if !ok {
				continue
			}
			lead, lo, hi, n := "", "", "", ""
			if f.Rival != nil {
				lead, n = number(f.Lead.Value), strconv.Itoa(f.Lead.N)
			}
			if f.Lead.Interval {
				lo, hi = number(f.Lead.Lo), number(f.Lead.Hi)
			}
			t = append(t, []string{row, column, f.winner, f.family.name, f.rival, lead, lo, hi, n, f.state()})
		}
	}
	return t
}

// Measures in points.
const (
	fieldMin  = 92 // the width of a field
	fieldMax  = 180
	fieldH    = 34
	fieldGap  = 2
	bandMax   = 800 // the columns of a wider map continue below
	bandHead  = 18
	bandGap   = 10
	columnRow = 16
)

// measures are the width of the rows' names, and that of a field; and how many columns
// stand side by side.
func (p *winnersPage) measures() (names, width vg.Length, band int) {
	f := face(10, false)
	for _, row := range slices.Concat(p.rows, []string{p.heading()}) {
		names = max(names, f.Width(shortenTo(row, rowName))+10)
	}
	width = min(max((bodyW-names)/vg.Length(len(p.columns)), fieldMin), fieldMax)
	return names, width, min(len(p.columns), max(1, int((bandMax-names)/width)))
}

func (p *winnersPage) heading() string {
	var words []string
	for _, key := range p.Rows {
		if key != ".name" {
			words = append(words, strings.TrimLeft(key, "/."))
		}
	}
	return shortenTo(strings.Join(words, ", "), rowName)
}

func (p *winnersPage) bandH() vg.Length {
	return bandHead + fieldH*vg.Length(len(p.rows)) + bandGap
}

func (p *winnersPage) size() (w, h vg.Length) {
	names, width, band := p.measures()
	w = max(bodyW, names+width*vg.Length(band))
	bands := (len(p.columns) + band - 1) / band
	return w, columnRow + p.bandH()*vg.Length(bands) + legendRow*vg.Length(len(p.legend(w))) + 2
}

func (p *winnersPage) draw(c draw.Canvas, r vg.Rectangle) {
	names, width, band := p.measures()
	bold, text := face(10, true), face(10, false)
	y := r.Max.Y - columnRow
	c.SetColor(ink)
	key := shortenTo(strings.TrimLeft(p.Columns, "/."), rowName)
	c.FillString(text, vg.Point{X: r.Min.X + names + (width*vg.Length(band)-text.Width(key))/2, Y: y + 5}, key)
	for first := 0; first < len(p.columns); first += band {
		c.SetColor(muted)
		c.FillString(text, vg.Point{X: r.Min.X, Y: y - bandHead + 6}, p.heading())
		columns := p.columns[first:min(first+band, len(p.columns))]
		for k, column := range columns {
			label := fit(bold, sizeLabel(column), width-4)
			c.SetColor(ink)
			c.FillString(bold, vg.Point{X: r.Min.X + names + width*(vg.Length(k)+0.5) - bold.Width(label)/2, Y: y - bandHead + 6}, label)
		}
		for i, row := range p.rows {
			top := y - bandHead - fieldH*vg.Length(i)
			c.SetColor(ink)
			c.FillString(text, vg.Point{X: r.Min.X, Y: top - fieldH/2 - 3.5}, shortenTo(row, rowName))
			for k := range columns {
				if f, ok := p.fields[[2]int{i, first + k}]; ok {
					x := r.Min.X + names + width*vg.Length(k)
					f.draw(c, vg.Rectangle{Min: vg.Point{X: x, Y: top - fieldH + fieldGap}, Max: vg.Point{X: x + width - fieldGap, Y: top}})
				}
			}
		}
		y -= p.bandH()
	}
	for i, line := range p.legend(r.Max.X - r.Min.X) {
		drawLegend(c, vg.Point{X: r.Min.X, Y: y - legendRow*(vg.Length(i)+0.5)}, line)
	}
}

func (f field) draw(c draw.Canvas, r vg.Rectangle) {
	ground := fillField(c, r, f.family.color, f.state(), f.Lead.Value)
	width := r.Max.X - r.Min.X - 6
	line := func(face font.Face, y vg.Length, text string) {
		half := face.Width(text) / 2
		x := (r.Min.X + r.Max.X) / 2
		c.SetColor(ground) // no hatch runs through letters
		c.Fill(vg.Rectangle{Min: vg.Point{X: x - half - 2, Y: y - 3}, Max: vg.Point{X: x + half + 2, Y: y + 8.5}}.Path())
		c.SetColor(ink)
		c.FillString(face, vg.Point{X: x - half, Y: y}, text)
	}
	// Only a winner beyond noise is in bold.
	name, small := face(9.5, f.state() == leads), face(8.5, false)
	line(name, r.Max.Y-14, fit(name, f.winner, width))
	lead := f.leadText()
	line(small, r.Min.Y+6, lead+fit(small, f.rival, width-small.Width(lead)))
}

// leadText is what stands before the rival's name.
func (f field) leadText() string {
	if f.state() == noRival {
		return "no rival"
	}
	text := ""
	if f.state() == tooFew {
		text = fmt.Sprintf("n=%d: ", f.Lead.N)
	}
	if f.Lead.N == 0 { // no pair has a ratio
		return text
	}
	return text + f.Lead.Times() + " × "
}

// fillField returns the ground that it fills: the tint of a family, the stronger the
// greater the lead; grey where the rounds are too few for any.
func fillField(c draw.Canvas, r vg.Rectangle, family int, state string, lead float64) color.NRGBA {
	ground := color.NRGBA{0xF0, 0xF0, 0xF0, 0xFF}
	switch state {
	case leads:
		ground = tint(colors[family], strength(lead))
	case noise:
		ground = tint(colors[family], weak/2)
	}
	c.SetColor(ground)
	c.Fill(r.Path())
	if state == noise {
		hatch(c, r, draw.LineStyle{Color: tint(colors[family], strong), Width: 0.9}, 7)
	}
	return ground
}

// The shares of its colour that a family's tint has: of the least lead, and of fourfold
// and greater ones. Black letters stand out on all of them.
const weak, strong = 0.22, 0.55

func strength(lead float64) float64 {
	return weak + (strong-weak)*min(1, max(0, math.Log2(lead)/2))
}

// fit shortens text in its middle until it is no wider.
func fit(f font.Face, text string, width vg.Length) string {
	short := shortenTo(text, rowName)
	for n := len([]rune(short)); n > 1 && f.Width(short) > width; n-- {
		short = shortenTo(text, n)
	}
	return short
}

// A winnerKey is an entry of the legend: a field without its text, and what it means.
type winnerKey struct {
	color int
	state string
	text  string
}

func (k winnerKey) width() vg.Length {
	f := face(9, false)
	return keyW + 5 + f.Width(k.text) + 14
}

// legend are the lines of the legend: families, then what is hatched and grey.
func (p *winnersPage) legend(width vg.Length) (legend [][]winnerKey) {
	x := width
	add := func(k winnerKey) {
		if x+k.width() > width {
			legend, x = append(legend, nil), 0
		}
		legend[len(legend)-1] = append(legend[len(legend)-1], k)
		x += k.width()
	}
	for _, f := range p.families {
		add(winnerKey{f.color, leads, shortenTo(f.name, rowName)})
	}
	for _, k := range []winnerKey{
		{inkless, noise, "lead within noise (95 %, all comparisons of a field together)"},
		{inkless, tooFew, fmt.Sprintf("fewer than %d rounds: no verdict", summary.MinSamples)},
	} {
		if p.any(k.state) {
			add(k)
		}
	}
	return legend
}

func drawLegend(c draw.Canvas, at vg.Point, line []winnerKey) {
	f := face(9, false)
	for _, k := range line {
		fillField(c, vg.Rectangle{Min: vg.Point{X: at.X, Y: at.Y - 4.5}, Max: vg.Point{X: at.X + keyW, Y: at.Y + 4.5}}, k.color, k.state, 2)
		c.SetColor(ink)
		c.FillString(f, vg.Point{X: at.X + keyW + 5, Y: at.Y - 3}, k.text)
		at.X += k.width()
	}
}
