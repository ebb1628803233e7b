package verdict

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"iopath/internal/summary"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-4*math.Abs(want) }

func TestPaired(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	ones := []float64{1, 1, 1, 1, 1, 1}
	for _, c := range []struct {
		name       string
		a, b       []float64
		confidence float64
		want       Ratio
		ok         bool
	}{
		{"nothing", nil, nil, 0.95, Ratio{}, false},
		{"one side alone", []float64{1}, nil, 0.95, Ratio{}, false},
		{"one pair", []float64{6}, []float64{3}, 0.95, Ratio{Value: 2, N: 1}, true},
		{"five pairs", []float64{1, 2, 4, 8, 16}, ones, 0.95, Ratio{Value: 4, N: 5}, true},
		{"equal", ones, ones, 0.95, Ratio{Value: 1, Lo: 1, Hi: 1, Interval: true, N: 6}, true},
		{"always twice", []float64{2, 4, 6, 8, 10, 12}, []float64{1, 2, 3, 4, 5, 6}, 0.95, Ratio{Value: 2, Lo: 2, Hi: 2, Interval: true, N: 6}, true},
		// The logarithms are e times 1, -1, 1, -1, 1, -1: mean 0, standard
		// deviation sqrt(6/5). t with 5 degrees of freedom is 2.570582 at 95 %
		// and 4.032143 at 99 %, by the tables; times sqrt(1/5).
		{"to and fro", []float64{math.E, 1, math.E, 1, math.E, 1}, []float64{1, math.E, 1, math.E, 1, math.E}, 0.95,
			Ratio{Value: 1, Lo: math.Exp(-1.149599), Hi: math.Exp(1.149599), Interval: true, N: 6}, true},
		{"to and fro, at 99 %", []float64{math.E, 1, math.E, 1, math.E, 1}, []float64{1, math.E, 1, math.E, 1, math.E}, 0.99,
			Ratio{Value: 1, Lo: math.Exp(-1.803229), Hi: math.Exp(1.803229), Interval: true, N: 6}, true},
		// Logarithms 0, 0, 0, 0, 0, ln 2: mean and standard error ln(2)/6.
		{"one outlier", []float64{1, 1, 1, 1, 1, 2}, ones, 0.95,
			Ratio{Value: math.Exp2(1. / 6), Lo: math.Exp2((1 - 2.570582) / 6), Hi: math.Exp2((1 + 2.570582) / 6), Interval: true, N: 6}, true},
		{"pairs without a ratio", []float64{0, 2, -1, nan, inf, 2, 1e-300, 2}, []float64{1, 1, 1, 1, 1, 0, 1e300, 1}, 0.95, Ratio{Value: 2, N: 2}, true},
		{"unlike lengths", []float64{3, 3, 100}, []float64{1, 1}, 0.95, Ratio{Value: 3, N: 2}, true},
	} {
		got, ok := Paired(c.a, c.b, c.confidence)
		if ok != c.ok || got.N != c.want.N || got.Interval != c.want.Interval ||
			!near(got.Value, c.want.Value) || !near(got.Lo, c.want.Lo) || !near(got.Hi, c.want.Hi) {
			t.Errorf("%s: Paired(%v, %v, %v) = %+v, %v, want %+v, %v", c.name, c.a, c.b, c.confidence, got, ok, c.want, c.ok)
		}
	}
}

func TestPairedValues(t *testing.T) {
	a, b := []float64{6, 0, 8, 5}, []float64{3, 1, 2}
	got, want := PairedValues(a, b), []float64{2, 4}
	if !slices.Equal(got, want) {
		t.Errorf("PairedValues(%v, %v) = %v, want %v", a, b, got, want)
	}
	if a[0] != 6 || b[0] != 3 {
		t.Errorf("PairedValues changed what it was given: %v, %v", a, b)
	}
}

func TestBeyond(t *testing.T) {
	for _, c := range []struct {
		r    Ratio
		want bool
	}{
		{Ratio{Value: 2}, false}, // no interval
		{Ratio{Value: 2, Lo: 1.9, Hi: 2.1, Interval: true}, true},
		{Ratio{Value: 2, Lo: 0.9, Hi: 4, Interval: true}, false},
		{Ratio{Value: 1.01, Lo: 1.009, Hi: 1.011, Interval: true}, false},
		{Ratio{Value: 1.03, Lo: 1.001, Hi: 1.06, Interval: true}, true},
		{Ratio{Value: 0.5, Lo: 0.4, Hi: 0.6, Interval: true}, true},
		{Ratio{Value: 0.99, Lo: 0.989, Hi: 0.991, Interval: true}, false},
		{Ratio{Value: 0.5, Lo: 0.2, Hi: 1.1, Interval: true}, false},
	} {
		if got := c.r.Beyond(); got != c.want {
			t.Errorf("%+v.Beyond() = %v, want %v", c.r, got, c.want)
		}
	}
}

