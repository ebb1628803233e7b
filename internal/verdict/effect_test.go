package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/perf/benchmath"
	"gonum.org/v1/gonum/stat/combin"
)

// allFlips goes through all choices of signs.
func allFlips(values []float64) float64 {
	type ranked struct {
		v    float64
		rank float64
	}
	var v []ranked
	for _, x := range values {
		less, same := 0, 0
		for _, y := range values {
			switch {
			case math.Abs(y) < math.Abs(x):
				less++
			case math.Abs(y) == math.Abs(x):
				same++
			}
		}
		v = append(v, ranked{x, float64(less) + float64(same+1)/2})
	}
	v = slices.DeleteFunc(v, func(r ranked) bool { return r.v == 0 })
	sum := func(positive func(i int) bool) (t float64) {
		for i, r := range v {
			if positive(i) {
				t += r.rank
			} else {
				t -= r.rank
			}
		}
		return math.Abs(t)
	}
	observed := sum(func(i int) bool { return v[i].v > 0 })
	far := 0
	for signs := range 1 << len(v) {
		if sum(func(i int) bool { return signs>>i&1 == 1 }) >= observed {
			far++
		}
	}
	return float64(far) / float64(int(1)<<len(v))
}

func TestSignFlips(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 12; n++ {
		for range 20 {
			v := make([]float64, n)
			for i := range v {
				v[i] = rng.NormFloat64() + 0.3
				if rng.IntN(3) == 0 {
					v[i] = math.Round(2*v[i]) / 2 // ties and zeros
				}
			}
			if got, want := signFlips(v), allFlips(v); math.Abs(got-want) > 1e-12 {
				t.Fatalf("signFlips(%v) = %v, want %v", v, got, want)
			}
		}
	}
	if got := signFlips([]float64{0, 0, 0}); got != 1 {
		t.Errorf("of zeros alone: p = %v, want 1", got)
	}
	// Where all signs agree there is one more such choice: the opposite one.
	for n := 1; n < 40; n++ {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(i + 1)
		}
		if got, want := signFlips(v), math.Min(1, math.Ldexp(2, -n)); math.Abs(got-want) > 1e-15 {
			t.Errorf("n=%d, all positive: p = %v, want %v", n, got, want)
		}
	}
}

// The normal limit takes over without a step.
func TestSignFlipsOfMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		v := make([]float64, exactPairs)
		for i := range v {
			v[i] = rng.NormFloat64() + 0.2
		}
		exact, limit := signFlips(v), signFlips(append(v, 1e-9)) // one pair more, of the least rank
		if math.Abs(exact-limit) > 0.01+0.1*exact {
			t.Errorf("p = %v of %d pairs and %v of one more", exact, len(v), limit)
		}
	}
}

// Bounds from the tables that textbooks print (Hollander and Wolfe, Nonparametric
// Statistical Methods, table A.4: P(T+ <= k) of n).
func TestOutside(t *testing.T) {
	for _, test := range []struct{ n, want int }{
		{5, 0}, {6, 1}, {7, 3}, {8, 4}, {9, 6}, {10, 9}, {12, 14}, {15, 26}, {20, 53}, {25, 90},
	} {
		if got := outside(test.n, 0.05); got != test.want {
			t.Errorf("outside(%d) = %d, want %d", test.n, got, test.want)
		}
	}
	if exact, limit := outside(exactPairs, 0.05), outside(exactPairs+1, 0.05); limit < exact || limit > exact+60 {
		t.Errorf("outside = %d of %d pairs and %d of one more", exact, exactPairs, limit)
	}
}

func TestCompare(t *testing.T) {
	pairs := func(n int, ratio func(i int) float64) (head, base []float64) {
		for i := range n {
			base = append(base, 100+float64(i%7))
			head = append(head, base[i]*ratio(i))
		}
		return head, base
	}
	near := func(a, b float64) bool { return math.Abs(a/b-1) < 1e-9 }

	head, base := pairs(11, func(i int) float64 { return 1.1 + float64(i-5)/1000 })
	e, ok := Compare(head, base)
	if !ok || e.N != 11 || math.Abs(e.Ratio-1.1) > 1e-5 || e.P != 2.0/(1<<11) || e.Lo < 1.095 || e.Hi > 1.105 || e.Lo >= 1.1 || e.Hi <= 1.1 {
		t.Errorf("11 pairs about 1.1: %+v", e)
	}
	// The inverse comparison is the inverse.
	back, _ := Compare(base, head)
	if !near(back.Ratio*e.Ratio, 1) || !near(back.Lo*e.Hi, 1) || back.P != e.P {
		t.Errorf("the other way round: %+v, want the inverse of %+v", back, e)
	}
	// One wild pair moves neither the estimate nor the interval far.
	head[3] *= 1000
	if wild, _ := Compare(head, base); math.Abs(wild.Ratio-1.1) > 2e-3 || wild.Lo < 1.09 {
		t.Errorf("with one pair 1000 times off: %+v", wild)
	}
	// Too few for an interval: the extremes.
	head, base = pairs(3, func(i int) float64 { return []float64{1.2, 0.9, 1.0}[i] })
	if e, _ := Compare(head, base); !near(e.Lo, 0.9) || !near(e.Hi, 1.2) || e.N != 3 {
		t.Errorf("3 pairs: %+v", e)
	}
	// No ratio.
	if _, ok := Compare([]float64{1, 0}, []float64{0, 1}); ok {
		t.Error("zeros have a ratio")
	}
	// So many that neighbours are averaged.
	head, base = pairs(5000, func(i int) float64 { return 1.03 + float64(i%11-5)/100 })
	if e, _ := Compare(head, base); math.Abs(e.Ratio-1.03) > 0.002 || e.N != 5000 || e.P > 1e-10 {
		t.Errorf("5000 pairs: %+v", e)
	}
}

