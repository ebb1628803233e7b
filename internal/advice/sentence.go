package advice

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
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
			text += fmt.Sprintf("; %s %s %s", a.Next, a.takes(a.NextGain), Interval(a.NextGain))
		}
	case a.Best == a.Baseline:
		text += fmt.Sprintf("%s; no method here %s (the next, %s, %s %s)", a.Best, a.less(), a.Against, a.takes(a.Gain), Interval(a.Gain))
	case a.Measure == Throughput:
		text += fmt.Sprintf("%s is %s times as fast as %s %s", a.Best, Times(a.Gain), a.Against, Interval(a.Gain))
	default:
		text += fmt.Sprintf("%s; %s %s %s", a.Best, a.Against, a.takes(a.Gain), Interval(a.Gain))
	}
	if a.Verdict == Wins && len(a.Tied) > 0 {
		text += "; " + notApart(a.Tied)
	}
	text += "."
	if c := a.causeSentence(); c != "" {
		text += " " + c
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
		return "takes " + Times(gain) + " times as much CPU time"
	}
	return "takes " + Times(gain) + " times as long"
}

// compared is the figure of two methods that are not told apart.
func (a Advice) compared() string {
	if a.Measure == Throughput {
		return fmt.Sprintf("%s %s × %s %s", a.Tied[0], Times(a.Gain), a.Against, Interval(a.Gain))
	}
	return fmt.Sprintf("%s %s × %s %s", a.Against, Times(a.Gain), a.Tied[0], Interval(a.Gain))
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

// causeSentence says what the best has more and less of.
func (a Advice) causeSentence() string {
	var parts []string
	unit := ""
	for _, s := range a.Cause {
		what, per := s.what()
		unit = per
		amount, sense := s.amount(math.Abs(s.Best-s.Against)), "fewer"
		if s.Best > s.Against {
			sense = "more"
		} else if s.isAmount() {
			sense = "less"
		}
		switch {
		case !s.differs():
			parts = append(parts, what+" "+s.amount(s.Best)+" against "+s.amount(s.Against))
		case s.isAmount():
			parts = append(parts, amount+" "+sense+" "+what)
		default:
			parts = append(parts, amount+" "+what+" "+sense)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	text := strings.Join(parts, ", ") + "."
	if len(a.Cause) == 1 && !a.Cause[0].differs() {
		return "Nothing that was counted explains it; per " + unit + ", " + text
	}
	return "Per " + unit + ": " + text
}

// isAmount reports whether it is one of bytes or seconds, and no count.
func (s Saving) isAmount() bool { return s.isTime() || strings.HasPrefix(s.Unit, "device-B/") }
func (s Saving) isTime() bool   { return strings.Contains(s.Unit, "-sec/") }

func (s Saving) amount(v float64) string {
	switch {
	case s.isTime():
		return seconds(v)
	case s.isAmount():
		return byteCount(v)
	}
	return count(v)
}

// Times writes a ratio with as many digits as its interval can bear.
func Times(r verdict.Ratio) string { return strconv.FormatFloat(r.Value, 'f', decimals(r), 64) }

// Interval writes the bounds of a ratio as [2.2, 2.6], with its digits; "" where it
// has none.
func Interval(r verdict.Ratio) string {
	if !r.Interval {
		return ""
	}
	return fmt.Sprintf("[%.*f, %.*f]", decimals(r), r.Lo, decimals(r), r.Hi)
}

// decimals are enough to tell the bounds from 1.
func decimals(r verdict.Ratio) int {
	least := r.Value
	if r.Interval {
		least = r.Lo
	}
	switch {
	case least >= 10:
		return 0
	case least >= 2:
		return 1
	case r.Beyond() && least < 1.005:
		return 4
	}
	return 2
}

// three significant digits, without zeros at the end.
func three(v float64) string {
	text := strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(math.Max(v, 0.001))))), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func scaled(v, base float64, units []string) string {
	i := 0
	for ; i < len(units)-1 && v >= base-0.5; i++ { // what rounds to 1024 MiB is 1 GiB
		v /= base
	}
	return three(v) + " " + units[i]
}

func byteCount(v float64) string { return scaled(v, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB"}) }

func seconds(v float64) string {
	if v >= 1 {
		return three(v) + " s"
	}
	return scaled(v*1e9, 1000, []string{"ns", "µs", "ms", "s"})
}

// count writes a figure whole from ten on, with commas between the thousands.
func count(v float64) string {
	if v < 10 {
		return three(v)
	}
	return summary.Count(math.Round(v))
}

// mostFindings is how many a reader takes in at a glance.
const mostFindings = 8

// Findings returns the sentences that a report begins with: of each section the
// one with the greatest proven difference, by the lower bound, if possible without
// a note to it; winners first, and the greatest first. Reads, which any program does, are always among
// them. At the end stand the sequential reads where no difference is shown.
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
		found = append(found, a.Sentence)
	}
	for _, a := range same {
		found = append(found, a.Sentence)
	}
	return found
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
