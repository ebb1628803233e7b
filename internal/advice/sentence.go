package advice

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// sentence says it all in plain text. Throughput has winners as many times as
// fast; of a time it is the loser that takes as many times as much.
func (a Advice) sentence() string {
	first, n := utf8.DecodeRuneInString(a.Workload)
	text := string(unicode.ToUpper(first)) + a.Workload[n:] + ": "
	switch {
	case a.Verdict == Undecided:
		return text + a.measured() + "undecided, " + a.Gain.TooFew() + "."
	case a.Verdict == NoDifference:
		text += fmt.Sprintf("%sno difference shown between %s (%s, n=%d)", a.measured(), names(a.Tied), a.compared(), a.Gain.N)
		if a.Next != "" {
			text += fmt.Sprintf("; %s %s %s", a.Next, a.takes(a.NextGain), a.NextGain.Bounds())
		}
	case a.Best == a.Baseline:
		next := "the next"
		if len(a.Tied) > 0 {
			next = "the first that is told apart"
		}
		text += fmt.Sprintf("%s; no method here %s (%s, %s, %s %s)", a.Best, a.less(), next, a.Against, a.takes(a.Gain), a.Gain.Bounds())
	case a.Measure == Throughput:
		text += fmt.Sprintf("%s is %s times as fast as %s %s", a.Best, a.Gain.Times(), a.Against, a.Gain.Bounds())
	default:
		text += fmt.Sprintf("%s; %s %s %s", a.Best, a.Against, a.takes(a.Gain), a.Gain.Bounds())
	}
	if a.Verdict == Wins && len(a.Tied) > 0 {
		text += "; " + notApart(a.Tied)
	}
	text += "."
	if c := strings.Join(a.explained(differences), "; "); c != "" {
		text += " " + strings.ToUpper(c[:1]) + c[1:] + "."
	}
	if a.Note != "" {
		text += " But " + a.Note + "."
	}
	return text
}

// measured names a measure that is not the one that a reader expects.
func (a Advice) measured() string {
	if a.Measure == CPUTime {
		return "in CPU time "
	}
	return ""
}

func (a Advice) less() string {
	if a.Measure == CPUTime {
		return "takes less CPU time"
	}
	return "is faster"
}

func (a Advice) takes(gain verdict.Ratio) string {
	if a.Measure == CPUTime {
		return "takes " + gain.Times() + " times as much CPU time"
	}
	return "takes " + gain.Times() + " times as long"
}

// compared is the figure of two methods that are not told apart.
func (a Advice) compared() string {
	if a.Measure == Throughput {
		return fmt.Sprintf("%s %s × %s %s", a.Tied[0], a.Gain.Times(), a.Against, a.Gain.Bounds())
	}
	return fmt.Sprintf("%s %s × %s %s", a.Against, a.Gain.Times(), a.Tied[0], a.Gain.Bounds())
}

func notApart(tied []string) string {
	if len(tied) == 1 {
		return tied[0] + " is not told apart from it"
	}
	return names(tied) + " are not told apart from it"
}

// most is how many names a sentence lists.
const most = 4

func names(list []string) string {
	n := len(list)
	switch {
	case n == 1:
		return list[0]
	case n > most:
		return strings.Join(list[:most-1], ", ") + fmt.Sprintf(" and %d more", n-most+1)
	}
	return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
}

// mostFindings is how many a reader takes in at a glance.
const mostFindings = 8

// Findings returns the sentences that a report begins with: of each section the
// one with the greatest proven difference, by the lower bound, if possible without
// a note to it; winners first, and the greatest first. Reads, which any program
// does, are always among them. At the end stand the sequential reads where no
// difference is shown.
func Findings(advice []Advice) []string {
	var best []Advice
	for _, a := range advice {
		if a.proven() == 0 {
			continue
		}
		i := slices.IndexFunc(best, func(b Advice) bool { return b.Section == a.Section })
		if i < 0 {
			best = append(best, a)
		} else if stronger(a, best[i]) {
			best[i] = a
		}
	}
	same := slices.DeleteFunc(sequential(advice), func(a Advice) bool {
		return slices.ContainsFunc(best, func(b Advice) bool { return b.Sentence == a.Sentence })
	})
	// What to take comes before what not to take.
	byStrength := func(a, b Advice) int {
		if wins := a.Verdict == Wins; wins != (b.Verdict == Wins) {
			if wins {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.proven(), a.proven())
	}
	slices.SortStableFunc(best, func(a, b Advice) int {
		if isRead := a.Benchmark == "Read"; isRead != (b.Benchmark == "Read") {
			if isRead {
				return -1
			}
			return 1
		}
		return byStrength(a, b)
	})
	best = best[:min(len(best), mostFindings-len(same))]
	slices.SortStableFunc(best, byStrength)
	var found []string
	for _, a := range best {
		// Where to begin to map says more than the size at which it gains most.
		if i := slices.IndexFunc(advice, func(b Advice) bool { return b.Section == a.Section && b.isSummary() }); i >= 0 {
			a = advice[i]
		}
		found = append(found, a.Sentence+alsoInTime(a, advice))
	}
	for _, a := range same {
		found = append(found, a.Sentence)
	}
	return found
}

// alsoInTime says of a finding on CPU time when throughput shows none.
func alsoInTime(a Advice, advice []Advice) string {
	alike := func(b Advice) bool {
		return b.Measure == Throughput && b.Verdict == NoDifference && b.Next == "" && b.Workload == a.Workload && b.Section == a.Section
	}
	if a.Measure == CPUTime && slices.ContainsFunc(advice, alike) {
		return " In throughput no difference is shown."
	}
	return ""
}

// proven is the least factor by which something is told apart, 0 if nothing is.
func (a Advice) proven() float64 {
	if a.Verdict == Wins {
		return a.Gain.Lo
	}
	return a.NextGain.Lo
}

func stronger(a, b Advice) bool {
	if (a.Note == "") != (b.Note == "") {
		return a.Note == ""
	}
	return a.proven() > b.proven()
}

// sequential are the sequential reads, of a cached and of an uncached file, in
// which no difference is shown: one of each, in the largest block.
func sequential(advice []Advice) (found []Advice) {
	for _, cache := range []string{"cold", "warm"} {
		var last *Advice
		for i, a := range advice {
			if a.Benchmark != "Read" || a.Verdict != NoDifference || a.Keys["pattern"] != "seq" || a.Keys["cache"] != cache {
				continue
			}
			if last == nil || summary.Compare(a.Keys["block"], last.Keys["block"]) > 0 {
				last = &advice[i]
			}
		}
		if last != nil {
			found = append(found, *last)
		}
	}
	return found
}
