package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchunit"

	"iopath/internal/summary"
)

// A grid is all cells with all their units, as one table: a column for each key
// that a name has, then n, then a column for each unit.
type grid struct {
	Keys  []keyColumn
	Units []unitColumn
	Rows  []gridRow
}

type keyColumn struct {
	Label string
	Param string // what a view's address calls it
	key   func(*summary.Cell) string
}

type unitColumn struct {
	Unit     string
	Best     string // "higher" or "lower", "" if neither is said to be better
	Usual    bool   // shown where nobody has chosen
	Interval bool   // some figure in it has one
}

type gridRow struct {
	Keys    []gridKey
	N       int
	Figures []gridFigure
	cell    *summary.Cell
}

// A gridKey is the value of a key, and its place among all values of that key:
// 4KiB comes before 64KiB. The script sorts by places and needs no rules.
type gridKey struct {
	Text  string
	Place int
}

// A gridFigure is a median as text, and to sort by.
type gridFigure struct {
	Text, PlusMinus, Value string // all empty: not measured
}

// usualUnits is how many units are shown at first.
const usualUnits = 9

func (r *Report) grid() *grid {
	g := &grid{Keys: r.keyColumns()}
	for _, unit := range r.units() {
		col := unitColumn{Unit: unit, Usual: len(g.Units) < usualUnits}
		switch r.meta.GetBetter(unit) {
		case 1:
			col.Best = "higher"
		case -1:
			col.Best = "lower"
		}
		g.Units = append(g.Units, col)
	}
	places := make([]map[string]int, len(g.Keys))
	for i, k := range g.Keys {
		places[i] = placesOf(r.cells, k.key)
	}
	for _, c := range r.cells {
		row := gridRow{cell: c, N: samples(c)}
		for i, k := range g.Keys {
			value := k.key(c)
			row.Keys = append(row.Keys, gridKey{value, places[i][value]})
		}
		for i, u := range g.Units {
			f, ok := c.Figure(u.Unit)
			if !ok {
				row.Figures = append(row.Figures, gridFigure{})
				continue
			}
			text := gridFigure{Text: figureText(u.Unit, f), Value: strconv.FormatFloat(f.Value, 'g', 6, 64)}
			if share, ok := f.PlusMinus(); ok && f.Lo != f.Hi && !f.Exact {
				text.PlusMinus = "± " + summary.Percent(share)
				g.Units[i].Interval = true
			}
			row.Figures = append(row.Figures, text)
		}
		g.Rows = append(g.Rows, row)
	}
	g.sort()
	return g
}

// sort orders the rows by their keys, but those that differ in the method alone by
// their time.
func (g *grid) sort() {
	slices.SortStableFunc(g.Rows, func(a, b gridRow) int {
		for i, k := range g.Keys {
			if k.Label == "method" {
				continue
			}
			if c := cmp.Compare(a.Keys[i].Place, b.Keys[i].Place); c != 0 {
				return c
			}
		}
		fa, oka := a.cell.Figure("sec/op")
		fb, okb := b.cell.Figure("sec/op")
		if oka && okb && fa.Value != fb.Value {
			return cmp.Compare(fa.Value, fb.Value)
		}
		return strings.Compare(a.cell.Name, b.cell.Name)
	})
}

