// Package summary turns result lines into medians with intervals.
//
// It reads any file in the Go benchmark format
// (https://golang.org/design/14313-benchmark-format), also one that this
// suite never made:
//
//  1. Read takes the lines in and groups them by full name and
//     configuration, keeping the measurements of each unit in file order.
//  2. Results.Cells picks cells by a benchproc filter.
//  3. Cell.Figure reduces one unit of a cell with benchmath: the median and
//     its 95 % interval, or the one exact value of a unit that its Unit line
//     calls assume=exact.
//  4. Results.Table lays the methods side by side, below what bounds them, as
//     text, Markdown or JSON.
//
// Units are those of benchunit.Tidy: ns/op reads as sec/op and MB/s as B/s,
// so times are seconds and sizes are bytes throughout.
//
// The package knows the result format and no workload. It compares nothing:
// two figures whose intervals overlap are for internal/verdict to judge. What
// was not measured is absent, and never reported as zero.
package summary

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
	"golang.org/x/perf/benchproc"
)

// Confidence is the level of every interval.
const Confidence = 0.95

// MinSamples is the least number of measurements that gives the median an
// interval at Confidence: the extremes of n samples hold it with a
// probability of 1 - 2/2^n.
const MinSamples = 6

// ErrInput marks every error that the input is to blame for: a file that
// cannot be read or is damaged, a filter or key that does not parse, a
// selection that is empty. Each is one line that says what to do.
var ErrInput = errors.New("bad input")

type inputError struct {
	msg   string
	cause error
}

func (e *inputError) Error() string        { return e.msg }
func (e *inputError) Unwrap() error        { return e.cause }
func (e *inputError) Is(target error) bool { return target == ErrInput }

// Errorf formats an error that errors.Is calls ErrInput. As with fmt.Errorf,
// %w wraps a cause.
func Errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &inputError{err.Error(), errors.Unwrap(err)}
}

// A Pair is one key of a benchmark's name or of the configuration. Key is
// empty for a positional part of a name: "ints" of BenchmarkSort/ints.
type Pair struct {
	Key, Value string
}

func (p Pair) String() string {
	if p.Key == "" {
		return p.Value
	}
	return p.Key + "=" + p.Value
}

// A Config is a configuration line.
type Config struct {
	Pair
	Varies bool // a later result had another value; Value is the first
}

func (c Config) String() string {
	if c.Varies {
		return c.Pair.String() + " (varies)"
	}
	return c.Pair.String()
}

// Results is what Read took in. Nothing changes it afterwards, so any number
// of goroutines may use it.
type Results struct {
	Config   []Config                 // in the order first seen
	Units    benchfmt.UnitMetadataMap // by tidied unit
	Dates    []string                 // "# date:" lines, each once
	Skipped  []string                 // "# skipped:" lines, each once
	Failed   []string                 // "# failed:" lines, each once
	Noise    []string                 // "# noise:" lines, each once: what else the machine did
	Settle   []string                 // "# settle:" lines, each once: how the machine stood before the first round
	Stopped  []string                 // "# stopped:" lines, each once: cells that were measured no further, and why
	Notes    []string                 // "# note:" lines, and what was read and left out, a line each
	Commands []string                 // "# command:" lines, each once: the command lines that made the results
	Made     []string                 // "# iopath …" lines, each once: what a command says of how it went about it

	groups []*group
	byName map[string][]*group // by the name without keys
	orig   map[string]string   // tidied unit → unit as first written
}

// A group holds the lines that agree in name and configuration, so that a
// filter is asked once for all of them.
type group struct {
	first   *benchfmt.Result
	keys    []Pair   // of its name
	columns []column // in the order first seen
	figures sync.Map // by unit: what Figure made of a cell of this group alone
}

// A column holds the measurements of one unit, and when each was made.
type column struct {
	unit   string
	values []float64
	turns  []turn
	seen   int // values on its lines, those that were left out included
}

// A turn is when a measurement was made: in which file, and there in which round, by
// the last "# round" line before it; in a file without such lines, by the how many
// of its kind it is.
type turn struct{ file, round int32 }

// column returns the one of a unit, which it adds if need be. Lines have their units
// in the same order mostly, so it looks at the i-th first.
func (g *group) column(i int, unit string) *column {
	if i >= len(g.columns) || g.columns[i].unit != unit {
		i = slices.IndexFunc(g.columns, func(c column) bool { return c.unit == unit })
	}
	if i < 0 {
		i = len(g.columns)
		g.columns = append(g.columns, column{unit: unit})
	}
	return &g.columns[i]
}

