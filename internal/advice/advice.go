// Package advice says in sentences what a run advises: for each workload the
// best method, how far it is ahead of the one that engineers begin with, and
// what it saves.
//
//  1. Of ranks the methods of each workload by package verdict. What moves no
//     bytes of the file, such as null, does not compete.
//  2. The best is compared with a baseline: pread, say, for reads. Where the
//     baseline is itself the best, or absent, it is compared with the next one
//     that it is told apart from.
//  3. What the best saves beside time is its cause, where it differs by more than
//     the noise and is too much to be negligible; what it costs beside is told
//     apart from that.
//
// It never names a winner that the run does not prove: see verdict.MinLead and
// verdict.Standings. It knows the result format, the suite's names for its
// workloads and methods, and takes any other name with a /method as it stands.
package advice

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"iopath/internal/suite"
	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// The verdicts.
const (
	Wins         = "wins"          // beyond doubt
	NoDifference = "no difference" // that the run could show
	Undecided    = "undecided"     // too few rounds
)

// The measures.
const (
	Throughput = "throughput"
	CPUTime    = "CPU time"
	RoundTrip  = "round trip"
	Time       = "time" // of one op, of what moves no bytes
)

// Advice is what a run advises on one workload by one measure. One with a
// verdict and no methods is on several workloads: its sentence is all that it
// has.
type Advice struct {
	Section   string            `json:"section"`   // as the charts call it
	Workload  string            `json:"workload"`  // as in a sentence: "random 4 KiB reads of a cached file"
	Label     string            `json:"label"`     // within its section: "random, 4 KiB"
	Benchmark string            `json:"benchmark"` // .name
	Keys      map[string]string `json:"keys"`      // of the name, without the method
	Measure   string            `json:"measure"`
	Verdict   string            `json:"verdict"`
	Best      string            `json:"best,omitempty"`     // "" unless it wins
	Tied      []string          `json:"tied"`               // not told apart from it; without a winner, from each other, the best median first
	Baseline  string            `json:"baseline,omitempty"` // "" where the run lacks all that could be one
	Against   string            `json:"against,omitempty"`  // what the best, or the first of those tied, is compared with
	Gain      verdict.Ratio     `json:"gain,omitzero"`      // how many times better it is than that
	Next      string            `json:"next,omitempty"`     // where Against ties, the first that does not: it is worse beyond doubt
	NextGain  verdict.Ratio     `json:"next_gain,omitzero"` // how many times better the first of those tied is than that
	Cause     []Saving          `json:"cause"`              // what a winner saves, and what it costs; of no other
	Note      string            `json:"note,omitempty"`     // what to know of the winner before taking it
	Sentence  string            `json:"sentence"`

	order   int  // of the section
	counted bool // what the winner and Against cost beside the measure
}

// Of returns what the run advises, by section, workload and measure. A workload
// with one method alone has no advice.
//
// The error is ErrInput of package summary: no name in the input has a /method.
func Of(results *summary.Results) ([]Advice, error) { return Select(results, "*") }

// Select does what Of does for the cells that a benchproc filter keeps. The
// error is ErrInput also for a filter that does not parse or keeps nothing.
func Select(results *summary.Results, filter string) ([]Advice, error) {
	cells, err := results.Cells(filter)
	if err != nil {
		return nil, err
	}
	if len(cells) == 0 {
		return nil, summary.Errorf("advise: no result passes the filter %q (widen it; \"*\" passes all)", filter)
	}
	if !slices.ContainsFunc(cells, func(c *summary.Cell) bool { return !suite.IsMoment(c.Key(".name")) }) {
		return nil, summary.Errorf("advise: these results are moments of an experiment (its README.md says what follows from them)")
	}
	if !slices.ContainsFunc(cells, func(c *summary.Cell) bool { return c.Key("/method") != "" }) {
		return nil, summary.Errorf("advise: no name here has a /method to choose (names are like BenchmarkRead/block=4KiB/method=pread)")
	}
	ranks, err := rank(results, filter)
	if err != nil {
		return nil, err
	}
	var all []Advice
	for _, workload := range ranks.workloads {
		k := kindOf(workload.Name)
		ranked := ranks.of(workload, k.measures(keysOf(workload)))
		for _, r := range ranked {
			all = append(all, advise(k, r.measure, r.Standing))
		}
	}
	tellApart(all)
	for i := range all {
		all[i].Sentence = all[i].sentence()
	}
	crossings, err := crossings(results, filter)
	if err != nil {
		return nil, err
	}
	all = append(all, crossings...)
	slices.SortStableFunc(all, func(a, b Advice) int {
		return cmp.Or(a.order-b.order, strings.Compare(a.Section, b.Section))
	})
	return all, nil
}

// Told reports whether anything is told beyond doubt.
func Told(advice []Advice) bool {
	return slices.ContainsFunc(advice, func(a Advice) bool { return a.Verdict == Wins || a.Next != "" })
}

// A measure is what methods are ranked by.
type measure struct{ name, unit string }

