package verdict

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/perf/benchunit"

	"iopath/internal/summary"
)

// Sentence is the answer in one line.
func (j *Judgement) Sentence() string {
	count := func(s Status) (n int) {
		for _, r := range j.Rows {
			if r.Status == s && r.Lane != ShownLane {
				n++
			}
		}
		return n
	}
	judged := 0
	for _, r := range j.Rows {
		if r.Lane != ShownLane {
			judged++
		}
	}
	switch j.Outcome {
	case Regression:
		var what []string
		if n := count(Regressed); n > 0 {
			what = append(what, fmt.Sprintf("%d of %s worse", n, rows(judged)))
		}
		if n := len(j.Failed); n > 0 {
			what = append(what, fmt.Sprintf("%d fail on head", n))
		}
		return "regression: " + strings.Join(what, ", ")
	case Inconclusive:
		why := "the machine was disturbed"
		if len(j.Doubts) > 0 {
			why = strings.Join(j.Doubts, "; ")
		} else if len(j.Rows) == 0 {
			why = "the sides have no row in common"
		} else if j.lost {
			why = "head lacks counts that base has"
		} else if j.Pairs < j.Need {
			why = fmt.Sprintf("%d pairs, and %s need %d", j.Pairs, rows(j.tested), j.Need)
		} else {
			undecided := 0
			for _, r := range j.Rows {
				if r.Lane == TimeLane && r.Status == Undecided {
					undecided++
				}
			}
			why = fmt.Sprintf("%d of %s cannot be told", undecided, rows(judged))
		}
		return "inconclusive: " + why
	}
	s := fmt.Sprintf("fine: none of %s is worse", rows(judged))
	if n := count(Waived); n > 0 {
		s = fmt.Sprintf("fine: of %s none is worse that is not waived", rows(judged))
	}
	if r, hi := j.hidden(); r != nil {
		s += fmt.Sprintf("; the largest slowdown that could hide in one: %s", percent(hi))
	}
	return s
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// hidden returns the row of the time lane without a change in which the largest
// worsening could hide, and how large.
func (j *Judgement) hidden() (worst *Row, hi float64) {
	for i := range j.Rows {
		r := &j.Rows[i]
		if r.Lane == TimeLane && r.Effect != nil && !r.Effect.Zeros && (r.Status == Unchanged || r.Status == Unconfirmed) && r.Effect.Hi > hi {
			worst, hi = r, r.Effect.Hi
		}
	}
	return worst, hi
}

// percent writes a ratio as a change.
func percent(ratio float64) string {
	if ratio >= 2 {
		return fmt.Sprintf("×%.3g", ratio)
	}
	if ratio <= 0.5 {
		return fmt.Sprintf("÷%.3g", 1/ratio)
	}
	return fmt.Sprintf("%+.1f%%", 100*(ratio-1))
}

// change is head over base in the unit's own direction, with its interval.
func (r *Row) change(e *Effect) (ratio, lo, hi float64) {
	if r.Better > 0 {
		return 1 / e.Ratio, 1 / e.Hi, 1 / e.Lo
	}
	return e.Ratio, e.Lo, e.Hi
}

func (r *Row) changeText(e *Effect) string {
	ratio, lo, hi := r.change(e)
	if e.N < summary.MinSamples {
		return percent(ratio)
	}
	return fmt.Sprintf("%s [%s, %s]", percent(ratio), percent(lo), percent(hi))
}

// columns are a row's figures as text: the values, the change, the bound, pairs, why.
func (r *Row) columns() (values, change, bound, n string) {
	if r.Lane == ExactLane || r.Effect == nil || r.Effect.Zeros {
		if r.Effect != nil {
			class := benchunit.ClassOf(r.Unit)
			return "", benchunit.Scale(r.Base.Value, class) + " → " + benchunit.Scale(r.Head.Value, class), "", fmt.Sprint(r.Effect.N)
		}
		if r.Counts == nil { // zeros on both sides
			return "", number(r.Base.Value) + " → " + number(r.Head.Value), "", ""
		}
		return "", span(r.Counts.Base) + " → " + span(r.Counts.Head), "", ""
	}
	class := benchunit.ClassOf(r.Unit)
	values = benchunit.Scale(r.Base.Value, class) + " → " + benchunit.Scale(r.Head.Value, class)
	change = r.changeText(r.Effect)
	if r.Bound > 1 && r.Effect.N >= summary.MinSamples {
		bound = fmt.Sprintf("±%.1f%%", 100*(r.Bound-1))
	}
	n = fmt.Sprint(r.Effect.N)
	if r.Second != nil {
		n += fmt.Sprintf("+%d", r.Second.N)
	}
	return values, change, bound, n
}

// span writes counts: one, or from … to.
func span(v []float64) string {
	switch len(v) {
	case 0:
		return "none"
	case 1:
		return number(v[0])
	}
	return number(v[0]) + "…" + number(v[len(v)-1])
}

// why is what the status needs to be understood.
func (r *Row) why() string {
	why := r.Why
	if r.Second != nil && !r.Second.Zeros {
		again := "second run: " + r.changeText(r.Second)
		if why != "" {
			again += "; " + why
		}
		return again
	}
	return why
}

// Names are what tells the rows' cells apart, row by row: keys that all of them share
// are lifted out into common.
func (j *Judgement) Names() (names []string, common string) {
	seen := map[summary.Pair]int{}
	cells := map[*summary.Cell]bool{}
	for _, r := range j.Rows {
		if !cells[r.cell] {
			cells[r.cell] = true
			for _, p := range r.cell.Keys() {
				seen[p]++
			}
		}
	}
	shared := func(p summary.Pair) bool { return p.Key != "" && len(cells) > 1 && seen[p] == len(cells) }
	var lifted []string
	for _, r := range j.Rows {
		name := r.cell.Key(".name")
		for _, p := range r.cell.Keys() {
			if shared(p) {
				if s := p.String(); !slices.Contains(lifted, s) {
					lifted = append(lifted, s)
				}
				continue
			}
			name += "/" + p.String()
		}
		if pkgs := j.packages(); len(pkgs) > 1 {
			name = r.Pkg + " " + name
		}
		names = append(names, name)
	}
	return names, strings.Join(lifted, " ")
}

func (j *Judgement) packages() (pkgs []string) {
	for _, r := range j.Rows {
		if !slices.Contains(pkgs, r.Pkg) {
			pkgs = append(pkgs, r.Pkg)
		}
	}
	return pkgs
}

// told reports whether a row is worth a line of its own where not all are asked for.
func (r *Row) told() bool {
	switch r.Lane {
	case ExactLane:
		return r.Status != Unchanged && !(r.Status == Undecided && len(r.Counts.Base) > 1)
	case TimeLane:
		if r.Effect == nil || r.Effect.Zeros {
			return r.Status != Unchanged
		}
	case ShownLane:
		return r.Effect != nil && !r.Effect.Zeros && r.Effect.N >= summary.MinSamples && (r.Effect.Lo > MinLead || r.Effect.Hi < 1/MinLead)
	}
	return true
}

// A Title names the two sides of a comparison.
type Title struct{ Base, Head, Machine string }

func (t Title) String() string {
	s := t.Base + " → " + t.Head
	if t.Machine != "" {
		s += " on " + t.Machine
	}
	return s
}

// Text writes the judgement for a terminal of so many columns: the rows that matter,
// or all of them.
func (j *Judgement) Text(w io.Writer, t Title, columns int, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", j.Sentence(), t)
	names, common := j.Names()
	if common != "" {
		fmt.Fprintf(&b, "all with %s\n", common)
	}
	var widths [5]int
	lines := j.table(names, all)
	for _, l := range lines {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(l.cols[i]))
		}
	}
	const values, bound = 2, 4
	use := func() (n int) {
		for _, width := range widths {
			if width > 0 {
				n += 2 + width
			}
		}
		return n
	}
	for _, spare := range []int{values, bound} {
		if use() > columns {
			widths[spare] = 0
		}
	}
	if over := use() - columns; over > 0 && widths[0] > 24 {
		widths[0] = max(24, widths[0]-over)
	}
	group := ""
	for _, l := range lines {
		if l.group != group {
			group = l.group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		line := ""
		for i, width := range widths {
			if width > 0 {
				line += "  " + pad(shorten(l.cols[i], width), width)
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if l.why != "" {
			fmt.Fprintf(&b, "      %s\n", l.why)
		}
	}
	for _, line := range j.rest(all) {
		fmt.Fprintf(&b, "\n%s", line)
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// A line is a row as a table has it.
type line struct {
	group string
	cols  [5]string // name, unit, values, change, bound and pairs
	why   string
}

func (j *Judgement) table(names []string, all bool) (lines []line) {
	for i := range j.Rows {
		r := &j.Rows[i]
		if !all && (!r.told() || r.Status == Undecided && j.Pairs < j.Need) { // none has enough
			continue
		}
		l := line{group: string(r.Status), why: r.why()}
		if r.Lane == ShownLane {
			l.group = "tails, shown and not judged"
		}
		values, change, bound, n := r.columns()
		if n != "" {
			n = "n=" + n
		}
		l.cols = [5]string{names[i], r.Unit, values, change, strings.TrimSpace(bound + " " + n)}
		lines = append(lines, l)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return shown(a) - shown(b) })
	return lines
}

func shown(l line) int {
	if strings.HasPrefix(l.group, "tails") {
		return 1
	}
	return 0
}

// rest are the sentences below a table.
func (j *Judgement) rest(all bool) (lines []string) {
	same, vary, tails := 0, 0, 0
	for _, r := range j.Rows {
		switch {
		case r.Lane == ExactLane && r.Status == Unchanged:
			same++
		case r.Lane == ExactLane && r.Status == Undecided && len(r.Counts.Base) > 1:
			vary++
		case r.Lane == ShownLane && !r.told():
			tails++
		}
	}
	if same+vary > 0 {
		s := fmt.Sprintf("counts: %s the same", rows(same))
		if vary > 0 {
			s += fmt.Sprintf(", %d vary on base itself", vary)
		}
		lines = append(lines, s)
	}
	if tails > 0 && !all {
		lines = append(lines, fmt.Sprintf("tails: %s without a change", rows(tails)))
	}
	list := func(what string, names []string) {
		if len(names) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", what, strings.Join(names, ", ")))
		}
	}
	list("fail on head", j.Failed)
	list("on base alone", j.OnlyBase)
	list("on head alone", j.OnlyHead)
	if len(j.Moved) > 0 {
		lines = append(lines, fmt.Sprintf("the machine itself moved by %s at most: %s", percent(j.Moved[0].Ratio), j.Moved[0].Name))
	}
	list("disturbed", j.Doubts)
	for _, n := range j.Notes {
		lines = append(lines, "note: "+n)
	}
	return lines
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// shorten leaves out the middle of a name.
func shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := (width - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(width-1-head):])
}

// Markdown writes the judgement as a forge renders it, for a job's summary or a
// comment. charts are paths to be shown below the answer.
func (j *Judgement) Markdown(w io.Writer, t Title, charts ...string) error {
	var b strings.Builder
	mark := map[Outcome]string{Fine: "✅", Regression: "❌", Inconclusive: "⚠️"}[j.Outcome]
	fmt.Fprintf(&b, "## %s %s\n\n%s", mark, escape(j.Sentence()), escape(t.String()))
	names, common := j.Names()
	if common != "" {
		fmt.Fprintf(&b, ", all with %s", escape(common))
	}
	b.WriteString(".\n\n")
	for _, c := range charts {
		fmt.Fprintf(&b, "![Change of each row, with its interval](%s)\n\n", c)
	}
	const head = "| status | cell | unit | base → head | change [95 %] | bound | pairs | |\n|---|---|---|---:|---:|---:|---:|---|\n"
	write := func(keep func(r *Row) bool) {
		b.WriteString(head)
		for i := range j.Rows {
			if r := &j.Rows[i]; keep(r) {
				values, change, bound, n := r.columns()
				status := string(r.Status)
				if r.Lane == ShownLane {
					status = "shown"
				}
				fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s | %s | %s |\n",
					status, strings.NewReplacer("`", "'", "|", "\\|").Replace(names[i]), escape(r.Unit), values, change, bound, n, escape(r.why()))
			}
		}
		b.WriteString("\n")
	}
	matters := func(r *Row) bool { return r.told() && r.Lane != ShownLane && r.Status != Unchanged }
	if slices.ContainsFunc(j.Rows, func(r Row) bool { return matters(&r) }) {
		write(matters)
	}
	for _, line := range j.rest(true) {
		fmt.Fprintf(&b, "- %s\n", escape(line))
	}
	if slices.ContainsFunc(j.Rows, func(r Row) bool { return !matters(&r) }) {
		b.WriteString("\n<details><summary>All other rows</summary>\n\n")
		write(func(r *Row) bool { return !matters(r) })
		b.WriteString("</details>\n")
	}
	b.WriteString("\nA change counts where the sign-flip test stands among all rows (Benjamini–Hochberg, 5 %), it is beyond the bound (2 %, or what base differs from itself by), and a second run agrees. Counts are compared exactly.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// escape keeps a text from being taken for Markdown or HTML: names come from files of
// anybody.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "\\|", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]", "@", "&#64;").Replace(s)
}

// JSON writes the judgement for scripts.
func (j *Judgement) JSON(w io.Writer, t Title) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Base     string `json:"base"`
		Head     string `json:"head"`
		Machine  string `json:"machine,omitempty"`
		Sentence string `json:"sentence"`
		*Judgement
	}{t.Base, t.Head, t.Machine, j.Sentence(), j})
}

// Oriented returns the row's effect where it can be drawn: a ratio above 1 is worse.
func (e *Effect) Oriented() (ratio, lo, hi float64, ok bool) {
	if e == nil || e.Zeros || !(e.Ratio > 0) || math.IsInf(e.Ratio, 0) {
		return 0, 0, 0, false
	}
	if e.N < summary.MinSamples {
		return e.Ratio, 0, 0, true
	}
	return e.Ratio, e.Lo, e.Hi, true
}
