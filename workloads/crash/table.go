package crash

import (
	"cmp"
	"fmt"
	"slices"
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

// Columns of a table: what is lost with a process, with a kernel, with the power.
var Columns = []string{"process", "kernel", "power"}

// A Loss is what cycles of one kind lost of what was acknowledged, as shares.
type Loss struct {
	Cycles int     `json:"cycles"`
	Lossy  int     `json:"lossy"` // that lost or tore a record
	Worst  float64 `json:"worst"`
	Mean   float64 `json:"mean"`
	Torn   uint64  `json:"torn"` // records, in all
	Holes  uint64  `json:"holes"`
}

// A Row is a method with a policy and a layout.
type Row struct {
	Method  string          `json:"method"`
	Policy  string          `json:"policy"`
	Layout  string          `json:"layout"`
	Loss    map[string]Loss `json:"loss"` // by column
	Rate    float64         `json:"records_per_second"`
	P50     float64         `json:"p50_seconds"`
	P99     float64         `json:"p99_seconds"`
	PerByte float64         `json:"device_bytes_per_acknowledged_byte,omitempty"`
}

// column is the kind of a cycle's fault.
func (c Cycle) column() string {
	switch c.Fault {
	case "kernel", "power":
		return c.Fault
	}
	return "process"
}

// Share is how much of what was acknowledged is lost or torn.
func (c Cycle) Share() float64 {
	if c.Acknowledged == 0 {
		return 0
	}
	return float64(c.LostOrTorn()) / float64(c.Acknowledged)
}

// Rows groups cycles. Faults that take the file itself away, or store into it, are left
// out: what they lose is no policy's fault. Costs are medians.
func Rows(cycles []Cycle) (rows []*Row) {
	type key struct{ method, policy, layout string }
	by := map[key]*Row{}
	rates, p50s, p99s, bytes := map[*Row][]float64{}, map[*Row][]float64{}, map[*Row][]float64{}, map[*Row][]float64{}
	for _, c := range cycles {
		if c.Fault == "truncate" || c.Fault == "wild" {
			continue
		}
		k := key{c.Method, c.Policy, c.Layout}
		r := by[k]
		if r == nil {
			r = &Row{Method: c.Method, Policy: c.Policy, Layout: c.Layout, Loss: map[string]Loss{}}
			by[k] = r
			rows = append(rows, r)
		}
		l := r.Loss[c.column()]
		l.Mean = (l.Mean*float64(l.Cycles) + c.Share()) / float64(l.Cycles+1)
		l.Cycles++
		l.Worst = max(l.Worst, c.Share())
		l.Torn += c.Torn
		l.Holes += c.Holes
		if c.LostOrTorn() > 0 {
			l.Lossy++
		}
		r.Loss[c.column()] = l
		rates[r], p50s[r], p99s[r] = append(rates[r], c.Rate), append(p50s[r], c.P50), append(p99s[r], c.P99)
		if c.DeviceBytes > 0 && c.Acknowledged > 0 {
			bytes[r] = append(bytes[r], float64(c.DeviceBytes)/float64(c.Acknowledged*RecordSize))
		}
	}
	for _, r := range rows {
		r.Rate, r.P50, r.P99, r.PerByte = middle(rates[r]), middle(p50s[r]), middle(p99s[r]), middle(bytes[r])
	}
	return rows
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
		if c.column() == "process" {
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

func middle(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.SortFunc(v, cmp.Compare[float64])
	return v[len(v)/2]
}

// String is the loss in a table's words: its mean, (its worst) where that is another, of
// so many cycles; a † where records were torn. Of n cycles without one, the rule of three gives
// what a rate of them is under, at 95 %.
func (l Loss) String() string {
	switch {
	case l.Cycles == 0:
		return "-"
	case l.Lossy == 0:
		return fmt.Sprintf("0 of %d (<%.0f%%)", l.Cycles, min(100, 300/float64(l.Cycles)))
	}
	s := share(l.Mean)
	if worst := share(l.Worst); worst != s {
		s += " (" + worst + ")"
	}
	s += fmt.Sprintf(" of %d", l.Cycles)
	if l.Torn > 0 {
		s += " †"
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
