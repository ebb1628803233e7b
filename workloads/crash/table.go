package crash

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Cycle is one fault and what it left.
type Cycle struct {
	Method     string  `json:"method"`
	Policy     string  `json:"policy"`
	Layout     string  `json:"layout"`
	Fault      string  `json:"fault"`
	Died       string  `json:"died,omitempty"` // what the writer's process died of
	Backend    string  `json:"backend"`        // "process", or that of a machine's fault
	Filesystem string  `json:"filesystem"`
	Seed       uint64  `json:"seed"`
	After      float64 `json:"after_seconds"`  // from the first record to the fault
	Pace       int     `json:"pace,omitempty"` // records a second, of a writer that is held to one
	Counts
	Dirty        int64   `json:"dirty_pages"`        // at the fault; -1: not known
	Rate         float64 `json:"records_per_second"` // until then, with what it waited for in cuts before
	P50          float64 `json:"p50_seconds"`        // until a record was acknowledged
	P99          float64 `json:"p99_seconds"`
	DeviceBytes  int64   `json:"device_bytes"`         // that were written; -1: not known
	Promised     bool    `json:"promised,omitempty"`   // by the policy: to survive
	Damaged      string  `json:"damaged,omitempty"`    // why nothing could be read of what is left: all is lost
	Kept         float64 `json:"cache_kept,omitempty"` // share of the disk's cache that survived, where its backend chooses
	StrayStore   bool    `json:"stray_store,omitempty"`
	Corrupted    bool    `json:"corrupted,omitempty"` // the stray store is in the file
	StillWriting bool    `json:"still_writing,omitempty"`
}

// ByProcess is the backend of faults of the process, which lose no machine.
const ByProcess = "process"

// A Loss is what cycles of one kind lost of what was acknowledged, as shares.
type Loss struct {
	Cycles int     `json:"cycles"`
	Lossy  int     `json:"lossy"` // that lost or tore a record
	Worst  float64 `json:"worst"`
	Mean   float64 `json:"mean"`
	Torn   uint64  `json:"torn"` // records, in all
	Holes  uint64  `json:"holes"`
}

// A Row is a method with a policy, a layout, and the filesystem of the machine that was
// lost; "" where none was.
type Row struct {
	Method     string          `json:"method"`
	Policy     string          `json:"policy"`
	Layout     string          `json:"layout"`
	Filesystem string          `json:"filesystem,omitempty"`
	Loss       map[string]Loss `json:"loss"` // by backend; faults of the process have no part in the filesystem
	// Costs are those of the writer on this machine's own disk, where its process was lost;
	// where none was, on the machines that were lost first. 0: not measured.
	Rate    float64 `json:"records_per_second"`
	P50     float64 `json:"p50_seconds"`
	P99     float64 `json:"p99_seconds"`
	PerByte float64 `json:"device_bytes_per_acknowledged_byte"` // -1: not known
}

// Share is how much of what was acknowledged is lost or torn.
func (c Cycle) Share() float64 {
	if c.Acknowledged == 0 {
		return 0
	}
	return float64(c.LostOrTorn()) / float64(c.Acknowledged)
}

// Rows groups cycles, in the order in which their like came first. Faults that take the
// file itself away, or store into it, are left out: what they lose is no policy's fault.
// So are writers at a pace, who are asked another question. Costs are medians.
func Rows(cycles []Cycle) (rows []*Row) {
	type cell struct{ method, policy, layout string }
	type group struct {
		process  []Cycle
		machines map[string][]Cycle // by filesystem
		names    []string           // of those
	}
	var order []cell
	groups := map[cell]*group{}
	here := false // whether anything was measured on this machine's own disk
	for _, c := range cycles {
		if c.Fault == "truncate" || c.Fault == "wild" || c.Pace > 0 {
			continue
		}
		k := cell{c.Method, c.Policy, c.Layout}
		g := groups[k]
		if g == nil {
			g = &group{machines: map[string][]Cycle{}}
			groups[k], order = g, append(order, k)
		}
		if c.Backend == ByProcess {
			g.process, here = append(g.process, c), true
			continue
		}
		if g.machines[c.Filesystem] == nil {
			g.names = append(g.names, c.Filesystem)
		}
		g.machines[c.Filesystem] = append(g.machines[c.Filesystem], c)
	}
	for _, k := range order {
		g := groups[k]
		if len(g.names) == 0 {
			g.names = []string{""}
		}
		for _, fs := range g.names {
			r := &Row{Method: k.method, Policy: k.policy, Layout: k.layout, Filesystem: fs, Loss: map[string]Loss{}}
			for _, c := range slices.Concat(g.process, g.machines[fs]) {
				r.Loss[c.Backend] = r.Loss[c.Backend].add(c)
			}
			costs := g.process
			if !here {
				costs = untouched(g.machines[fs])
			}
			r.Rate = max(0, median(costs, func(c Cycle) (float64, bool) { return c.Rate, c.Rate > 0 }))
			r.P50 = max(0, median(costs, func(c Cycle) (float64, bool) { return c.P50, c.P50 > 0 }))
			r.P99 = max(0, median(costs, func(c Cycle) (float64, bool) { return c.P99, c.P99 > 0 }))
			r.PerByte = median(g.machines[fs], func(c Cycle) (float64, bool) {
				return float64(c.DeviceBytes) / float64(c.Acknowledged*RecordSize), c.DeviceBytes >= 0 && c.Acknowledged > 0
			})
			rows = append(rows, r)
		}
	}
	return rows
}

