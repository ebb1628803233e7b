package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/perf/benchmath"
)

// A series makes the noise of measurements one after another, as logarithms.
type series func(*rand.Rand) func() float64

// machines have noise of about 5 %, of the kinds that are seen on shared ones.
var machines = map[string]series{
	"independent": func(r *rand.Rand) func() float64 {
		return func() float64 { return 0.05 * r.NormFloat64() }
	},
	// Each measurement has four fifths of the trouble of the one before.
	"autocorrelated": func(r *rand.Rand) func() float64 {
		x := 0.0
		return func() float64 {
			x = 0.8*x + 0.05*math.Sqrt(1-0.8*0.8)*r.NormFloat64()
			return x
		}
	},
	"drifting": func(r *rand.Rand) func() float64 {
		t, slope := 0.0, (r.Float64()-0.5)/200
		return func() float64 { t++; return slope*t + 0.05*r.NormFloat64() }
	},
	// A neighbour comes and goes, some dozens of measurements each time.
	"bimodal": func(r *rand.Rand) func() float64 {
		slow := false
		return func() float64 {
			if r.IntN(30) == 0 {
				slow = !slow
			}
			x := 0.02 * r.NormFloat64()
			if slow {
				x += 0.15
			}
			return x
		}
	},
	// One in 25 takes half as long again, or many times as long.
	"outliers": func(r *rand.Rand) func() float64 {
		return func() float64 {
			x := 0.03 * r.NormFloat64()
			if r.IntN(25) == 0 {
				x += 0.5 * r.ExpFloat64()
			}
			return x
		}
	},
	"ties": func(r *rand.Rand) func() float64 {
		return func() float64 { return math.Round(r.NormFloat64()*0.05/0.04) * 0.04 }
	},
}

// simulate makes a run in time: round by round, row by row, the sides in random order.
func simulate(rng *rand.Rand, noise func() float64, rows, rounds int, slow float64) string {
	var f file
	sides := []string{Base, Again, Head}
	for k := 1; k <= rounds; k++ {
		f.round(k)
		for _, row := range rng.Perm(rows) {
			rng.Shuffle(len(sides), func(i, j int) { sides[i], sides[j] = sides[j], sides[i] })
			for _, side := range sides {
				v := 1e7 * math.Exp(noise())
				if side == Head && row == 0 {
					v *= slow
				}
				f.line(side, fmt.Sprintf("Row%d", row), fmt.Sprintf("%.0f", v), "ns/op")
			}
		}
	}
	return f.String()
}

// calledWorse judges a simulated run as iopath regress does.
func calledWorse(t *testing.T, rng *rand.Rand, m series, rows, rounds int, slow float64) bool {
	noise := m(rng)
	first := simulate(rng, noise, rows, rounds, slow)
	j := judge(t, first, "", Rules{})
	if len(j.Suspects()) > 0 {
		j = judge(t, first, simulate(rng, noise, rows, rounds, slow), Rules{})
	}
	return j.Outcome == Regression
}

// On each machine at most one run in a hundred of a thing against itself is called a
// regression, and a row a tenth slower is found in 95 of 100. Beside it, what the usual
// way says of a row: all of base, then all of head, by a rank test at 5 %.
func TestFalseAlarmsAndPower(t *testing.T) {
	runs := 400
	if testing.Short() {
		runs = 60
	}
	const rows, rounds = 8, 24
	for name, m := range machines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(2026, 11))
			alarms, found, usual := 0, 0, 0
			for range runs {
				if calledWorse(t, rng, m, rows, rounds, 1) {
					alarms++
				}
				if calledWorse(t, rng, m, rows, rounds, 1.1) {
					found++
				}
				noise := m(rng)
				one := make([][]float64, 2)
				for i := range one {
					for range rounds {
						one[i] = append(one[i], math.Exp(noise()))
					}
				}
				c := benchmath.AssumeNothing.Compare(
					benchmath.NewSample(one[0], &benchmath.DefaultThresholds), benchmath.NewSample(one[1], &benchmath.DefaultThresholds))
				if c.P < 0.05 {
					usual++
				}
			}
			share := func(n int) float64 { return float64(n) / float64(runs) }
			t.Logf("%d runs of %d rows, %d rounds: called worse %.1f %%, a row 10 %% slower found %.1f %%; one row, one side after the other, rank test: %.1f %% false alarms",
				runs, rows, rounds, 100*share(alarms), 100*share(found), 100*share(usual))
			// Three standard errors of a share of 0.01, and of one of 0.95.
			if slack := 3 * math.Sqrt(0.01*0.99/float64(runs)); share(alarms) > 0.01+slack {
				t.Errorf("called worse: %d of %d, want at most 1 %%", alarms, runs)
			}
			if slack := 3 * math.Sqrt(0.95*0.05/float64(runs)); share(found) < 0.95-slack {
				t.Errorf("a row 10 %% slower found: %d of %d, want 95 %%", found, runs)
			}
			if strings.HasPrefix(name, "auto") && share(usual) < 0.1 {
				t.Errorf("the usual way errs in %.1f %% here; the simulated machine is no noisy one", 100*share(usual))
			}
		})
	}
}
