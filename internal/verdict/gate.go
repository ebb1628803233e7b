package verdict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"

	"iopath/internal/summary"
)

// The sides of a comparison: values of the configuration key SideKey in a file that
// holds them all, round by round.
const (
	SideKey   = "side"
	Base      = "base"      // what there was
	Again     = "again"     // the same once more: what noise alone makes of it
	Head      = "head"      // what there is now
	Reference = "reference" // the machine itself, measured by a program that is neither
)

// WholeCommand stands in a "# failed:" line for all that a command should have printed.
const WholeCommand = "the command"

// A Lane is how a row is judged.
type Lane string

const (
	ExactLane Lane = "exact" // a count that is the same each time: any worsening fails
	TimeLane  Lane = "time"  // a figure with noise, by pairs
	ShownLane Lane = "shown" // never judged: tails
)

// A Status is what is said of a row.
type Status string

const (
	Regressed   Status = "regressed"   // worse beyond doubt
	Waived      Status = "waived"      // worse, and a waiver says that it may be
	Undecided   Status = "undecided"   // not to be told: too few pairs, too much noise, a count that varies by itself
	Unconfirmed Status = "unconfirmed" // worse in the first run, and not in the second
	Improved    Status = "improved"    // better beyond doubt
	Unchanged   Status = "unchanged"   // no change beyond the bound is shown; Effect says what could hide
)

// severity is the order of a table.
var severity = []Status{Regressed, Waived, Undecided, Unconfirmed, Improved, Unchanged}

// A Row is the judgement of one unit of one cell.
type Row struct {
	Cell   string `json:"cell"` // full name without "Benchmark"
	Pkg    string `json:"pkg,omitempty"`
	Unit   string `json:"unit"` // tidied
	Lane   Lane   `json:"lane"`
	Status Status `json:"status"`
	Why    string `json:"why,omitempty"`
	Better int    `json:"better"` // +1: higher is better, -1: lower is

	Base summary.Figure `json:"-"`
	Head summary.Figure `json:"-"`

	// Of the time lane, and of what is shown. Each effect is oriented: a ratio above 1
	// is a worsening, whatever the unit's direction.
	Effect *Effect `json:"worsening,omitempty"`
	Noise  *Effect `json:"noise,omitempty"`         // of the base again over the base
	Bound  float64 `json:"bound,omitempty"`         // what an effect must be beyond, as a ratio from 1 on
	Second *Effect `json:"second_run,omitempty"`    // of the run that was to confirm
	Bound2 float64 `json:"second_bound,omitempty"`  // its bound
	Noise2 *Effect `json:"second_noise,omitempty"`  // its noise
	Counts *Counts `json:"counts,omitempty"`        // of the exact lane
	Again  *Counts `json:"second_counts,omitempty"` // of its second run

	cell *summary.Cell
}

// Counts are the values that the sides of an exact row had, each once, sorted.
type Counts struct {
	Base    []float64 `json:"base"` // and of the base again
	Head    []float64 `json:"head"`
	Typical float64   `json:"head_typical"` // the median of all of head's, the better of the middle two

	usual  float64 // base's value, but for one in ten at most
	steady bool    // whether there is one
}

// steadyShare is the share of base's counts that must be one value for the count to be the
// same each time: a stray one among 48 hides nothing.
const steadyShare = 0.9

// Rules say how to judge. The zero value of a field stands for its default.
type Rules struct {
	Filter string   // benchproc filter of the cells; "*"
	Units  []string // tidied units of the time lane: DefaultUnits, and of a cell that has none of them all with a direction
	Q      float64  // false discoveries among the rows of the time lane; 0.05
	Least  float64  // the least effect that counts, as a ratio; MinLead

	Accepted *summary.Results // reviewed values of exact rows, which head may not be worse than; nil: none
	Waivers  []Waiver
	Today    time.Time // for the waivers' last days

	// References are the benchmarks of two files that measure the machine itself. A
	// file that holds all sides has a side for them.
	References []string
}

