package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// brute is the statistic as the package comment has it, with every median taken anew.
func brute(values []float64) (at int, q float64) {
	n := len(values)
	for t := MinSegment; t <= n-MinSegment; t++ {
		d := distance(values[:t], values[t:])
		if v := float64(t) * float64(n-t) / float64(n) * d * d; v > q {
			at, q = t, v
		}
	}
	return at, q
}

// The list gives what sorting each prefix and suffix does, on any segment and any
// permutation of it.
func TestStatistic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var s splitter
	s.rng = rand.NewPCG(2, 2)
	for trial := range 600 {
		n := MinRuns + rng.IntN(40)
		values := make([]float64, n)
		for i := range values {
			values[i] = rng.NormFloat64()
			if trial%3 == 0 {
				values[i] = float64(rng.IntN(3)) // ties
			}
			if trial%2 == 0 && i > n/2 {
				values[i]++
			}
		}
		s.load(values)
		for shuffled := range 3 {
			at, q := s.best()
			wantAt, want := brute(values)
			if math.Abs(q-want) > 1e-12*want || at != wantAt {
				t.Fatalf("best(%v) = %d, %g, want %d, %g (shuffled %d times)", values, at, q, wantAt, want, shuffled)
			}
			s.shuffle()
			for i, r := range s.order {
				values[i] = s.sorted[r]
			}
		}
	}
}

// Every value comes to every place equally often.
func TestShuffle(t *testing.T) {
	const n, trials = 7, 70000
	s := splitter{rng: rand.NewPCG(3, 3)}
	var seen [n][n]int
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(i)
	}
	for range trials {
		s.load(values)
		s.shuffle()
		for place, r := range s.order {
			seen[place][r-1]++
		}
	}
	for place := range seen {
		for value, k := range seen[place] {
			// Of 10000 expected, five standard deviations.
			if math.Abs(float64(k)-trials/n) > 5*math.Sqrt(trials/n) {
				t.Errorf("value %d came to place %d in %d of %d shuffles, want about %d", value, place, k, trials, trials/n)
			}
		}
	}
}

// noise makes n logarithms of ratios with a standard deviation.
func noise(rng *rand.Rand, n int, sd float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = sd * rng.NormFloat64()
	}
	return v
}

// add raises the values from one index on to another.
func add(v []float64, from, to int, by float64) []float64 {
	for i := from; i < to; i++ {
		v[i] += by
	}
	return v
}

