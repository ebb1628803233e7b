package plots

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchunit"

	"iopath/internal/summary"
)

// maxName is the most characters of a name that are shown.
const maxName = 80

// maxSeries is the most lines that a chart takes.
const maxSeries = 120

// extreme bounds the values that are drawn: the difference of any two is finite.
const extreme = 1e300

// data is a chart's figures, before any of them has a place on paper.
type data struct {
	chart   Chart
	xs      []string  // values of the x key, in order
	pos     []float64 // their places on a linear axis
	ordered bool      // x values are numbers, so that a line between them means something
	series  []series
	ceils   []ceiling
	floors  []floor // in ascending order
	notes   []string
	caption string
	yScale  float64 // tidied units in one unit of the y axis
	yLabel  string
}

type series struct {
	name   string
	style  style
	side   float64 // -1 to 1: how far beside its x it stands, so that none hides another
	points []point // in the order of xs
}

// A ceiling is a line that bounds series from above.
type ceiling struct {
	name   string
	points []point
}

// A floor is what a floor line is drawn at, in tidied units.
type floor struct {
	name  string
	value float64
}

type point struct {
	x   int // index of data.xs
	fig summary.Figure
	raw []float64
}

// sheet implements [Drawing].
func (c Chart) sheet(results *summary.Results) (*sheet, error) {
	d, err := c.collect(results)
	if err != nil {
		return nil, err
	}
	return d.sheet(), nil
}

func (c Chart) collect(results *summary.Results) (*data, error) {
	if c.X == "" && len(c.Across) == 0 || c.Series == "" || c.Unit == "" && len(c.Across) == 0 {
		return nil, summary.Errorf("draw %s: a chart needs an x key, a series key and a unit (such as -x /block -series /method -unit syscalls/op)", c.Name)
	}
	// The keys tell cells apart, as the name does.
	keys := slices.DeleteFunc([]string{c.X, c.Series, c.ratioKey()}, func(key string) bool { return key == "" })
	cells, err := results.Cells(c.Filter, keys...)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", c.Name, err)
	}
	if len(cells) == 0 {
		return nil, noData("draw %s: no result passes the filter %q (iopath table shows what there is)", c.Name, c.Filter)
	}
	left := ""
	if c.Usual {
		cells, left = usual(cells)
	}
	figures := c.figures(cells)
	if len(figures) == 0 {
		return nil, c.lacks(cells)
	}

	d := &data{chart: c}
	if left != "" {
		d.note("%s", left)
	}
	if c.Note != "" {
		d.note("%s", c.Note)
	}
	var used []*summary.Cell
	for _, f := range figures {
		if len(used) == 0 || used[len(used)-1] != f.cell {
			used = append(used, f.cell)
		}
	}
	d.xs, d.pos, d.ordered = c.axis(figures)
	label := labels(used, c)
	styles := styleAll(results, c.Series)
	byName := map[string]int{}
	for _, f := range figures {
		name := label(f.cell) + f.against
		i, ok := byName[name]
		if !ok {
			i = len(d.series)
			byName[name] = i
			d.series = append(d.series, series{name: name, style: styles[f.cell.Key(c.Series)]})
		}
		p := point{slices.Index(d.xs, f.x), f.fig, f.raw}
		if slices.ContainsFunc(p.raw, func(v float64) bool { return math.Abs(v) > extreme }) {
			d.note("%s at %s is beyond %g: not drawn", shorten(name), d.xName(f.x), float64(extreme))
			continue
		}
		if c.Log && p.fig.Value < 0 {
			d.note("%s at %s is negative: not drawn on a log axis", shorten(name), d.xName(f.x))
			continue
		}
		d.series[i].points = append(d.series[i].points, p)
	}
	d.series = slices.DeleteFunc(d.series, func(s series) bool { return len(s.points) == 0 })
	if len(d.series) == 0 {
		return nil, noData("draw %s: no figure has a place on the axis: %s", c.Name, d.notes[len(d.notes)-1])
	}
	if len(d.series) > maxSeries {
		return nil, summary.Errorf("draw %s: %d lines in one chart, and %d are the most that can be told apart (narrow the filter, or choose another series key)", c.Name, len(d.series), maxSeries)
	}
	// Rounds run in random order, so first seen means nothing.
	slices.SortFunc(d.series, func(a, b series) int { return summary.Compare(a.name, b.name) })
	for i, s := range d.series {
		slices.SortStableFunc(s.points, func(a, b point) int { return a.x - b.x })
		if n := len(d.series); n > 1 {
			d.series[i].side = 2*float64(i)/float64(n-1) - 1
		}
	}
	distinguish(d.series)
	// The legend reads down as the right ends of the lines do.
	slices.SortStableFunc(d.series, func(a, b series) int {
		va, vb := a.points[len(a.points)-1], b.points[len(b.points)-1]
		switch {
		case va.x != vb.x:
			return vb.x - va.x
		case va.fig.Value > vb.fig.Value:
			return -1
		case va.fig.Value < vb.fig.Value:
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	d.scale(c.unit())
	if c.Ceiling != "" {
		if err := d.addCeilings(results, used, c.unit()); err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.Name, err)
		}
	}
	if err := d.addFloors(results); err != nil {
		return nil, fmt.Errorf("draw %s: %w", c.Name, err)
	}
	if err := d.addReferences(results); err != nil {
		return nil, fmt.Errorf("draw %s: %w", c.Name, err)
	}
	d.caption = caption(results, d, used)
	return d, nil
}

