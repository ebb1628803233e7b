package advice

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// Notes returns what a reader of the advice must know, a line each: how the
// verdicts are made, and why there may be none.
func Notes(results *summary.Results, advice []Advice) []string {
	var notes []string
	least, greatest := 0, 0
	for _, a := range advice {
		if n := a.Gain.N; n > 0 {
			if least == 0 || n < least {
				least = n
			}
			greatest = max(greatest, n)
		}
	}
	n := fmt.Sprintf("n=%d", least)
	if least != greatest {
		n = fmt.Sprintf("n=%d–%d", least, greatest)
	}
	if greatest >= summary.MinSamples {
		notes = append(notes,
			fmt.Sprintf("%s. A figure is the geometric mean of the ratios within each round, and [ ] its interval, of %g %% for all comparisons with the best of a workload together. A method wins where that excludes 1 and the figure is above %g.", n, 100*summary.Confidence, verdict.MinLead),
			"No difference means that this run shows none: the interval, of the first that is named, says how large a one it could hide.")
	}
	for _, c := range results.Config {
		if c.Varies && splits(results, c.Key) {
			notes = append(notes, fmt.Sprintf("%s differs between measurements of the same cell (first: %s): these figures are of unlike runs.", c.Key, c.Value))
		}
	}
	switch {
	case len(advice) == 0:
		notes = append(notes, "Nothing to choose: no workload here has two methods (iopath bench -methods pread,mmap).")
	case greatest < summary.MinSamples:
		notes = append(notes, fmt.Sprintf("%s: a verdict needs %d rounds (iopath bench -rounds %d).", n, summary.MinSamples, summary.MinSamples))
	case !Told(advice):
		notes = append(notes, fmt.Sprintf("Nothing is told apart: more rounds make the intervals narrower (iopath bench -rounds %d), and so does a quieter machine.", 4*greatest))
	}
	return notes
}

// splits reports whether a cell was measured under several values of a
// configuration key.
func splits(results *summary.Results, key string) bool {
	whole, err := results.Cells("*")
	if err != nil {
		return false
	}
	parts, err := results.Cells("*", key)
	return err == nil && len(parts) > len(whole)
}

// choice is what stands for the best in a table.
func (a Advice) choice() string {
	if a.Verdict == Wins {
		return a.Best
	}
	return a.Verdict
}

// figure is the comparison behind it.
func (a Advice) figure() string {
	switch {
	case a.Verdict == Undecided:
		return a.Gain.TooFew()
	case a.Best == a.Baseline && a.Best != "" || a.Measure != Throughput:
		return a.slower(a.Against, a.Gain)
	}
	return fmt.Sprintf("%s × %s %s", a.Gain.Times(), a.Against, a.Gain.Bounds())
}

// slower says how much worse another is.
func (a Advice) slower(other string, gain verdict.Ratio) string {
	amount := "long"
	if a.Measure == CPUTime {
		amount = "much"
	}
	return fmt.Sprintf("%s takes %s × as %s %s", other, gain.Times(), amount, gain.Bounds())
}

// reasons are what ties, what the best saves and costs, and the note: a clause each.
func (a Advice) reasons() []string {
	var list []string
	if a.Verdict == Wins && len(a.Tied) > 0 {
		list = append(list, notApart(a.Tied))
	}
	if a.Verdict == NoDifference {
		list = append(list, "between "+names(a.Tied))
	}
	if a.Next != "" {
		list = append(list, a.slower(a.Next, a.NextGain))
	}
	list = append(list, a.explained(changes)...)
	if a.Note != "" {
		list = append(list, a.Note)
	}
	return list
}

// isSummary reports whether it is on several workloads.
func (a Advice) isSummary() bool { return a.Verdict == Wins && a.Best == "" }

// sections cuts the advice where another section begins.
func sections(advice []Advice) (cut [][]Advice) {
	for i, a := range advice {
		if i == 0 || a.Section != advice[i-1].Section {
			cut = append(cut, nil)
		}
		cut[len(cut)-1] = append(cut[len(cut)-1], a)
	}
	return cut
}

// label tells the measures apart where a section has several.
func (a Advice) label() string {
	if a.Measure == CPUTime {
		return a.Label + ", CPU"
	}
	return a.Label
}

