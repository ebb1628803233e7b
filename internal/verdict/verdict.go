// Package verdict judges whether measurements differ.
//
// It compares two series pair by pair, and ranks cells that differ in one key,
// such as the methods of a workload:
//
//  1. What disturbs a round disturbs all its cells. So two cells are compared by
//     the ratios within each round that both were measured in, and by Student's t
//     over the logarithms of these ratios.
//  2. The best of m methods is picked by looking. So Standings judges each of
//     the m-1 comparisons with the best at a confidence of 1 - 0.05/(m-1)
//     (Bonferroni). That the best beats one that was named beforehand is then
//     claimed wrongly of less than 3 % of workloads whose methods are all alike;
//     that it beats any of them, of 7 to 10 % (simulated: m of 4 to 10, n=6).
//     Who lets fewer compete than another judges as strictly: see Options.Watch.
//  3. A ratio counts where its interval excludes 1 and the ratio itself is
//     beyond MinLead. See Ratio.Beyond.
//
// The package assumes that the logarithms of the ratios are nearly normal. A
// measurement that is far out makes the interval wider, and so hides a
// difference rather than making one up. It refuses to tell anything apart with
// fewer than summary.MinSamples pairs. That two cells are not told apart does
// not mean that they are equal: the interval says how large a difference could
// hide in it.
//
// It knows the result format and no workload.
package verdict

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"iopath/internal/summary"
)

// MinLead is the ratio that a lead must be beyond, however narrow its interval.
// Two builds of the same code differ by as much through nothing but where the
// linker and the kernel put it (Mytkowicz et al., Producing Wrong Data Without
// Doing Anything Obviously Wrong, ASPLOS 2009), and rounds do not average that
// away.
const MinLead = 1.02

// A Ratio is how two series of measurements compare, pair by pair.
type Ratio struct {
	Value    float64 `json:"value"`        // geometric mean of the ratios of the k-th measurements
	Lo       float64 `json:"lo,omitempty"` // bounds of its interval: Student's t over the logarithms
	Hi       float64 `json:"hi,omitempty"`
	Interval bool    `json:"interval"` // whether there are Lo and Hi: fewer than summary.MinSamples pairs give none
	N        int     `json:"n"`        // pairs
}

// Paired compares a with b: the ratio is a/b, its interval of the given
// confidence, such as 0.95. The k-th of a makes a pair with the k-th of b; what
// one of them has beyond the other is left out. So is a pair that has no ratio
// with a logarithm, one of whose figures is zero, negative or not finite. It is
// false where no pair is left.
func Paired(a, b []float64, confidence float64) (Ratio, bool) {
	logs := PairedValues(a, b)
	if len(logs) == 0 {
		return Ratio{}, false
	}
	for i, v := range logs {
		logs[i] = math.Log(v)
	}
	n := float64(len(logs))
	mean, sd := stat.MeanStdDev(logs, nil)
	r := Ratio{Value: math.Exp(mean), N: len(logs)}
	if len(logs) >= summary.MinSamples {
		t := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(1 - (1-confidence)/2)
		half := t * sd / math.Sqrt(n)
		r.Lo, r.Hi, r.Interval = math.Exp(mean-half), math.Exp(mean+half), true
	}
	return r, true
}

// PairedValues returns the ratios that Paired averages, in the order of the
// pairs.
func PairedValues(a, b []float64) []float64 {
	n := min(len(a), len(b))
	ratios := make([]float64, 0, n)
	for k := range n {
		// Of subnormal figures the ratio can be infinite or zero.
		if r := a[k] / b[k]; positive(a[k]) && positive(b[k]) && positive(r) {
			ratios = append(ratios, r)
		}
	}
	return ratios
}

func positive(v float64) bool { return v > 0 && !math.IsInf(v, 1) }

// Beyond reports whether the ratio counts, in either direction: its interval
// excludes 1, and it is itself farther from 1 than MinLead.
func (r Ratio) Beyond() bool {
	return r.Interval && (r.Lo > 1 && r.Value > MinLead || r.Hi < 1 && r.Value < 1/MinLead)
}

// Times writes the ratio with as many digits as its interval can bear: "2.4".
func (r Ratio) Times() string { return r.text(r.Value) }

// Bounds writes the interval as "[2.2, 2.6]", with the digits of Times; "" where
// there is none.
func (r Ratio) Bounds() string {
	if !r.Interval {
		return ""
	}
	return "[" + r.text(r.Lo) + ", " + r.text(r.Hi) + "]"
}

func (r Ratio) text(v float64) string {
	if v >= 1e6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', r.decimals(), 64)
}

// decimals are enough to tell the bounds of what counts from 1.
func (r Ratio) decimals() int {
	least, gap := r.Value, 1.0
	if r.Interval {
		least = r.Lo
	}
	if r.Beyond() {
		gap = min(math.Abs(r.Lo-1), math.Abs(r.Hi-1))
	}
	switch {
	case least >= 10:
		return 0
	case least >= 2:
		return 1
	case gap < 0.0005:
		return 4
	case gap < 0.005:
		return 3
	}
	return 2
}

// TooFew says why a ratio can have no interval, as "n=1: at least 6 rounds"; ""
// where it has one.
func (r Ratio) TooFew() string {
	if r.Interval {
		return ""
	}
	return fmt.Sprintf("n=%d: at least %d rounds", r.N, summary.MinSamples)
}
