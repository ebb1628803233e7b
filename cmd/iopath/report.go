package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"iopath/internal/summary"
	"iopath/plots"
)

// writeReport writes the run's README.md: the machine and what it can do at
// best, the charts by question, the tables.
func writeReport(dir string, table *summary.Table, charts []string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", filepath.Base(dir))
	fmt.Fprintf(&b, "Made by `iopath bench`; the results are in [bench.txt](bench.txt), in the Go benchmark format.\n\n")
	for _, date := range table.Dates {
		fmt.Fprintf(&b, "- date: %s\n", date)
	}
	for _, noise := range table.Noise {
		fmt.Fprintf(&b, "- noise: %s\n", noise)
	}
	for _, c := range table.Config {
		fmt.Fprintf(&b, "- %v\n", c)
	}
	writeBounds(&b, table)
	writeCharts(&b, charts)
	b.WriteString("\n## Tables\n\n")
	if err := table.Markdown(&b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), b.Bytes(), 0o644)
}

// writeBounds writes what no method can beat: the floors of a call, and the
// ceilings of throughput that the tables take shares of.
func writeBounds(b *bytes.Buffer, table *summary.Table) {
	var lines []string
	seen := map[string]bool{}
	for _, s := range table.Sections {
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
			switch {
			case s.Name == "Floor":
				words = append(words, row.Label+" "+figure)
			case row.Limit != "" && !seen[row.Cell.Name]:
				seen[row.Cell.Name] = true
				words = append(words, row.Cell.Key("/block")+" "+figure)
			}
		}
		if len(words) == 0 {
			continue
		}
		what := "floors"
		if s.Name != "Floor" {
			i := slices.IndexFunc(s.Rows, func(r summary.Row) bool { return r.Limit != "" })
			what = string(s.Rows[i].Limit) + " ceiling,"
			for _, p := range s.Rows[i].Cell.Keys() {
				if p.Key != "block" && p.Key != "gomaxprocs" {
					what += " " + p.String()
				}
			}
		}
		lines = append(lines, fmt.Sprintf("- %s: %s\n", what, strings.Join(words, ", ")))
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n## What the machine does at best\n\n%s", strings.Join(lines, ""))
	}
}

// writeCharts puts the charts under their questions: throughput in sight, what
// explains it folded away.
func writeCharts(b *bytes.Buffer, paths []string) {
	drawn := map[string]bool{}
	for _, path := range paths {
		drawn[filepath.Base(path)] = true
	}
	var sections []string
	inSight, folded := map[string]string{}, map[string]string{}
	for _, d := range plots.Spine() {
		c := d.About()
		file := c.Name + ".svg"
		if !drawn[file] {
			continue
		}
		if !slices.Contains(sections, c.Section) {
			sections = append(sections, c.Section)
		}
		in := folded
		if c.Lead {
			in = inSight
		}
		in[c.Section] += fmt.Sprintf("![%s](%s)\n\n", c.Title, file)
	}
	for _, s := range sections {
		fmt.Fprintf(b, "\n## %s\n\n%s", s, inSight[s])
		if folded[s] != "" {
			fmt.Fprintf(b, "<details><summary>What explains it: times, CPU, system calls</summary>\n\n%s</details>\n", folded[s])
		}
	}
}
