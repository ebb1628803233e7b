package advice

import (
	"math"
	"slices"
	"strings"

	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// A Saving is what the best and the method it is compared with cost beside time.
type Saving struct {
	Unit    string  `json:"unit"` // tidied: per GiB where the workload moves bytes, else per op
	Best    float64 `json:"best"`
	Against float64 `json:"against"`
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
// is the CPU time of both. What one of them lacks is no cause.
func causes(m measure, best, other *summary.Cell) []Saving {
	list := []Saving{}
	slower, hasTime := other.Figure(byTime.unit)
	if m == byCPU {
		slower, hasTime = other.Figure(byCPU.unit)
	}
	for _, c := range costs {
		a, ok := best.Figure(c.unit)
		b, ok2 := other.Figure(c.unit)
		if !ok || !ok2 || c.unit == m.unit || !(Saving{c.unit, a.Value, b.Value}).differs() {
			continue
		}
		if hasTime && c.least > 0 && math.Abs(a.Value-b.Value)*c.least < (verdict.MinLead-1)*slower.Value {
			continue
		}
		if r, ok := verdict.Paired(best.Values(c.unit), other.Values(c.unit), summary.Confidence); ok && r.Interval && !r.Beyond() {
			continue
		}
		list = append(list, saving(c.unit, best, other))
	}
	_, ok := best.Figure(byCPU.unit)
	_, ok2 := other.Figure(byCPU.unit)
	if len(list) == 0 && ok && ok2 && m != byCPU {
		list = append(list, saving(byCPU.unit, best, other))
	}
	return list
}

// saving scales a unit to a GiB where both move bytes.
func saving(unit string, best, other *summary.Cell) Saving {
	perGiB := strings.TrimSuffix(unit, "/op") + "/GiB"
	a, ok := best.Figure(perGiB)
	b, ok2 := other.Figure(perGiB)
	if ok && ok2 {
		return Saving{perGiB, a.Value, b.Value}
	}
	a, _ = best.Figure(unit)
	b, _ = other.Figure(unit)
	return Saving{unit, a.Value, b.Value}
}

// differs reports whether it is worth telling.
func (s Saving) differs() bool {
	return s.Best != s.Against && max(s.Best, s.Against) >= material*min(s.Best, s.Against)
}

// what a saving is of, and the amount that the work is stated for.
func (s Saving) what() (what, per string) {
	what, per, _ = strings.Cut(s.Unit, "/")
	i := slices.IndexFunc(costs, func(c cost) bool { return c.unit == what+"/op" })
	return costs[i].what, per
}
