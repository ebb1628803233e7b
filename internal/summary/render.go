package summary

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/perf/benchunit"
)

// spine is the order of the columns that make the case: the effect, then its
// causes.
var spine = []string{"B/s", Share, "p50-sec", "p99-sec", "syscalls/op", "minflt/op", "majflt/op", "ctxsw/op", "cpu-sec/op", "peer-cpu-sec/op", "device-B/op"}

// spare are columns that a narrow terminal may lack, in the order in which
// they are given room; those that are not of the spine stand in this order too.
// Units that are in neither come after them.
var spare = []string{
	"p50-sec", "device-B/op", "ctxsw/op",
	"sec/op", "p999-sec", "max-sec", "late-%", "read-amplification",
	"user-cpu-sec/op", "sys-cpu-sec/op", "peer-user-cpu-sec/op", "peer-sys-cpu-sec/op", "cycles/op", "instructions/op",
}

func columns(rows []Row, suite bool) []Column {
	var units []string
	for _, r := range rows {
		for _, u := range r.Cell.Units {
			if _, ok := r.Figures[u]; ok && !slices.Contains(units, u) {
				units = append(units, u)
			}
		}
	}
	if !suite {
		// Lines of one benchmark may list their units in any order, but
		// time and throughput are what one looks for.
		slices.SortStableFunc(units, func(a, b string) int { return leading(a) - leading(b) })
		cols := make([]Column, len(units))
		for i, u := range units {
			cols[i] = unitColumn(u, rows, suite)
		}
		return cols
	}
	var cols []Column
	for _, u := range spine {
		switch {
		case u == Share:
			if slices.ContainsFunc(rows, func(r Row) bool { return r.Share > 0 }) {
				sub := "ceiling"
				if slices.ContainsFunc(rows, func(r Row) bool { return r.Of == Device }) {
					sub = "device"
				}
				cols = append(cols, Column{Unit: Share, Top: "of", Sub: sub, format: func(r Row) string {
					if r.Share == 0 {
						return "-"
					}
					return fmt.Sprintf("%.0f%%", 100*r.Share)
				}})
			}
		case slices.Contains(units, u):
			cols = append(cols, unitColumn(u, rows, suite))
		case u == "B/s" && slices.Contains(units, "sec/op"):
			cols = append(cols, unitColumn("sec/op", rows, suite))
		}
	}
	if len(cols) > 0 && cols[0].Unit == "B/s" {
		// What moves nothing has a time and no throughput.
		rate := cols[0].format
		cols[0].format = func(r Row) string {
			if _, ok := r.Figures["B/s"]; ok {
				return rate(r)
			}
			if f, ok := r.Figures["sec/op"]; ok {
				scale, prefix := TimeScale(f.Value)
				return Digits(f.Value/scale) + " " + prefix + "s/op"
			}
			return "-"
		}
	}
	main := len(cols)
	turn := func(unit string) int {
		if i := slices.Index(spare, unit); i >= 0 {
			return i + 1
		}
		return len(spare) + 1
	}
	for _, u := range units {
		if !slices.ContainsFunc(cols, func(c Column) bool { return c.Unit == u }) {
			cols = append(cols, unitColumn(u, rows, suite))
		}
	}
	slices.SortStableFunc(cols[main:], func(a, b Column) int { return turn(a.Unit) - turn(b.Unit) })
	for i := range cols {
		if i >= main || slices.Contains(spare, cols[i].Unit) {
			cols[i].spare = turn(cols[i].Unit)
		}
	}
	return cols
}

func leading(unit string) int {
	switch unit {
	case "sec/op":
		return 0
	case "B/s":
		return 1
	}
	return 2
}

