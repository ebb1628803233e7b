package advice

import (
	"math"
	"slices"
	"strings"

	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// A Saving is what the best and the method it is compared with cost beside time;
// where the best has more, it is one that the best pays.
type Saving struct {
	Unit    string  `json:"unit"` // tidied: per GiB where the workload moves bytes, else per op
	Best    float64 `json:"best"`
	Against float64 `json:"against"`
	Alike   bool    `json:"alike,omitempty"` // not told apart, and here for the record
}

// A cost is a unit and what it counts, with the least seconds that one can take on
// today's machines, in orders of magnitude. These only serve to leave out what
// cannot matter; 0 is for what is a cost by itself.
type cost struct {
	unit, what string
	least      float64
}

// costs are those that can be a cause, in the order of the telling.
var costs = []cost{
	{"syscalls/op", "system calls", 100e-9},
	{"minflt/op", "minor faults", 100e-9},
	{"majflt/op", "major faults", 10e-6},
	{"ctxsw/op", "context switches", 5e-6}, // away and back, and what woke it
	{"tlb-shootdowns/op", "TLB shootdowns", 1e-6},
	{"device-B/op", "from the device", 0},
	{"cpu-sec/op", "CPU time", 0},
	{"peer-cpu-sec/op", "CPU time of the other side", 0},
}

// material is the factor from which on two costs are worth telling.
const material = 1.1

// causes lists what differs between the best and another by a factor of 1.1 or
// more, provided that the rounds prove it where there are enough of them, and
// that it is not negligible: that so many calls, faults or switches could by
// themselves, at the least that one costs, make a lead. Where nothing does, it
// is the CPU time of both. What one of them lacks is no cause; counted is false
// where one lacks all.
func causes(m measure, best, other *summary.Cell) (list []Saving, counted bool) {
	list = []Saving{}
	slower, hasTime := other.Figure(byTime.unit)
	if m == byCPU {
		slower, hasTime = other.Figure(byCPU.unit)
	}
	for _, c := range costs {
		a, ok := best.Figure(c.unit)
		b, ok2 := other.Figure(c.unit)
		if !ok || !ok2 || c.unit == m.unit {
			continue
		}
		counted = true
		if !differ(a.Value, b.Value) {
			continue
		}
		if hasTime && c.least > 0 && math.Abs(a.Value-b.Value)*c.least < (verdict.MinLead-1)*slower.Value {
			continue
		}
		mine, theirs := summary.Paired(best, other, c.unit)
		if r, ok := verdict.Paired(mine, theirs, summary.Confidence); ok && r.Interval && !r.Beyond() {
			continue
		}
		list = append(list, saving(c.unit, best, other))
	}
	_, ok := best.Figure(byCPU.unit)
	_, ok2 := other.Figure(byCPU.unit)
	if len(list) == 0 && ok && ok2 && m != byCPU {
		s := saving(byCPU.unit, best, other)
		s.Alike = true
		list = append(list, s)
	}
	return list, counted
}

// saving scales a unit to a GiB where both move bytes.
func saving(unit string, best, other *summary.Cell) Saving {
	perGiB := strings.TrimSuffix(unit, "/op") + "/GiB"
	a, ok := best.Figure(perGiB)
	b, ok2 := other.Figure(perGiB)
	if ok && ok2 {
		return Saving{Unit: perGiB, Best: a.Value, Against: b.Value}
	}
	a, _ = best.Figure(unit)
	b, _ = other.Figure(unit)
	return Saving{Unit: unit, Best: a.Value, Against: b.Value}
}

// differ reports whether two costs are far enough apart to be worth telling.
func differ(a, b float64) bool { return a != b && max(a, b) >= material*min(a, b) }

// what a saving is of, and the amount that the work is stated for.
func (s Saving) what() (what, per string) {
	what, per, _ = strings.Cut(s.Unit, "/")
	i := slices.IndexFunc(costs, func(c cost) bool { return c.unit == what+"/op" })
	return costs[i].what, per
}

// explained are what the best saves, and then what it costs, which is no cause: a
// clause each, with the figures as list writes them.
func (a Advice) explained(list func([]Saving) string) []string {
	var saved, paid, alike []Saving
	for _, s := range a.Cause {
		switch {
		case s.Alike:
			alike = append(alike, s)
		case s.Best < s.Against:
			saved = append(saved, s)
		default:
			paid = append(paid, s)
		}
	}
	const unexplained = "nothing that was counted explains it"
	switch {
	case !a.counted:
		return nil
	case len(saved) > 0 && len(paid) > 0:
		return []string{"it saves " + per(saved) + list(saved), "it costs " + list(paid)}
	case len(saved) > 0:
		return []string{"it saves " + per(saved) + list(saved)}
	case len(paid) > 0:
		return []string{unexplained, "it costs " + per(paid) + list(paid)}
	case len(alike) > 0:
		return []string{unexplained, per(alike) + both(alike)}
	}
	return []string{unexplained}
}

// per names the work that costs are stated for.
func per(list []Saving) string {
	_, work := list[0].what()
	return "per " + work + ": "
}

// differences lists by how much the best and the other are apart.
func differences(list []Saving) string {
	return join(list, func(s Saving, what string) string {
		if s.isTime() {
			what = "of " + what
		}
		return s.amount(math.Abs(s.Best-s.Against)) + " " + what
	})
}

// changes lists what there is of the other, and then of the best.
func changes(list []Saving) string {
	return join(list, func(s Saving, what string) string {
		return what + " " + s.amount(s.Against) + " → " + s.amount(s.Best)
	})
}

// both lists what there is of the best, and of the other.
func both(list []Saving) string {
	return join(list, func(s Saving, what string) string {
		return what + " " + s.amount(s.Best) + " against " + s.amount(s.Against)
	})
}

func join(list []Saving, text func(s Saving, what string) string) string {
	var parts []string
	for _, s := range list {
		what, _ := s.what()
		parts = append(parts, text(s, what))
	}
	return strings.Join(parts, ", ")
}

// isAmount reports whether it is one of bytes or seconds, and no count.
func (s Saving) isAmount() bool { return s.isTime() || strings.HasPrefix(s.Unit, "device-B/") }
func (s Saving) isTime() bool   { return strings.Contains(s.Unit, "-sec/") }

func (s Saving) amount(v float64) string {
	const full = 0.9995 // what three digits round to 1 GiB is not 1,024 MiB
	switch {
	case s.isTime():
		scale, prefix := summary.TimeScale(v / full)
		return summary.Digits(v/scale) + " " + prefix + "s"
	case s.isAmount():
		scale, prefix := summary.ByteScale(v / full)
		return summary.Digits(v/scale) + " " + prefix + "B"
	}
	return count(v)
}

// count writes a figure whole from ten on.
func count(v float64) string {
	if v >= 10 {
		v = math.Round(v)
	}
	return summary.Count(v)
}
