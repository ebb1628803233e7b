package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iopath/internal/summary"
)

// A Timeline draws one series over time: each run as a dot, each segment as a step at
// its median, each change as an upright line with its commit. It takes its figures as
// they are and looks at no results.
type Timeline struct {
	Headline
	What   string // what the ratio is of: "time"
	Series TimelineSeries
	Note   string // what a reader must know, above the figures
	Source string // where the figures come from, below them
}

// A TimelineSeries is what a Timeline draws.
type TimelineSeries struct {
	Name    string
	Points  []TimelinePoint // in the order of time
	Changes []TimelineChange
}

// A TimelinePoint is one run.
type TimelinePoint struct {
	At     time.Time
	Ratio  float64 // to what does not change: 1 is no difference
	N      int     // measurements behind it
	Commit string
}

// A TimelineChange is where one segment ends and the next begins.
type TimelineChange struct {
	First int // index of the first point after it
	Label string
	Worse bool
	P     float64
}

// Timelines draws many series below one another on one axis of time, each with its
// own axis of values, which begins and ends with its figures.
type Timelines struct {
	Headline
	What   string
	Series []TimelineSeries // from the top down
	Note   string
	Source string
}

// Measures in points.
const (
	timelineH  = 250 // of the panel, without labels
	laneH      = 11  // of a row of labels above it
	timeAxis   = 34  // below it
	lineRow    = 42  // of one of many
	timeTick   = 56  // a label of the axis of time has that much room
	maxChanges = 60  // labels of more would be as high as the panel
	maxRows    = 60
)

// a segment is a run of points between changes.
type segment struct {
	from, to int // points[from:to]
	median   float64
	color    color.NRGBA // of its step: by what the change before it did
}

// segments are those of the series; a change that is out of order is an error.
func (s TimelineSeries) segments() ([]segment, error) {
	if len(s.Points) == 0 {
		return nil, noData("draw %s: there is no run (iopath history add RUN adds one)", s.Name)
	}
	for i, p := range s.Points {
		if !(p.Ratio > 1/extremeRatio) || p.Ratio > extremeRatio {
			return nil, summary.Errorf("draw %s: a ratio of %g has no place on the axis", s.Name, p.Ratio)
		}
		if i > 0 && p.At.Before(s.Points[i-1].At) {
			return nil, summary.Errorf("draw %s: run %d is older than the one before it", s.Name, i)
		}
	}
	all := []segment{{color: colors[blue]}}
	for _, c := range s.Changes {
		last := &all[len(all)-1]
		if c.First <= last.from || c.First >= len(s.Points) {
			return nil, summary.Errorf("draw %s: a change at run %d of %d is out of order", s.Name, c.First, len(s.Points))
		}
		last.to = c.First
		next := segment{from: c.First, color: colors[green]}
		if c.Worse {
			next.color = colors[vermil]
		}
		all = append(all, next)
	}
	all[len(all)-1].to = len(s.Points)
	for i, g := range all {
		var logs []float64
		for _, p := range s.Points[g.from:g.to] {
			logs = append(logs, math.Log(p.Ratio))
		}
		slices.Sort(logs)
		n := len(logs)
		all[i].median = math.Exp((logs[(n-1)/2] + logs[n/2]) / 2)
	}
	return all, nil
}

// extremeRatio bounds the ratios that are drawn.
const extremeRatio = 1e6

// A timeScale gives each run its place, from 0 to 1.
type timeScale struct {
	first, last time.Time
	runs        []time.Time // where they stand side by side, in order; else nil
}

// newTimeScale places runs by their dates, or side by side where most of them would
// stand on one another: of ten years with one busy month, that month is the chart.
func newTimeScale(dates []time.Time) timeScale {
	slices.SortFunc(dates, time.Time.Compare)
	dates = slices.CompactFunc(dates, time.Time.Equal)
	s := timeScale{first: dates[0], last: dates[len(dates)-1]}
	const bins = 100
	full := map[int]bool{}
	for _, d := range dates {
		full[int(s.at(d)*(bins-1))] = true
	}
	if n := min(len(dates), bins); len(full) < n/3 {
		s.runs = dates
	}
	return s
}