// unitColumn heads a unit and scales it alike in all rows.
func unitColumn(unit string, rows []Row, suite bool) Column {
	low, top, anyInterval, isZero := math.Inf(1), 0.0, false, true
	for _, r := range rows {
		f := r.Figures[unit]
		if v := math.Abs(f.Value); v > 0 {
			low, top = min(low, v), max(top, v)
		}
		isZero = isZero && !slices.ContainsFunc(r.Cell.Values(unit), func(v float64) bool { return v != 0 })
		anyInterval = anyInterval || f.Interval && !f.Exact
	}
	quantity, per, hasPer := strings.Cut(unit, "/")
	if hasPer {
		per = "/" + per
	}
	c := Column{Unit: unit, Top: quantity, Sub: per, isZero: isZero}
	show := func(f Figure) string {
		if !f.Exact && math.Abs(f.Value) >= 100 {
			return Count(math.Round(f.Value)) // the half between two counts
		}
		return Count(f.Value)
	}
	interval := anyInterval && (unit == "B/s" || unit == "sec/op")
	switch {
	case unit == "B/s":
		scale, prefix := ByteScale(top)
		c.Top, c.Sub = "throughput", prefix+"B/s"
		show = func(f Figure) string { return Digits(f.Value / scale) }
	case !hasPer && strings.HasSuffix(quantity, "-sec"):
		// Times of a block span what no one scale shows: 500 ns in the page
		// cache and 100 ms behind it.
		c.Top, c.Sub = strings.TrimSuffix(quantity, "-sec"), "s"
		show = func(f Figure) string {
			scale, prefix := TimeScale(f.Value)
			return Digits(f.Value/scale) + prefix
		}
	case strings.HasSuffix(quantity, "-%"):
		c.Top, c.Sub = strings.TrimSuffix(quantity, "-%"), "%"
		show = func(f Figure) string { return Digits(f.Value) }
	case quantity == "sec" || strings.HasSuffix(quantity, "-sec"):
		scale, prefix := TimeScale(top)
		if !suite && top/low < 1e4 {
			scale, prefix = TimeScale(low)
		}
		c.Top, c.Sub = strings.TrimSuffix(quantity, "-sec"), prefix+"s"+per
		if quantity == "sec" {
			c.Top = "time"
		}
		show = func(f Figure) string { return Digits(f.Value / scale) }
	case benchunit.ClassOf(unit) == benchunit.Binary:
		c.Top, c.Sub = strings.TrimSuffix(quantity, "-B"), "B"+per
		show = func(f Figure) string { return bytesText(f.Value) }
		if quantity == "B" {
			c.Top = "memory"
		}
	}
	c.format = func(r Row) string {
		f, ok := r.Figures[unit]
		if !ok {
			return "-"
		}
		text := show(f)
		if pm, ok := f.PlusMinus(); ok && interval && !f.Exact {
			text += " ±" + fmt.Sprintf("%5s", Percent(pm))
		} else if interval {
			text += strings.Repeat(" ", len(" ±")-1+5) // keeps the figures in line
		}
		return text
	}
	return c
}

// Percent writes a share, with one decimal below ten percent: 4.1%, 14%.
func Percent(share float64) string {
	if v := 100 * share; v < 9.95 {
		return fmt.Sprintf("%.1f%%", v)
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

// Digits writes three significant digits, and all digits before the point.
func Digits(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 1e-3 || a >= 1e15:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 99.95:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// Count writes a whole number whole, another with two decimals at the most.
func Count(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	if a := math.Abs(v); a < 0.01 || a >= 1e15 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return thousands(strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), "."))
}

func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, frac, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if frac != "" {
		whole += "." + frac
	}
	return sign + whole
}

func bytesText(v float64) string {
	if math.Abs(v) < 1024 {
		return Count(v)
	}
	scale, prefix := ByteScale(v)
	text := Digits(v / scale)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + prefix
}

// ByteScale returns the bytes, a power of 1024, that a size is counted in, and their
// prefix: 1<<20 and "Mi".
func ByteScale(v float64) (scale float64, prefix string) {
	for i, p := range []string{"Ti", "Gi", "Mi", "Ki"} {
		if s := math.Pow(1024, float64(4-i)); math.Abs(v) >= s {
			return s, p
		}
	}
	return 1, ""
}