// points are the figures behind the picture, in units of the y axis.
func (d *data) points() [][]string {
	x := strings.TrimLeft(d.chart.X, "/.")
	if len(d.chart.Across) > 0 {
		x = "quantile"
	}
	t := [][]string{{"series", x, d.yLabel, "lo", "hi", "n"}}
	row := func(name string, p point) {
		lo, hi := "", ""
		if p.fig.Interval {
			lo, hi = number(p.fig.Lo/d.yScale), number(p.fig.Hi/d.yScale)
		}
		t = append(t, []string{name, d.xs[p.x], number(p.fig.Value / d.yScale), lo, hi, strconv.Itoa(p.fig.N)})
	}
	for _, s := range d.series {
		for _, p := range s.points {
			row(s.name, p)
		}
	}
	for _, c := range d.ceils {
		for _, p := range c.points {
			row(c.name, p)
		}
	}
	for _, f := range d.floors {
		t = append(t, []string{"floor: " + f.name, "", number(f.value / d.yScale), "", "", ""})
	}
	return t
}

// maxRaw is the most measurements that are drawn of one point.
const maxRaw = 40

// drawn returns the measurements to draw, spread evenly over all of them.
func (p point) drawn() []float64 {
	if len(p.raw) <= maxRaw {
		return p.raw
	}
	some := make([]float64, maxRaw)
	for i := range some {
		some[i] = p.raw[i*len(p.raw)/maxRaw]
	}
	return some
}

