package history

import (
	"cmp"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"iopath/internal/verdict"
)

// MinSegment is the least number of runs on either side of a change.
const MinSegment = 3

// MinRuns is the least number of runs that have two segments.
const MinRuns = 2 * MinSegment

// Significance is the probability with which a segment in which nothing changes is
// split all the same. See the package comment.
const Significance = 0.001

// permutations make the least p a twentieth of a percent, so that one of them may
// reach the statistic by chance and the answer still is yes. Of a window, which is
// picked by looking, none may of five times as many.
const (
	permutations       = 1999
	windowPermutations = 9999
	windowSignificance = 0.0001
)

// A cut is a change in a series of logarithms: its segments are [:at] and [at:].
type cut struct {
	at int
	p  float64
}

// findCuts returns the changes of a series, in order. The name seeds the permutations:
// the same series under the same name gives the same answer.
func findCuts(values []float64, name string) []cut {
	h := fnv.New64a()
	h.Write([]byte(name))
	s := splitter{rng: rand.NewPCG(0x10fa7401, h.Sum64())}
	var cuts []cut
	// A stack in place of recursion: under a drift, splits can be one below another.
	for todo := [][2]int{{0, len(values)}}; len(todo) > 0; {
		lo, hi := todo[len(todo)-1][0], todo[len(todo)-1][1]
		todo = todo[:len(todo)-1]
		at, p, ok := s.split(values[lo:hi], permutations, Significance)
		if ok {
			at = place(values[lo:hi], at)
		} else if at, p, ok = s.within(values[lo:hi]); !ok {
			continue
		}
		cuts = append(cuts, cut{lo + at, p})
		todo = append(todo, [2]int{lo, lo + at}, [2]int{lo + at, hi})
	}
	slices.SortFunc(cuts, func(a, b cut) int { return cmp.Compare(a.at, b.at) })
	settle(values, cuts)
	return dropSmall(values, cuts)
}

// settle looks for the place of each change again between its neighbours: those to
// its right were found after it.
func settle(values []float64, cuts []cut) {
	for i := range cuts {
		lo, hi := bounds(cuts, i, len(values))
		cuts[i].at = lo + place(values[lo:hi], cuts[i].at-lo)
	}
}

// place returns where a segment that is split near at is split best: where the
// distances of its values from the medians of their sides have the least sum.
//
// The greatest statistic tells that there is a change and not quite where: a median
// is that of the majority, so the statistic of a step 10 runs ago stays as high while
// the right side takes in 9 runs from before it, and it grows as the sides come to
// be of one length. A change at the wrong run names the wrong commits.
func place(values []float64, at int) int {
	for range 10 { // it settles after two or three
		left, right := median(values[:at]), median(values[at:])
		best, least, sum := at, math.Inf(1), 0.0
		// What moving the split costs, from the leftmost one on.
		for t := 1; t <= len(values)-MinSegment; t++ {
			sum += math.Abs(values[t-1]-left) - math.Abs(values[t-1]-right)
			if t >= MinSegment && sum < least {
				best, least = t, sum
			}
		}
		if best == at {
			break
		}
		at = best
	}
	return at
}

// bounds are the ends of the two segments beside a cut.
func bounds(cuts []cut, i, n int) (lo, hi int) {
	hi = n
	if i > 0 {
		lo = cuts[i-1].at
	}
	if i+1 < len(cuts) {
		hi = cuts[i+1].at
	}
	return lo, hi
}

// dropSmall joins segments that are within verdict.MinLead of each other, those
// nearest to each other first.
func dropSmall(values []float64, cuts []cut) []cut {
	for {
		least, at := math.Log(verdict.MinLead), -1
		for i := range cuts {
			lo, hi := bounds(cuts, i, len(values))
			if step := distance(values[lo:cuts[i].at], values[cuts[i].at:hi]); step < least {
				least, at = step, i
			}
		}
		if at < 0 {
			return cuts
		}
		cuts = slices.Delete(cuts, at, at+1)
	}
}

// clearly is how many of n values have to be beyond a level for the median of n to be
// said to be so: half of them and half a root of n, a standard deviation of what
// chance does to half of n. All of three, three of four, four of five, six of nine,
// 55 of 100.
//
// With the bare median the statistic is blind on short sides: three nights of a change
// are the median of five, so any order that has them among the last five does as well,
// and one in 200 orders of 30 nights has. And two spikes are the median of three.
func clearly(n int) int { return int(math.Ceil((float64(n) + math.Sqrt(float64(n))) / 2)) }

