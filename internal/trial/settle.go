package trial

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A Noise is what the machine did to its processes over a stretch of time. It
// prints as key=value words.
type Noise interface {
	fmt.Stringer
	// Share returns a part of it, between 0 and 1: "steal" of all CPUs' time,
	// "psi-cpu" and "psi-io" of the wall time. known is false where the machine
	// does not tell.
	Share(name string) (share float64, known bool)
}

// A Watch begins a stretch. What it returns tells the noise from then until it
// is called, and can be called again.
type Watch func() func() Noise

// When a machine counts as at rest: over the last so many windows together it is
// quiet, and in each of them a fixed piece of work takes the same time. One window
// alone is too short for steal, which comes in ticks of 10 ms.
const (
	settleWindow  = 250 * time.Millisecond
	settleWindows = 4
	quietSteal    = 0.01 // share of the CPUs' time, less than
	quietPressure = 0.05 // psi-cpu and psi-io together, less than
	steadyWork    = 0.03 // slowest window over fastest, less 1
)

// settle waits until the machine is at rest, at most for the limit, and returns
// the line that says how that went.
//
// spin keeps the CPUs busy for so long, which brings up their clocks, and
// returns how long the work took on each. One spinning thread a CPU makes
// nobody wait by itself: whatever waits meanwhile is somebody else's doing, so
// that psi-cpu is the demand of others for these CPUs.
func settle(ctx context.Context, limit time.Duration, watch Watch, spin func(context.Context, time.Duration) []time.Duration) string {
	type window struct {
		noise func() Noise // since its begin
		work  []time.Duration
	}
	var last []window
	for began := time.Now(); ; {
		w := window{noise: watch()}
		w.work = spin(ctx, min(settleWindow, limit-time.Since(began)))
		if last = append(last, w); len(last) > settleWindows {
			last = last[1:]
		}
		noise := last[0].noise()
		works := make([][]time.Duration, len(last))
		for i, w := range last {
			works[i] = w.work
		}
		vary := variation(works)
		verdict := ""
		took := time.Since(began)
		switch {
		case len(last) == settleWindows && quiet(noise) && vary < steadyWork:
			verdict = "then"
		case took >= limit || ctx.Err() != nil:
			verdict = "and still"
		default:
			continue
		}
		return fmt.Sprintf("# settle: %v, %s %v work=%.1f%%\n", took.Round(10*time.Millisecond), verdict, noise, 100*vary)
	}
}

// quiet reports whether others left the CPUs and the disks alone. What is not
// known does not count.
func quiet(n Noise) bool {
	steal, _ := n.Share("steal")
	cpu, _ := n.Share("psi-cpu")
	io, _ := n.Share("psi-io")
	return steal < quietSteal && cpu+io < quietPressure
}

// variation is how much longer the work took in the slowest window than in the
// fastest, as a share, on the CPU where that is most.
func variation(windows [][]time.Duration) (most float64) {
	for cpu := range windows[0] {
		var took []time.Duration
		for _, w := range windows {
			took = append(took, w[cpu])
		}
		if fastest := slices.Min(took); fastest > 0 {
			most = max(most, float64(slices.Max(took))/float64(fastest)-1)
		}
	}
	return most
}

// spinner returns settle's spin over the CPUs, or over one that the kernel
// chooses where there are none to choose from.
func spinner(cpus []int) func(context.Context, time.Duration) []time.Duration {
	// More threads than Go runs at once would wait for one another.
	cpus = slices.Clone(cpus[:min(len(cpus), runtime.GOMAXPROCS(0))])
	if len(cpus) == 0 {
		cpus = []int{-1}
	}
	buf := make([][]uint64, len(cpus))
	for i := range buf {
		buf[i] = make([]uint64, 8<<20/8)
	}
	return func(ctx context.Context, length time.Duration) []time.Duration {
		medians := make([]time.Duration, len(cpus))
		var all sync.WaitGroup
		for i, cpu := range cpus {
			all.Go(func() {
				// Pinned and never unlocked: the thread ends with its goroutine.
				runtime.LockOSThread()
				pin(cpu)
				medians[i] = work(ctx, length, buf[i])
			})
		}
		all.Wait()
		return medians
	}
}

// work goes over the buffer until the time is up, and returns the median time of
// one pass: a pass that something cut into does not count, a slow clock does.
func work(ctx context.Context, length time.Duration, buf []uint64) time.Duration {
	var passes []time.Duration
	for began := time.Now(); ; {
		start := time.Now()
		var x uint64
		for _, w := range buf {
			x ^= w
		}
		buf[0] = x // or the compiler would leave out the loads
		passes = append(passes, time.Since(start))
		if time.Since(began) >= length || ctx.Err() != nil {
			break
		}
	}
	slices.Sort(passes)
	return passes[len(passes)/2]
}
