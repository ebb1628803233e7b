// Package report writes what is to be read of a run: README.md for a forge, and
// report.html, which is one file that needs no other and no network.
//
// A Report holds the findings, the advice and the charts that it is given, and
// from the results all else: every cell with every unit, the tables, the
// machine, how to repeat it. It judges and draws nothing itself. It knows the
// result format and no workload, so any file in the Go benchmark format has its
// report.
//
// The same Report gives the same bytes. What a result file says is text
// everywhere: no name in it is taken for Markdown, HTML or JavaScript.
package report

import (
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"

	"iopath/internal/summary"
)

// A Report is what is written of a run. Nothing in this package changes it, so
// any number of goroutines may write it.
type Report struct {
	Name     string
	Sources  []Source
	Page     string   // the file of the HTML report, which Markdown then links to; "" if there is none
	Findings []string // sentences, the strongest first
	Advice   []Advice
	Charts   []Chart

	AdviceNotes []string // what a reader of the advice must know, a line each

	table    *summary.Table
	cells    []*summary.Cell
	meta     benchfmt.UnitMetadataMap
	varying  []string // configuration keys that tell cells apart
	commands []string // that made the results
	made     []string // what is on record of how they were made, beside
}

// A Source is a file of results.
type Source struct {
	Name   string // what it is called; of one beside the report, its base name
	Beside bool   // it lies beside the report, which links to it
}

// An Advice is a row of the table of advice. All of it is text. One without a
// Workload is on several of its section, and has a sentence for Why.
type Advice struct {
	Section  string // heading, the same as a chart's where there is one
	Workload string
	Best     string // the method to take, or that none is told apart
	Compared string // how it compares with the baseline, with the interval of that
	Why      string // what it saves and costs
}

// A Chart is an SVG that a plot has drawn.
type Chart struct {
	Name    string // of its file, without extension
	Title   string // the question that it answers
	Section string
	Lead    bool   // in sight; the others are folded away
	SVG     string // path of the file: HTML takes it in, Markdown links to its base name
}

// New returns the report of results without findings, advice or charts. The
// error is summary.ErrInput.
func New(name string, results *summary.Results) (*Report, error) {
	table, err := results.Table("*")
	if err != nil {
		return nil, err
	}
	r := &Report{Name: name, table: table, meta: results.Units, commands: results.Commands, made: results.Made}
	for _, c := range results.Config {
		if c.Varies {
			r.varying = append(r.varying, c.Key)
		}
	}
	r.cells, err = results.Cells("*", r.varying...)
	return r, err
}

// A section is a heading and its charts.
type section struct {
	Name         string
	Lead, Folded []Chart
}

// sections returns the charts by section, in the order in which those come.
func (r *Report) sections() []section {
	var all []section
	for _, c := range r.Charts {
		i := slices.IndexFunc(all, func(s section) bool { return s.Name == c.Section })
		if i < 0 {
			i = len(all)
			all = append(all, section{Name: c.Section})
		}
		if c.Lead {
			all[i].Lead = append(all[i].Lead, c)
		} else {
			all[i].Folded = append(all[i].Folded, c)
		}
	}
	return all
}

// bounds returns what no method can beat, a line each: the floors of a call, and
// the ceilings of throughput that the tables take shares of.
func (r *Report) bounds() (lines []string) {
	seen := map[string]bool{}
	for _, s := range r.table.Sections {
		var words []string
		if len(s.Columns) == 0 {
			continue
		}
		for _, row := range s.Rows {
			value, interval, hasInterval := strings.Cut(strings.Join(strings.Fields(s.Columns[0].Text(row)), " "), " ±")
			figure := value + " " + strings.TrimSuffix(s.Columns[0].Sub, "/op")
			if hasInterval {
				figure += " ±" + interval
			}
			figure = strings.ReplaceAll(figure, " ", "\u00a0") // stays on one line
			switch {
			case s.Name == "Floor":
				words = append(words, row.Label+"\u00a0"+figure)
			case row.Limit != "" && !seen[row.Cell.Name]:
				seen[row.Cell.Name] = true
				words = append(words, strings.TrimSpace(row.Cell.Key("/block")+"\u00a0"+figure))
			}
		}
		if len(words) > 0 {
			lines = append(lines, boundOf(s)+": "+strings.Join(words, ", "))
		}
	}
	return lines
}

// boundOf names what the first limit of a section bounds.
func boundOf(s summary.Section) string {
	i := slices.IndexFunc(s.Rows, func(r summary.Row) bool { return r.Limit != "" })
	if i < 0 {
		return "floors"
	}
	what := string(s.Rows[i].Limit) + " ceiling,"
	for _, p := range s.Rows[i].Cell.Keys() {
		if p.Key != "block" && p.Key != "gomaxprocs" {
			what += " " + p.String()
		}
	}
	return what
}

// machine returns the facts that bear on the results, in the order in which they
// are of interest: when, how quiet it was, what it is.
func (r *Report) machine() (facts []summary.Pair) {
	add := func(key string, values []string) {
		for _, v := range values {
			facts = append(facts, summary.Pair{Key: key, Value: v})
		}
	}
	add("date", r.table.Dates)
	add("noise", r.table.Noise)
	add("settle", r.table.Settle)
	for _, c := range r.table.Config {
		if c.Varies {
			c.Value += " (varies)"
		}
		facts = append(facts, c.Pair)
	}
	return facts
}

// commit is the version of the code that was measured, "" where that is unknown
// or there are several.
func (r *Report) commit() string {
	for _, c := range r.table.Config {
		if c.Key == "commit" && !c.Varies {
			return c.Value
		}
	}
	return ""
}