// ConfigValue returns the first value of a configuration key, "" if it has none.
func (r *Results) ConfigValue(key string) string {
	for _, c := range r.Config {
		if c.Key == key {
			return c.Value
		}
	}
	return ""
}

// A Cell is one benchmark: all measurements under one full name.
type Cell struct {
	Name  string   // full name without "Benchmark", with its -GOMAXPROCS
	Units []string // tidied, in the order first seen

	values map[string][]float64
	turns  map[string][]turn // of values
	group  *group            // the first of its measurements, which names it
	meta   benchfmt.UnitMetadataMap
	known  *sync.Map // figures of a cell that is one group
}

// Cells returns the cells that a benchproc filter keeps ("*" keeps all), in
// the order first seen. Lines of one full name are one cell, unless they
// differ in one of the keys: with the key "commit" each commit has its own.
//
// The error is ErrInput if the filter or a key does not parse.
func (r *Results) Cells(filter string, keys ...string) ([]*Cell, error) {
	if strings.TrimSpace(filter) == "" {
		filter = "*"
	}
	f, err := benchproc.NewFilter(filter)
	if err != nil {
		return nil, Errorf("parse filter %q: %s (write it as .name:Read /cache:warm)", filter, firstLine(err))
	}
	for _, k := range keys {
		if k == "" || k == "/" || k == ".config" || k == ".unit" {
			return nil, Errorf("read key %q: not a key (write /block for a key of the name, .name, .fullname, or a configuration key)", k)
		}
	}
	var cells []*Cell
	byID := map[string]*Cell{}
	asksUnits := strings.Contains(filter, ".unit")
	for _, g := range r.candidates(filter) {
		res := *g.first
		res.Values = nil
		if asksUnits {
			for _, col := range g.columns {
				res.Values = append(res.Values, benchfmt.Value{Unit: col.unit, OrigUnit: r.orig[col.unit]})
			}
		}
		match, err := f.Match(&res)
		if err != nil || !match.Any() {
			continue
		}
		id := string(res.Name.Full())
		for _, k := range keys {
			id += "\x00" + g.key(k)
		}
		c := byID[id]
		if c == nil {
			c = &Cell{Name: string(res.Name.Full()), values: map[string][]float64{}, turns: map[string][]turn{}, group: g, meta: r.Units, known: &g.figures}
			byID[id] = c
			cells = append(cells, c)
		}
		if c.group != g {
			c.known = nil
		}
		for i, col := range g.columns {
			if asksUnits && !match.Test(i) || len(col.values) == 0 {
				continue
			}
			if have, ok := c.values[col.unit]; ok {
				c.values[col.unit] = slices.Concat(have, col.values)
				c.turns[col.unit] = slices.Concat(c.turns[col.unit], col.turns)
			} else {
				c.Units = append(c.Units, col.unit)
				c.values[col.unit], c.turns[col.unit] = col.values, col.turns // nobody changes them
			}
		}
	}
	return cells, nil
}