// untouched are the cycles that tell what writing costs: of one way to lose a machine, since
// an emulated one is no measure of another; and of a writer's cuts the first, since it waited
// in the others.
func untouched(cycles []Cycle) []Cycle {
	seen := map[uint64]bool{}
	return slices.DeleteFunc(slices.Clone(cycles), func(c Cycle) bool {
		again := seen[c.Seed]
		seen[c.Seed] = true
		return again || c.Backend != cycles[0].Backend
	})
}

// add counts a cycle.
func (l Loss) add(c Cycle) Loss {
	l.Mean = (l.Mean*float64(l.Cycles) + c.Share()) / float64(l.Cycles+1)
	l.Cycles++
	l.Worst = max(l.Worst, c.Share())
	l.Torn += c.Torn
	l.Holes += c.Holes
	if c.LostOrTorn() > 0 {
		l.Lossy++
	}
	return l
}

// A Promise is what crashes by one backend on one filesystem left of what was promised, and
// of what was not.
type Promise struct {
	Backend    string `json:"backend"`
	Filesystem string `json:"filesystem"`
	// Cycles of policies that promise that what is acknowledged survives, and of the others.
	Promised    int `json:"promised"`
	Broken      int `json:"broken"` // of them: that lost or tore a record
	Unpromised  int `json:"unpromised"`
	LossyOthers int `json:"lossy_others"`
}

// PromisesKept sums up crashes, but for faults that take the file away or store into it. Of
// writers at a pace, whose cuts are many of one, it has those alone that broke a promise.
func PromisesKept(cycles []Cycle) (all []Promise) {
	for _, c := range cycles {
		lost := c.LostOrTorn() > 0
		if c.Fault == "truncate" || c.Fault == "wild" || c.Pace > 0 && !(c.Promised && lost) {
			continue
		}
		i := slices.IndexFunc(all, func(p Promise) bool { return p.Backend == c.Backend && p.Filesystem == c.Filesystem })
		if i < 0 {
			i, all = len(all), append(all, Promise{Backend: c.Backend, Filesystem: c.Filesystem})
		}
		n, lossy := &all[i].Unpromised, &all[i].LossyOthers
		if c.Promised {
			n, lossy = &all[i].Promised, &all[i].Broken
		}
		*n++
		if lost {
			*lossy++
		}
	}
	return all
}

// median is that of the cycles which have the figure; -1 where none has.
func median(cycles []Cycle, figure func(Cycle) (float64, bool)) float64 {
	var v []float64
	for _, c := range cycles {
		if f, known := figure(c); known && !math.IsInf(f, 0) {
			v = append(v, f)
		}
	}
	if len(v) == 0 {
		return -1
	}
	slices.Sort(v)
	return v[(len(v)-1)/2]/2 + v[len(v)/2]/2
}

// String is the loss in a table's words: its mean, its worst where that is another, of
// how many cycles; a † where records were torn. Of n cycles without one, the rule of three
// gives what a rate of them is under, at 95 %.
func (l Loss) String() string {
	switch {
	case l.Cycles == 0:
		return "-"
	case l.Lossy == 0:
		return fmt.Sprintf("0 of %d <%.0f%%", l.Cycles, math.Ceil(min(100, 300/float64(l.Cycles))))
	}
	s := share(l.Mean)
	if worst := share(l.Worst); worst != s {
		s = strings.TrimSuffix(s, "%") + "≤" + worst
	}
	s += fmt.Sprintf(" of %d", l.Cycles)
	if l.Torn > 0 {
		s += "†"
	}
	return s
}

// share never says all of what is less.
func share(v float64) string {
	switch {
	case v >= 1:
		return "100%"
	case v >= 0.99:
		return fmt.Sprintf("%.1f%%", math.Floor(1000*v)/10)
	case v >= 0.01:
		return fmt.Sprintf("%.0f%%", 100*v)
	}
	return fmt.Sprintf("%.2g%%", 100*v)
}