// What is found in series whose changes are known. Each is made 40 times, in short
// tests 4 times.
func TestFindCuts(t *testing.T) {
	const sd = 0.01
	series := 40
	if testing.Short() {
		series = 4
	}
	for _, c := range []struct {
		name  string
		make  func(*rand.Rand) []float64
		want  []int // where the changes are
		slack int   // by how many runs a change may be misplaced
		least int   // of 40 series, in so many exactly these are found
	}{
		{"a step", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 80, 120, 0.05) }, []int{80}, 1, 38},
		{"a step down", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 80, 120, -0.05) }, []int{80}, 1, 38},
		{"a step as great as the noise, in years", func(r *rand.Rand) []float64 { return add(noise(r, 700, 0.03), 400, 700, 0.03) }, []int{400}, 40, 38},
		{"a step three runs ago", func(r *rand.Rand) []float64 { return add(noise(r, 100, sd), 97, 100, 0.10) }, []int{97}, 0, 36},
		{"a step in the third run", func(r *rand.Rand) []float64 { return add(noise(r, 100, sd), 0, 3, 0.10) }, []int{3}, 0, 36},
		{"two steps up", func(r *rand.Rand) []float64 {
			return add(add(noise(r, 150, sd), 50, 150, 0.06), 100, 150, 0.06)
		}, []int{50, 100}, 2, 38},
		{"three steps of a staircase, the first one small", func(r *rand.Rand) []float64 {
			return add(add(add(noise(r, 400, sd), 100, 400, 0.04), 200, 400, 0.08), 350, 400, 0.08)
		}, []int{100, 200, 350}, 2, 38},
		{"what came and went", func(r *rand.Rand) []float64 { return add(noise(r, 365, sd), 200, 230, 0.05) }, []int{200, 230}, 1, 38},
		{"what came and went for years", func(r *rand.Rand) []float64 { return add(noise(r, 2000, sd), 700, 1200, -0.05) }, []int{700, 1200}, 1, 37},
		{"what came and went in a month, some spikes beside", func(r *rand.Rand) []float64 {
			v := add(noise(r, 365, sd), 200, 230, 0.10)
			for range 5 {
				v[r.IntN(365)] += 0.5
			}
			return v
		}, []int{200, 230}, 2, 36},
		{"a change less than 2 %", func(r *rand.Rand) []float64 { return add(noise(r, 200, 0.002), 100, 200, 0.015) }, nil, 0, 40},
		{"a spike of one run", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 60, 61, 1) }, nil, 0, 39},
		{"a spike of two runs", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 60, 62, 1) }, nil, 0, 39},
		{"a spike in the last run", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 119, 120, 1) }, nil, 0, 39},
		{"a spike in the last two runs", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 118, 120, 1) }, nil, 0, 39},
		{"a spike in the run before the last but one", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 117, 119, 1) }, nil, 0, 39},
		{"a spike in the first two runs", func(r *rand.Rand) []float64 { return add(noise(r, 120, sd), 0, 2, -1) }, nil, 0, 39},
		{"two spikes, and one of the last runs", func(r *rand.Rand) []float64 {
			return add(add(noise(r, 58, 0.004), 52, 54, 1), 57, 58, 0.1)
		}, nil, 0, 38},
		{"a step with spikes on both sides", func(r *rand.Rand) []float64 {
			return add(add(add(noise(r, 120, sd), 80, 120, 0.06), 40, 42, 0.5), 100, 101, -0.5)
		}, []int{80}, 1, 38},
		{"two kinds of runs, by chance", func(r *rand.Rand) []float64 {
			v := noise(r, 120, 0.002)
			for i := range v {
				v[i] += 0.05 * float64(r.IntN(2))
			}
			return v
		}, nil, 0, 38},
		{"counts, and a change", func(*rand.Rand) []float64 { return add(make([]float64, 60), 50, 60, math.Log(2)) }, []int{50}, 0, 40},
		{"all equal", func(*rand.Rand) []float64 { return make([]float64, 200) }, nil, 0, 40},
		{"few values, many ties", func(r *rand.Rand) []float64 {
			v := make([]float64, 200)
			for i := range v {
				v[i] = 0.05 * float64(r.IntN(3))
			}
			return v
		}, nil, 0, 38},
		{"five runs", func(*rand.Rand) []float64 { return []float64{0, 0, 0, 1, 1} }, nil, 0, 40},
		{"six runs: significance is out of reach", func(*rand.Rand) []float64 { return []float64{0, 0, 0, 1, 1, 1} }, nil, 0, 40},
		{"none", func(*rand.Rand) []float64 { return nil }, nil, 0, 40},
	} {
		found := 0
		var last []cut
		for seed := range uint64(series) {
			last = findCuts(c.make(rand.New(rand.NewPCG(seed, 99))), fmt.Sprint("series", seed))
			if slices.EqualFunc(last, c.want, func(got cut, want int) bool {
				return got.at-want <= c.slack && want-got.at <= c.slack && got.p <= Significance && got.p > 0
			}) {
				found++
			}
		}
		// Of a few series, those that may fail can all be among them.
		if least := series - (40 - c.least); found < least {
			t.Errorf("%s: in %d of %d series the changes are at %v, want so in %d or more; in the last they are at %v", c.name, found, series, c.want, least, last)
		}
	}
}

// alarms counts the series, of so many, that are split though nothing changes.
func alarms(series int, make func(*rand.Rand) []float64) (n int) {
	for i := range series {
		s := splitter{rng: rand.NewPCG(7, uint64(i))}
		v := make(rand.New(rand.NewPCG(uint64(i), 5)))
		_, _, split := s.split(v, permutations, Significance)
		if !split {
			_, _, split = s.within(v)
		}
		if split {
			n++
		}
	}
	return n
}