// A Row is the advice as the cells of a table, within its section. That on several
// workloads has a Why alone.
type Row struct {
	Workload, Best, Compared, Why string
}

// Row returns it.
func (a Advice) Row() Row {
	if a.isSummary() {
		return Row{Why: a.Sentence}
	}
	return Row{a.label(), a.choice(), a.figure(), strings.Join(a.reasons(), "; ")}
}

// Text writes the advice for a terminal of the given width in columns; less than
// 80 counts as 80: under the heading of each section, for each workload a line
// with what is best, and below it the cause. Labels that do not fit beside that
// stand on a line of their own.
func Text(w io.Writer, results *summary.Results, advice []Advice, width int) error {
	width = max(width, 80)
	var b strings.Builder
	for _, rows := range sections(advice) {
		fmt.Fprintf(&b, "%s\n", rows[0].Section)
		labels, choices, figures := 0, 0, 0
		for _, a := range rows {
			if !a.isSummary() {
				labels = max(labels, utf8.RuneCountInString(a.label()))
				choices = max(choices, utf8.RuneCountInString(a.choice()))
				figures = max(figures, utf8.RuneCountInString(a.figure()))
			}
		}
		apart := 2+labels+2+choices+2+figures > width
		for _, a := range rows {
			switch {
			case a.isSummary():
				fill(&b, a.Sentence, 2, width)
				continue
			case apart:
				fmt.Fprintf(&b, "  %s\n    %-*s  %s\n", a.label(), choices, a.choice(), a.figure())
			default:
				fmt.Fprintf(&b, "  %-*s  %-*s  %s\n", labels, a.label(), choices, a.choice(), a.figure())
			}
			if reasons := a.reasons(); len(reasons) > 0 {
				fill(&b, strings.Join(reasons, "; "), 4, width)
			}
		}
		b.WriteByte('\n')
	}
	for _, note := range Notes(results, advice) {
		fill(&b, note, 0, width)
	}
	for _, noise := range results.Noise {
		fill(&b, "noise: "+noise, 0, width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fill writes text in lines of at most width, where a space allows it.
func fill(b *strings.Builder, text string, indent, width int) {
	col := indent
	b.WriteString(strings.Repeat(" ", indent))
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case col+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent+2))
			col = indent + 2
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	b.WriteByte('\n')
}

// Markdown writes the advice with a heading and a table a section.
func Markdown(w io.Writer, results *summary.Results, advice []Advice) error {
	var b strings.Builder
	escape := summary.EscapeMarkdown
	for _, rows := range sections(advice) {
		fmt.Fprintf(&b, "### %s\n\n", escape(rows[0].Section))
		var sums []string
		fmt.Fprint(&b, "| workload | best | compared | why |\n|---|---|---|---|\n")
		for _, a := range rows {
			if a.isSummary() {
				sums = append(sums, a.Sentence)
				continue
			}
			r := a.Row()
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", escape(r.Workload), escape(r.Best), escape(r.Compared), escape(r.Why))
		}
		b.WriteByte('\n')
		for _, s := range sums {
			fmt.Fprintf(&b, "%s\n\n", escape(s))
		}
	}
	for _, n := range Notes(results, advice) {
		fmt.Fprintf(&b, "- %s\n", escape(n))
	}
	for _, n := range results.Noise {
		fmt.Fprintf(&b, "- noise: %s\n", escape(n))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes the advice for scripts: all figures, in seconds and bytes, unscaled.
func JSON(w io.Writer, results *summary.Results, advice []Advice) error {
	out := struct {
		Confidence float64  `json:"confidence"` // for all comparisons with the best of a workload together
		MinLead    float64  `json:"min_lead"`
		Advice     []Advice `json:"advice"`
		Findings   []string `json:"findings"`
		Notes      []string `json:"notes"`
		Noise      []string `json:"noise"`
	}{summary.Confidence, verdict.MinLead, advice, Findings(advice), Notes(results, advice), results.Noise}
	if out.Advice == nil {
		out.Advice = []Advice{}
	}
	for _, list := range []*[]string{&out.Findings, &out.Notes, &out.Noise} {
		if *list == nil {
			*list = []string{}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