// at is the place of a run's date.
func (s timeScale) at(d time.Time) float64 {
	if s.runs != nil {
		i, _ := slices.BinarySearchFunc(s.runs, d, time.Time.Compare)
		return float64(i) / float64(max(1, len(s.runs)-1))
	}
	span := s.last.Sub(s.first)
	if span <= 0 {
		return 0.5
	}
	return float64(d.Sub(s.first)) / float64(span)
}

// label of the axis.
func (s timeScale) label() string {
	if s.runs != nil {
		return "run, one beside the other (the dates are of some of them)"
	}
	return "date of the run (UTC)"
}

// A timeTickAt is a date on the axis.
type timeTickAt struct {
	at    float64
	label string
}

// ticks are at most so many dates.
func (s timeScale) ticks(most int) (all []timeTickAt) {
	if s.runs != nil {
		step := max(1, (len(s.runs)+most-1)/most)
		for i := 0; i < len(s.runs); i += step {
			all = append(all, timeTickAt{s.at(s.runs[i]), s.runs[i].Format("2006-01-02")})
		}
		return all
	}
	if !s.first.Before(s.last) {
		return []timeTickAt{{0.5, s.first.Format("2006-01-02")}}
	}
	days := s.last.Sub(s.first).Hours() / 24
	// The smallest step that gives few enough, in days, months or years.
	format := "2006-01-02"
	begin := s.first.UTC().Truncate(24 * time.Hour)
	next := func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }
	switch {
	case days <= float64(most):
	case days/7 <= float64(most):
		for begin.Weekday() != time.Monday {
			begin = begin.AddDate(0, 0, -1)
		}
		next = func(t time.Time) time.Time { return t.AddDate(0, 0, 7) }
	default:
		months := 120
		for _, m := range []int{1, 2, 3, 6, 12, 24, 60} {
			if days/30.4/float64(m) <= float64(most) {
				months = m
				break
			}
		}
		format = "2006-01"
		if months%12 == 0 {
			format = "2006"
		}
		year := begin.Year()
		if months > 12 {
			year -= year % (months / 12)
		}
		begin = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		next = func(t time.Time) time.Time { return t.AddDate(0, months, 0) }
	}
	for t := begin; !t.After(s.last); t = next(t) {
		if !t.Before(s.first) {
			all = append(all, timeTickAt{s.at(t), t.Format(format)})
		}
	}
	if len(all) == 0 { // a night or two
		all = append(all, timeTickAt{0, s.first.Format("2006-01-02 15:04")})
	}
	return all
}

// drawTimeAxis draws the dates below r, with lines through it.
func (s timeScale) draw(c draw.Canvas, r vg.Rectangle) {
	line := draw.LineStyle{Color: muted, Width: 0.6}
	c.StrokeLine2(line, r.Min.X, r.Min.Y, r.Max.X, r.Min.Y)
	small := face(9, false)
	end := vg.Length(math.Inf(-1))
	for _, t := range s.ticks(int((r.Max.X - r.Min.X) / timeTick)) {
		x := s.x(r, t.at)
		c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.6}, x, r.Min.Y, x, r.Max.Y)
		c.StrokeLine2(line, x, r.Min.Y, x, r.Min.Y-4)
		width := small.Width(t.label)
		if left := min(max(x-width/2, r.Min.X), r.Max.X-width); left > end+5 {
			end = left + width
			c.SetColor(muted)
			c.FillString(small, vg.Point{X: left, Y: r.Min.Y - 14}, t.label)
		}
	}
	f := face(10, false)
	c.SetColor(ink)
	c.FillString(f, vg.Point{X: (r.Min.X + r.Max.X - f.Width(s.label())) / 2, Y: r.Min.Y - timeAxis + 4}, s.label())
}

