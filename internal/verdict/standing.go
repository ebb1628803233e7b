package verdict

import (
	"slices"
	"strings"

	"iopath/internal/summary"
)

// A Standing ranks the cells of one workload that differ in one key alone, such
// as the method.
type Standing struct {
	Head  []summary.Pair  // the keys that the cells' names have in common, in the order of the name; GOMAXPROCS only where the input has several
	Name  string          // of the benchmark
	Unit  string          // tidied
	Cells []*summary.Cell // best first, by their medians
	Best  *summary.Cell
	Tied  []*summary.Cell // not told apart from the best, without it
	Rival *summary.Cell   // the best cell of another family; nil: there is none
	Lead  Ratio           // how many times better Best is than Rival: more than 1 is better
	Leads bool            // whether Best is better than every cell of every other family, beyond doubt

	contest contest
	series  string
}

// Options say what competes.
type Options struct {
	// Series is the key whose values compete. Default: "/method".
	Series string

	// Leave are values of it that do not compete, such as null, which moves
	// nothing.
	Leave []string

	// Watch are values of it that neither win nor are compared with, but that
	// others compare: they count in the confidence, so that both say the same
	// of one pair.
	Watch []string

	// Family names the family that a value belongs to: those of one family
	// are variants of each other, and a lead is over other families. Default:
	// each value is a family of its own.
	Family func(value string) string
}

// Standings ranks the cells that a benchproc filter keeps by a tidied unit, one
// Standing for all that agree in everything but the series, in the order of
// their names and keys. What lacks the series' key or the unit is left out.
// Lower is better, unless the file's Unit line says better=higher; throughput in
// B/s needs no such line.
//
// The error is ErrInput of package summary: a filter or key that does not parse.
func Standings(results *summary.Results, filter, unit string, o Options) ([]Standing, error) {
	if o.Series == "" {
		o.Series = "/method"
	}
	if o.Family == nil {
		o.Family = func(value string) string { return value }
	}
	cells, err := results.Cells(filter, o.Series)
	if err != nil {
		return nil, err
	}
	procs := len(results.KeyValues("/gomaxprocs"))
	byHead := map[string]*Standing{}
	var all []*Standing
	for _, c := range cells {
		value := c.Key(o.Series)
		figure, ok := c.Figure(unit)
		if value == "" || slices.Contains(o.Leave, value) || !ok {
			continue
		}
		head := slices.DeleteFunc(c.Keys(), func(p summary.Pair) bool {
			return "/"+p.Key == o.Series || p.Key == "gomaxprocs" && procs < 2
		})
		id := c.Key(".name")
		for _, p := range head {
			id += "\x00" + p.String()
		}
		s := byHead[id]
		if s == nil {
			s = &Standing{Head: head, Name: c.Key(".name"), Unit: unit, series: o.Series}
			s.contest.pair = func(a, b entry) (of, and []float64) { return summary.Paired(a.cell, b.cell, unit) }
			s.contest.higher = results.Units.GetBetter(summary.OpUnit(unit)) > 0
			byHead[id] = s
			all = append(all, s)
		}
		if slices.Contains(o.Watch, value) {
			s.contest.watched++
			continue
		}
		s.contest.entries = append(s.contest.entries, entry{c, value, o.Family(value), figure.Value})
	}
	all = slices.DeleteFunc(all, func(s *Standing) bool { return len(s.contest.entries) == 0 })
	standings := make([]Standing, len(all))
	for i, s := range all {
		s.judge()
		standings[i] = *s
	}
	slices.SortStableFunc(standings, func(a, b Standing) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return slices.CompareFunc(a.Head, b.Head, func(p, q summary.Pair) int {
			if p.Key != q.Key {
				return strings.Compare(p.Key, q.Key)
			}
			return summary.Compare(p.Value, q.Value)
		})
	})
	return standings, nil
}

func (s *Standing) judge() {
	c := &s.contest
	c.rank()
	for i, e := range c.entries {
		s.Cells = append(s.Cells, e.cell)
		if i > 0 && !c.beats(i) {
			s.Tied = append(s.Tied, e.cell)
		}
	}
	s.Best = s.Cells[0]
	if rival := c.rival(); rival > 0 {
		s.Rival = s.Cells[rival]
		s.Lead, _ = c.against(rival)
		s.Leads = c.leads()
	}
}

// Against returns how many times better the best is than the cell of the named
// value, at Confidence; false where there is no such cell, or no pair.
func (s Standing) Against(value string) (Ratio, bool) {
	for i, e := range s.contest.entries {
		if e.value == value {
			return s.contest.against(i)
		}
	}
	return Ratio{}, false
}

// Confidence is that of each single comparison with the best, so that all of
// them together have summary.Confidence.
func (s Standing) Confidence() float64 { return s.contest.confidence() }

// An entry is what a contest needs of a cell.
type entry struct {
	cell   *summary.Cell
	value  string // of the series' key
	family string
	median float64
}

// A contest is between entries, of which the first is the best once they are
// ranked.
type contest struct {
	entries []entry
	watched int                                  // cells beside them that are looked at
	higher  bool                                 // is better
	pair    func(a, b entry) (of, and []float64) // their measurements of the same rounds
}

func (c *contest) rank() {
	slices.SortStableFunc(c.entries, func(a, b entry) int {
		switch {
		case a.median == b.median:
			return summary.Compare(a.value, b.value)
		case a.median < b.median == c.higher:
			return 1
		}
		return -1
	})
}

func (c *contest) confidence() float64 {
	return 1 - (1-summary.Confidence)/float64(max(1, len(c.entries)+c.watched-1))
}

// against is how many times better the best is than the i-th.
func (c *contest) against(i int) (Ratio, bool) {
	a, b := c.pair(c.entries[0], c.entries[i])
	if !c.higher {
		a, b = b, a
	}
	return Paired(a, b, c.confidence())
}

func (c *contest) beats(i int) bool {
	r, ok := c.against(i)
	return ok && r.Beyond() && r.Value > 1
}

// rival is the best of another family than the best's, -1 where there is none.
func (c *contest) rival() int {
	return slices.IndexFunc(c.entries, func(e entry) bool { return e.family != c.entries[0].family })
}

func (c *contest) leads() bool {
	for i, e := range c.entries {
		if e.family != c.entries[0].family && !c.beats(i) {
			return false
		}
	}
	return true
}
