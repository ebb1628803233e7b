package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"iopath/internal/summary"
)

// writeReport writes the run's README.md: the machine, the tables, the charts.
func writeReport(dir string, table *summary.Table, charts []string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", filepath.Base(dir))
	fmt.Fprintf(&b, "Made by `iopath bench`; the results are in [bench.txt](bench.txt), in the Go benchmark format.\n\n")
	for _, date := range table.Dates {
		fmt.Fprintf(&b, "- date: %s\n", date)
	}
	for _, c := range table.Config {
		fmt.Fprintf(&b, "- %v\n", c)
	}
	b.WriteString("\n## Tables\n\n")
	if err := table.Markdown(&b); err != nil {
		return err
	}
	b.WriteString("\n## Charts\n\n")
	for _, path := range charts {
		if name := filepath.Base(path); strings.HasSuffix(name, ".svg") {
			fmt.Fprintf(&b, "![%s](%s)\n\n", strings.TrimSuffix(name, ".svg"), name)
		}
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), b.Bytes(), 0o644)
}
