package verdict

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"iopath/internal/summary"
)

// An Effect is by how much one series of measurements differs from another, pair by
// pair, without a presumption about the shape of the noise: what is far out weighs no
// more than its rank.
type Effect struct {
	Ratio float64 `json:"ratio"` // exp of the Hodges–Lehmann estimate over the log ratios: the median of the means of any two of them
	Lo    float64 `json:"lo"`    // its interval at summary.Confidence, by inverting the test that P is of; with fewer than summary.MinSamples pairs the least and the greatest ratio
	Hi    float64 `json:"hi"`
	P     float64 `json:"p"` // two-sided: how often random signs of the log ratios make a signed-rank sum as far out
	N     int     `json:"n"` // pairs

	// Zeros says that one side of some pair is zero, which has no ratio. Then P is of the
	// differences of all pairs, and Ratio, Lo and Hi are 0.
	Zeros  bool    `json:"zeros,omitempty"`
	Median float64 `json:"median_difference,omitempty"` // head less base, of the pairs that differ, where Zeros
}

// maxPairs bounds the work: of more pairs, neighbours are averaged.
const maxPairs = 400

// exactPairs is up to how many pairs P comes from all 2^n choices of signs, which a
// recurrence counts; beyond it from their normal limit, which then is as good.
const exactPairs = 100

// Compare returns the effect of head over base, whose k-th measurements make a pair;
// false where no pair has a ratio. See [PairedValues] for what makes one.
//
// P is of the sign-flip permutation test: where both sides are alike, a log ratio is
// as likely to have the other sign. Its statistic is the signed-rank sum (Wilcoxon,
// Individual Comparisons by Ranking Methods, 1945), with ranks shared among ties, and
// zeros ranked and then left out (Pratt, 1959), so that it holds with ties too.
func Compare(head, base []float64) (Effect, bool) {
	logs := PairedValues(head, base)
	if len(logs) == 0 {
		return Effect{}, false
	}
	for i, v := range logs {
		logs[i] = math.Log(v)
	}
	e := Effect{N: len(logs)}
	logs = thin(logs, maxPairs)
	e.P = signFlips(logs)
	walsh := walshAverages(logs)
	e.Ratio = math.Exp(median(walsh))
	lo, hi := walsh[0], walsh[len(walsh)-1]
	if len(logs) < summary.MinSamples {
		// The extremes of the ratios: no interval of the level is to be had.
	} else if k := outside(len(logs), 1-summary.Confidence); k > 0 {
		lo, hi = walsh[k-1], walsh[len(walsh)-k]
	}
	e.Lo, e.Hi = math.Exp(lo), math.Exp(hi)
	return e, true
}

// CompareZeros returns the effect where one side of some pair is zero and the other is not,
// as of bytes that are allocated or not: by the differences, as Compare by the ratios. It is
// false where there is no such pair. A pair with a figure that is negative or not finite is
// left out.
func CompareZeros(head, base []float64) (Effect, bool) {
	var d []float64
	one := false
	for k := range min(len(head), len(base)) {
		a, b := head[k], base[k]
		if !(a >= 0 && b >= 0) || math.IsInf(a, 0) || math.IsInf(b, 0) {
			continue
		}
		one = one || (a == 0) != (b == 0)
		d = append(d, a-b)
	}
	if !one {
		return Effect{}, false
	}
	e := Effect{N: len(d), Zeros: true}
	e.P = signFlips(thin(d, maxPairs))
	// Where nothing differs in half of the pairs, their median says nothing of the others.
	d = slices.DeleteFunc(d, func(v float64) bool { return v == 0 })
	slices.Sort(d)
	e.Median = median(d)
	return e, true
}

// worse reports whether the effect is beyond the bound, a ratio from 1 on; of zeros any is.
func (e Effect) worse(bound float64) bool {
	return e.Zeros && e.Median > 0 || !e.Zeros && e.Ratio > bound
}

func (e Effect) better(bound float64) bool {
	return e.Zeros && e.Median < 0 || !e.Zeros && 1/e.Ratio > bound
}

// Spread is the farther bound's distance from no effect, as a ratio from 1 on: of two
// series of one thing, what noise alone may bring about.
func (e Effect) Spread() float64 { return max(e.Hi, 1/e.Lo) }