// DefaultUnits are those of the time lane. A throughput that comes from the time is
// no row of its own.
var DefaultUnits = []string{"sec/op", "cpu-sec/op", "B/op"}

// A Judgement is what a comparison came to.
type Judgement struct {
	Rows     []Row    `json:"rows"` // the most severe first
	OnlyBase []string `json:"only_base,omitempty"`
	OnlyHead []string `json:"only_head,omitempty"`
	Failed   []string `json:"failed_on_head,omitempty"` // cells that base has and head failed at
	Doubts   []string `json:"disturbed,omitempty"`      // why the time lane says nothing
	Notes    []string `json:"notes,omitempty"`
	Moved    []Moved  `json:"references,omitempty"`
	Pairs    int      `json:"pairs"` // the most that a row of the time lane has
	Need     int      `json:"pairs_needed"`
	Second   int      `json:"second_pairs,omitempty"` // of the run that was to confirm
	Outcome  Outcome  `json:"outcome"`

	tested int  // rows of the time lane that are tested together
	lost   bool // head lacks a count that base has
}

// An Outcome is the answer of a comparison.
type Outcome string

const (
	Fine         Outcome = "fine"
	Regression   Outcome = "regression"
	Inconclusive Outcome = "inconclusive"
)

// Moved is how far a figure of the machine itself moved.
type Moved struct {
	Name  string  `json:"name"`
	Ratio float64 `json:"moved"` // from 1 on: of the medians of two thirds of the run, or of the two files
}

// MaxMoved is how far a reference may move before the time lane says nothing.
const MaxMoved = 1.15

// Sides are the cells of a comparison, by package and full name.
type Sides struct {
	results                      *summary.Results
	base, again, head, reference map[string]*summary.Cell
	order                        []string // of the names of base and head, as in the file
	pair                         func(a, b *summary.Cell, unit string) (of, and []float64)
	files                        bool // base and head are files of different times
}

// SidesOf picks the sides of a file that holds them all. The error is
// summary.ErrInput.
func SidesOf(results *summary.Results, filter string) (*Sides, error) {
	return SidesBy(results, filter, func(c *summary.Cell) string { return c.Key(SideKey) })
}

// SidesBy does so where which names the side of a cell; "" is none of them.
func SidesBy(results *summary.Results, filter string, which func(*summary.Cell) string) (*Sides, error) {
	return sidesOf(results, filter, SideKey, which, summary.Paired)
}

// SidesOfFiles picks the sides of files that were read together; again is "" where
// there is none. Measurements pair by their round, or by their place in the file.
func SidesOfFiles(results *summary.Results, filter, base, again, head string) (*Sides, error) {
	side := map[string]string{base: Base, again: Again, head: Head}
	s, err := sidesOf(results, filter, ".file", func(c *summary.Cell) string { return side[c.Key(".file")] }, summary.PairedRuns)
	if err == nil {
		s.files = true
	}
	return s, err
}

// Versions are what the commit lines of base and head say; the side's name where there
// is none.
func (s *Sides) Versions() (base, head string) {
	version := func(cells map[string]*summary.Cell, side string) string {
		for _, id := range s.order {
			if c := cells[id]; c != nil && c.Key("commit") != "" {
				return c.Key("commit")
			}
		}
		return side
	}
	return version(s.base, Base), version(s.head, Head)
}