// x leaves the outermost runs some room.
func (s timeScale) x(r vg.Rectangle, at float64) vg.Length {
	const edge = 6
	return r.Min.X + edge + vg.Length(at)*(r.Max.X-r.Min.X-2*edge)
}

// percent writes a ratio as a difference: +12.3 %.
func percent(ratio float64) string {
	v := (ratio - 1) * 100
	switch a := math.Abs(v); {
	case a < 0.05:
		return "0 %"
	case a < 100:
		return signed(math.Round(v*10)/10) + " %"
	}
	return signed(math.Round(v)) + " %"
}

func signed(v float64) string {
	if v > 0 {
		return "+" + plain(v)
	}
	return plain(v)
}

// A span is what an axis of ratios shows.
type span struct{ low, high float64 }

// spanOf is where the segments and most runs are. A spike a long way off would press
// all else flat: it is drawn at the edge.
func spanOf(s TimelineSeries, segments []segment) span {
	var ratios []float64
	for _, p := range s.Points {
		ratios = append(ratios, p.Ratio)
	}
	slices.Sort(ratios)
	n := len(ratios)
	aside := max(n/100, min(2, n/4))
	at := span{ratios[aside], ratios[n-1-aside]}
	for _, g := range segments {
		at.low, at.high = min(at.low, g.median), max(at.high, g.median)
	}
	// Whatever is not much farther off than that is in sight.
	room := max(1.5*(at.high-at.low), 0.01)
	for _, r := range ratios {
		if r >= at.low-room && r < at.low || r <= at.high+room && r > at.high {
			at.low, at.high = min(at.low, r), max(at.high, r)
		}
	}
	if at.high-at.low < 0.02 {
		at.low, at.high = at.low-0.01, at.high+0.01
	}
	pad := 0.06 * (at.high - at.low)
	return span{at.low - pad, at.high + pad}
}

// y is the place of a ratio between the ends of r; off says that it is beyond them.
func (a span) y(r vg.Rectangle, ratio float64) (y vg.Length, off int) {
	share := (ratio - a.low) / (a.high - a.low)
	switch {
	case share < 0:
		return r.Min.Y + 3, -1
	case share > 1:
		return r.Max.Y - 3, +1
	}
	return r.Min.Y + vg.Length(share)*(r.Max.Y-r.Min.Y), 0
}

// ticks are round differences in percent.
func (a span) ticks(most float64) (all []float64) {
	width := (a.high - a.low) * 100
	step := math.Pow(10, math.Floor(math.Log10(width/most)))
	for _, m := range []float64{1, 2, 5, 10} {
		if width/(step*m) <= most {
			step *= m
			break
		}
	}
	for i := math.Ceil((a.low - 1) * 100 / step); i*step <= (a.high-1)*100; i++ {
		all = append(all, round3(i*step))
	}
	return all
}

// beyond counts the runs outside the axis and says how far they go.
func (a span) beyond(s TimelineSeries) string {
	n, least, most := 0, 1.0, 1.0
	for _, p := range s.Points {
		if p.Ratio < a.low || p.Ratio > a.high {
			n++
			least, most = min(least, p.Ratio), max(most, p.Ratio)
		}
	}
	if n == 0 {
		return ""
	}
	var how []string
	if least < a.low {
		how = append(how, "down to "+percent(least))
	}
	if most > a.high {
		how = append(how, "up to "+percent(most))
	}
	return fmt.Sprintf("Triangles: runs beyond the axis (%d), %s.", n, strings.Join(how, " and "))
}