// keyColumns returns the benchmark's name, the configuration keys that differ, and
// the keys of the names in an order that agrees with that of each name. What is
// the same in every row is no dimension, unless it is in the name itself.
func (r *Report) keyColumns() []keyColumn {
	columns := []keyColumn{{"benchmark", "benchmark", func(c *summary.Cell) string { return c.Key(".name") }}}
	for _, key := range r.varying {
		columns = append(columns, keyColumn{key, key, func(c *summary.Cell) string { return c.Key(key) }})
	}
	var labels []string
	for _, c := range r.cells {
		at := 0
		for _, p := range labelled(c) {
			if i := slices.Index(labels, p.Key); i >= 0 {
				at = max(at, i+1)
				continue
			}
			labels = slices.Insert(labels, at, p.Key)
			at++
		}
	}
	for _, label := range labels {
		key := func(c *summary.Cell) string {
			pairs := labelled(c)
			if i := slices.IndexFunc(pairs, func(p summary.Pair) bool { return p.Key == label }); i >= 0 {
				return pairs[i].Value
			}
			return ""
		}
		if label != "gomaxprocs" || len(placesOf(r.cells, key)) > 1 {
			columns = append(columns, keyColumn{label, label, key})
		}
	}
	// Each has an address of its own, which is no word of the script's either.
	taken := []string{"sort", "units", "text"}
	for i := range columns {
		for slices.Contains(taken, columns[i].Param) {
			columns[i].Param = "/" + columns[i].Param
		}
		taken = append(taken, columns[i].Param)
	}
	return columns
}

// labelled returns the keys of a cell's name, each of them under a label of its
// own: a part without a key is called by its place, a key's second use by a count.
func labelled(c *summary.Cell) []summary.Pair {
	pairs := slices.Clone(c.Keys())
	for i, p := range pairs {
		label := p.Key
		if label == "" {
			label = "part " + strconv.Itoa(i+1)
		}
		for n := 2; slices.ContainsFunc(pairs[:i], func(q summary.Pair) bool { return q.Key == label }); n++ {
			label = p.Key + " " + strconv.Itoa(n)
		}
		pairs[i].Key = label
	}
	return pairs
}

// placesOf numbers the values of a key in their order; a cell without it has -1.
func placesOf(cells []*summary.Cell, key func(*summary.Cell) string) map[string]int {
	var values []string
	seen := map[string]int{}
	for _, c := range cells {
		if v := key(c); v == "" {
			seen[v] = -1
		} else if _, ok := seen[v]; !ok {
			seen[v] = 0
			values = append(values, v)
		}
	}
	slices.SortFunc(values, summary.Compare)
	for i, v := range values {
		seen[v] = i
	}
	return seen
}

// units returns the units of all cells: throughput and time, then in the order of
// the tables of methods, then all others.
func (r *Report) units() []string {
	units := []string{"B/s", "sec/op"}
	// Tables of methods have the effect before its causes. Columns that not all of
	// them have take their place behind the one before them.
	for _, s := range r.table.Sections {
		at := 0
		for _, c := range s.Columns {
			if i := slices.Index(units, c.Unit); i >= 0 {
				at = max(at, i+1)
			} else if s.RowKey == "method" && c.Unit != summary.Share {
				units = slices.Insert(units, max(at, 2), c.Unit)
				at = max(at, 2) + 1
			}
		}
	}
	measured := map[string]bool{}
	for _, c := range r.cells {
		for _, u := range c.Units {
			if !slices.Contains(units, u) {
				units = append(units, u)
			}
			measured[u] = true
		}
	}
	return slices.DeleteFunc(units, func(u string) bool { return !measured[u] })
}

// samples is how many measurements are behind a cell's time, and of a cell without
// one, behind the unit that has the most.
func samples(c *summary.Cell) (n int) {
	if times := c.Values("sec/op"); len(times) > 0 {
		return len(times)
	}
	for _, u := range c.Units {
		n = max(n, len(c.Values(u)))
	}
	return n
}

// figureText writes a figure with the prefix that suits it. The column's heading
// has the rest of the unit.
func figureText(unit string, f summary.Figure) string {
	quantity, _, _ := strings.Cut(unit, "/")
	class, base := benchunit.ClassOf(unit), ""
	switch {
	case class == benchunit.Binary:
		base = "B"
	case quantity == "sec" || strings.HasSuffix(quantity, "-sec"):
		base = "s"
	case f.Exact || math.Abs(f.Value) < 100:
		return summary.Count(f.Value)
	default:
		return summary.Count(math.Round(f.Value)) // the half between two counts
	}
	if f.Value == 0 {
		return "0 " + base
	}
	s := benchunit.CommonScale([]float64{f.Value}, class)
	return summary.Digits(f.Value/s.Factor) + " " + s.Prefix + base
}