func sidesOf(results *summary.Results, filter, key string, side func(*summary.Cell) string, pair func(a, b *summary.Cell, unit string) (of, and []float64)) (*Sides, error) {
	cells, err := results.Cells(filter, key, "pkg")
	if err != nil {
		return nil, err
	}
	s := &Sides{results: results, pair: pair}
	by := map[string]*map[string]*summary.Cell{Base: &s.base, Again: &s.again, Head: &s.head, Reference: &s.reference}
	for _, m := range by {
		*m = map[string]*summary.Cell{}
	}
	for _, c := range cells {
		which := side(c)
		m, ok := by[which]
		if !ok {
			continue
		}
		id := c.Key("pkg") + " " + c.Name
		(*m)[id] = c
		if (which == Base || which == Head) && !slices.Contains(s.order, id) {
			s.order = append(s.order, id)
		}
	}
	brokenHead := len(s.head) == 0 && slices.ContainsFunc(results.Failed, func(line string) bool { return strings.HasPrefix(line, Head+" ") })
	if len(s.base) == 0 || len(s.head) == 0 && !brokenHead {
		lacks := Base
		if len(s.base) > 0 {
			lacks = Head
		}
		return nil, summary.Errorf("compare: no result of side %s passes the filter %q (give two files, or one that iopath regress wrote)", lacks, filter)
	}
	return s, nil
}

// Judge compares head with base. second is a later run of the rows that the first one
// makes suspects; nil: there was none, and the first one decides alone.
//
// The error is summary.ErrInput.
func Judge(first, second *Sides, o Rules) (*Judgement, error) {
	o.Q, o.Least = cmp.Or(o.Q, 0.05), cmp.Or(o.Least, MinLead)
	j := &Judgement{Doubts: disturbances(first.results)}
	j.sides(first)
	if err := j.rows(first, o); err != nil {
		return nil, err
	}
	j.references(first, o.References)
	j.machines(first.results)
	j.exact(second)
	if err := j.accepted(o.Accepted); err != nil {
		return nil, err
	}
	j.time(second, o)
	if err := j.waive(first.results, o.Waivers, o.Today); err != nil {
		return nil, err
	}
	slices.SortStableFunc(j.Rows, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(slices.Index(severity, a.Status), slices.Index(severity, b.Status)),
			cmp.Compare(b.weight(), a.weight()))
	})
	j.Outcome = j.outcome()
	return j, nil
}

// weight orders rows of one status, the heaviest first: counts before times, then by
// how far the effect is from none.
func (r Row) weight() float64 {
	w := 0.0
	if r.Lane == ExactLane {
		w = 1e3
	}
	if r.Lane == ShownLane {
		w = -1e3
	}
	if r.Effect != nil && !r.Effect.Zeros {
		w += min(math.Abs(math.Log(r.Effect.Ratio)), 500)
	}
	return w
}

// sides names what one side alone has.
func (j *Judgement) sides(s *Sides) {
	for _, id := range s.order {
		_, isBase := s.base[id]
		_, isHead := s.head[id]
		name := strings.TrimSpace(id)
		switch {
		case isBase && isHead:
			// Head fails at it now and then.
			if failed(s.results, Head, s.head[id]) && !failed(s.results, Base, s.base[id]) && !failed(s.results, Again, s.base[id]) {
				j.Failed = append(j.Failed, name)
			}
		case isHead:
			j.OnlyHead = append(j.OnlyHead, name)
		case failed(s.results, Head, s.base[id]) || failed(s.results, "", s.base[id]):
			j.Failed = append(j.Failed, name)
		default:
			j.OnlyBase = append(j.OnlyBase, name)
		}
	}
}