// drawSeries draws dots, spikes beyond the axis, and steps.
func drawSeries(c draw.Canvas, r vg.Rectangle, scale timeScale, a span, s TimelineSeries, segments []segment, dot vg.Length, thick vg.Length) {
	pale := colors[inkless]
	pale.A = 0x58
	for _, p := range s.Points {
		y, off := a.y(r, p.Ratio)
		at := vg.Point{X: scale.x(r, scale.at(p.At)), Y: y}
		if off != 0 {
			shape := up
			if off < 0 {
				shape = down
			}
			style{inkless, shape, solid}.glyph(c, at, dot*1.6)
			continue
		}
		var path vg.Path
		path.Move(vg.Point{X: at.X + dot, Y: at.Y})
		path.Arc(at, dot, 0, 2*math.Pi)
		path.Close()
		c.SetColor(pale)
		c.Fill(path)
	}
	for _, g := range segments {
		y, _ := a.y(r, g.median)
		from, to := scale.x(r, scale.at(s.Points[g.from].At)), scale.x(r, scale.at(s.Points[g.to-1].At))
		const least = 3
		c.StrokeLine2(draw.LineStyle{Color: g.color, Width: thick}, min(from, to-least), y, max(to, from+least), y)
	}
}

// sheet implements [Drawing].
func (t Timeline) sheet(*summary.Results) (*sheet, error) {
	segments, err := t.Series.segments()
	if err != nil {
		return nil, err
	}
	if n := len(t.Series.Changes); n > maxChanges {
		return nil, summary.Errorf("draw %s: %d changes in one chart, and %d are the most that have room for their names (narrow the time)", t.Name, n, maxChanges)
	}
	var dates []time.Time
	for _, p := range t.Series.Points {
		dates = append(dates, p.At)
	}
	l := timeline{Timeline: t, segments: segments, scale: newTimeScale(dates), span: spanOf(t.Series, segments)}
	l.axis = l.axisW()
	l.labels = l.place(l.panel())
	lanes := 0
	for _, b := range l.labels {
		lanes = max(lanes, b.lane+1)
	}
	l.lanes = lanes
	least, most := math.MaxInt, 0
	for _, p := range t.Series.Points {
		least, most = min(least, p.N), max(most, p.N)
	}
	n := fmt.Sprintf("n=%d", least)
	if least != most {
		n = fmt.Sprintf("n=%d–%d", least, most)
	}
	how := fmt.Sprintf("Dots: runs (%d), each the median of its rounds (%s); steps: the medians between changes", len(dates), n)
	if len(t.Series.Changes) > 0 {
		how += "; dashed: a change, by the first commit after it"
	}
	return &sheet{
		title: t.Title, notes: joined(t.Note, l.span.beyond(t.Series)), caption: joined(t.Source, how+"."),
		w: bodyW, h: laneH*vg.Length(lanes) + timelineH + timeAxis,
		body: l.draw, points: timelinePoints([]TimelineSeries{t.Series}, [][]segment{segments}),
	}, nil
}

func joined(lines ...string) string {
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n")
}

// timeline is a Timeline with a place for everything.
type timeline struct {
	Timeline
	segments []segment
	scale    timeScale
	span     span
	axis     vg.Length // what the axis of values takes on the left
	labels   []changeLabel
	lanes    int
}

// A changeLabel names a change above its line.
type changeLabel struct {
	x, left vg.Length // of the line and of the text, from the left end of the page
	lane    int       // from below
	text    string
	color   color.NRGBA
}

// panel is where the panel's left and right ends are on the page. The names of what
// changed lately, which is what one looks for, have room beside it.
func (l timeline) panel() vg.Rectangle {
	r := vg.Rectangle{Min: vg.Point{X: l.axis}, Max: vg.Point{X: bodyW}}
	small, room := face(8.5, false), vg.Length(0)
	for _, b := range l.place(r) {
		if width := small.Width(b.text); b.left+width > r.Max.X {
			room = max(room, width)
		}
	}
	r.Max.X -= room
	return r
}

func (l timeline) axisW() (w vg.Length) {
	small := face(9, false)
	for _, v := range l.span.ticks(6) {
		w = max(w, small.Width(signedTick(v)))
	}
	return w + 6 + 16 // the axis's own name stands upright beside
}