// axis orders the x values and gives each a place: sizes and other positive
// numbers that span much on a log axis, other numbers as they are, words side
// by side, in the order given. Files stand in the order that they were read in.
func (c Chart) axis(figures []figure) (xs []string, pos []float64, ordered bool) {
	for _, f := range figures {
		if !slices.Contains(xs, f.x) {
			xs = append(xs, f.x)
		}
	}
	order := c.Order
	if len(c.Across) > 0 {
		for _, q := range c.Across {
			if slices.Contains(xs, q.Label) {
				order, pos = append(order, q.Label), append(pos, q.At)
			}
		}
		return order, pos, true
	}
	if c.X == ".file" {
		for i := range xs {
			pos = append(pos, float64(i))
		}
		return xs, pos, true
	}
	slices.SortFunc(xs, summary.Compare)
	place := func(x string) int {
		if i := slices.Index(order, x); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(xs, func(a, b string) int { return place(a) - place(b) })
	low, high, numeric := math.Inf(1), math.Inf(-1), true
	for i, x := range xs {
		v, ok := summary.ParseNumber(x)
		numeric = numeric && ok && math.Abs(v) <= extreme && !slices.Contains(pos[:i], v)
		low, high = min(low, v), max(high, v)
		pos = append(pos, v)
	}
	for i := range pos {
		switch {
		case !numeric:
			pos[i] = float64(i)
		case low > 0 && high/low >= 8:
			pos[i] = math.Log2(pos[i])
		}
	}
	// Words in an order, such as policies by their strength, have a line between them.
	inOrder := !slices.ContainsFunc(xs, func(x string) bool { return !slices.Contains(c.Order, x) })
	return xs, pos, numeric || inOrder
}

// labels names the series. Where cells that differ in more than x and series
// meet in one point (two file sizes, two consumers), what they differ in
// joins the name: figures of unlike cells are never merged.
func labels(cells []*summary.Cell, c Chart) func(*summary.Cell) string {
	rest := func(cell *summary.Cell) []summary.Pair {
		name := cell.Keys()
		if c.X != ".name" && c.Series != ".name" && c.X != ".fullname" && c.Series != ".fullname" {
			name = append([]summary.Pair{{Key: "", Value: cell.Key(".name")}}, name...)
		}
		return slices.DeleteFunc(name, func(p summary.Pair) bool { return "/"+p.Key == c.X || "/"+p.Key == c.Series })
	}
	type place struct{ x, series string }
	at := func(cell *summary.Cell) place { return place{cell.Key(c.X), cell.Key(c.Series)} }
	meet := map[place]int{}
	shared := map[place]map[summary.Pair]int{}
	for _, cell := range cells {
		p := at(cell)
		meet[p]++
		if shared[p] == nil {
			shared[p] = map[summary.Pair]int{}
		}
		for _, pair := range rest(cell) {
			shared[p][pair]++
		}
	}
	differ := map[string]bool{}
	for p, pairs := range shared {
		for pair, n := range pairs {
			if n < meet[p] {
				differ[pair.Key] = true
			}
		}
	}
	return func(cell *summary.Cell) string {
		words := []string{cell.Key(c.Series)}
		if words[0] == "" {
			words[0] = "(none)"
		}
		for _, p := range rest(cell) {
			if differ[p.Key] {
				words = append(words, p.String())
			}
		}
		return strings.Join(words, " ")
	}
}

// scale chooses the unit of the y axis by the greatest value.
func (d *data) scale(unit string) {
	if d.chart.Ratio != nil {
		d.yScale, d.yLabel = 1, cmp.Or(d.chart.Y, d.chart.Unit+", as a ratio")
		return
	}
	low, top := math.Inf(1), 0.0
	for _, s := range d.series {
		for _, p := range s.points {
			top = max(top, math.Abs(p.fig.Value), math.Abs(slices.MaxFunc(p.raw, byAbs)))
			if v := math.Abs(p.fig.Value); v > 0 {
				low = min(low, v)
			}
		}
	}
	quantity, per, _ := strings.Cut(unit, "/")
	name, known := map[string]string{"syscalls": "system calls", "minflt": "minor faults", "majflt": "major faults", "ctxsw": "context switches"}[quantity]
	if !known {
		name = quantity
	}
	d.yScale, d.yLabel = 1, name
	if per != "" {
		d.yLabel += " per " + per
	}
	defer func() {
		// The unit in brackets stays.
		if _, axisUnit, ok := strings.Cut(d.yLabel, "("); ok && d.chart.Y != "" {
			d.yLabel = d.chart.Y + " (" + axisUnit
		} else if d.chart.Y != "" {
			d.yLabel = d.chart.Y
		}
	}()
	switch {
	case unit == "B/s":
		d.yScale, d.yLabel = 1<<30, "throughput (GiB/s)"
		if top < d.yScale/50 {
			d.yScale, d.yLabel = 1<<20, "throughput (MiB/s)"
		}
	case quantity == "sec" || strings.HasSuffix(quantity, "-sec"):
		if d.chart.Log && low < top {
			top = math.Sqrt(low) * math.Sqrt(top) // the middle of the decades
		}
		var axisUnit string
		d.yScale, axisUnit = timeUnit(top)
		what := strings.TrimSuffix(strings.TrimSuffix(quantity, "sec"), "-")
		if what == "" {
			what = "time"
		}
		d.yLabel = what + " (" + axisUnit + ")"
		if per != "" {
			d.yLabel = what + " per " + per + " (" + axisUnit + ")"
		}
	case benchunit.ClassOf(unit) == benchunit.Binary:
		sizes := []string{"B", "KiB", "MiB", "GiB", "TiB"}
		i := 0
		for i < len(sizes)-1 && top >= 1024*d.yScale {
			d.yScale *= 1024
			i++
		}
		what := strings.TrimSuffix(strings.TrimSuffix(quantity, "B"), "-")
		d.yLabel = strings.TrimSpace(what + " " + sizes[i])
		if per != "" {
			d.yLabel += " per " + per
		}
	}
}

// timeUnit is the unit that a time is best read in, and its seconds.
func timeUnit(sec float64) (scale float64, unit string) {
	switch {
	case sec >= 1:
		return 1, "s"
	case sec >= 1e-3:
		return 1e-3, "ms"
	case sec >= 1e-6:
		return 1e-6, "µs"
	}
	return 1e-9, "ns"
}

func byAbs(a, b float64) int {
	if math.Abs(a) < math.Abs(b) {
		return -1
	}
	return 1
}

// addCeilings takes the ceilings that bound the cells drawn, a line for each
// set of values of CeilingBy, and of several at one place the highest. A
// ceiling far above the data would press it flat, so it becomes a note.
func (d *data) addCeilings(results *summary.Results, used []*summary.Cell, unit string) error {
	tops, err := results.Cells(d.chart.Ceiling, append([]string{d.chart.X}, d.chart.CeilingBy...)...)
	if err != nil {
		return err
	}
	by := func(c *summary.Cell) string {
		var words []string
		for _, key := range d.chart.CeilingBy {
			if v := c.Key(key); v != "" {
				words = append(words, strings.TrimPrefix(key, "/")+"="+v)
			}
		}
		return strings.Join(words, " ")
	}
	lines := map[string]map[int]point{}
	for _, top := range tops {
		at := slices.Index(d.xs, top.Key(d.chart.X))
		if _, ok := top.Figure(unit); !ok || !slices.ContainsFunc(used, func(c *summary.Cell) bool {
			return (d.chart.CeilingFlat || top.Key(d.chart.X) == c.Key(d.chart.X)) && by(top) == by(c)
		}) {
			continue
		}
		if lines[by(top)] == nil {
			lines[by(top)] = map[int]point{}
		}
		fig, _ := top.Figure(unit)
		p := point{at, fig, top.Values(unit)}
		if have, ok := lines[by(top)][at]; !ok || p.fig.Value > have.fig.Value {
			lines[by(top)][at] = p
		}
	}
	for _, line := range lines {
		if d.chart.CeilingFlat {
			flatten(line, len(d.xs))
		}
	}
	most := 0.0
	for _, s := range d.series {
		for _, p := range s.points {
			most = max(most, p.fig.Value)
		}
	}
	sets := slices.Sorted(maps.Keys(lines))
	for _, set := range sets {
		line := ceiling{name: "ceiling"}
		if d.chart.CeilingLabel != "" {
			line.name += " (" + d.chart.CeilingLabel + ")"
		}
		for _, word := range strings.Fields(set) { // that tells it from another
			if slices.ContainsFunc(sets, func(other string) bool { return !slices.Contains(strings.Fields(other), word) }) {
				line.name += " " + word
			}
		}
		highest := 0.0
		for x := range d.xs {
			if p, ok := lines[set][x]; ok {
				line.points = append(line.points, p)
				highest = max(highest, p.fig.Value)
			}
		}
		if d.chart.Log || highest <= 3*most {
			d.ceils = append(d.ceils, line)
			continue
		}
		_, axisUnit, _ := strings.Cut(d.yLabel, "(")
		var words []string
		for _, p := range line.points {
			words = append(words, fmt.Sprintf("%s %s at %s", plain(round3(p.fig.Value/d.yScale)), strings.TrimSuffix(axisUnit, ")"), d.xName(d.xs[p.x])))
		}
		d.note("The %s is not drawn, as it would press the rest: %s.", line.name, strings.Join(words, ", "))
	}
	return nil
}

// flatten puts the highest point at every x.
func flatten(line map[int]point, xs int) {
	var highest point
	for _, p := range line {
		if p.fig.Value > highest.fig.Value {
			highest = p
		}
	}
	clear(line)
	for x := range xs {
		highest.x = x
		line[x] = highest
	}
}

// addFloors takes the floors within ten times of the figures; those farther
// off would leave most of the chart empty, and become a note.
func (d *data) addFloors(results *summary.Results) error {
	low, high := math.Inf(1), 0.0
	for _, s := range d.series {
		for _, p := range s.points {
			if p.fig.Value > 0 {
				low = min(low, p.fig.Value)
			}
			high = max(high, p.fig.Value)
		}
	}
	var far []string
	for _, f := range d.chart.Floors {
		cells, err := results.Cells(f.Filter)
		if err != nil {
			return err
		}
		_, unit := benchunit.Tidy(1, f.Unit)
		least := math.Inf(1)
		for _, c := range cells {
			if fig, ok := c.Figure(unit); ok && fig.Value > 0 {
				least = min(least, fig.Value)
			}
		}
		name := f.Label + " " + plain(round3(least))
		if strings.HasPrefix(unit, "sec") {
			scale, u := timeUnit(least)
			name = f.Label + " " + plain(round3(least/scale)) + " " + u
		}
		switch {
		case math.IsInf(least, 0) || high == 0:
		case least < low/10 || least > high*10:
			far = append(far, name)
		default:
			d.floors = append(d.floors, floor{name, least})
		}
	}
	slices.SortFunc(d.floors, func(a, b floor) int { return cmp.Compare(a.value, b.value) })
	if len(far) > 0 {
		d.note("Floors far from this chart: %s.", strings.Join(far, ", "))
	}
	return nil
}

func (d *data) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// caption says where the figures come from; what the file does not say is
// left out.
func caption(results *summary.Results, d *data, used []*summary.Cell) string {
	var facts []string
	value := func(key string) string {
		for _, c := range results.Config {
			if c.Key == key && c.Varies {
				return c.Value + " and others"
			}
		}
		return results.ConfigValue(key)
	}
	add := func(format, key string) {
		if v := value(key); v != "" {
			facts = append(facts, fmt.Sprintf(format, v))
		}
	}
	add("%s", "machine")
	add("%s", "cpu")
	add("%s CPUs", "cpus")
	add("%s", "kernel")
	// The type of the filesystem and the name of the disk: their options and
	// settings are for the table.
	fs, _, _ := strings.Cut(value("fs"), " ")
	var dev []string
	for _, word := range strings.Fields(value("device")) {
		if !strings.Contains(word, "=") {
			dev = append(dev, word)
		}
	}
	switch disk := strings.Join(dev, " "); {
	case fs != "" && disk != "":
		facts = append(facts, fs+" on "+disk)
	case fs+disk != "":
		facts = append(facts, fs+disk)
	}
	var sizes []string
	for _, c := range used {
		if s := c.Key("/size"); s != "" && !slices.Contains(sizes, s) {
			sizes = append(sizes, s)
		}
	}
	slices.SortFunc(sizes, summary.Compare)
	llc, hasLLC := summary.ParseNumber(results.ConfigValue("llc"))
	hasLLC = hasLLC && llc > 0
	times := func(size string) string {
		v, _ := summary.ParseNumber(size)
		return plain(round3(v / llc))
	}
	cache := " × last-level cache (" + sizeLabel(results.ConfigValue("llc")) + ")"
	switch {
	case d.chart.X == "/size" || d.chart.Series == "/size": // the chart tells
	case len(sizes) == 0:
		add("file = %s × last-level cache", "file-to-llc")
	default:
		least, most := sizes[0], sizes[len(sizes)-1]
		fact := "size " + sizeLabel(least)
		if least != most {
			fact += " to " + sizeLabel(most)
		}
		if hasLLC && least == most {
			fact += " = " + times(least) + cache
		} else if hasLLC {
			fact += " = " + times(least) + " to " + times(most) + cache
		}
		cached := func(c *summary.Cell) bool {
			size, ok := summary.ParseNumber(c.Key("/size"))
			return ok && hasLLC && size/llc < summary.CacheBound && c.Key("/cache") == "warm"
		}
		if slices.ContainsFunc(used, cached) {
			fact += ": the cache's speed, not memory's"
		}
		facts = append(facts, fact)
	}
	low, high, exact := math.MaxInt, 0, true
	for _, s := range d.series {
		for _, p := range s.points {
			low, high = min(low, p.fig.N), max(high, p.fig.N)
			exact = exact && p.fig.Exact && p.fig.Lo == p.fig.Hi
		}
	}
	n := fmt.Sprintf("n=%d", low)
	if low != high {
		n = fmt.Sprintf("n=%d–%d", low, high)
	}
	facts = append(facts, n)
	var days []string
	for _, date := range results.Dates {
		day, _, _ := strings.Cut(date, "T")
		days = append(days, day)
	}
	if slices.Sort(days); len(days) > 0 {
		facts = append(facts, days[0])
		if last := days[len(days)-1]; last != days[0] {
			facts[len(facts)-1] += " to " + last
		}
	}
	faint := "faint: the measurements"
	if high > maxRaw {
		faint = fmt.Sprintf("faint: %d of the measurements", maxRaw)
	}
	pairs := "the same round"
	if d.chart.ratioKey() == ".file" {
		pairs = "the k-th rounds"
	}
	how := "Points: medians"
	switch {
	case d.chart.Ratio != nil && low < summary.MinSamples:
		how = fmt.Sprintf("Points: geometric means of the ratios of "+pairs+"; %s. A 95 %% interval needs n=%d.", faint, summary.MinSamples)
	case d.chart.Ratio != nil:
		how = "Points: geometric means of the ratios of " + pairs + "; bars: 95 % intervals (Student's t); " + strings.Replace(faint, "measurements", "ratios", 1) + "."
	case exact && high == 1:
		how = "Points: counted once."
	case exact:
		how = "Points: exact counts, the same in every round."
	case high == 1:
		how = "Points: single measurements, no interval."
	case low >= summary.MinSamples:
		how += "; bars: 95 % intervals; " + faint + "."
	case high < summary.MinSamples:
		how += fmt.Sprintf("; %s. No interval: a 95 %% one needs n=%d.", faint, summary.MinSamples)
	default:
		how += fmt.Sprintf("; bars: 95 %% intervals, none where n < %d; %s.", summary.MinSamples, faint)
	}
	return strings.Join(facts, " · ") + "\n" + how
}

// xName is how the chart calls one of its x values.
func (d *data) xName(x string) string {
	if d.chart.X == ".file" {
		x = summary.RunName(x)
	}
	return sizeLabel(x)
}

var sizePattern = regexp.MustCompile(`^([0-9.]+)([KMGTPE]?i?B)$`)

// sizeLabel writes 4KiB as one reads it: 4 KiB.
func sizeLabel(s string) string {
	return shorten(sizePattern.ReplaceAllString(s, "$1 $2"))
}

// shorten takes out the middle of a name that would not fit any page.
func shorten(s string) string { return shortenTo(s, maxName) }

func shortenTo(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-(n-n/2)+1:])
}