func TestFalseAlarms(t *testing.T) {
	const series = 2000 // 2 of them at Significance
	if testing.Short() {
		t.Skip("simulates ten thousand series")
	}
	for _, c := range []struct {
		name string
		make func(*rand.Rand) []float64
		most int
	}{
		{"normal", func(r *rand.Rand) []float64 { return noise(r, 100, 1) }, 8},
		{"long tails", func(r *rand.Rand) []float64 {
			v := noise(r, 100, 1)
			for i := range v {
				v[i] /= math.Abs(r.NormFloat64()) + 1e-3 // nearly Cauchy's
			}
			return v
		}, 8},
		{"long tails, a year", func(r *rand.Rand) []float64 {
			v := noise(r, 365, 1)
			for i := range v {
				v[i] /= math.Abs(r.NormFloat64()) + 1e-3
			}
			return v
		}, 12},
		{"normal, a year", func(r *rand.Rand) []float64 { return noise(r, 365, 1) }, 8},
		{"counts of three values, a year", func(r *rand.Rand) []float64 {
			v := noise(r, 365, 0)
			for i := range v {
				v[i] = float64(r.IntN(3))
			}
			return v
		}, 8},
		// What permutations do not hold against: the rate is a multiple of it.
		{"correlated by 0.3 from run to run", func(r *rand.Rand) []float64 {
			v := noise(r, 100, 1)
			for i := 1; i < len(v); i++ {
				v[i] += 0.3 * v[i-1]
			}
			return v
		}, 100},
	} {
		n := alarms(series, c.make)
		t.Logf("%s: %d of %d series are split", c.name, n, series)
		if n > c.most {
			t.Errorf("%s: %d of %d series are split, want at most %d", c.name, n, series, c.most)
		}
	}
}

// A drift becomes steps, each of them greater than what does not count.
func TestDrift(t *testing.T) {
	v := noise(rand.New(rand.NewPCG(4, 4)), 600, 0.01)
	for i := range v {
		v[i] += 0.20 * float64(i) / float64(len(v))
	}
	cuts := findCuts(v, "drift")
	if len(cuts) < 2 || len(cuts) > 9 {
		t.Errorf("a drift of 22 %% has %d changes, want 2 to 9: %v", len(cuts), cuts)
	}
	if again := findCuts(v, "drift"); !slices.Equal(cuts, again) {
		t.Errorf("the same series has changes at %v, then at %v", cuts, again)
	}
}

func BenchmarkPermutation(b *testing.B) {
	for _, n := range []int{100, 3650} {
		b.Run(fmt.Sprintf("runs=%d", n), func(b *testing.B) {
			s := splitter{rng: rand.NewPCG(1, 2)}
			s.load(noise(rand.New(rand.NewPCG(1, 1)), n, 1))
			for b.Loop() {
				s.shuffle()
				s.best()
			}
		})
	}
}

// How many runs after a change it is found, by how many were there before.
func TestDelay(t *testing.T) {
	const series = 15
	if testing.Short() {
		t.Skip("simulates a hundred series, each night anew")
	}
	for _, c := range []struct {
		sd     float64
		before int
		most   int // on average
	}{
		{0, 16, 16}, {0, 20, 5}, {0, 24, 5}, {0, 38, 4},
		{0.01, 20, 5}, {0.01, 40, 4}, {0.01, 100, 3}, {0.03, 100, 4}, {0.1, 100, 36},
	} {
		sum := 0
		for seed := range uint64(series) {
			all := add(noise(rand.New(rand.NewPCG(seed, 3)), c.before+40, c.sd), c.before, c.before+40, 0.10)
			n := MinSegment
			for n < 40 && len(findCuts(all[:c.before+n], fmt.Sprint(seed))) == 0 {
				n++
			}
			sum += n
		}
		got := float64(sum) / series
		t.Logf("noise %g, %d runs before: found after %.1f", c.sd, c.before, got)
		if got > float64(c.most) {
			t.Errorf("noise of %g: a step of 10 %% after %d runs is found after %.1f on average, want %d at most", c.sd, c.before, got, c.most)
		}
	}
}
