package plots

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/perf/benchunit"

	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// A figure is what a chart has of a cell at one x.
type figure struct {
	cell    *summary.Cell
	x       string
	against string // of a ratio within one series key: what the cell is divided by
	fig     summary.Figure
	raw     []float64
}

// unit is the tidied unit of the y axis.
func (c Chart) unit() string {
	unit := c.Unit
	if len(c.Across) > 0 {
		unit = c.Across[0].Unit
	}
	_, unit = benchunit.Tidy(1, unit)
	return unit
}

func (c Chart) ratioKey() string {
	if c.Ratio == nil {
		return ""
	}
	return c.Ratio.Key
}

// figures takes from the cells what the chart shows.
func (c Chart) figures(cells []*summary.Cell) (all []figure) {
	switch {
	case len(c.Across) > 0:
		for _, cell := range cells {
			for _, q := range c.Across {
				_, unit := benchunit.Tidy(1, q.Unit)
				if fig, ok := cell.Figure(unit); ok {
					all = append(all, figure{cell, q.Label, "", fig, cell.Values(unit)})
				}
			}
		}
	case c.Ratio != nil:
		return c.ratios(cells)
	default:
		for _, cell := range cells {
			if fig, ok := cell.Figure(c.unit()); ok && cell.Key(c.X) != "" {
				all = append(all, figure{cell, cell.Key(c.X), "", fig, cell.Values(c.unit())})
			}
		}
	}
	return all
}

// ratios divides each cell by its partners.
func (c Chart) ratios(cells []*summary.Cell) (all []figure) {
	partners := map[string]*summary.Cell{}
	identity := func(cell *summary.Cell, value string) string {
		rest := slices.DeleteFunc(cell.Keys(), func(p summary.Pair) bool { return "/"+p.Key == c.Ratio.Key })
		file := ""
		if c.X == ".file" || c.Series == ".file" { // else a cell may be of several
			file = cell.Key(".file")
		}
		return strings.Join([]string{cell.Key(".name"), fmt.Sprint(rest), file, value}, "\x00")
	}
	for _, cell := range cells {
		partners[identity(cell, cell.Key(c.Ratio.Key))] = cell
	}
	for _, cell := range cells {
		for _, of := range c.Ratio.Of {
			other := partners[identity(cell, of[1])]
			if cell.Key(c.Ratio.Key) != of[0] || other == nil || cell.Key(c.X) == "" {
				continue
			}
			pair := summary.Paired
			if c.Ratio.Key == ".file" {
				pair = summary.PairedRuns
			}
			a, b := pair(cell, other, c.unit())
			r, ok := verdict.Paired(a, b, summary.Confidence)
			if !ok {
				continue
			}
			f := figure{cell: cell, x: cell.Key(c.X), raw: verdict.PairedValues(a, b)}
			f.fig = summary.Figure{Value: r.Value, Lo: r.Lo, Hi: r.Hi, Interval: r.Interval, N: r.N}
			if c.Ratio.Key == c.Series {
				f.against = " ÷ " + of[1]
			}
			all = append(all, f)
		}
	}
	return all
}

// lacks says why cells have no figure for the chart.
func (c Chart) lacks(cells []*summary.Cell) error {
	var units []string
	has := false
	for _, cell := range cells {
		_, ok := cell.Figure(c.unit())
		has = has || ok
		for _, u := range cell.Units {
			if !slices.Contains(units, u) {
				units = append(units, u)
			}
		}
	}
	switch {
	case c.Ratio != nil && c.Ratio.Key == ".file":
		return noData("draw %s: the runs have no cell in common that has %s", c.Name, c.Unit)
	case has && c.Ratio != nil:
		return noData("draw %s: no two results differ in %s alone, as the ratios want that are asked for", c.Name, c.Ratio.Key)
	case has:
		return noData("draw %s: no result with %s has the key %q (see the names of the results)", c.Name, c.Unit, c.X)
	}
	if len(units) == 0 {
		return noData("draw %s: no result has a finite figure", c.Name)
	}
	return noData("draw %s: no result has the unit %q (there are %s)", c.Name, cmp.Or(c.Unit, c.unit()), strings.Join(units, ", "))
}

// addReferences notes how the machine itself compares in what the ratios are of, and
// draws the line where nothing differs.
func (d *data) addReferences(results *summary.Results) error {
	if d.chart.Ratio == nil {
		return nil
	}
	d.floors = append(d.floors, floor{d.chart.Ratio.One, 1})
	var words []string
	for _, ref := range d.chart.Ratio.References {
		cells, err := results.Cells(ref.Filter, d.chart.Ratio.Key)
		if err != nil {
			return err
		}
		_, unit := benchunit.Tidy(1, ref.Unit)
		for _, f := range (Chart{X: ".name", Unit: unit, Ratio: d.chart.Ratio}).ratios(cells) {
			words = append(words, fmt.Sprintf("%s %s", ref.Label, plain(round3(f.fig.Value))))
			break
		}
	}
	if len(words) > 0 {
		d.note("The machine itself, by the same ratio: %s.", strings.Join(words, ", "))
	}
	return nil
}

// usual leaves out the cells of other consumers than the usual one, which has no
// name, where it has any: the others do other work, and a chart for them is a filter
// away. It says what is left out, "" for nothing.
func usual(cells []*summary.Cell) (kept []*summary.Cell, left string) {
	var others []string
	for _, c := range cells {
		if consumer := c.Key("/consume"); consumer == "" {
			kept = append(kept, c)
		} else if !slices.Contains(others, consumer) {
			others = append(others, consumer)
		}
	}
	if len(kept) == 0 || len(others) == 0 {
		return cells, ""
	}
	slices.Sort(others)
	return kept, "Not drawn: consume=" + strings.Join(others, ", ") + "."
}
