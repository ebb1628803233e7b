package summary

import (
	"fmt"
	"slices"
	"strings"
)

// A Table lays cells side by side. Names with a /method are one section for
// each workload and state, in it a group for each /block, and a row a method,
// the fastest first. Other names are one section for each benchmark, its rows
// in the order of their keys.
type Table struct {
	Config   []Config
	Dates    []string
	Sections []Section
	Notes    []string // what a reader of the figures must know, a line each
	Skipped  []string // cells that were not run, with the reason
	Failed   []string // cells that gave no result, with the reason
}

// A Section is a heading, columns and rows. Every row has the keys of the
// heading in common.
type Section struct {
	Name       string // the benchmark's; empty where every row is a benchmark of its own
	Keys       []Pair // of the heading, in the order of the name
	MinN, MaxN int    // the fewest and the most measurements behind a row
	Columns    []Column
	Rows       []Row
}

// A Column shows one unit. One where no row has a figure is left out.
type Column struct {
	Unit string // tidied, or Share
	Top  string // heading: the quantity
	Sub  string // heading: its unit, "" for a plain number
	Wide bool   // beside the point: shown where there is room

	format func(Row) string
}

// Share is the unit of the column that gives a method's throughput as a share
// of the ceiling's.
const Share = "share"

// A Row is one cell.
type Row struct {
	Group   string // the value of /block, "" without one
	Label   string // the method, or the name with the heading's keys taken out
	Cell    *Cell
	Ceiling bool              // what the consumer alone reaches, no method
	Figures map[string]Figure // by tidied unit; without a figure, no entry
	Share   float64           // of the ceiling's throughput; 0 without a ceiling
}

// Text returns what the column shows of the row, "-" if the row lacks it.
func (c Column) Text(r Row) string { return c.format(r) }

// Table lays out the cells that a benchproc filter keeps ("*" for all). The
// error is ErrInput: a filter that does not parse or keeps nothing.
func (r *Results) Table(filter string) (*Table, error) {
	cells, err := r.Cells(filter)
	if err != nil {
		return nil, err
	}
	if len(cells) == 0 {
		return nil, Errorf("make table: no result passes the filter %q (widen it; \"*\" passes all)", filter)
	}
	ceilings, err := r.Cells(".name:Ceiling")
	if err != nil {
		return nil, err
	}
	t := &Table{Config: r.Config, Dates: r.Dates, Skipped: r.Skipped, Failed: r.Failed, Notes: slices.Clone(r.Notes)}

	byHead := map[string]*Section{}
	var sections []*Section
	var bare, rest []*Cell
	add := func(head []Pair, c *Cell, row Row) {
		id := c.Key(".name") + "\x00" + fmt.Sprint(head)
		s := byHead[id]
		if s == nil {
			s = &Section{Name: c.Key(".name"), Keys: head}
			byHead[id] = s
			sections = append(sections, s)
		}
		s.Rows = append(s.Rows, row)
	}
	procs := map[string]bool{}
	for _, c := range cells {
		procs[c.Key("/gomaxprocs")] = true
	}
	keysOf := func(c *Cell) []Pair {
		return slices.DeleteFunc(c.Keys(), func(p Pair) bool { return p.Key == "gomaxprocs" && len(procs) < 2 })
	}
	usedCeiling := map[string]bool{}
	for _, c := range cells {
		method := c.Key("/method")
		if method == "" {
			rest = append(rest, c)
			continue
		}
		row := newRow(c, c.Key("/block"), method)
		head := slices.DeleteFunc(keysOf(c), func(p Pair) bool { return p.Key == "block" || p.Key == "method" })
		if top := ceilingOf(c, ceilings); top != nil {
			limit := newRow(top, row.Group, "(ceiling)")
			limit.Ceiling, limit.Share = true, 1
			if rate, ok := row.Figures["B/s"]; ok && limit.Figures["B/s"].Value > 0 {
				row.Share = rate.Value / limit.Figures["B/s"].Value
			}
			if id := top.Name + "\x00" + fmt.Sprint(head); !usedCeiling[id] {
				usedCeiling[id], usedCeiling[top.Name] = true, true
				add(head, c, limit)
			}
		}
		add(head, c, row)
	}
	// Names of other suites: a section for a benchmark that has keys; those
	// without any stand together.
	for _, c := range rest {
		switch {
		case usedCeiling[c.Name]:
		case len(keysOf(c)) == 0:
			bare = append(bare, c)
		default:
			add(nil, c, newRow(c, "", ""))
		}
	}
	for _, s := range sections {
		if s.Keys == nil && s.Rows[0].Label == "" {
			s.liftKeys(keysOf)
		}
	}
	if len(bare) > 0 {
		s := &Section{}
		for _, c := range bare {
			s.Rows = append(s.Rows, newRow(c, "", c.Key(".name")))
		}
		sections = append(sections, s)
	}
	slices.SortStableFunc(sections, func(a, b *Section) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return comparePairs(a.Keys, b.Keys)
	})
	for _, s := range sections {
		s.finish()
		t.Sections = append(t.Sections, *s)
	}
	t.addNotes()
	return t, nil
}

