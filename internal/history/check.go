package history

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Change is a place in a series from which on it is another one.
type Change struct {
	Series   *Series
	At       int     // index of the first point after it
	From, To float64 // ratio head ÷ base: the medians of the segments before and after
	P        float64 // see Significance
	Before   Run     // the last one before
	After    Run     // the first one after
	Age      int     // runs of the series since, the first one after included
	Worse    bool
}

// Size is how much greater the unit became, as a share: 0.1 for 10 % more.
func (c Change) Size() float64 { return c.To/c.From - 1 }

// severity orders changes: by how many times it became worse.
func (c Change) severity() float64 {
	s := math.Log(c.To / c.From)
	if c.Series.Better > 0 {
		return -s
	}
	return s
}

// Changes finds the changes of all series: what became worse first, by how much.
func (h *History) Changes() []Change {
	found := make([][]Change, len(h.Series))
	// Each series is a question of its own, and some take a thousand times as long.
	var wait sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range next {
				found[i] = h.changes(h.Series[i])
			}
		}()
	}
	for i := range h.Series {
		next <- i
	}
	close(next)
	wait.Wait()
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.severity(), a.severity()), strings.Compare(a.Series.Cell, b.Series.Cell))
	})
	return all
}

// changes are those of one series, in the order of time.
func (h *History) changes(s *Series) []Change {
	logs := make([]float64, len(s.Points))
	for i, p := range s.Points {
		logs[i] = math.Log(p.Ratio)
	}
	cuts := findCuts(logs, strings.Join([]string{s.Print, s.Base, s.Unit, s.Cell}, "\x00"))
	var all []Change
	for i, c := range cuts {
		lo, hi := bounds(cuts, i, len(logs))
		change := Change{
			Series: s, At: c.at, P: c.p, Age: len(logs) - c.at,
			From: math.Exp(median(logs[lo:c.at])), To: math.Exp(median(logs[c.at:hi])),
			Before: h.Runs[s.Points[c.at-1].Run], After: h.Runs[s.Points[c.at].Run],
		}
		change.Worse = change.severity() > 0
		all = append(all, change)
	}
	return all
}

// Longest is the number of points of the longest series: below MinRuns, nothing can
// be told.
func (h *History) Longest() (n int) {
	for _, s := range h.Series {
		n = max(n, len(s.Points))
	}
	return n
}

// Span is when the first and the last run were.
func (h *History) Span() (first, last time.Time) {
	if len(h.Runs) == 0 {
		return
	}
	return h.Runs[0].Date, h.Runs[len(h.Runs)-1].Date
}