func TestTooFew(t *testing.T) {
	if got, want := (Ratio{N: 1}).TooFew(), "n=1: at least 6 rounds"; got != want {
		t.Errorf("of one pair: %q, want %q", got, want)
	}
	if got := (Ratio{N: 6, Interval: true}).TooFew(); got != "" {
		t.Errorf("of six pairs: %q, want none", got)
	}
}

func TestRatioText(t *testing.T) {
	for _, c := range []struct {
		r             Ratio
		times, bounds string
	}{
		{Ratio{Value: 2.41, Lo: 2.22, Hi: 2.61, Interval: true}, "2.4", "[2.2, 2.6]"},
		{Ratio{Value: 1.3, Lo: 1.04, Hi: 1.6, Interval: true}, "1.30", "[1.04, 1.60]"},
		{Ratio{Value: 12.2, Lo: 10.4, Hi: 14.3, Interval: true}, "12", "[10, 14]"},
		{Ratio{Value: 1.1919, Lo: 1.0031, Hi: 1.4162, Interval: true}, "1.192", "[1.003, 1.416]"},
		{Ratio{Value: 1.05, Lo: 1.0002, Hi: 1.1, Interval: true}, "1.0500", "[1.0002, 1.1000]"},
		{Ratio{Value: 0.9, Lo: 0.8, Hi: 0.9982, Interval: true}, "0.900", "[0.800, 0.998]"},
		{Ratio{Value: 1.05, Lo: 0.9982, Hi: 1.1, Interval: true}, "1.05", "[1.00, 1.10]"}, // counts for nothing
		{Ratio{Value: 3, N: 1}, "3.0", ""},
		{Ratio{Value: 4321, N: 1}, "4321", ""},
		{Ratio{Value: 1e295, N: 1}, "1e+295", ""},
	} {
		if times, bounds := c.r.Times(), c.r.Bounds(); times != c.times || bounds != c.bounds {
			t.Errorf("%+v: %q, %q, want %q, %q", c.r, times, bounds, c.times, c.bounds)
		}
	}
}

