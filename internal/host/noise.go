package host

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Noise is what the machine did to its processes over a stretch of time: shares
// between 0 and 1, in a fixed order. What the kernel does not tell is absent.
//
//	steal       share of all CPUs' time that the hypervisor gave to others while
//	            a virtual CPU had work; 0 on a real machine (proc_stat(5))
//	psi-cpu     share of the wall time in which some task waited for a CPU
//	psi-io      the same, for I/O
//	psi-memory  the same, for memory (Documentation/accounting/psi.rst, "some")
//
// The limit: it is the whole machine's, our own processes included, and steal
// comes in clock ticks of all CPUs: over a short stretch one tick is much.
type Noise []Share

// A Share is one part of a [Noise].
type Share struct {
	Name  string
	Value float64
}

// Share returns the part of that name; known is false where it is absent.
func (n Noise) Share(name string) (share float64, known bool) {
	for _, s := range n {
		if s.Name == name {
			return s.Value, true
		}
	}
	return 0, false
}

// String is the noise in one line: "steal=0.3% psi-cpu=2.1% psi-io=14%".
func (n Noise) String() string {
	if len(n) == 0 {
		return "none: unsupported"
	}
	words := make([]string, len(n))
	for i, s := range n {
		digits := 1
		if s.Value >= 0.0995 {
			digits = 0
		}
		words[i] = fmt.Sprintf("%s=%.*f%%", s.Name, digits, 100*s.Value)
	}
	return strings.Join(words, " ")
}

// NoiseTotals is a reading of the kernel's running totals. Two of them make a
// [Noise].
type NoiseTotals struct {
	at         time.Time
	steal, cpu uint64 // clock ticks of all CPUs
	hasCPU     bool
	stalled    map[string]uint64 // microseconds since boot, by the resource waited for
}

// ReadNoise reads the totals of this machine.
func ReadNoise() NoiseTotals { return system{root: rootFS()}.noise(time.Now()) }

// pressures are the resources of /proc/pressure that bear on a result.
var pressures = []string{"cpu", "io", "memory"}

func (s system) noise(at time.Time) NoiseTotals {
	t := NoiseTotals{at: at, stalled: map[string]uint64{}}
	t.steal, t.cpu, t.hasCPU = parseStat(s.read("proc/stat"))
	for _, what := range pressures {
		if us, ok := parsePressure(s.read("proc/pressure/" + what)); ok {
			t.stalled[what] = us
		}
	}
	return t
}

// Until returns the noise from t to a later reading. A total that went back, as
// after the machine moved to another host, makes its part absent.
func (t NoiseTotals) Until(later NoiseTotals) Noise {
	var n Noise
	if t.hasCPU && later.hasCPU && later.cpu > t.cpu && later.steal >= t.steal {
		n = append(n, Share{"steal", min(1, float64(later.steal-t.steal)/float64(later.cpu-t.cpu))})
	}
	wall := later.at.Sub(t.at).Microseconds()
	for _, what := range pressures {
		from, ok := t.stalled[what]
		to, ok2 := later.stalled[what]
		if ok && ok2 && to >= from && wall > 0 {
			n = append(n, Share{"psi-" + what, min(1, float64(to-from)/float64(wall))})
		}
	}
	return n
}

// parseStat returns the steal time and all time of the "cpu" line of /proc/stat:
//
//	cpu  user nice system idle iowait irq softirq steal guest guest_nice
//
// guest is part of user, and guest_nice of nice.
func parseStat(text string) (steal, all uint64, ok bool) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	const last = 8 // steal
	if len(f) <= last || f[0] != "cpu" {
		return 0, 0, false
	}
	for _, word := range f[1 : last+1] {
		ticks, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		steal = ticks
		all += ticks
	}
	return steal, all, true
}

// parsePressure returns the total microseconds of the "some" line:
//
//	some avg10=0.57 avg60=0.42 avg300=1.77 total=1066358879
func parsePressure(text string) (us uint64, ok bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "some" {
			continue
		}
		for _, word := range f[1:] {
			if total, is := strings.CutPrefix(word, "total="); is {
				us, err := strconv.ParseUint(total, 10, 64)
				return us, err == nil
			}
		}
	}
	return 0, false
}