func signedTick(v float64) string {
	if v == 0 {
		return "0"
	}
	return signed(v)
}

// place gives each name a lane to the right of its line, in which it meets neither
// another name nor the line of another change on its way up.
func (l timeline) place(panel vg.Rectangle) []changeLabel {
	small := face(8.5, false)
	var all []changeLabel
	for i, c := range l.Series.Changes {
		x := l.scale.x(panel, l.scale.at(l.Series.Points[c.First].At))
		all = append(all, changeLabel{x: x, left: x + 2, text: shortenTo(c.Label, 40), color: l.segments[i+1].color})
	}
	// The lines that run through a name are all to the right of its own, so whoever
	// stands there has his lane first.
	for i := len(all) - 1; i >= 0; i-- {
		b := &all[i]
		end := b.left + small.Width(b.text)
		for _, other := range all[i+1:] {
			if other.x < end+1 {
				b.lane = max(b.lane, other.lane+1)
			}
		}
		meets := func(other changeLabel) bool { return other.lane == b.lane && other.left < end+6 }
		for slices.ContainsFunc(all[i+1:], meets) {
			b.lane++
		}
	}
	return all
}

func (l timeline) draw(c draw.Canvas, r vg.Rectangle) {
	panel := l.panel()
	panel.Min = panel.Min.Add(vg.Point{X: r.Min.X, Y: r.Min.Y + timeAxis})
	panel.Max = vg.Point{X: r.Min.X + panel.Max.X, Y: r.Max.Y - laneH*vg.Length(l.lanes)}
	l.scale.draw(c, panel)
	l.drawValues(c, panel, r)
	small := face(8.5, false)
	for _, b := range l.labels {
		x, top := r.Min.X+b.x, panel.Max.Y+laneH*vg.Length(b.lane)
		c.StrokeLine2(draw.LineStyle{Color: b.color, Width: 0.9, Dashes: dashes[dashed]}, x, panel.Min.Y, x, top+laneH-2)
		c.SetColor(ink)
		c.FillString(small, vg.Point{X: r.Min.X + b.left, Y: top + 3}, b.text)
	}
	drawSeries(c, panel, l.scale, l.span, l.Series, l.segments, 1.5, 2.2)
}

// drawValues draws the axis of values, with a line at no difference.
func (l timeline) drawValues(c draw.Canvas, panel, r vg.Rectangle) {
	small, line := face(9, false), draw.LineStyle{Color: muted, Width: 0.6}
	c.StrokeLine2(line, panel.Min.X, panel.Min.Y, panel.Min.X, panel.Max.Y)
	for _, v := range l.span.ticks(6) {
		y, _ := l.span.y(panel, 1+v/100)
		grid := draw.LineStyle{Color: faint, Width: 0.6}
		if v == 0 {
			grid = low
		}
		c.StrokeLine2(grid, panel.Min.X, y, panel.Max.X, y)
		c.StrokeLine2(line, panel.Min.X-4, y, panel.Min.X, y)
		c.SetColor(muted)
		text := signedTick(v)
		c.FillString(small, vg.Point{X: panel.Min.X - 6 - small.Width(text), Y: y - 3}, text)
	}
	name, f := l.What+" against the pinned base (%)", face(10, false)
	c.Push()
	c.Translate(vg.Point{X: r.Min.X + 9, Y: (panel.Min.Y + panel.Max.Y - f.Width(name)) / 2})
	c.Rotate(math.Pi / 2)
	c.SetColor(ink)
	c.FillString(f, vg.Point{}, name)
	c.Pop()
}

// timelinePoints are the figures behind the picture.
func timelinePoints(all []TimelineSeries, segments [][]segment) [][]string {
	t := [][]string{{"series", "date", "commit", "ratio", "n", "segment median", "p of a change here"}}
	for i, s := range all {
		for k, p := range s.Points {
			g := slices.IndexFunc(segments[i], func(g segment) bool { return k < g.to })
			change := ""
			if g > 0 && segments[i][g].from == k {
				change = number(s.Changes[g-1].P)
			}
			t = append(t, []string{s.Name, p.At.UTC().Format(time.RFC3339), p.Commit, number(p.Ratio), strconv.Itoa(p.N), number(segments[i][g].median), change})
		}
	}
	return t
}