// results reads cells in the order given, each of so many rounds.
func results(t *testing.T, unit string, cells map[string][]float64) *summary.Results {
	t.Helper()
	var b strings.Builder
	b.WriteString("Unit jobs/s better=higher\n")
	for name, values := range cells {
		for _, v := range values {
			fmt.Fprintf(&b, "Benchmark%s 1 %v %s\n", name, v, unit)
		}
	}
	r, err := summary.Read(summary.Input{Name: "made up", Reader: strings.NewReader(b.String())})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// around makes six rounds of a value, whose noise is smaller than its distance
// to any other value here.
func around(v float64) []float64 {
	return []float64{v, v * 1.01, v * 0.99, v * 1.005, v * 0.995, v}
}

func methods(cells []*summary.Cell) (names []string) {
	for _, c := range cells {
		names = append(names, c.Key("/method"))
	}
	return names
}

func TestStandings(t *testing.T) {
	cells := map[string][]float64{
		"R/block=4KiB/method=null": around(1),
		"R/block=4KiB/method=a":    around(200),
		"R/block=4KiB/method=a+x":  around(100),
		"R/block=4KiB/method=a+y":  {101, 99, 100, 101, 99, 101},
		"R/block=4KiB/method=b":    around(150),
		"R/block=64KiB/method=a":   around(100),
		"R/block=64KiB/method=a+x": around(103),
		"R/block=64KiB/method=b":   {99, 101, 103, 98, 102, 104},
		"Q/method=only":            around(1),
		"Q/other=1":                around(1),
		"Few/method=a":             {1},
		"Few/method=b":             {100},
		"Zero/method=a":            {0, 0, 0, 0, 0, 0},
		"Zero/method=b":            around(1),
	}
	family := func(method string) string {
		family, _, _ := strings.Cut(method, "+")
		return family
	}
	type row struct {
		head, best string
		tied       []string
		rival      string
		leads      bool
	}
	for _, c := range []struct {
		name, unit, filter string
		o                  Options
		want               []row
	}{
		{"each its own family", "ns/op", "*", Options{Leave: []string{"null"}}, []row{
			{"Few[]", "a", []string{"b"}, "b", false},
			{"Q[]", "only", nil, "", false},
			{"R[block=4KiB]", "a+x", []string{"a+y"}, "a+y", false},
			{"R[block=64KiB]", "a", []string{"b"}, "b", false},
			{"Zero[]", "a", []string{"b"}, "b", false},
		}},
		{"families", "ns/op", ".name:R", Options{Leave: []string{"null"}, Family: family}, []row{
			{"R[block=4KiB]", "a+x", []string{"a+y"}, "b", true},
			{"R[block=64KiB]", "a", []string{"b"}, "b", false},
		}},
		{"higher is better", "jobs/s", ".name:R /block:4KiB", Options{}, []row{
			{"R[block=4KiB]", "a", nil, "b", true},
		}},
		{"null competes", "ns/op", ".name:R /block:4KiB", Options{}, []row{
			{"R[block=4KiB]", "null", nil, "a+x", true},
		}},
		{"another series", "ns/op", ".name:R /method:(a OR b)", Options{Series: "/block"}, []row{
			{"R[method=a]", "64KiB", nil, "4KiB", true},
			{"R[method=b]", "64KiB", nil, "4KiB", true},
		}},
		{"a unit that is not there", "B/s", "*", Options{}, nil},
	} {
		unit := c.unit
		if unit == "ns/op" {
			unit = "sec/op"
		}
		file := c.unit
		if file == "B/s" {
			file = "ns/op"
		}
		standings, err := Standings(results(t, file, cells), c.filter, unit, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []row
		for _, s := range standings {
			series := "/method"
			if c.o.Series != "" {
				series = c.o.Series
			}
			r := row{head: s.Name + fmt.Sprint(s.Head), best: s.Best.Key(series), tied: methods(s.Tied), leads: s.Leads}
			if s.Rival != nil {
				r.rival = s.Rival.Key(series)
			}
			got = append(got, r)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: Standings(%q)\n got %+v\nwant %+v", c.name, c.filter, got, c.want)
		}
	}
}

func TestStandingsBadFilter(t *testing.T) {
	_, err := Standings(results(t, "ns/op", map[string][]float64{"A/method=a": {1}}), "(", "sec/op", Options{})
	if !errors.Is(err, summary.ErrInput) {
		t.Errorf("Standings of a bad filter: %v, want ErrInput", err)
	}
}

func TestAgainst(t *testing.T) {
	r := results(t, "ns/op", map[string][]float64{
		"R/method=fast": around(100), "R/method=slow": around(200), "R/method=slower": around(400),
	})
	standings, err := Standings(r, "*", "sec/op", Options{})
	if err != nil || len(standings) != 1 {
		t.Fatalf("got %d standings and %v, want one", len(standings), err)
	}
	s := standings[0]
	if got, want := s.Confidence(), 0.975; got != want {
		t.Errorf("confidence of each of two comparisons: %v, want %v", got, want)
	}
	for _, c := range []struct {
		value string
		want  float64
		ok    bool
	}{{"slow", 2, true}, {"slower", 4, true}, {"fast", 1, true}, {"none", 0, false}} {
		got, ok := s.Against(c.value)
		if ok != c.ok || !near(got.Value, c.want) {
			t.Errorf("Against(%q) = %+v, %v, want %v, %v", c.value, got, ok, c.want, c.ok)
		}
	}
	if s.Lead != mustAgainst(t, s, "slow") {
		t.Errorf("lead %+v, want that over the next", s.Lead)
	}
}

// Whoever lets all methods compete and whoever only watches some say the same of a
// pair.
func TestWatch(t *testing.T) {
	r := results(t, "ns/op", map[string][]float64{
		"R/method=fast": around(100), "R/method=slow": {101, 113, 102, 110, 104, 109}, "R/method=api": around(90), "R/method=slower": around(400),
		"Api/method=api": around(100),
	})
	one := func(o Options) Standing {
		t.Helper()
		standings, err := Standings(r, "*", "sec/op", o)
		if err != nil || len(standings) == 0 || standings[len(standings)-1].Name != "R" {
			t.Fatalf("got %+v and %v, want R at the end", standings, err)
		}
		if watches := len(o.Watch) > 0; watches != (len(standings) == 1) {
			t.Errorf("%d standings of %+v, want none of those who are only watched", len(standings), o)
		}
		return standings[len(standings)-1]
	}
	all, watched := one(Options{}), one(Options{Watch: []string{"api"}})
	if got, want := watched.Confidence(), all.Confidence(); got != want {
		t.Errorf("confidence %v with a watched method, want %v as among all", got, want)
	}
	if got, want := methods(watched.Cells), []string{"fast", "slow", "slower"}; !slices.Equal(got, want) {
		t.Errorf("%q compete, want %q", got, want)
	}
	left, err := Standings(r, ".name:R", "sec/op", Options{Leave: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	if narrow, wide := mustAgainst(t, left[0], "slow"), mustAgainst(t, watched, "slow"); wide.Lo >= narrow.Lo || wide.Value != narrow.Value {
		t.Errorf("against slow %+v, want the figure of %+v in a wider interval", wide, narrow)
	}
}

func mustAgainst(t *testing.T, s Standing, value string) Ratio {
	t.Helper()
	r, ok := s.Against(value)
	if !ok {
		t.Fatalf("%s is not among the cells", value)
	}
	return r
}

// A machine makes up the rounds of methods: log-normal noise of 10 %, and more.
type machine struct {
	drift    float64 // of a whole round, common to all methods
	outliers float64 // share of measurements that take twice as long
}

func (m machine) contest(rng *rand.Rand, times []float64, rounds int) *contest {
	values := map[string][]float64{}
	c := &contest{pair: func(a, b entry) (of, and []float64) { return values[a.value], values[b.value] }}
	for i := range times {
		value := fmt.Sprint(i)
		c.entries = append(c.entries, entry{value: value, family: value})
	}
	for range rounds {
		round := m.drift * rng.NormFloat64()
		for i, v := range times {
			v *= math.Exp(round + 0.1*rng.NormFloat64())
			if rng.Float64() < m.outliers {
				v *= 2
			}
			values[fmt.Sprint(i)] = append(values[fmt.Sprint(i)], v)
		}
	}
	for i := range c.entries {
		sorted := slices.Sorted(slices.Values(values[c.entries[i].value]))
		c.entries[i].median = (sorted[(rounds-1)/2] + sorted[rounds/2]) / 2
	}
	c.rank()
	return c
}

// Of methods that are alike none must lead, nor be better than one that was
// chosen beforehand, in more than 5 % of the runs; with a method twice as fast as
// the others this must be found in 95 %.
func TestSimulation(t *testing.T) {
	const methods, rounds, trials = 17, 6, 2000
	for _, c := range []struct {
		name string
		m    machine
	}{
		{"noise", machine{}},
		{"drift", machine{drift: 0.3}},
		{"outliers", machine{outliers: 0.05}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			alike := make([]float64, methods)
			for i := range alike {
				alike[i] = 1
			}
			leads, beats := 0, 0
			for range trials {
				contest := c.m.contest(rng, alike, rounds)
				if contest.leads() {
					leads++
				}
				if chosen := slices.IndexFunc(contest.entries, func(e entry) bool { return e.value == "0" }); chosen > 0 && contest.beats(chosen) {
					beats++
				}
			}
			t.Logf("false leads: %d, false gains over a baseline: %d of %d", leads, beats, trials)
			if most := trials / 20; leads > most || beats > most {
				t.Errorf("of %d methods that are alike one leads in %d of %d runs, and is better than a given one in %d, want at most %d", methods, leads, trials, beats, most)
			}
			if c.m.outliers > 0 {
				return // they hide a lead, which is the safe side
			}
			alike[3], leads = 0.5, 0
			for range trials {
				if contest := c.m.contest(rng, alike, rounds); contest.entries[0].value == "3" && contest.leads() {
					leads++
				}
			}
			t.Logf("true leads: %d of %d", leads, trials)
			if leads < trials*95/100 {
				t.Errorf("a method twice as fast as %d others is found in %d of %d runs, want 95 %%", methods-1, leads, trials)
			}
		})
	}
}

// A failed round on one side shifts no other: two equal methods under drift stay equal.
func TestStandingsPairByRound(t *testing.T) {
	var text strings.Builder
	for round := range 8 {
		v := math.Pow(1.06, float64(round))
		fmt.Fprintf(&text, "# round %d: seed=1\n", round+1)
		for i, method := range []string{"mmap", "pread"} {
			if round > 0 || i > 0 {
				fmt.Fprintf(&text, "BenchmarkRead/method=%s 1 %v ns/op\n", method, 1e6*v*(1+0.001*float64((round+i)%3)))
			}
		}
	}
	r, err := summary.Read(summary.Input{Name: "drift", Reader: strings.NewReader(text.String())})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Standings(r, "*", "sec/op", Options{Series: "/method"})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d standings, %v", len(all), err)
	}
	if s := all[0]; s.Leads || s.Lead.N != 7 || s.Lead.Beyond() {
		t.Errorf("%s leads with %+v, want nothing told apart over 7 rounds", s.Best.Name, s.Lead)
	}
}