// candidates are the groups that a filter may keep: of one that begins with a
// .name, and has no alternatives, those of this name.
func (r *Results) candidates(filter string) []*group {
	name, isName := strings.CutPrefix(strings.TrimSpace(filter), ".name:")
	name, _, _ = strings.Cut(name, " ")
	if !isName || !plainName.MatchString(name) || strings.Contains(filter, "OR") {
		return r.groups
	}
	return r.byName[name]
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// KeyValues returns the values that a key has anywhere in the input, sorted;
// "" is among them where a result lacks the key.
func (r *Results) KeyValues(key string) []string {
	seen := map[string]bool{}
	for _, g := range r.groups {
		seen[g.key(key)] = true
	}
	return slices.SortedFunc(maps.Keys(seen), Compare)
}

// Key returns the value of .name, .fullname, a key of the name (/block,
// /gomaxprocs), .file, or a configuration key; "" where the cell has none.
func (c *Cell) Key(key string) string { return c.group.key(key) }

func (g *group) key(key string) string {
	switch {
	case key == ".name":
		return string(g.first.Name.Base())
	case key == ".fullname":
		return g.first.Name.String()
	case strings.HasPrefix(key, "/"):
		for _, p := range g.keys {
			if p.Key == key[1:] {
				return p.Value
			}
		}
		return ""
	}
	return g.first.GetConfig(key)
}

// Keys returns the keys of the name in order, GOMAXPROCS last as gomaxprocs.
func (c *Cell) Keys() []Pair { return slices.Clone(c.group.keys) }

func nameKeys(name benchfmt.Name) []Pair {
	_, parts := name.Parts()
	pairs := make([]Pair, len(parts))
	for i, p := range parts {
		part := string(p)
		if part[0] == '-' {
			pairs[i] = Pair{"gomaxprocs", part[1:]}
		} else if k, v, ok := strings.Cut(part[1:], "="); ok && k != "" {
			pairs[i] = Pair{k, v}
		} else {
			pairs[i] = Pair{"", part[1:]}
		}
	}
	return pairs
}

const perGiB = "/GiB"

// Values returns the measurements of a tidied unit in the order read: of a
// run, the k-th belongs to round k. The caller must not change them.
//
// A unit X/GiB that the file lacks is computed from X/op and the bytes that
// one op moves.
func (c *Cell) Values(unit string) []float64 {
	if v, ok := c.values[unit]; ok || !strings.HasSuffix(unit, perGiB) {
		return v
	}
	bytes, ok := c.BytesPerOp()
	if !ok {
		return nil
	}
	perOp := c.values[OpUnit(unit)]
	scaled := make([]float64, 0, len(perOp))
	for _, v := range perOp {
		if v := v * (1 << 30) / bytes; finite(v) {
			scaled = append(scaled, v)
		}
	}
	return scaled
}

// OpUnit returns the unit that a file has where one per GiB is computed from it: X/op
// of X/GiB, any other itself.
func OpUnit(unit string) string {
	if count, ok := strings.CutSuffix(unit, perGiB); ok {
		return count + "/op"
	}
	return unit
}

// Paired returns the measurements of a unit that two cells have of the same round of
// the same file, in the order of the first cell's: what disturbs a round disturbs
// both. Where a round is missing on one side, neither has it. The caller must not
// change them.
func Paired(a, b *Cell, unit string) (of, and []float64) {
	return paired(a, b, unit, func(t turn) turn { return t })
}

// PairedRuns does so for cells of two runs: measurements pair by the number of their
// round, whatever the file.
func PairedRuns(a, b *Cell, unit string) (of, and []float64) {
	return paired(a, b, unit, func(t turn) turn { return turn{round: t.round} })
}

func paired(a, b *Cell, unit string, at func(turn) turn) (of, and []float64) {
	if mine := a.turnsOf(unit); slices.EqualFunc(mine, b.turnsOf(unit), func(x, y turn) bool { return at(x) == at(y) }) {
		return a.Values(unit), b.Values(unit) // as it is where nothing failed
	}
	others := map[turn][]float64{}
	theirs, turns := b.Values(unit), b.turnsOf(unit)
	for i := range min(len(theirs), len(turns)) {
		others[at(turns[i])] = append(others[at(turns[i])], theirs[i])
	}
	mine, turns := a.Values(unit), a.turnsOf(unit)
	for i := range min(len(mine), len(turns)) {
		// Several measurements of one round, which -count makes, pair in their order.
		if left := others[at(turns[i])]; len(left) > 0 {
			of, and = append(of, mine[i]), append(and, left[0])
			others[at(turns[i])] = left[1:]
		}
	}
	return of, and
}

// turnsOf returns when the Values of a unit were measured.
func (c *Cell) turnsOf(unit string) []turn {
	if t, ok := c.turns[unit]; ok || !strings.HasSuffix(unit, perGiB) {
		return t
	}
	return c.turns[OpUnit(unit)]
}

// BytesPerOp returns the bytes that one op moves: throughput times time. The
// throughput of a file is rounded, so where the name has a /size within a
// thousandth of the product, it is that size, which makes counts per GiB whole.
func (c *Cell) BytesPerOp() (float64, bool) {
	if c.known == nil {
		return c.bytesPerOp()
	}
	const key = "bytes of an op" // no unit has spaces
	if v, ok := c.known.Load(key); ok && c.values["B/s"] != nil && c.values["sec/op"] != nil {
		return v.(float64), v.(float64) > 0
	}
	v, ok := c.bytesPerOp()
	if ok {
		c.known.Store(key, v)
	}
	return v, ok
}

func (c *Cell) bytesPerOp() (float64, bool) {
	rate, time := c.values["B/s"], c.values["sec/op"]
	n := min(len(rate), len(time))
	if n == 0 {
		return 0, false
	}
	product := make([]float64, n)
	for i := range product {
		product[i] = rate[i] * time[i]
	}
	slices.Sort(product)
	bytes := product[n/2]
	if !(bytes > 0) || math.IsInf(bytes, 0) {
		return 0, false
	}
	if size, ok := ParseNumber(c.Key("/size")); ok && math.Abs(bytes-size) <= size/1000 {
		bytes = size
	}
	return bytes, true
}

// A Figure is one unit of one cell, reduced.
type Figure struct {
	Value    float64 // the median; of an exact unit the commonest value
	Lo, Hi   float64 // bounds of the 95 % interval; of an exact unit the extremes
	Interval bool    // whether there are Lo and Hi: fewer than MinSamples give none
	Exact    bool    // the file's Unit line says assume=exact
	N        int     // measurements
}

// PlusMinus returns the farther bound's distance from the value as a share of
// it: 0.02 for ± 2 %. It is false where there is no interval, or a value of 0
// to take a share of.
func (f Figure) PlusMinus() (float64, bool) {
	if !f.Interval || f.Value == 0 {
		return 0, f.Interval && f.Lo == f.Hi
	}
	return math.Max(f.Hi-f.Value, f.Value-f.Lo) / math.Abs(f.Value), true
}

// Figure reduces a tidied unit of the cell; false where it was not measured.
func (c *Cell) Figure(unit string) (Figure, bool) {
	type result struct {
		Figure
		ok bool
	}
	if c.known == nil {
		return c.figure(unit)
	}
	if r, ok := c.known.Load(unit); ok && c.values[unit] != nil {
		return r.(result).Figure, r.(result).ok
	}
	f, ok := c.figure(unit)
	if c.values[unit] != nil {
		c.known.Store(unit, result{f, ok})
	}
	return f, ok
}

func (c *Cell) figure(unit string) (Figure, bool) {
	values := c.Values(unit)
	if _, ok := c.values[unit]; !ok {
		unit = OpUnit(unit)
	}
	return summarize(values, c.meta.GetAssumption(unit))
}

// Summarize reduces measurements that are of no unit of a cell, such as sums of
// several; false where there are none. The values stay as they are.
func Summarize(values []float64) (Figure, bool) {
	return summarize(values, benchmath.AssumeNothing)
}

func summarize(values []float64, assume benchmath.Assumption) (Figure, bool) {
	if len(values) == 0 {
		return Figure{}, false
	}
	values = slices.Clone(values) // NewSample sorts in place
	s := assume.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), Confidence)
	f := Figure{Value: s.Center, N: len(values), Exact: assume == benchmath.AssumeExact}
	if finite(s.Lo) && finite(s.Hi) {
		f.Lo, f.Hi, f.Interval = s.Lo, s.Hi, true
	}
	return f, finite(f.Value)
}