var (
	byThroughput = measure{Throughput, "B/s"}
	byCPU        = measure{CPUTime, "cpu-sec/op"}
	byTrip       = measure{RoundTrip, "p50-sec"}
	byTime       = measure{Time, "sec/op"}
)

type ranks struct {
	workloads []verdict.Standing // each once, by whatever ranks it
	by        map[measure]map[string]verdict.Standing
}

func id(s verdict.Standing) string { return s.Name + "\x00" + fmt.Sprint(s.Head) }

func rank(results *summary.Results, filter string) (ranks, error) {
	r := ranks{by: map[measure]map[string]verdict.Standing{}}
	seen := map[string]bool{}
	for _, m := range []measure{byTime, byThroughput, byCPU, byTrip} {
		standings, err := verdict.Standings(results, filter, m.unit, verdict.Options{Leave: suite.NoContest()})
		if err != nil {
			return r, err
		}
		r.by[m] = map[string]verdict.Standing{}
		for _, s := range standings {
			if suite.IsMoment(s.Name) {
				continue
			}
			r.by[m][id(s)] = s
			if !seen[id(s)] {
				seen[id(s)] = true
				r.workloads = append(r.workloads, s)
			}
		}
	}
	return r, nil
}

type ranking struct {
	verdict.Standing
	measure measure
}

// of returns the rankings of a workload by those measures by which there is
// something to compare; without any by throughput, or else by time.
func (r ranks) of(workload verdict.Standing, measures []measure) (found []ranking) {
	add := func(m measure) {
		if s, ok := r.by[m][id(workload)]; ok && len(s.Cells) > 1 {
			found = append(found, ranking{s, m})
		}
	}
	for _, m := range measures {
		add(m)
	}
	for _, m := range []measure{byThroughput, byTime} {
		if len(found) == 0 {
			add(m)
		}
	}
	return found
}

func method(c *summary.Cell) string { return c.Key("/method") }

// advise compares the best of a workload with the baseline, or with what comes
// after it.
func advise(k kind, m measure, s verdict.Standing) Advice {
	keys := keysOf(s)
	a := Advice{
		Section: suite.Section(cmp.Or(s.Name, unnamed), keys.get("cache")), Workload: k.workload(keys), Label: k.label(keys), Benchmark: s.Name,
		Keys: keys.all(), Measure: m.name, order: k.order,
	}
	a.addKeys(k.untold(keys))
	if a.Label == "" {
		a.Label = a.Workload
	}

	best, tied := method(s.Best), []string{}
	for _, c := range s.Tied {
		tied = append(tied, method(c))
	}
	// The first that is proven to be worse, if there is one.
	next := slices.IndexFunc(s.Cells, func(c *summary.Cell) bool { return c != s.Best && !slices.Contains(s.Tied, c) })
	if i := slices.IndexFunc(k.baselines, func(name string) bool { return find(s, name) != nil }); i >= 0 {
		a.Baseline = k.baselines[i]
	}
	switch {
	case a.Baseline != "" && a.Baseline != best:
		a.Against = a.Baseline
	case next >= 0:
		a.Against = method(s.Cells[next])
	default:
		a.Against = method(s.Cells[1])
	}
	a.Gain, _ = s.Against(a.Against)
	switch {
	case !slices.Contains(tied, a.Against):
		a.Verdict, a.Best, a.Tied = Wins, best, tied
		a.Cause, a.counted = causes(m, s.Best, find(s, a.Against))
		a.Note = k.note(best, keys)
		return a
	case a.Gain.TooFew() != "":
		a.Verdict = Undecided
	default:
		a.Verdict = NoDifference
		if next >= 0 {
			a.Next = method(s.Cells[next])
			a.NextGain, _ = s.Against(a.Next)
		}
	}
	a.Tied = append([]string{best}, tied...)
	a.Cause = []Saving{}
	return a
}

func find(s verdict.Standing, name string) *summary.Cell {
	for _, c := range s.Cells {
		if method(c) == name {
			return c
		}
	}
	return nil
}

func (a *Advice) addKeys(pairs []summary.Pair) {
	for _, p := range pairs {
		a.Workload += ", " + p.String()
		a.Label = strings.TrimPrefix(a.Label+", "+p.String(), ", ")
	}
}

// tellApart adds the keys that are usually left out, because they follow from
// the others, where two workloads would else have one name.
func tellApart(all []Advice) {
	same := map[string][]int{}
	for i, a := range all {
		name := a.Section + "\x00" + a.Workload + "\x00" + a.Measure
		same[name] = append(same[name], i)
	}
	for _, rows := range same {
		for _, key := range implied {
			if len(rows) > 1 && slices.ContainsFunc(rows, func(i int) bool { return all[i].Keys[key] != all[rows[0]].Keys[key] }) {
				for _, i := range rows {
					all[i].addKeys([]summary.Pair{{Key: key, Value: all[i].Keys[key]}})
				}
			}
		}
	}
}
