package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"iopath/plots"
	"iopath/workloads/crash"
)

// crashCharts draws what cycles left: the price of safety, what was kept, and, of writers
// at a pace, whose machine was lost again and again, what that took. The kernel writes what was dirty for
// so many seconds; 0: that is not known. Their names are those of their files; what has no
// data is not drawn (plots.Drawings.Draw).
func crashCharts(cycles []crash.Cycle, machine string, expire float64) plots.Drawings {
	// Faults that take the file away or store into it are no policy's fault.
	cycles = slices.DeleteFunc(slices.Clone(cycles), func(c crash.Cycle) bool {
		return c.Fault == "truncate" || c.Fault == "wild" || c.Acknowledged == 0
	})
	aged := crashAges(cycles)
	// The cuts of one writer are not so many cycles of their own.
	once := slices.DeleteFunc(cycles, func(c crash.Cycle) bool { return c.Pace > 0 })
	ds := plots.Drawings{crashPrice(once, machine), crashKept(once, machine)}
	if len(aged) > 0 {
		ds = append(ds, crashAge(aged, machine, expire))
	}
	return ds
}

// dirtyExpire is the age in seconds at which the kernel writes what is dirty, 0 where it does
// not say.
func dirtyExpire() float64 {
	b, err := os.ReadFile("/proc/sys/vm/dirty_expire_centisecs")
	if err != nil {
		return 0
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil {
		return 0
	}
	return v / 100
}

// A crashWay is how a process or a machine is lost.
type crashWay struct{ fault, backend, filesystem string }

func wayOf(c crash.Cycle) crashWay {
	if c.Backend == crash.ByProcess {
		return crashWay{fault: crash.ByProcess, backend: crash.ByProcess}
	}
	return crashWay{c.Fault, c.Backend, c.Filesystem}
}

// way is how a chart calls it.
func (w crashWay) way(cycles []crash.Cycle) plots.Way {
	switch w.fault {
	case crash.ByProcess:
		var faults []string
		for _, c := range cycles {
			if wayOf(c) == w && !slices.Contains(faults, c.Fault) {
				faults = append(faults, c.Fault)
			}
		}
		how := plural(len(faults), "fault")
		if len(faults) == 1 {
			how = faults[0]
		}
		return plots.Way{Name: "A process's death", How: how}
	case "kernel":
		return plots.Way{Name: "A kernel's death", How: w.backend + " on " + w.filesystem}
	case "power":
		return plots.Way{Name: "Power loss", How: w.backend + " on " + w.filesystem}
	}
	return plots.Way{Name: w.fault, How: w.backend + " on " + w.filesystem}
}

// waysOf are the ways of loss: of a process, of a kernel, of the power.
func waysOf(cycles []crash.Cycle) (ways []crashWay) {
	for _, c := range cycles {
		if w := wayOf(c); !slices.Contains(ways, w) {
			ways = append(ways, w)
		}
	}
	order := []string{crash.ByProcess, "kernel", "power"}
	slices.SortStableFunc(ways, func(a, b crashWay) int {
		return cmp.Compare(slices.Index(order, a.fault), slices.Index(order, b.fault))
	})
	return ways
}

// crashModels says what the machines' ways model, and what a cycle is.
func crashModels(ways []crashWay) string {
	var all []string
	for _, w := range ways {
		if b, ok := crash.BackendNamed(w.backend); ok {
			what := b.Models
			if _, after, ok := strings.Cut(what, ": "); ok {
				what = after // the chart has the name
			}
			if said := b.Name + ": " + what + "."; !slices.Contains(all, said) {
				all = append(all, said)
			}
		}
	}
	if slices.ContainsFunc(ways, func(w crashWay) bool { return w.fault == "power" }) {
		all = append(all, "Each power cut is a cycle, some of one writer.")
	}
	return strings.Join(all, " ")
}

// A crashPolicy is a row of the charts.
type crashPolicy struct{ method, policy, layout string }

func policyOf(c crash.Cycle) crashPolicy { return crashPolicy{c.Method, c.Policy, c.Layout} }

// policiesOf are those of the cycles, in their order.
func policiesOf(cycles []crash.Cycle) (all []crashPolicy) {
	for _, c := range cycles {
		if p := policyOf(c); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// name is that of the method and the policy, and of the layout where there are others.
func (p crashPolicy) name(all []crashPolicy) string {
	name := p.method + "/" + p.policy
	for _, other := range all {
		if other.layout != p.layout && other.method == p.method && other.policy == p.policy {
			return name + " " + p.layout
		}
	}
	return name
}

// crashLeft sums up the cycles of a policy lost in one way.
func crashLeft(cycles []crash.Cycle) (l plots.Left) {
	for _, c := range cycles {
		l.N++
		if c.LostOrTorn() > 0 {
			l.Lossy++
		}
		l.Torn += float64(c.Torn) / float64(c.Acknowledged)
		l.Lost += float64(c.Lost) / float64(c.Acknowledged)
		l.Worst = max(l.Worst, c.Share())
	}
	if l.N > 0 {
		l.Torn, l.Lost = l.Torn/float64(l.N), l.Lost/float64(l.N)
	}
	return l
}

func crashPrice(cycles []crash.Cycle, machine string) plots.Price {
	p := plots.Price{
		Headline: plots.Headline{Name: "price", Title: "What does safety cost, and what does speed lose?"},
		Rate:     "acknowledged records/s",
	}
	// A machine that is lost on purpose has a disk of its own, which is not the one that
	// writers use: what they reach is measured where their process alone is lost.
	where := "Speed: medians, on the disks that were lost"
	if i := slices.IndexFunc(cycles, func(c crash.Cycle) bool { return c.Backend == crash.ByProcess }); i >= 0 {
		where = "Speed: medians of the cycles in which the process alone was lost, on " + cycles[i].Filesystem
	}
	where += "; records of " + strconv.Itoa(crash.RecordSize) + " bytes."
	type place struct {
		crashPolicy
		filesystem string
	}
	rates := map[place]float64{}
	for _, r := range crash.Rows(cycles) {
		rates[place{crashPolicy{r.Method, r.Policy, r.Layout}, r.Filesystem}] = r.Rate
	}
	policies := policiesOf(cycles)
	var drawn []crashWay
	for _, w := range waysOf(cycles) {
		if w.fault == crash.ByProcess {
			continue
		}
		panel := plots.PricePanel{Way: w.way(cycles)}
		for _, policy := range policies {
			l, rate := crashLeft(only(cycles, policy, w)), rates[place{policy, w.filesystem}]
			if l.N == 0 || rate == 0 {
				continue
			}
			// What is the same up to the arithmetic is the same.
			lost := min(1, l.Torn+l.Lost, l.Worst)
			if lost > 1-1e-12 {
				lost = 1
			}
			panel.Points = append(panel.Points, plots.PricePoint{
				Method: policy.method, Name: policy.name(policies), Rate: rate, Lost: lost, Worst: l.Worst, N: l.N,
			})
		}
		if len(panel.Points) > 0 {
			p.Panels, drawn = append(p.Panels, panel), append(drawn, w)
		}
	}
	p.Caption = joinNotes(machine+" · "+where, crashModels(drawn))
	return p
}

func only(cycles []crash.Cycle, p crashPolicy, w crashWay) []crash.Cycle {
	return slices.DeleteFunc(slices.Clone(cycles), func(c crash.Cycle) bool { return policyOf(c) != p || wayOf(c) != w })
}

func crashKept(cycles []crash.Cycle, machine string) plots.Kept {
	k := plots.Kept{Headline: plots.Headline{Name: "kept", Title: "What is left of what was acknowledged?"}}
	ways, policies := waysOf(cycles), policiesOf(cycles)
	for _, w := range ways {
		k.Ways = append(k.Ways, w.way(cycles))
	}
	for _, policy := range policies {
		row := plots.KeptRow{Method: policy.method, Name: policy.name(policies)}
		for _, w := range ways {
			row.Left = append(row.Left, crashLeft(only(cycles, policy, w)))
		}
		k.Rows = append(k.Rows, row)
	}
	notes := []string{machine, crashModels(ways)}
	for _, shared := range crashSharing(cycles, ways) {
		panel := plots.KeptPanel{Way: k.Ways[shared[0]]}
		var backends []string
		for _, w := range shared {
			panel.Of = append(panel.Of, w)
			backends = append(backends, ways[w].backend)
		}
		if len(shared) > 1 {
			fs := ways[shared[0]].filesystem
			panel.How = strings.Join(backends, " or ") + " on " + fs
			notes = append(notes, panel.Name+" on "+fs+": "+crashShares(cycles, ways, shared)+".")
		}
		k.Panels = append(k.Panels, panel)
	}
	k.Caption = joinNotes(notes...)
	return k
}

// crashSharing are the ways, by index, that share a panel: they lose the same on the same
// filesystem, each with other policies. Of two that lost the same policy neither stands in
// for the other.
func crashSharing(cycles []crash.Cycle, ways []crashWay) (panels [][]int) {
	for w, way := range ways {
		mine := policiesLost(cycles, way)
		fits := func(shared []int) bool {
			return !slices.ContainsFunc(shared, func(other int) bool {
				return ways[other].fault != way.fault || ways[other].filesystem != way.filesystem ||
					slices.ContainsFunc(policiesLost(cycles, ways[other]), func(p crashPolicy) bool { return slices.Contains(mine, p) })
			})
		}
		if i := slices.IndexFunc(panels, fits); i >= 0 {
			panels[i] = append(panels[i], w)
		} else {
			panels = append(panels, []int{w})
		}
	}
	return panels
}

// crashShares says which of the ways that share a panel lost what: the one with most
// policies lost the others.
func crashShares(cycles []crash.Cycle, ways []crashWay, shared []int) string {
	lost := map[int][]crashPolicy{}
	times := map[string]int{} // the ways that lost one of a method
	most := shared[0]
	for _, w := range shared {
		lost[w] = policiesLost(cycles, ways[w])
		if len(lost[w]) > len(lost[most]) {
			most = w
		}
		for i, policy := range lost[w] {
			if !slices.ContainsFunc(lost[w][:i], func(p crashPolicy) bool { return p.method == policy.method }) {
				times[policy.method]++
			}
		}
	}
	var all []string
	policies := policiesOf(cycles)
	for _, w := range slices.DeleteFunc(slices.Clone(shared), func(w int) bool { return w == most }) {
		var names []string
		for _, policy := range lost[w] {
			name := policy.method
			if times[name] > 1 {
				name = policy.name(policies)
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		all = append(all, strings.Join(names, ", ")+" by "+ways[w].backend)
	}
	return strings.Join(append(all, "the others by "+ways[most].backend), "; ")
}

// policiesLost are those that were lost in one way.
func policiesLost(cycles []crash.Cycle, w crashWay) []crashPolicy {
	return policiesOf(slices.DeleteFunc(slices.Clone(cycles), func(c crash.Cycle) bool { return wayOf(c) != w }))
}

func joinNotes(lines ...string) string {
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n")
}

// A crashWriter is one writer, whose machine may be lost at many ages.
type crashWriter struct {
	crashPolicy
	crashWay
	seed uint64
}

func writerOf(c crash.Cycle) crashWriter { return crashWriter{policyOf(c), wayOf(c), c.Seed} }

// crashAges are the cycles of writers at a pace.
func crashAges(cycles []crash.Cycle) map[crashWriter][]crash.Cycle {
	all := map[crashWriter][]crash.Cycle{}
	for _, c := range cycles {
		if c.Pace > 0 {
			all[writerOf(c)] = append(all[writerOf(c)], c)
		}
	}
	return all
}

func crashAge(aged map[crashWriter][]crash.Cycle, machine string, expire float64) plots.Age {
	a := plots.Age{Headline: plots.Headline{Name: "age", Title: "How many seconds of acknowledged writes does a lost machine take?"}}
	if expire > 0 {
		a.Bound = plots.AgeBound{Name: fmt.Sprintf("dirty_expire: %s s", short(expire)), Seconds: expire}
	}
	writers := slices.SortedFunc(maps.Keys(aged), func(v, w crashWriter) int {
		return cmp.Or(strings.Compare(v.method, w.method), strings.Compare(v.policy, w.policy), strings.Compare(v.layout, w.layout),
			strings.Compare(v.backend, w.backend), strings.Compare(v.filesystem, w.filesystem), cmp.Compare(v.seed, w.seed))
	})
	var policies []crashPolicy
	var ways []crashWay
	for _, w := range writers {
		policies = append(policies, w.crashPolicy)
		if !slices.Contains(ways, w.crashWay) {
			ways = append(ways, w.crashWay)
		}
	}
	times := map[string]int{}
	for _, w := range writers {
		line := plots.AgeLine{Method: w.method, Name: w.name(policies)}
		if len(ways) > 1 {
			line.Name += ", " + w.backend + " on " + w.filesystem
		}
		if times[line.Name]++; times[line.Name] > 1 {
			line.Name += fmt.Sprintf(" (%d)", times[line.Name])
		}
		for _, c := range aged[w] {
			line.Points = append(line.Points, plots.AgePoint{After: c.After, Lost: float64(c.LostOrTorn()) / float64(c.Pace)})
		}
		a.Lines = append(a.Lines, line)
	}
	pace := aged[writers[0]][0].Pace
	a.Caption = joinNotes(fmt.Sprintf("%s · Writers of %d records/s; lost or torn records, divided by that.", machine, pace), crashModels(ways))
	return a
}
