package report

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"iopath/internal/summary"
)

// Markdown writes the report for any forge: plain Markdown, and of HTML nothing
// but details. The charts are links to the base names of their files.
func (r *Report) Markdown(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s\n", summary.EscapeMarkdown(r.Name), r.origin())
	if len(r.Findings) > 0 {
		b.WriteString("\n## Findings\n\n")
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "- %s\n", summary.EscapeMarkdown(f))
		}
	}
	r.adviceMarkdown(&b)
	if bounds := r.bounds(); len(bounds) > 0 {
		b.WriteString("\n## What the machine does at best\n\n")
		for _, line := range bounds {
			fmt.Fprintf(&b, "- %s\n", summary.EscapeMarkdown(line))
		}
	}
	r.chartsMarkdown(&b)
	b.WriteString("\n## Tables\n\n")
	table := *r.table
	table.Noise = nil // is of the machine, below
	if err := table.Markdown(&b); err != nil {
		return err
	}
	if facts := r.machine(); len(facts) > 0 {
		b.WriteString("\n## The machine\n\n| fact | value |\n|---|---|\n")
		for _, f := range facts {
			fmt.Fprintf(&b, "| %s | %s |\n", summary.EscapeMarkdown(f.Key), summary.EscapeMarkdown(f.Value))
		}
	}
	r.repeatMarkdown(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// origin says where the figures come from.
func (r *Report) origin() string {
	text := "Made by `iopath` from results in the Go benchmark format."
	if len(r.Sources) > 0 {
		text = fmt.Sprintf("Made by `iopath`; the results are in %s, in the Go benchmark format.", r.sourcesMarkdown())
	}
	if r.Page != "" {
		text += fmt.Sprintf(" %s has the same, and all cells in one table to filter and sort: download it, and open it in a browser.", link(r.Page, r.Page))
	}
	return text
}

func (r *Report) sourcesMarkdown() string {
	var names []string
	for _, s := range r.Sources {
		if s.Beside {
			names = append(names, link(s.Name, s.Name))
		} else {
			names = append(names, summary.EscapeMarkdown(s.Name))
		}
	}
	return strings.Join(names, " and ")
}

func (r *Report) adviceMarkdown(b *bytes.Buffer) {
	if len(r.Advice)+len(r.AdviceNotes) == 0 {
		return
	}
	b.WriteString("\n## Advice\n")
	for i, a := range r.Advice {
		if i == 0 || a.Section != r.Advice[i-1].Section {
			r.sectionMarkdown(b, a.Section)
		}
	}
	for i, note := range r.AdviceNotes {
		if i == 0 {
			b.WriteByte('\n') // ends the table
		}
		fmt.Fprintf(b, "- %s\n", summary.EscapeMarkdown(note))
	}
}

// sectionMarkdown writes the advice of a section: the table, then what is on several
// of its workloads.
func (r *Report) sectionMarkdown(b *bytes.Buffer, section string) {
	fmt.Fprintf(b, "\n### %s\n\n| workload | best | compared | why |\n|---|---|---|---|\n", summary.EscapeMarkdown(section))
	var sentences []string
	for _, a := range r.Advice {
		switch {
		case a.Section != section:
		case a.Workload == "":
			sentences = append(sentences, a.Why)
		default:
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", summary.EscapeMarkdown(a.Workload), summary.EscapeMarkdown(a.Best), summary.EscapeMarkdown(a.Compared), summary.EscapeMarkdown(a.Why))
		}
	}
	for _, s := range sentences {
		fmt.Fprintf(b, "\n%s\n", summary.EscapeMarkdown(s))
	}
}

// chartsMarkdown puts the charts under their questions: the leading ones in sight,
// what explains them folded away.
func (r *Report) chartsMarkdown(b *bytes.Buffer) {
	show := func(charts []Chart) {
		for _, c := range charts {
			fmt.Fprintf(b, "\n!%s\n", link(c.Title, filepath.Base(c.SVG)))
		}
	}
	for _, s := range r.sections() {
		fmt.Fprintf(b, "\n## %s\n", summary.EscapeMarkdown(s.Name))
		show(s.Lead)
		if len(s.Folded) > 0 {
			fmt.Fprintf(b, "\n<details><summary>%s</summary>\n", folded)
			show(s.Folded)
			b.WriteString("\n</details>\n")
		}
	}
}

// folded heads what explains the charts in sight.
const folded = "What explains it: times, CPU, system calls"

func (r *Report) repeatMarkdown(b *bytes.Buffer) {
	b.WriteString("\n## How to repeat it\n\n")
	if commit := r.commit(); commit != "" {
		fmt.Fprintf(b, "The code that was measured is commit %s.\n\n", summary.EscapeMarkdown(commit))
	}
	if len(r.commands) == 0 {
		fmt.Fprintf(b, "%s\n", unrecorded)
		for _, line := range r.made {
			fmt.Fprintf(b, "- %s\n", summary.EscapeMarkdown(line))
		}
		return
	}
	for _, c := range r.commands {
		fmt.Fprintf(b, "    %s\n", c) // indented: a fence could be closed by what is in it
	}
}

// unrecorded stands in for the command lines of results that lack them.
const unrecorded = "The results do not say by which command line they were made."

// link is a Markdown link to a file beside the report.
func link(text, file string) string {
	path := url.URL{Path: "./" + file}
	return fmt.Sprintf("[%s](%s)", summary.EscapeMarkdown(text), strings.TrimPrefix(strings.NewReplacer("(", "%28", ")", "%29").Replace(path.EscapedPath()), "./"))
}
