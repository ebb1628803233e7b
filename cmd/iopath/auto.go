package main

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"iopath/internal/summary"
)

// maxRounds is how many rounds -rounds auto runs where no time limits it.
const maxRounds = 100

// dryRounds is how many rounds in a row a cell may give no result before
// -rounds auto stops it.
const dryRounds = 3

// roundsFlag is a number of rounds, or auto: then the number is a limit, or 0. The
// zero value stands for the profile's.
type roundsFlag struct {
	n    int
	auto bool
}

func (r *roundsFlag) String() string {
	switch {
	case r.auto:
		return "auto"
	case r.n == 0:
		return ""
	}
	return strconv.Itoa(r.n)
}
func (r *roundsFlag) Get() any { return *r }
func (r *roundsFlag) Set(v string) error {
	if v == "auto" {
		*r = roundsFlag{auto: true}
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of rounds above zero, and not auto", v)
	}
	*r = roundsFlag{n: n}
	return nil
}

// precisionFlag is a share between 0 and 1; 0 where it is not given.
type precisionFlag float64

func (p *precisionFlag) String() string {
	if *p == 0 {
		return ""
	}
	return percent(float64(*p))
}
func (p *precisionFlag) Get() any { return float64(*p) }
func (p *precisionFlag) Set(v string) error {
	number, isPercent := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(number, 64)
	if isPercent {
		f /= 100
	}
	if err != nil || !(f > 0 && f < 1) {
		return fmt.Errorf("%q is not a share above 0 and below 1 (write 3%% or 0.03)", v)
	}
	*p = precisionFlag(f)
	return nil
}

// percent writes a share with two digits or more: 0.25%, 4.1%, 14%.
func percent(share float64) string {
	switch p := 100 * share; {
	case p < 0.95:
		return fmt.Sprintf("%.2g%%", p)
	case p < 9.95:
		return fmt.Sprintf("%.1f%%", p)
	default:
		return fmt.Sprintf("%.0f%%", p)
	}
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// An autoStop stops cells, one by one, when their medians are known precisely
// enough. It is told what each round printed.
//
// It looks at the interval after every round and stops at the first that is
// narrow enough, which favours intervals that came out narrow by chance: at such
// a stop they are a bit optimistic (optional stopping). So the number of rounds
// behind each is recorded, in its "# stopped:" line and as the table's n.
type autoStop struct {
	precision float64 // share of the median that its interval's half may be
	names     []string
	cells     []autoCell
	rounds    bytes.Buffer // what they printed
}

// An autoCell is what autoStop knows of a cell.
type autoCell struct {
	stopped bool
	precise bool           // and that is why it was stopped
	time    summary.Figure // see cellTimes; the zero value before the first result
	dry     int            // rounds in a row without a result
	why     string         // of the last of them: "failed: …", "skipped: …"
}

func newAutoStop(precision float64, names []string) *autoStop {
	return &autoStop{precision: precision, names: names, cells: make([]autoCell, len(names))}
}

// goesOn reports whether the i-th cell is part of the next round.
func (a *autoStop) goesOn(i int) bool { return !a.cells[i].stopped }

// ended takes in a round. It returns a "# stopped:" line for each cell that was
// stopped by it, and how many go on.
func (a *autoStop) ended(_ int, lines []byte) (note string, left int, err error) {
	a.rounds.Write(lines)
	times, err := cellTimes(a.rounds.Bytes())
	if err != nil {
		return "", 0, err
	}
	why := reasons(lines)
	for i, name := range a.names {
		c := &a.cells[i]
		if c.stopped {
			continue
		}
		if f := times[resultName(name)]; f.N > c.time.N {
			c.time, c.dry = f, 0
		} else {
			c.dry++
			c.why = "no result"
			if reason, ok := why["Benchmark"+name]; ok {
				c.why = reason
			}
		}
		reason := ""
		if pm, ok := c.time.PlusMinus(); ok && pm <= a.precision {
			c.precise = true
			reason = fmt.Sprintf("±%s after %s", percent(pm), plural(c.time.N, "round"))
		} else if c.dry == dryRounds {
			reason = fmt.Sprintf("%d rounds in a row: %s", c.dry, c.why)
		}
		if c.stopped = reason != ""; c.stopped {
			note += stoppedLine(name, reason)
		} else {
			left++
		}
	}
	return note, left, nil
}

// cut returns a "# stopped:" line for each cell that would have gone on, had it
// not been for the cause.
func (a *autoStop) cut(cause string) (note string) {
	for i, name := range a.names {
		c := &a.cells[i]
		if c.stopped {
			continue
		}
		how := fmt.Sprintf("%s after %s, too few for an interval", cause, plural(c.time.N, "round"))
		if pm, ok := c.time.PlusMinus(); ok {
			how = fmt.Sprintf("%s at ±%s after %s", cause, percent(pm), plural(c.time.N, "round"))
		} else if c.time.N == 0 {
			how = fmt.Sprintf("%s without a result, the last round: %s", cause, c.why)
		}
		note += stoppedLine(name, how)
	}
	return note
}

func stoppedLine(name, reason string) string {
	return fmt.Sprintf("# stopped: Benchmark%s: %s\n", name, reason)
}

// summary sums up: how many cells are precise enough, and what stopped the
// others. by is what ended the run.
func (a *autoStop) summary(by string) string {
	var precise, dry, cut int
	for _, c := range a.cells {
		switch {
		case c.precise:
			precise++
		case c.stopped:
			dry++
		default:
			cut++
		}
	}
	s := fmt.Sprintf("%d of %d cells within ±%s", precise, len(a.cells), percent(a.precision))
	if dry > 0 {
		s += fmt.Sprintf(", %d without results", dry)
	}
	if cut > 0 {
		s += fmt.Sprintf(", %d stopped by %s", cut, by)
	}
	return s
}

// resultName is what a cell's result lines are named, less "Benchmark": a round
// appends GOMAXPROCS, as go test does.
func resultName(cell string) string {
	if procs := runtime.GOMAXPROCS(0); procs > 1 {
		return fmt.Sprintf("%s-%d", cell, procs)
	}
	return cell
}

// cellTimes returns sec/op of each cell by its full name, or B/s where that is the
// less precise of the two: of some numbers of rounds the narrowest interval that
// holds the median is lopsided, and the one of a ratio's inverse is not its inverse.
// There are none where no line is a result.
func cellTimes(lines []byte) (map[string]summary.Figure, error) {
	times := map[string]summary.Figure{}
	if !bytes.Contains(append([]byte("\n"), lines...), []byte("\nBenchmark")) {
		return times, nil
	}
	results, err := summary.Read(summary.Input{Name: "the rounds so far", Reader: bytes.NewReader(lines)})
	if err != nil {
		return nil, err
	}
	cells, err := results.Cells("*")
	if err != nil {
		return nil, err
	}
	for _, c := range cells {
		f, ok := c.Figure("sec/op")
		if !ok {
			continue
		}
		if rate, ok := c.Figure("B/s"); ok {
			own, _ := f.PlusMinus()
			if pm, _ := rate.PlusMinus(); pm > own {
				f = rate
			}
		}
		times[c.Name] = f
	}
	return times, nil
}

// reasons returns why cells have no result, by the name of their benchmark.
func reasons(lines []byte) map[string]string {
	why := map[string]string{}
	for line := range strings.Lines(string(lines)) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if what == "# failed" || what == "# skipped" {
			name, reason, _ := strings.Cut(rest, ": ")
			why[name] = strings.TrimPrefix(what, "# ") + ": " + reason
		}
	}
	return why
}