// thin averages neighbours so that at most n values are left.
func thin(values []float64, n int) []float64 {
	if len(values) <= n {
		return values
	}
	block := (len(values) + n - 1) / n
	var means []float64
	for part := range slices.Chunk(values, block) {
		sum := 0.0
		for _, v := range part {
			sum += v
		}
		means = append(means, sum/float64(len(part)))
	}
	return means
}

// walshAverages returns the means of any two values, each with itself too, sorted.
func walshAverages(v []float64) []float64 {
	w := make([]float64, 0, len(v)*(len(v)+1)/2)
	for i := range v {
		for j := i; j < len(v); j++ {
			w = append(w, (v[i]+v[j])/2)
		}
	}
	slices.Sort(w)
	return w
}

// median is of sorted values.
func median(v []float64) float64 {
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// signFlips returns the share of the 2^n choices of signs whose signed-rank sum is at
// least as far from its mean as that of the values.
func signFlips(values []float64) float64 {
	v := slices.Clone(values)
	slices.SortFunc(v, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	// Twice the ranks are whole, shared ones too.
	var ranks []int
	positive, sum := 0, 0
	for i := 0; i < len(v); {
		j := i
		for j < len(v) && math.Abs(v[j]) == math.Abs(v[i]) {
			j++
		}
		shared := i + 1 + j // twice the mean of i+1 … j
		for ; i < j; i++ {
			if v[i] == 0 {
				continue
			}
			ranks = append(ranks, shared)
			sum += shared
			if v[i] > 0 {
				positive += shared
			}
		}
	}
	if len(ranks) == 0 {
		return 1
	}
	// Twice the distance from the mean sum/2.
	far := positive*2 - sum
	if far < 0 {
		far = -far
	}
	if len(ranks) > exactPairs {
		squares := 0.0
		for _, r := range ranks {
			squares += float64(r) * float64(r)
		}
		// Of Σ ±r, with a correction for its steps of two ranks.
		z := max(0, float64(far)-1) / math.Sqrt(squares)
		return 2 * distuv.UnitNormal.Survival(z)
	}
	share := flips(ranks, sum)
	p := 0.0
	for at, s := range share {
		if d := at*2 - sum; d >= far || -d >= far {
			p += s
		}
	}
	return min(p, 1)
}

// flips returns, for each sum that positive ranks can have, the share of all choices of
// signs that give it.
func flips(ranks []int, sum int) []float64 {
	share := make([]float64, sum+1)
	share[0] = 1
	reach := 0
	for _, r := range ranks {
		reach += r
		for at := reach; at >= 0; at-- {
			s := share[at]
			if at >= r {
				s += share[at-r]
			}
			share[at] = s / 2
		}
	}
	return share
}

// outside is k where the interval of the level 1-alpha reaches from the k-th least of the
// Walsh averages of n values to the k-th greatest; 0 where there is none.
func outside(n int, alpha float64) int {
	sum := n * (n + 1) / 2
	if n > exactPairs {
		mean, sd := float64(sum)/2, math.Sqrt(float64(sum)*float64(2*n+1)/12)
		return int(max(0, math.Floor(mean-0.5+sd*distuv.UnitNormal.Quantile(alpha/2))))
	}
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	below := 0.0
	for k, s := range flips(ranks, sum) {
		if below += s; below > alpha/2 {
			return k
		}
	}
	return 0
}

// Discoveries says which of m tests stand when one of at most the share q of those
// that stand is to be false (Benjamini and Hochberg, Controlling the False Discovery
// Rate, 1995): also where the tests are dependent, as those of rows that share a noisy
// machine are, as long as they tend to err together.
func Discoveries(p []float64, q float64) []bool {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	stand := make([]bool, len(p))
	for k := len(order); k > 0; k-- {
		if p[order[k-1]] <= q*float64(k)/float64(len(p)) {
			for _, i := range order[:k] {
				stand[i] = true
			}
			break
		}
	}
	return stand
}

// PairsNeeded is how many pairs a lone one of m tests must have to stand at the share
// q: with n pairs no P is below 2/2^n.
func PairsNeeded(m int, q float64) int {
	if m == 0 {
		return 0
	}
	return max(summary.MinSamples, 1+int(math.Ceil(math.Log2(float64(m)/q))))
}
