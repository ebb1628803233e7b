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
var spine = []string{"B/s", Share, "syscalls/op", "minflt/op", "majflt/op", "ctxsw/op", "cpu-sec/op", "peer-cpu-sec/op", "device-B/op"}

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
			cols[i] = unitColumn(u, rows)
		}
		return cols
	}
	var cols []Column
	for _, u := range spine {
		switch {
		case u == Share:
			if slices.ContainsFunc(rows, func(r Row) bool { return r.Share > 0 }) {
				cols = append(cols, Column{Unit: Share, Top: "of", Sub: "ceiling", format: func(r Row) string {
					if r.Share == 0 {
						return "-"
					}
					return fmt.Sprintf("%.0f%%", 100*r.Share)
				}})
			}
		case slices.Contains(units, u):
			cols = append(cols, unitColumn(u, rows))
		case u == "B/s" && slices.Contains(units, "sec/op"):
			cols = append(cols, unitColumn("sec/op", rows))
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
				scale, prefix := timeScale(f.Value)
				return digits(f.Value/scale) + " " + prefix + "s/op"
			}
			return "-"
		}
	}
	for _, u := range units {
		if !slices.ContainsFunc(cols, func(c Column) bool { return c.Unit == u }) {
			c := unitColumn(u, rows)
			c.Wide = true
			cols = append(cols, c)
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
func unitColumn(unit string, rows []Row) Column {
	top, anyInterval := 0.0, false
	for _, r := range rows {
		f := r.Figures[unit]
		top = max(top, math.Abs(f.Value))
		anyInterval = anyInterval || f.Interval && !f.Exact
	}
	quantity, per, hasPer := strings.Cut(unit, "/")
	if hasPer {
		per = "/" + per
	}
	c := Column{Unit: unit, Top: quantity, Sub: per}
	show := func(f Figure) string {
		if !f.Exact && math.Abs(f.Value) >= 100 {
			return count(math.Round(f.Value)) // the half between two counts
		}
		return count(f.Value)
	}
	interval := anyInterval && (unit == "B/s" || unit == "sec/op")
	switch {
	case unit == "B/s":
		scale, prefix := byteScale(top)
		c.Top, c.Sub = "throughput", prefix+"B/s"
		show = func(f Figure) string { return digits(f.Value / scale) }
	case quantity == "sec" || strings.HasSuffix(quantity, "-sec"):
		scale, prefix := timeScale(top)
		c.Top, c.Sub = strings.TrimSuffix(quantity, "-sec"), prefix+"s"+per
		if quantity == "sec" {
			c.Top = "time"
		}
		show = func(f Figure) string { return digits(f.Value / scale) }
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
			text += " ±" + fmt.Sprintf("%5s", percent(pm))
		} else if interval {
			text += strings.Repeat(" ", len(" ±")-1+5) // keeps the figures in line
		}
		return text
	}
	return c
}

func percent(share float64) string {
	if v := 100 * share; v < 9.95 {
		return fmt.Sprintf("%.1f%%", v)
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

// digits writes three significant digits, and all digits before the point.
func digits(v float64) string {
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

// count writes a whole number whole, another with two decimals at the most.
func count(v float64) string {
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
		return count(v)
	}
	scale, prefix := byteScale(v)
	text := digits(v / scale)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + prefix
}

func byteScale(v float64) (scale float64, prefix string) {
	for i, p := range []string{"Ti", "Gi", "Mi", "Ki"} {
		if s := math.Pow(1024, float64(4-i)); math.Abs(v) >= s {
			return s, p
		}
	}
	return 1, ""
}

func timeScale(v float64) (scale float64, prefix string) {
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

// rowKey says what the rows are.
func (s Section) rowKey() string {
	if s.Rows[0].Cell.Key("/method") != "" || s.Rows[0].Ceiling {
		return "method"
	}
	return "benchmark"
}

// Wide is the width from which Text shows every column.
const Wide = 120

// Text writes the table for a terminal of the given width in columns; less
// than 80 counts as 80. Columns that do not fit beside the others follow in a
// second part. Below Wide, columns that are beside the point are named only.
func (t *Table) Text(w io.Writer, width int) error {
	width = max(width, 80)
	var b strings.Builder
	var hidden []string
	for i, s := range t.Sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s   %s\n", s.heading(), s.n())
		var cols []Column
		for _, c := range s.Columns {
			if c.Wide && width < Wide {
				hidden = addOnce(hidden, c.Unit)
				continue
			}
			cols = append(cols, c)
		}
		s.text(&b, cols, width)
	}
	notes := slices.Clone(t.Notes)
	if len(hidden) > 0 {
		notes = append(notes, fmt.Sprintf("At a width of %d and more there are also: %s.", Wide, strings.Join(hidden, ", ")))
	}
	for _, list := range []struct {
		word  string
		lines []string
	}{{"", notes}, {"skipped: ", byReason(t.Skipped)}, {"failed: ", byReason(t.Failed)}} {
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
		return "of ceiling"
	}
	return c.Top + " (" + c.Sub + ")"
}

func (s Section) text(b *strings.Builder, cols []Column, width int) {
	const indent = 2
	labelWidth := utf8.RuneCountInString(s.rowKey())
	for _, r := range s.Rows {
		labelWidth = max(labelWidth, utf8.RuneCountInString(r.Label))
	}
	// Names that would take the figures' room stand on a line of their own.
	apart := labelWidth > width*2/5
	if apart {
		labelWidth = utf8.RuneCountInString(s.rowKey())
	}
	widths := make([]int, len(cols))
	for i, c := range cols {
		widths[i] = max(utf8.RuneCountInString(c.Top), utf8.RuneCountInString(c.Sub))
		for _, r := range s.Rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text(r)))
		}
	}
	room := width - indent - labelWidth
	gap := 2
	if used := sum(widths) + gap*len(cols); used > room && used-len(cols) <= room {
		gap = 1
	} else if width >= Wide && used+len(cols) <= room {
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
		line(s.rowKey(), func(i int) string { return cols[i].Top })
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
	escape := strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;").Replace
	for _, s := range t.Sections {
		fmt.Fprintf(&b, "### %s (%s)\n\n", escape(s.heading()), s.n())
		grouped := slices.ContainsFunc(s.Rows, func(r Row) bool { return r.Group != "" })
		head, rule := "|", "|"
		if grouped {
			head, rule = "| block |", "|---|"
		}
		head, rule = head+" "+s.rowKey()+" |", rule+"---|"
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
	Ceiling bool                  `json:"ceiling,omitempty"`
	Share   float64               `json:"share_of_ceiling,omitempty"`
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
		Skipped  []string          `json:"skipped"`
		Failed   []string          `json:"failed"`
	}{emptyNotNull(t.Dates), map[string]string{}, nil, emptyNotNull(t.Notes), emptyNotNull(t.Skipped), emptyNotNull(t.Failed)}
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
			jr := jsonRow{Cell: r.Cell.Name, Keys: keyMap(r.Cell.Keys()), Ceiling: r.Ceiling, Share: r.Share, Figures: map[string]jsonFigure{}}
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