// distance is how far apart two sides are: from what clearly is the median of one, to
// what clearly is that of the other.
func distance(a, b []float64) float64 {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	above := func(high, low []float64) float64 {
		return high[len(high)-clearly(len(high))] - low[clearly(len(low))-1]
	}
	return max(0, above(a, b), above(b, a))
}

// median of values, which stay as they are.
func median(values []float64) float64 {
	return middle(slices.Sorted(slices.Values(values)))
}

// middle is the median of ascending values.
func middle(v []float64) float64 { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

// A splitter tests segments. Its slices are kept from one to the next.
//
// The statistic needs two order statistics of all prefixes and all suffixes. They come
// from a list of the values in ascending order, from which these are taken out one by
// one while two fingers stay near the median: O(n) for each permutation, where heaps
// need O(n log n).
type splitter struct {
	rng    *rand.PCG
	sorted []float64 // ascending; 1-based, so that 0 and n+1 end the list
	order  []int32   // of the segment: the place in sorted of its k-th value
	list   []link    // by place in sorted
	clear  []int32   // of each number of values
	left   []levels  // of the prefixes, by their length
	weight []float64 // of a split, by the length of its prefix
}

// A link is a value's neighbours among those not taken out yet.
type link struct{ next, prev int32 }

// levels are what the median of some values clearly is not below, and not above: places
// in sorted, of which most comparisons need no more than their order.
type levels struct{ low, high int32 }

// A finger is on a value of the list.
type finger struct {
	at, rank int32 // its place in sorted, and which of the list it is
}

// load takes a segment.
func (s *splitter) load(values []float64) {
	n := len(values)
	s.sorted = append(append(append(s.sorted[:0], 0), values...), 0)
	slices.Sort(s.sorted[1 : n+1])
	places := make([]int32, n) // indices of values, ascending by value
	for i := range places {
		places[i] = int32(i)
	}
	slices.SortFunc(places, func(a, b int32) int {
		return cmp.Or(cmp.Compare(values[a], values[b]), cmp.Compare(a, b))
	})
	s.order = slices.Grow(s.order[:0], n)[:n]
	for rank, i := range places {
		s.order[i] = int32(rank + 1)
	}
	s.list = slices.Grow(s.list[:0], n+2)[:n+2]
	s.left = slices.Grow(s.left[:0], n+1)[:n+1]
	s.weight = s.weight[:0]
	for t := range n + 1 {
		s.weight = append(s.weight, float64(t)*float64(n-t)/float64(n))
	}
	for k := len(s.clear); k <= n; k++ {
		s.clear = append(s.clear, int32(clearly(k)))
	}
}

// split returns where the statistic of a segment is greatest, and with which p; it
// is false where that is above the significance asked for.
func (s *splitter) split(values []float64, permutations int, significance float64) (at int, p float64, ok bool) {
	if len(values) < MinRuns {
		return 0, 1, false
	}
	s.load(values)
	at, q := s.best()
	if q == 0 {
		return at, 1, false
	}
	// As soon as more than these have reached q, the answer is no: on a segment
	// without a change that takes some ten permutations, not all.
	n := permutations + 1
	spare := int(math.Round(significance*float64(n))) - 1
	reached := 0
	for range permutations {
		s.shuffle()
		// Of equal values, sums come out alike but for their last bits.
		if _, other := s.best(); other >= q*(1-1e-12) {
			if reached++; reached > spare {
				return at, 1, false
			}
		}
	}
	return at, float64(1+reached) / float64(n), true
}

// What within looks at: windows of at least so many runs, and those whose statistic is
// at least so many times the square of the noise. Of normal noise, the greatest over
// all windows of ten years is about 30 times it.
const (
	leastWindow = 32
	standsOut   = 50
	candidates  = 3
)

// within splits a segment that is none as a whole: what came and went again is a
// minority on either side of any split, and moves the median of neither. Of a window
// about its beginning it is half.
//
// The windows are those of seeded binary segmentation (Kovács, Bühlmann, Li, Munk,
// Biometrika 2023): of half the length, a quarter and so on, each half over the next.
// Were each of them tested, each would have its chance of a false alarm; so only what
// stands out beyond doubt is, and has to pass a stricter test than a whole segment.
func (s *splitter) within(values []float64) (at int, p float64, ok bool) {
	type window struct {
		lo, hi int
		q      float64
	}
	var found []window
	bar := standsOut * squareNoise(values)
	for length := len(values) / 2; length >= leastWindow; length /= 2 {
		for lo := 0; lo < len(values); lo += length / 2 {
			w := window{lo: min(lo, len(values)-length), hi: min(lo+length, len(values))}
			s.load(values[w.lo:w.hi])
			if _, w.q = s.best(); w.q > bar {
				found = append(found, w)
			}
			if w.hi == len(values) {
				break
			}
		}
	}
	slices.SortStableFunc(found, func(a, b window) int { return cmp.Compare(b.q, a.q) })
	for _, w := range found[:min(len(found), candidates)] {
		if at, p, ok := s.split(values[w.lo:w.hi], windowPermutations, windowSignificance); ok {
			return w.lo + place(values[w.lo:w.hi], at), p, true
		}
	}
	return 0, 1, false
}

// squareNoise is the variance from run to run, by the median of the steps between
// neighbours: neither a change nor spikes make it much greater.
func squareNoise(values []float64) float64 {
	if len(values) < 2 {
		return 0
	}
	steps := make([]float64, len(values)-1)
	for i := range steps {
		steps[i] = math.Abs(values[i+1] - values[i])
	}
	const ofNormal = 0.6745 // the median of a normal distribution's absolute values
	sd := median(steps) / ofNormal / math.Sqrt2
	return sd * sd
}

// shuffle is that of Fisher and Yates. Its bias, of n in 2^32, is far below what the
// permutations can tell.
func (s *splitter) shuffle() {
	order := s.order
	for i := len(order) - 1; i > 0; {
		r := s.rng.Uint64()
		for _, word := range [2]uint64{r & math.MaxUint32, r >> 32} {
			j := word * uint64(i+1) >> 32
			order[i], order[j] = order[j], order[i]
			if i--; i == 0 {
				break
			}
		}
	}
}

// best returns the split with the greatest statistic, the first of equals.
func (s *splitter) best() (at int, q float64) {
	n := len(s.order)
	low, high := s.fill()
	for t := n; ; t-- {
		s.left[t] = levels{low.at, high.at}
		if t == MinSegment {
			break
		}
		s.take(s.order[t-1], t-1, &low, &high)
	}
	low, high = s.fill()
	for t := 0; ; t++ {
		if t >= MinSegment {
			// Of one side, at most: they mostly overlap.
			l, above, below := s.left[t], int32(0), int32(0)
			if l.low > high.at {
				above, below = l.low, high.at
			} else if low.at > l.high {
				above, below = low.at, l.high
			}
			if above > 0 {
				d := s.sorted[above] - s.sorted[below]
				if v := s.weight[t] * d * d; v > q {
					at, q = t, v
				}
			}
		}
		if t == n-MinSegment {
			return at, q
		}
		s.take(s.order[t], n-t-1, &low, &high)
	}
}

// fill puts all values into the list, and the fingers on theirs.
func (s *splitter) fill() (low, high finger) {
	for i := range s.list {
		s.list[i] = link{int32(i + 1), int32(i - 1)}
	}
	n := int32(len(s.order))
	k := s.clear[n]
	return finger{n - k + 1, n - k + 1}, finger{k, k}
}

// take takes a value out of the list, of which n stay, and moves the fingers.
func (s *splitter) take(r int32, n int, low, high *finger) {
	list := s.list
	gone := list[r]
	list[gone.prev].next, list[gone.next].prev = gone.next, gone.prev
	k := s.clear[n]
	low.move(list, r, gone, int32(n)-k+1)
	high.move(list, r, gone, k)
}

// move goes to the value of a rank once r is gone: one step at most, as clearly of one
// value less is the same or one less. Which way it goes is a toss-up for the processor
// too, so there is no branch to guess, only choices.
func (f *finger) move(list []link, r int32, gone link, rank int32) {
	at, have := f.at, f.rank
	if r <= at {
		have--
	}
	if r == at {
		at = gone.prev
	}
	beside := list[at]
	if have < rank {
		at = beside.next
	}
	if have > rank {
		at = beside.prev
	}
	f.at, f.rank = at, rank
}
