package trial

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNoise has shares in percent; what is below zero is not known.
type fakeNoise struct{ steal, cpu, io float64 }

func (n fakeNoise) String() string { return fmt.Sprintf("steal=%g%%", n.steal) }

func (n fakeNoise) Share(name string) (float64, bool) {
	v := map[string]float64{"steal": n.steal, "psi-cpu": n.cpu, "psi-io": n.io}[name]
	return max(0, v/100), v >= 0
}

func TestSettle(t *testing.T) {
	var (
		calm  = fakeNoise{0, 2, 1}
		slow  = []time.Duration{100, 103}
		fine  = []time.Duration{100, 102}
		equal = []time.Duration{100, 100}
	)
	for _, test := range []struct {
		name  string
		limit time.Duration
		noise func(k int) fakeNoise // over the windows that begin with the k-th, counted from 1
		work  func(k int) []time.Duration
		want  string
	}{
		{"at rest", 5 * time.Second,
			func(int) fakeNoise { return calm },
			func(k int) []time.Duration { return [][]time.Duration{fine, equal}[k%2] },
			"# settle: 1s, then steal=0% work=2.0%\n"},
		{"nothing is known but the work", 5 * time.Second,
			func(int) fakeNoise { return fakeNoise{-1, -1, -1} },
			func(int) []time.Duration { return equal },
			"# settle: 1s, then steal=-1% work=0.0%\n"},
		{"steal for two windows", 5 * time.Second,
			func(k int) fakeNoise { return fakeNoise{max(0, float64(3-k)), 0, 0} },
			func(int) []time.Duration { return equal },
			"# settle: 1.5s, then steal=0% work=0.0%\n"},
		{"slow clock for one window", 5 * time.Second,
			func(int) fakeNoise { return calm },
			func(k int) []time.Duration {
				if k == 1 {
					return slow
				}
				return equal
			},
			"# settle: 1.25s, then steal=0% work=0.0%\n"},
		{"others at the CPU and the disk", 2 * time.Second,
			func(int) fakeNoise { return fakeNoise{0, 3, 3} },
			func(int) []time.Duration { return equal },
			"# settle: 2s, and still steal=0% work=0.0%\n"},
		{"work varies on the second CPU", 5 * time.Second,
			func(int) fakeNoise { return calm },
			func(k int) []time.Duration { return [][]time.Duration{slow, equal}[k%2] },
			"# settle: 5s, and still steal=0% work=3.0%\n"},
		{"limit below four windows", 600 * time.Millisecond,
			func(int) fakeNoise { return calm },
			func(int) []time.Duration { return equal },
			"# settle: 600ms, and still steal=0% work=0.0%\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun, spun := 0, 0
			watch := func() func() Noise {
				begun++
				k := begun
				return func() Noise { return test.noise(k) }
			}
			spin := func(_ context.Context, length time.Duration) []time.Duration {
				time.Sleep(length)
				spun++
				return test.work(spun)
			}
			if got := settle(t.Context(), test.limit, watch, spin); got != test.want {
				t.Errorf("%s: settle = %q, want %q", test.name, got, test.want)
			}
		})
	}
}

// Ctrl-C ends the real thing at once.
func TestSettleInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	got := settle(ctx, time.Hour, func() func() Noise { return func() Noise { return fakeNoise{} } }, spinner([]int{0}))
	if took := time.Since(began); took > 10*time.Second || !strings.Contains(got, "and still") {
		t.Errorf("settle = %q after %v, want it to end at once", got, took)
	}
}

func TestSpinner(t *testing.T) {
	for _, test := range []struct {
		cpus []int
		want int // works, at least
	}{{nil, 1}, {[]int{0}, 1}, {[]int{1 << 20}, 1}} { // no such CPU: not pinned
		got := spinner(test.cpus)(t.Context(), time.Millisecond)
		if len(got) != test.want || got[0] <= 0 {
			t.Errorf("CPUs %v: works take %v, want %d above zero", test.cpus, got, test.want)
		}
	}
}