func finite(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }

var number = regexp.MustCompile(`^([+-]?[0-9.]+)(?:([kKMGTPE])(i?))?[bB]?$`)

// ParseNumber reads a number as benchproc's num order does: 64, 1e4, 4k (of
// 1000), 64KiB and 64Ki (of 1024). It is false for all else, infinities and
// NaN included.
func ParseNumber(s string) (float64, bool) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return v, finite(v)
	}
	m := number.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || !finite(v) {
		return 0, false
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if m[2] != "" {
		v *= math.Pow(base, float64(1+strings.Index("KMGTPE", strings.ToUpper(m[2]))))
	}
	return v, finite(v)
}

// wordRank orders the few words of the field that the alphabet puts the wrong
// way round: a reader looks for the plain case before the hard one.
var wordRank = map[string]int{"seq": 1, "rand": 2, "warm": 1, "cold": 2}

// Compare orders values of a key: known words (seq before rand, warm before
// cold), then numbers by size (4KiB < 64KiB < 1MiB), then text by the alphabet.
func Compare(a, b string) int {
	rank := func(s string) (int, float64) {
		if w, ok := wordRank[s]; ok {
			return 0, float64(w)
		}
		if v, ok := ParseNumber(s); ok {
			return 1, v
		}
		return 2, 0
	}
	ca, va := rank(a)
	cb, vb := rank(b)
	switch {
	case ca != cb:
		return ca - cb
	case va < vb:
		return -1
	case va > vb:
		return 1
	}
	return strings.Compare(a, b)
}

func comparePairs(a, b []Pair) int {
	return slices.CompareFunc(a, b, func(p, q Pair) int {
		switch {
		case p.Key == q.Key:
		case p.Key == "consume": // the usual consumer is not named, and comes first
			return 1
		case q.Key == "consume":
			return -1
		default:
			return strings.Compare(p.Key, q.Key)
		}
		return Compare(p.Value, q.Value)
	})
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
