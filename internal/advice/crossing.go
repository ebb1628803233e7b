package advice

import (
	"slices"
	"strings"

	"iopath/internal/suite"
	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// The families of an Open: a file is mapped, or read by calls.
const (
	mapped = "mapped"
	called = "called"
)

func mapsOrCalls(method string) string {
	if strings.HasPrefix(method, "mmap") || method == "exp.mmap" {
		return mapped
	}
	return called
}

// crossings says at which sizes it pays to map a file that is opened, read and
// closed, and at which to read it by calls: those at which the best of one family
// is better than all of the other.
func crossings(results *summary.Results, filter string) ([]Advice, error) {
	standings, err := verdict.Standings(results, filter, byThroughput.unit, verdict.Options{Leave: suite.NoContest(), Family: mapsOrCalls})
	if err != nil {
		return nil, err
	}
	var names []string
	groups := map[string][]verdict.Standing{}
	for _, s := range standings {
		if s.Name != "Open" || s.Rival == nil {
			continue
		}
		name := ""
		for _, p := range keysOf(s).without(implied...) {
			name += ", " + p.String()
		}
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], s)
	}
	var all []Advice
	for _, name := range names {
		text := crossing(groups[name])
		if text == "" {
			continue
		}
		k := kindOf("Open")
		a := Advice{
			Section: suite.Section("Open", ""), Workload: "files of all sizes, opened, read whole and closed" + name, Label: "all sizes" + name,
			Benchmark: "Open", Keys: map[string]string{}, Measure: Throughput, Verdict: Wins, Tied: []string{}, Cause: []Saving{}, order: k.order,
		}
		a.Sentence = "Small files, opened, read whole and closed" + name + ": " + text + "."
		all = append(all, a)
	}
	return all, nil
}

// crossing joins neighbouring sizes that agree; it is "" where no size is decided,
// or there is but one.
func crossing(sizes []verdict.Standing) string {
	slices.SortStableFunc(sizes, func(a, b verdict.Standing) int {
		return summary.Compare(keysOf(a).get("size"), keysOf(b).get("size"))
	})
	winner := func(s verdict.Standing) string {
		if s.Leads {
			return mapsOrCalls(method(s.Best))
		}
		return ""
	}
	at := func(i int) string { return size(keysOf(sizes[i])) }
	var parts, open []string
	for from, to := 0, 0; from < len(sizes); from = to {
		var methods []string
		for to = from; to < len(sizes) && winner(sizes[to]) == winner(sizes[from]); to++ {
			methods = addOnce(methods, method(sizes[to].Best))
		}
		where := "from " + at(from) + " to " + at(to-1)
		switch {
		case from == to-1:
			where = "at " + at(from)
		case from == 0 && to < len(sizes):
			where = "up to " + at(to-1)
		case from > 0 && to == len(sizes):
			where = "from " + at(from) + " on"
		}
		if winner(sizes[from]) == "" {
			open = append(open, where)
		} else {
			parts = append(parts, where+" "+strings.Join(methods, " or "))
		}
	}
	if len(parts) == 0 || len(sizes) < 2 {
		return ""
	}
	text := strings.Join(parts, ", ")
	if len(open) > 0 {
		text += "; no difference shown " + strings.Join(open, " and ")
	}
	return text
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