// failed reports whether a "# failed:" line of the side names the cell, a benchmark that it
// is part of, or all of the side. Of side "" are those that go test itself reports.
func failed(results *summary.Results, side string, c *summary.Cell) bool {
	names := []string{c.Name, strings.TrimSuffix(c.Name, "-"+c.Key("/gomaxprocs"))}
	return slices.ContainsFunc(results.Failed, func(line string) bool {
		if side != "" {
			rest, is := strings.CutPrefix(line, side+" ")
			if !is {
				return false
			}
			if line = rest; strings.HasPrefix(line, WholeCommand) {
				return true
			}
		}
		line, is := strings.CutPrefix(line, "Benchmark")
		if !is {
			return false
		}
		name, _, _ := strings.Cut(line, ": ")
		name = strings.TrimSpace(name)
		// "X-2" is X with GOMAXPROCS, and the parent of X/a-2.
		parent, suffix, cut := cutLast(name, "-")
		if _, err := strconv.Atoi(suffix); !cut || err != nil {
			parent = name
		}
		return slices.Contains(names, name) || strings.HasPrefix(c.Name, name+"/") || strings.HasPrefix(c.Name, parent+"/")
	})
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// rows makes a row for each unit that both sides have of a cell.
func (j *Judgement) rows(s *Sides, o Rules) error {
	meta := s.results.Units
	asked := len(o.Units) > 0
	units := o.Units
	if !asked {
		units = DefaultUnits
	}
	for _, unit := range o.Units {
		if meta.GetBetter(unit) == 0 {
			return summary.Errorf("judge %s: its direction is not known (add a line \"Unit %s better=lower\", or higher, to the results)", unit, unit)
		}
	}
	found := false
	for _, id := range s.order {
		base, head := s.base[id], s.head[id]
		if base == nil || head == nil {
			continue
		}
		has := func(unit string) bool { return len(base.Values(unit)) > 0 && len(head.Values(unit)) > 0 }
		usual := slices.ContainsFunc(units, has)
		for _, unit := range base.Units {
			if !has(unit) {
				if judged := slices.Contains(units, unit) || isExact(meta, base, unit); judged && len(base.Values(unit)) > 0 {
					j.OnlyBase = append(j.OnlyBase, strings.TrimSpace(id)+" "+unit)
					j.lost = j.lost || isExact(meta, base, unit)
				}
				continue
			}
			r := Row{Cell: base.Name, Pkg: base.Key("pkg"), Unit: unit, Better: meta.GetBetter(unit), cell: base, Status: Unchanged}
			switch {
			case isExact(meta, base, unit):
				r.Lane = ExactLane
			case isTail(unit) && !slices.Contains(o.Units, unit):
				r.Lane = ShownLane
			case slices.Contains(units, unit), !asked && !usual && r.Better != 0:
				r.Lane = TimeLane
			default:
				continue
			}
			found = true
			r.Base, _ = base.Figure(unit)
			r.Head, _ = head.Figure(unit)
			j.compare(&r, s, id)
			j.Rows = append(j.Rows, r)
		}
		for _, unit := range head.Units {
			if judged := slices.Contains(units, unit) || isExact(meta, head, unit); judged && len(base.Values(unit)) == 0 && len(head.Values(unit)) > 0 {
				j.OnlyHead = append(j.OnlyHead, strings.TrimSpace(id)+" "+unit)
			}
		}
	}
	both := 0
	for id := range s.base {
		if s.head[id] != nil {
			both++
		}
	}
	if !found && both > 0 && !j.lost {
		return summary.Errorf("judge: no unit that both sides have is one of %s (name others with -units)", strings.Join(units, ", "))
	}
	return nil
}

// isExact reports whether a count is to be the same each time: as the file says, or
// allocations, or the major faults of what is in the page cache.
func isExact(meta benchfmt.UnitMetadataMap, c *summary.Cell, unit string) bool {
	return meta.GetAssumption(unit) == benchmath.AssumeExact || unit == "allocs/op" ||
		unit == "majflt/op" && c.Key("/cache") == "warm"
}

// isTail reports whether the unit is of the 99th percentile or beyond, of which a run
// has too few to judge by.
func isTail(unit string) bool {
	name, _, _ := strings.Cut(unit, "-")
	digits, isP := strings.CutPrefix(name, "p")
	if v, err := strconv.ParseFloat(digits, 64); isP && err == nil {
		for v > 100 && !strings.Contains(digits, ".") { // p999 is p99.9
			v /= 10
		}
		return v >= 99
	}
	return name == "max"
}

// compare fills in what the sides have.
func (j *Judgement) compare(r *Row, s *Sides, id string) {
	if r.Lane == ExactLane {
		r.Counts = s.counts(id, r.Unit, r.Better)
		return
	}
	r.Effect = s.effect(s.head[id], s.base[id], r.Unit, r.Better)
	r.Noise = s.effect(s.again[id], s.base[id], r.Unit, r.Better)
}

// effect is oriented: above 1 is worse. nil: there is none.
func (s *Sides) effect(of, base *summary.Cell, unit string, better int) *Effect {
	if of == nil || base == nil {
		return nil
	}
	a, b := s.pair(of, base, unit)
	if better > 0 {
		a, b = b, a
	}
	e, ok := Compare(a, b)
	if from, differs := CompareZeros(a, b); differs {
		return &from
	}
	if !ok {
		return nil
	}
	return &e
}

// measured reports whether both sides have the unit of a cell.
func (s *Sides) measured(id, unit string) bool {
	base, head := s.base[id], s.head[id]
	return base != nil && head != nil && len(base.Values(unit)) > 0 && len(head.Values(unit)) > 0
}

func (s *Sides) counts(id, unit string, better int) *Counts {
	values := func(cells ...*summary.Cell) []float64 {
		var all []float64
		for _, c := range cells {
			if c != nil {
				all = append(all, c.Values(unit)...)
			}
		}
		slices.Sort(all)
		return all
	}
	base, head := values(s.base[id], s.again[id]), values(s.head[id])
	c := &Counts{}
	if n := len(base); n > 0 {
		c.usual = base[n/2] // what nine in ten are, the middle one is
		same := 0
		for _, v := range base {
			if v == c.usual {
				same++
			}
		}
		c.steady = float64(same) >= steadyShare*float64(n)
	}
	c.Base = slices.Compact(base)
	if n := len(head); n > 0 {
		c.Typical = head[(n-1)/2]
		if better > 0 {
			c.Typical = head[n/2]
		}
	}
	c.Head = slices.Compact(head)
	return c
}

// change is +1 where head is worse than base, -1 where all of it is better. Where the
// count of base varies by itself, all of head must be beyond all of it. A direction
// that is not known is that of a cost.
//
// Of a base that never varies, head is worse where it is typically: a program whose
// count goes up now and then, as Go's runtime allocates now and then, is told, and not
// called worse, or every hundredth run would be.
func (c Counts) change(better int) int {
	if len(c.Base) == 0 || len(c.Head) == 0 {
		return 0
	}
	above, below := c.beyond()
	worse, allBetter := above, below
	if better > 0 {
		worse, allBetter = below, above
	}
	if c.steady {
		worse = worse || better > 0 && c.Typical < c.usual || better <= 0 && c.Typical > c.usual
	}
	switch {
	case worse:
		return 1
	case allBetter:
		return -1
	}
	return 0
}

// varies says whose count is not the same each time; "" where both are.
func (c Counts) varies() string {
	switch {
	case len(c.Base) > 1:
		return "varies on base itself"
	case len(c.Head) > 1:
		return "varies on head"
	}
	return ""
}

// beyond reports whether all of head is above all of base, or below.
func (c Counts) beyond() (above, below bool) {
	return c.Head[0] > c.Base[len(c.Base)-1], c.Head[len(c.Head)-1] < c.Base[0]
}

// Results of machines that differ in one of these are not compared by time.
var hardware = []string{"goarch", "cpu", "cpus", "llc", "virt"}

// machines notes what differs between the results beside the sides, and doubts them where
// they are of different machines.
func (j *Judgement) machines(results *summary.Results) {
	for _, c := range results.Config {
		if !c.Varies || c.Key == SideKey || c.Key == "commit" || c.Key == "pkg" {
			continue
		}
		values := slices.DeleteFunc(results.KeyValues(c.Key), func(v string) bool { return v == "" })
		what := fmt.Sprintf("%s differs: %s", c.Key, strings.Join(values, " | "))
		if slices.Contains(hardware, c.Key) {
			j.Doubts = append(j.Doubts, what)
		} else {
			j.Notes = append(j.Notes, what)
		}
	}
}

// references finds out how far the machine itself moved.
//
// What it finds beyond MaxMoved is among the doubts.
func (j *Judgement) references(s *Sides, names []string) {
	j.Moved = moved(s, names)
	j.Doubts = append(j.Doubts, beyond(j.Moved)...)
}

func moved(s *Sides, names []string) (all []Moved) {
	const unit = "sec/op"
	add := func(name string, medians ...float64) {
		slices.Sort(medians)
		if lo, hi := medians[0], medians[len(medians)-1]; lo > 0 {
			all = append(all, Moved{name, hi / lo})
		}
	}
	if s.files {
		for _, id := range s.order {
			if base, head := s.base[id], s.head[id]; base != nil && head != nil && slices.Contains(names, base.Key(".name")) {
				a, b := base.Values(unit), head.Values(unit)
				if len(a) > 0 && len(b) > 0 {
					add(base.Name, middle(a), middle(b))
				}
			}
		}
	}
	for _, c := range s.reference {
		// The median of two or three is no more than one of them.
		if v := c.Values(unit); len(v) >= 18 {
			third := len(v) / 3
			add(c.Name, middle(v[:third]), middle(v[third:len(v)-third]), middle(v[len(v)-third:]))
		}
	}
	slices.SortFunc(all, func(a, b Moved) int {
		return cmp.Or(cmp.Compare(b.Ratio, a.Ratio), strings.Compare(a.Name, b.Name))
	})
	return all
}

func beyond(all []Moved) (doubts []string) {
	for _, m := range all {
		if m.Ratio > MaxMoved {
			doubts = append(doubts, fmt.Sprintf("%s moved by %.0f %%", m.Name, 100*(m.Ratio-1)))
		}
	}
	return doubts
}

// middle is the median of values in any order.
func middle(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return median(v)
}

// exact judges the exact lane.
func (j *Judgement) exact(second *Sides) {
	for i := range j.Rows {
		r := &j.Rows[i]
		if r.Lane != ExactLane {
			continue
		}
		change := r.Counts.change(r.Better)
		if why := r.Counts.varies(); change == 0 && why != "" {
			r.Status, r.Why = Undecided, why
			continue
		}
		if change < 0 {
			r.Status, r.Why = Improved, "accept the new value with -accept"
		}
		if change <= 0 {
			continue
		}
		r.Status = Regressed
		if second == nil {
			continue
		}
		id := r.id()
		if r.Again = second.counts(id, r.Unit, r.Better); len(r.Again.Head) == 0 || len(r.Again.Base) == 0 {
			r.Again = nil
		} else if r.Again.change(r.Better) <= 0 {
			r.Status, r.Why = Unconfirmed, "not so in the second run"
		}
	}
}

func (r *Row) id() string { return r.Pkg + " " + r.Cell }

// accepted holds exact rows against reviewed values.
func (j *Judgement) accepted(results *summary.Results) error {
	if results == nil {
		return nil
	}
	cells, err := results.Cells("*", "pkg")
	if err != nil {
		return err
	}
	for i := range j.Rows {
		r := &j.Rows[i]
		if r.Lane != ExactLane {
			continue
		}
		for _, c := range cells {
			if c.Name != AcceptedName(r) || c.Key("pkg") != r.Pkg || len(c.Values(r.Unit)) == 0 {
				continue
			}
			have := Counts{Base: c.Values(r.Unit)[:1], Head: r.Counts.Head, Typical: r.Counts.Typical, usual: c.Values(r.Unit)[0], steady: true}
			switch change := have.change(r.Better); {
			case change == 0 && r.Status == Improved:
				r.Why = "as accepted"
			case change > 0 && r.Status != Regressed:
				r.Status, r.Why = Regressed, fmt.Sprintf("accepted is %s", number(have.Base[0]))
			}
		}
	}
	return nil
}

// AcceptedName is the row's cell as a file of accepted values has it: what is exact
// does not depend on GOMAXPROCS.
func AcceptedName(r *Row) string {
	return strings.TrimSuffix(r.Cell, "-"+r.cell.Key("/gomaxprocs"))
}

// time judges the time lane.
func (j *Judgement) time(second *Sides, o Rules) {
	var rows []*Row
	var p []float64
	for i := range j.Rows {
		switch r := &j.Rows[i]; {
		case r.Lane != TimeLane:
		case r.Effect == nil: // zeros on both sides
			if r.Base.Value != 0 || r.Head.Value != 0 {
				r.Status, r.Why = Undecided, "no pair has a ratio"
			}
		default:
			rows, p = append(rows, r), append(p, r.Effect.P)
			j.Pairs = max(j.Pairs, r.Effect.N)
		}
	}
	j.tested = len(rows)
	j.Need = PairsNeeded(j.tested, o.Q)
	stand := Discoveries(p, o.Q)
	var suspects []*Row
	for i, r := range rows {
		r.Bound = bound(r.Noise, o.Least)
		switch {
		case r.Effect.N < j.Need:
			r.Status, r.Why = Undecided, fmt.Sprintf("n=%d, needs %d", r.Effect.N, j.Need)
		case len(j.Doubts) > 0:
			r.Status, r.Why = Undecided, "the machine was disturbed"
		case stand[i] && r.Effect.worse(r.Bound):
			suspects = append(suspects, r)
		case stand[i] && r.Effect.better(r.Bound):
			r.Status = Improved
		}
	}
	j.confirm(suspects, second, o)
}

// bound is what an effect must be beyond.
func bound(noise *Effect, least float64) float64 {
	if noise == nil || noise.Zeros {
		return least
	}
	return max(least, noise.Spread())
}

// confirm judges the suspects by the second run.
func (j *Judgement) confirm(suspects []*Row, second *Sides, o Rules) {
	p := make([]float64, len(suspects))
	for i, r := range suspects {
		r.Status = Regressed
		if second == nil {
			continue
		}
		id := r.id()
		r.Second = second.effect(second.head[id], second.base[id], r.Unit, r.Better)
		r.Noise2 = second.effect(second.again[id], second.base[id], r.Unit, r.Better)
		r.Bound2 = bound(r.Noise2, o.Least)
		p[i] = 1
		if r.Second != nil {
			p[i] = r.Second.P
			j.Second = max(j.Second, r.Second.N)
		}
	}
	if second == nil {
		return
	}
	stand := Discoveries(p, o.Q)
	need := PairsNeeded(len(suspects), o.Q)
	doubts := append(disturbances(second.results), beyond(moved(second, nil))...)
	for i, r := range suspects {
		switch {
		case r.Second == nil && second.measured(r.id(), r.Unit): // zeros on both sides
			r.Status, r.Why = Unconfirmed, "not so in the second run"
		case r.Second == nil:
			r.Status, r.Why = Undecided, "suspect, not in the second run"
		case r.Second.N < need:
			r.Status, r.Why = Undecided, fmt.Sprintf("suspect; second run: n=%d, needs %d", r.Second.N, need)
		case len(doubts) > 0:
			r.Status, r.Why = Undecided, "suspect; second run: "+strings.Join(doubts, "; ")
		case !stand[i] || !r.Second.worse(r.Bound2):
			r.Status, r.Why = Unconfirmed, "not so in the second run"
		}
	}
}

// Suspects returns the cells that a second run has to measure again.
func (j *Judgement) Suspects() (cells []string) {
	for _, r := range j.Rows {
		if r.Status == Regressed && !slices.Contains(cells, r.id()) {
			cells = append(cells, r.id())
		}
	}
	return cells
}

// outcome is the answer.
func (j *Judgement) outcome() Outcome {
	any := func(lane Lane, status Status) bool {
		return slices.ContainsFunc(j.Rows, func(r Row) bool { return r.Lane == lane && r.Status == status })
	}
	switch {
	case any(ExactLane, Regressed), any(TimeLane, Regressed), len(j.Failed) > 0:
		return Regression
	case any(TimeLane, Undecided), len(j.Doubts) > 0, j.lost:
		return Inconclusive
	case len(j.Rows) == 0:
		return Inconclusive // nothing was compared
	}
	return Fine
}

// number writes a count with all its digits.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