// timelines is Timelines with a place for everything.
type timelines struct {
	Timelines
	segments [][]segment
	spans    []span
	scale    timeScale
}

// sheet implements [Drawing].
func (t Timelines) sheet(*summary.Results) (*sheet, error) {
	if len(t.Series) == 0 {
		return nil, noData("draw %s: there is no series (iopath history add RUN adds one)", t.Name)
	}
	if len(t.Series) > maxRows {
		return nil, summary.Errorf("draw %s: %d series below one another, and %d are the most that a page has (narrow the filter)", t.Name, len(t.Series), maxRows)
	}
	l := timelines{Timelines: t}
	var dates []time.Time
	beyond := 0
	for _, s := range t.Series {
		segments, err := s.segments()
		if err != nil {
			return nil, err
		}
		l.segments, l.spans = append(l.segments, segments), append(l.spans, spanOf(s, segments))
		for _, p := range s.Points {
			dates = append(dates, p.At)
		}
		if l.spans[len(l.spans)-1].beyond(s) != "" {
			beyond++
		}
	}
	l.scale = newTimeScale(dates)
	note := t.Note
	if beyond > 0 {
		note = joined(note, "Triangles: runs beyond the ends of their axis.")
	}
	return &sheet{
		title: t.Title, notes: note,
		caption: joined(t.Source, "Dots: runs; steps: the medians between changes, vermilion where it became worse, green where better. Each row has an axis of its own; on its left is the first median, on its right the last."),
		w:       bodyW, h: lineRow*vg.Length(len(t.Series)) + timeAxis,
		body: l.draw, points: timelinePoints(t.Series, l.segments),
	}, nil
}

func (l timelines) draw(c draw.Canvas, r vg.Rectangle) {
	names, small, bold := face(9, false), face(8.5, false), face(9, true)
	const valueW = 46
	panel := vg.Rectangle{
		Min: vg.Point{X: r.Min.X + valueW, Y: r.Min.Y + timeAxis},
		Max: vg.Point{X: r.Max.X - valueW, Y: r.Max.Y},
	}
	l.scale.draw(c, panel)
	for i, s := range l.Series {
		top := r.Max.Y - lineRow*vg.Length(i)
		row := vg.Rectangle{Min: vg.Point{X: panel.Min.X, Y: top - lineRow + 3}, Max: vg.Point{X: panel.Max.X, Y: top - 15}}
		if i > 0 {
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.6}, r.Min.X, top, r.Max.X, top)
		}
		segments := l.segments[i]
		for k := range segments[1:] {
			x := l.scale.x(row, l.scale.at(s.Points[segments[k+1].from].At))
			c.StrokeLine2(draw.LineStyle{Color: segments[k+1].color, Width: 0.9, Dashes: dashes[dashed]}, x, row.Min.Y-1, x, row.Max.Y)
		}
		drawSeries(c, row, l.scale, l.spans[i], s, segments, 0.9, 1.8)
		c.SetColor(ink)
		c.FillString(names, vg.Point{X: r.Min.X, Y: top - 10}, shortenTo(s.Name, 110))
		end := func(g segment, f font.Face, right bool) {
			text := percent(g.median)
			y, _ := l.spans[i].y(row, g.median)
			x := r.Max.X - valueW + 5
			if !right {
				x = panel.Min.X - 5 - f.Width(text)
			}
			c.SetColor(ink)
			c.FillString(f, vg.Point{X: x, Y: min(max(y-3, row.Min.Y), row.Max.Y-6)}, text)
		}
		end(segments[0], small, false)
		end(segments[len(segments)-1], bold, true)
	}
}
