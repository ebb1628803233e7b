package verdict

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"iopath/internal/summary"
)

// Accept writes a file of accepted values: those that it had (nil: none), and those of
// the exact rows that improved. It is in the Go benchmark format, sorted, so that a
// review sees what changes. It returns how many values are new.
func (j *Judgement) Accept(w io.Writer, had *summary.Results) (changed int, err error) {
	type key struct{ pkg, name, unit string }
	values := map[key]float64{}
	if had != nil {
		cells, err := had.Cells("*", "pkg")
		if err != nil {
			return 0, err
		}
		for _, c := range cells {
			for _, unit := range c.Units {
				if v := c.Values(unit); len(v) > 0 {
					values[key{c.Key("pkg"), c.Name, unit}] = v[0]
				}
			}
		}
	}
	for i := range j.Rows {
		r := &j.Rows[i]
		if r.Lane != ExactLane || r.Status != Improved || len(r.Counts.Head) != 1 {
			continue
		}
		k := key{r.Pkg, AcceptedName(r), r.Unit}
		if v, ok := values[k]; !ok || v != r.Counts.Head[0] {
			values[k] = r.Counts.Head[0]
			changed++
		}
	}
	keys := make([]key, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		return slices.Compare([]string{a.pkg, a.name, a.unit}, []string{b.pkg, b.name, b.unit})
	})
	var b strings.Builder
	b.WriteString("# Counts that were reviewed: iopath regress fails where head is worse, and -accept\n# writes those that improved.\n")
	pkg := ""
	for _, k := range keys {
		if k.pkg != pkg {
			pkg = k.pkg
			fmt.Fprintf(&b, "\npkg: %s\n\n", pkg)
		}
		fmt.Fprintf(&b, "Benchmark%s\t1\t%s %s\n", k.name, number(values[k]), k.unit)
	}
	_, err = io.WriteString(w, b.String())
	return changed, err
}