func newRow(c *Cell, group, label string) Row {
	row := Row{Group: group, Label: label, Cell: c, Figures: map[string]Figure{}}
	for _, u := range c.Units {
		if f, ok := c.Figure(u); ok {
			row.Figures[u] = f
		}
	}
	return row
}

// ceilingOf finds the ceiling that bounds a cell: that of the same pattern,
// size, block and whatever else both are named by. It is measured over memory,
// so it bounds warm reads only.
func ceilingOf(c *Cell, ceilings []*Cell) *Cell {
	if c.Key(".name") != "Read" || c.Key("/cache") != "warm" {
		return nil
	}
	want := slices.DeleteFunc(c.Keys(), func(p Pair) bool { return p.Key == "cache" || p.Key == "method" })
	for _, top := range ceilings {
		if slices.Equal(top.Keys(), want) {
			return top
		}
	}
	return nil
}

// liftKeys moves the keys that all rows share into the heading, and names
// each row by what is left.
func (s *Section) liftKeys(keysOf func(*Cell) []Pair) {
	shared := keysOf(s.Rows[0].Cell)
	if len(s.Rows) == 1 {
		shared = nil
	}
	for _, row := range s.Rows {
		keys := keysOf(row.Cell)
		shared = slices.DeleteFunc(shared, func(p Pair) bool { return p.Key == "" || !slices.Contains(keys, p) })
	}
	s.Keys = shared
	left := func(r Row) []Pair {
		return slices.DeleteFunc(keysOf(r.Cell), func(p Pair) bool { return slices.Contains(shared, p) })
	}
	slices.SortStableFunc(s.Rows, func(a, b Row) int { return comparePairs(left(a), left(b)) })
	for i, row := range s.Rows {
		var words []string
		for _, p := range left(row) {
			words = append(words, p.String())
		}
		s.Rows[i].Label = strings.Join(words, " ")
		if len(words) == 0 {
			s.Rows[i].Label = s.Name
		}
	}
}

func (s *Section) finish() {
	isSuite := s.Rows[0].Cell.Key("/method") != "" || s.Rows[0].Ceiling
	if isSuite {
		slices.SortStableFunc(s.Rows, func(a, b Row) int {
			if c := Compare(a.Group, b.Group); c != 0 {
				return c
			}
			return faster(a, b)
		})
	}
	for _, row := range s.Rows {
		if row.Ceiling {
			continue
		}
		// Counts may be taken in one round alone; what n stands for is the time's.
		f, ok := row.Figures["sec/op"]
		if !ok {
			for _, other := range row.Figures {
				if other.N > f.N {
					f = other
				}
			}
		}
		if s.MinN == 0 || f.N < s.MinN {
			s.MinN = f.N
		}
		s.MaxN = max(s.MaxN, f.N)
	}
	s.Columns = columns(s.Rows, isSuite)
}

// faster puts the ceiling first, then the higher throughput, then what has
// none, the shorter time first.
func faster(a, b Row) int {
	if a.Ceiling != b.Ceiling {
		if a.Ceiling {
			return -1
		}
		return 1
	}
	ra, oka := a.Figures["B/s"]
	rb, okb := b.Figures["B/s"]
	ta, tb := a.Figures["sec/op"].Value, b.Figures["sec/op"].Value
	switch {
	case oka != okb:
		if oka {
			return -1
		}
		return 1
	case ra.Value != rb.Value:
		return descending(ra.Value, rb.Value)
	case ta != tb:
		return -descending(ta, tb)
	}
	return strings.Compare(a.Label, b.Label)
}

func descending(a, b float64) int {
	if a > b {
		return -1
	}
	return 1
}

// addNotes says what the figures alone would not.
func (t *Table) addNotes() {
	var hasInterval, lacksInterval, ceiling bool
	for _, s := range t.Sections {
		for _, r := range s.Rows {
			ceiling = ceiling || r.Ceiling
			for u, f := range r.Figures {
				if f.Exact {
					continue
				}
				if u == "B/s" || u == "sec/op" {
					hasInterval = hasInterval || f.Interval
					lacksInterval = lacksInterval || !f.Interval
				}
			}
			for _, u := range r.Cell.Units {
				if f := r.Figures[u]; f.Exact && f.Lo != f.Hi {
					t.Notes = append(t.Notes, fmt.Sprintf("%s of %s is called exact, yet it varies from %s to %s.", u, r.Cell.Name, count(f.Lo), count(f.Hi)))
				}
			}
		}
	}
	if hasInterval {
		t.Notes = append(t.Notes, "Figures are medians; ± is their 95 % interval.")
	}
	if lacksInterval {
		t.Notes = append(t.Notes, fmt.Sprintf("Where n is below %d a median has no 95 %% interval, so there is no ±.", MinSamples))
	}
	if ceiling {
		t.Notes = append(t.Notes, "(ceiling): the consumer alone, over memory.")
	}
	for _, c := range t.Config {
		if c.Varies {
			t.Notes = append(t.Notes, fmt.Sprintf("%s differs within the input (first: %s): figures are of unlike runs.", c.Key, c.Value))
		}
	}
}