// TimeScale returns the seconds, a power of a thousand, that a time is counted in, and
// their prefix: 1e-6 and "µ".
func TimeScale(v float64) (scale float64, prefix string) {
	switch a := math.Abs(v); {
	case a < 1e-6:
		return 1e-9, "n"
	case a < 1e-3:
		return 1e-6, "µ"
	case a < 1:
		return 1e-3, "m"
	}
	return 1, ""
}

// heading writes the section's name, keys and n.
func (s Section) heading() string {
	words := []string{s.Name}
	if s.Name == "" {
		words[0] = "Benchmarks"
	}
	var keys []string
	for _, p := range s.Keys {
		keys = append(keys, p.String())
	}
	if len(keys) > 0 {
		words = append(words, strings.Join(keys, " "))
	}
	return strings.Join(words, "  ")
}

func (s Section) n() string {
	if s.MinN != s.MaxN {
		return fmt.Sprintf("n=%d–%d", s.MinN, s.MaxN)
	}
	return fmt.Sprintf("n=%d", s.MinN)
}

// Text writes the table for a terminal of the given width in columns; less
// than 80 counts as 80. Columns that make the case and do not fit beside each
// other follow in a second part. Others are shown where there is room, and
// named where there is none. Of methods, a column of zeros is one line instead.
func (t *Table) Text(w io.Writer, width int) error {
	width = max(width, 80)
	var b strings.Builder
	var hidden []string
	for i, s := range t.Sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s   %s\n", s.heading(), s.n())
		cols, zeros, left := s.choose(width)
		for _, u := range left {
			hidden = addOnce(hidden, u)
		}
		s.text(&b, cols, width)
		if len(zeros) > 0 {
			fill(&b, "all 0: "+strings.Join(zeros, ", "), width)
		}
	}
	notes := slices.Clone(t.Notes)
	if len(hidden) > 0 {
		notes = append(notes, fmt.Sprintf("Not everywhere is there room for: %s (Markdown and JSON have all).", strings.Join(hidden, ", ")))
	}
	for _, list := range []struct {
		word  string
		lines []string
	}{{"", notes}, {"noise: ", t.Noise}, {"skipped: ", byReason(t.Skipped)}, {"failed: ", byReason(t.Failed)}} {
		if len(list.lines) > 0 {
			b.WriteByte('\n')
		}
		for _, line := range list.lines {
			fill(&b, list.word+line, width)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// byReason puts cells of one reason on one line: a directory that cannot go
// cold skips every cold cell.
func byReason(lines []string) []string {
	var reasons, out []string
	first, n := map[string]string{}, map[string]int{}
	for _, line := range lines {
		cell, reason, _ := strings.Cut(line, ": ")
		if n[reason]++; n[reason] == 1 {
			first[reason] = cell
			reasons = append(reasons, reason)
		}
	}
	for _, reason := range reasons {
		line := first[reason]
		if n[reason] > 1 {
			line += fmt.Sprintf(" and %d more", n[reason]-1)
		}
		if reason != "" {
			line += ": " + reason
		}
		out = append(out, line)
	}
	return out
}

// name is the heading on one line.
func (c Column) name() string {
	if strings.HasPrefix(c.Sub, "/") || c.Sub == "" {
		return c.Top + c.Sub
	}
	if c.Unit == Share {
		return c.Top + " " + c.Sub
	}
	return c.Top + " (" + c.Sub + ")"
}

// choose picks the columns that a terminal shows, and names those that hold
// nothing but zeros and those that are left out.
func (s Section) choose(width int) (cols []Column, zeros, left []string) {
	_, room, _ := s.labels(width)
	gap := 1
	if width >= wide {
		gap = 2
	}
	shown := make([]bool, len(s.Columns))
	for turn, used := 0, 0; turn <= len(spare)+1; turn++ {
		for i, c := range s.Columns {
			zero := c.isZero && s.RowKey == "method"
			if c.spare == turn && !zero && (turn == 0 || used+gap+s.width(c) <= room) {
				used += gap + s.width(c)
				shown[i] = true
			}
		}
	}
	for i, c := range s.Columns {
		switch {
		case shown[i]:
			cols = append(cols, c)
		case c.isZero && s.RowKey == "method":
			zeros = append(zeros, c.Unit)
		default:
			left = append(left, c.Unit)
		}
	}
	return cols, zeros, left
}

// wide is the width from which columns stand farther apart.
const wide = 120

const indent = 2

// labels returns the width of the labels' column and what it leaves to the
// others. Names that would take the figures' room stand on a line of their own.
func (s Section) labels(width int) (labels, room int, apart bool) {
	labels = utf8.RuneCountInString(s.RowKey)
	longest := labels
	for _, r := range s.Rows {
		longest = max(longest, utf8.RuneCountInString(r.Label))
	}
	if apart = longest > width*2/5; !apart {
		labels = longest
	}
	return labels, width - indent - labels, apart
}

func (s Section) width(c Column) int {
	w := max(utf8.RuneCountInString(c.Top), utf8.RuneCountInString(c.Sub))
	for _, r := range s.Rows {
		w = max(w, utf8.RuneCountInString(c.Text(r)))
	}
	return w
}

func (s Section) text(b *strings.Builder, cols []Column, width int) {
	labelWidth, room, apart := s.labels(width)
	widths := make([]int, len(cols))
	for i, c := range cols {
		widths[i] = s.width(c)
	}
	gap := 2
	if used := sum(widths) + gap*len(cols); used > room && used-len(cols) <= room {
		gap = 1
	} else if width >= wide && used+len(cols) <= room {
		gap = 3
	}
	for from := 0; ; {
		to, used := from, 0
		for to < len(cols) && (to == from || used+gap+widths[to] <= room) {
			used += gap + widths[to]
			to++
		}
		if from > 0 {
			b.WriteByte('\n')
		}
		line := func(label string, text func(int) string) {
			var l strings.Builder
			l.WriteString(pad(strings.Repeat(" ", indent)+label, indent+labelWidth))
			for i := from; i < to; i++ {
				l.WriteString(strings.Repeat(" ", gap))
				l.WriteString(padLeft(text(i), widths[i]))
			}
			b.WriteString(strings.TrimRight(l.String(), " "))
			b.WriteByte('\n')
		}
		line(s.RowKey, func(i int) string { return cols[i].Top })
		line("", func(i int) string { return cols[i].Sub })
		group := ""
		for _, r := range s.Rows {
			if r.Group != group {
				group = r.Group
				fmt.Fprintf(b, "block=%s\n", group)
			}
			label := r.Label
			if apart {
				fmt.Fprintf(b, "%*s%s\n", indent, "", label)
				label = ""
			}
			line(label, func(i int) string { return cols[i].Text(r) })
		}
		if from = to; from >= len(cols) {
			return
		}
	}
}

// fill writes text in lines of at most width, where a space allows it.
func fill(b *strings.Builder, text string, width int) {
	col := 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case col == 0:
		case col+1+n > width:
			b.WriteString("\n  ")
			col = 2
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	b.WriteByte('\n')
}

func sum(v []int) int {
	total := 0
	for _, x := range v {
		total += x
	}
	return total
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

func padLeft(s string, n int) string {
	return strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) + s
}

// Markdown writes the table with all its columns, a heading a section.
func (t *Table) Markdown(w io.Writer) error {
	var b strings.Builder
	escape := EscapeMarkdown
	for _, s := range t.Sections {
		fmt.Fprintf(&b, "### %s (%s)\n\n", escape(s.heading()), s.n())
		grouped := slices.ContainsFunc(s.Rows, func(r Row) bool { return r.Group != "" })
		head, rule := "|", "|"
		if grouped {
			head, rule = "| block |", "|---|"
		}
		head, rule = head+" "+escape(s.RowKey)+" |", rule+"---|"
		for _, c := range s.Columns {
			head += " " + escape(c.name()) + " |"
			rule += "---:|"
		}
		fmt.Fprintf(&b, "%s\n%s\n", head, rule)
		group := ""
		for _, r := range s.Rows {
			b.WriteByte('|')
			if grouped {
				if r.Group != group {
					group = r.Group
					fmt.Fprintf(&b, " **%s**", escape(group))
				}
				b.WriteString(" |")
			}
			fmt.Fprintf(&b, " %s |", escape(r.Label))
			for _, c := range s.Columns {
				fmt.Fprintf(&b, " %s |", escape(strings.Join(strings.Fields(c.Text(r)), " ")))
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "- %s\n", escape(n))
	}
	for _, n := range t.Noise {
		fmt.Fprintf(&b, "- noise: %s\n", escape(n))
	}
	for _, n := range byReason(t.Skipped) {
		fmt.Fprintf(&b, "- skipped: %s\n", escape(n))
	}
	for _, n := range byReason(t.Failed) {
		fmt.Fprintf(&b, "- failed: %s\n", escape(n))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type jsonFigure struct {
	Value float64  `json:"value"`
	Lo    *float64 `json:"lo,omitempty"` // absent: too few measurements
	Hi    *float64 `json:"hi,omitempty"`
	Exact bool     `json:"exact,omitempty"`
	N     int      `json:"n"`
}

type jsonRow struct {
	Cell    string                `json:"cell"`
	Keys    map[string]string     `json:"keys"`
	Limit   Limit                 `json:"limit,omitempty"` // what the row is the limit by
	Of      Limit                 `json:"share_of,omitempty"`
	Share   float64               `json:"share,omitempty"`
	Figures map[string]jsonFigure `json:"figures"`
}

type jsonSection struct {
	Name string            `json:"name"`
	Keys map[string]string `json:"keys"`
	Rows []jsonRow         `json:"rows"`
}

// JSON writes the table for scripts: all figures by tidied unit (seconds and
// bytes, unscaled), with the bounds of the 95 % interval where there is one.
func (t *Table) JSON(w io.Writer) error {
	out := struct {
		Dates    []string          `json:"dates"`
		Config   map[string]string `json:"config"`
		Sections []jsonSection     `json:"sections"`
		Notes    []string          `json:"notes"`
		Noise    []string          `json:"noise"`
		Settle   []string          `json:"settle"`
		Stopped  []string          `json:"stopped"`
		Skipped  []string          `json:"skipped"`
		Failed   []string          `json:"failed"`
	}{emptyNotNull(t.Dates), map[string]string{}, nil, emptyNotNull(t.Notes), emptyNotNull(t.Noise), emptyNotNull(t.Settle), emptyNotNull(t.Stopped), emptyNotNull(t.Skipped), emptyNotNull(t.Failed)}
	for _, c := range t.Config {
		out.Config[c.Key] = c.Value
	}
	keyMap := func(pairs []Pair) map[string]string {
		m := map[string]string{}
		for i, p := range pairs {
			if p.Key == "" {
				p.Key = strconv.Itoa(i) // a positional part
			}
			m[p.Key] = p.Value
		}
		return m
	}
	for _, s := range t.Sections {
		js := jsonSection{Name: s.Name, Keys: keyMap(s.Keys)}
		for _, r := range s.Rows {
			jr := jsonRow{Cell: r.Cell.Name, Keys: keyMap(r.Cell.Keys()), Limit: r.Limit, Of: r.Of, Share: r.Share, Figures: map[string]jsonFigure{}}
			for u, f := range r.Figures {
				jf := jsonFigure{Value: f.Value, Exact: f.Exact, N: f.N}
				if f.Interval {
					jf.Lo, jf.Hi = &f.Lo, &f.Hi
				}
				jr.Figures[u] = jf
			}
			js.Rows = append(js.Rows, jr)
		}
		out.Sections = append(out.Sections, js)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func emptyNotNull(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// EscapeMarkdown takes from text, on one line, what Markdown would read in it.
func EscapeMarkdown(text string) string {
	return markdown.Replace(strings.Join(strings.Fields(text), " "))
}

var markdown = strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "~", `\~`, "[", `\[`, "]", `\]`, "#", `\#`, "&", "&amp;", "<", "&lt;", ">", "&gt;")
