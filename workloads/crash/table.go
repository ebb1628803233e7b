package crash

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Cycle is one fault and what it left.
type Cycle struct {
	Method     string `json:"method"`
	Policy     string `json:"policy"`
	Layout     string `json:"layout"`
	Fault      string `json:"fault"`
	Died       string `json:"died,omitempty"` // what the writer's process died of
	Backend    string `json:"backend"`        // "process", or that of a machine's fault
	Filesystem string `json:"filesystem"`
	Seed       uint64 `json:"seed"`
	Counts
	Dirty        int64   `json:"dirty_pages"` // at the fault; -1: not known
	Rate         float64 `json:"records_per_second"`
	P50          float64 `json:"p50_seconds"` // until a record was acknowledged
	P99          float64 `json:"p99_seconds"`
	DeviceBytes  int64   `json:"device_bytes,omitempty"` // that were written, where the backend sees them
	Promised     bool    `json:"promised,omitempty"`     // by the policy: to survive the machine
	Kept         float64 `json:"cache_kept,omitempty"`   // share of the disk's cache that survived, where its backend chooses
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
	// Costs are those of the writer on this machine's own disk, where faults of the process
	// were had, else of those on the machines that were lost.
	Rate    float64 `json:"records_per_second"`
	P50     float64 `json:"p50_seconds"`
	P99     float64 `json:"p99_seconds"`
	PerByte float64 `json:"device_bytes_per_acknowledged_byte,omitempty"`
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
// Costs are medians.
func Rows(cycles []Cycle) (rows []*Row) {
	type cell struct{ method, policy, layout string }
	type group struct {
		process  []Cycle
		machines map[string][]Cycle // by filesystem
		names    []string           // of those
	}
	var order []cell
	groups := map[cell]*group{}
	for _, c := range cycles {
		if c.Fault == "truncate" || c.Fault == "wild" {
			continue
		}
		k := cell{c.Method, c.Policy, c.Layout}
		g := groups[k]
		if g == nil {
			g = &group{machines: map[string][]Cycle{}}
			groups[k], order = g, append(order, k)
		}
		if c.Backend == ByProcess {
			g.process = append(g.process, c)
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
			if len(costs) == 0 {
				costs = g.machines[fs]
			}
			r.Rate = median(costs, func(c Cycle) float64 { return c.Rate })
			r.P50 = median(costs, func(c Cycle) float64 { return c.P50 })
			r.P99 = median(costs, func(c Cycle) float64 { return c.P99 })
			r.PerByte = median(g.machines[fs], func(c Cycle) float64 {
				return float64(c.DeviceBytes) / float64(c.Acknowledged*RecordSize)
			})
			rows = append(rows, r)
		}
	}
	return rows
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

// A Promise is what machines' crashes by one backend on one filesystem left of what was
// promised, and of what was not.
type Promise struct {
	Backend    string `json:"backend"`
	Filesystem string `json:"filesystem"`
	// Cycles of policies that promise that what is acknowledged survives, and of the others.
	Promised    int `json:"promised"`
	Broken      int `json:"broken"` // of them: that lost or tore a record
	Unpromised  int `json:"unpromised"`
	LossyOthers int `json:"lossy_others"`
}

// PromisesKept sums up machines' crashes.
func PromisesKept(cycles []Cycle) (all []Promise) {
	for _, c := range cycles {
		if c.Backend == ByProcess {
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
		if c.LostOrTorn() > 0 {
			*lossy++
		}
	}
	return all
}

// median is that of the cycles which have the figure; 0 where none has.
func median(cycles []Cycle, figure func(Cycle) float64) float64 {
	var v []float64
	for _, c := range cycles {
		if f := figure(c); f > 0 && !math.IsInf(f, 0) {
			v = append(v, f)
		}
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// String is the loss in a table's words: its mean, its worst where that is another, of
// how many cycles; a † where records were torn. Of n cycles without one, the rule of three
// gives what a rate of them is under, at 95 %.
func (l Loss) String() string {
	switch {
	case l.Cycles == 0:
		return "-"
	case l.Lossy == 0:
		return fmt.Sprintf("0 of %d <%.0f%%", l.Cycles, min(100, 300/float64(l.Cycles)))
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

func share(v float64) string {
	switch {
	case v >= 0.9995:
		return "100%"
	case v >= 0.01:
		return fmt.Sprintf("%.0f%%", 100*v)
	}
	return fmt.Sprintf("%.2g%%", 100*v)
}