// The interval holds the true ratio in 95 of 100 series, and the test errs in five,
// whatever the noise is shaped like; benchmath's intervals of the same log ratios are
// no better.
func TestCoverage(t *testing.T) {
	shapes := map[string]func(*rand.Rand) float64{
		"normal":   (*rand.Rand).NormFloat64,
		"outliers": func(r *rand.Rand) float64 { return r.NormFloat64() / math.Max(0.05, r.Float64()) },
		"bimodal":  func(r *rand.Rand) float64 { return r.NormFloat64()/4 + float64(2*r.IntN(2)-1) },
		"ties":     func(r *rand.Rand) float64 { return math.Round(2*r.NormFloat64()) / 2 },
	}
	const series = 2000
	for name, noise := range shapes {
		for _, n := range []int{8, 20} {
			t.Run(fmt.Sprintf("%s/n=%d", name, n), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(5, uint64(n)))
				holds, errs, theirs := 0, 0, 0
				for range series {
					head, base := make([]float64, n), make([]float64, n)
					logs := make([]float64, n)
					for i := range head {
						base[i] = 1
						logs[i] = 0.05 * noise(rng)
						head[i] = 1.07 * math.Exp(logs[i])
					}
					e, _ := Compare(head, base)
					if e.Lo <= 1.07*(1+1e-9) && 1.07*(1-1e-9) <= e.Hi {
						holds++
					}
					for i := range head {
						head[i] /= 1.07
					}
					if e, _ := Compare(head, base); e.P <= 0.05 {
						errs++
					}
					s := benchmath.AssumeNothing.Summary(benchmath.NewSample(logs, &benchmath.DefaultThresholds), 0.95)
					if s.Lo <= 0 && 0 <= s.Hi {
						theirs++
					}
				}
				// Five standard errors of a share of 0.05.
				slack := 5 * math.Sqrt(0.05*0.95/series)
				if share := float64(holds) / series; share < 0.95-slack {
					t.Errorf("the interval holds the ratio in %.1f %% of series, want 95 %% (benchmath's of a median: %.1f %%)", 100*share, 100*float64(theirs)/series)
				}
				if share := float64(errs) / series; share > 0.05+slack {
					t.Errorf("the test errs in %.1f %% of series, want at most 5 %%", 100*share)
				}
			})
		}
	}
}

func TestDiscoveries(t *testing.T) {
	// The example of the paper's section 3.1: at q=0.05 the four smallest stand.
	paper := []float64{0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000}
	rng := rand.New(rand.NewPCG(6, 7))
	for range 20 {
		order := rng.Perm(len(paper))
		p := make([]float64, len(paper))
		for i, k := range order {
			p[i] = paper[k]
		}
		for i, stands := range Discoveries(p, 0.05) {
			if want := order[i] < 4; stands != want {
				t.Errorf("p=%v stands: %v, want %v", p[i], stands, want)
			}
		}
	}
	// One that is too large by itself stands with the others below.
	if got := Discoveries([]float64{0.05, 0.04}, 0.05); !got[0] || !got[1] {
		t.Errorf("0.05 and 0.04: %v, want both to stand", got)
	}
	if got := Discoveries(nil, 0.05); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestPairsNeeded(t *testing.T) {
	for _, m := range []int{1, 2, 20, 300, 10000} {
		n := PairsNeeded(m, 0.05)
		if p := math.Ldexp(2, -n); p > 0.05/float64(m) {
			t.Errorf("%d tests, %d pairs: the least p is %v, which cannot stand", m, n, p)
		}
		if p := math.Ldexp(2, 1-n); n > 6 && p <= 0.05/float64(m) {
			t.Errorf("%d tests: %d pairs, and one less would do", m, n)
		}
	}
	if got := PairsNeeded(0, 0.05); got != 0 {
		t.Errorf("no tests need %d pairs", got)
	}
}

// gonum and the exact recurrence agree on how likely each sum is.
func TestFlipsCount(t *testing.T) {
	ranks := []int{1, 2, 3, 4, 5, 6, 7}
	share := flips(ranks, 28)
	for sum := range share {
		count := 0
		for k := range len(ranks) + 1 {
			for _, pick := range combin.Combinations(len(ranks), k) {
				total := 0
				for _, i := range pick {
					total += ranks[i]
				}
				if total == sum {
					count++
				}
			}
		}
		if want := float64(count) / 128; share[sum] != want {
			t.Errorf("share of sum %d = %v, want %v", sum, share[sum], want)
		}
	}
}
