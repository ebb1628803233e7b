package bench

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/units"

	"iopath/internal/counters"
	"iopath/internal/host"
	"iopath/workloads/iomethod"
)

// Larger is an experiment that answers: what happens to each way to read a file
// once the file no longer fits into memory? Threads read random blocks, each on a
// reader of its own as fio's jobs do, in a control group with a memory limit, and
// what they move is sampled at short intervals. The page cache fills up, and from
// there on each page that comes in is one that reclaim has to take from somewhere:
// out of page tables too, where it is mapped. In a database, mmap fell to nothing
// there, and came back at half of its speed (Crotty, Leis, Pavlo, CIDR 2022).
//
// A thread's mapping has page tables of its own, up to 1/512 of the file, which count
// towards the limit: they leave less to the page cache, and with many threads that is
// what is measured. What the cache had is therefore told.
//
// Every block is touched (a word of each page is compared with what the file was
// made from): the least that needs the page to be there. To hash all of it would
// take as much of the CPUs as the reclaim that is looked for.
type Larger struct {
	Methods  []string      // readers by their registered names; nil: those of largerMethods that there are
	Patterns []string      // see LargerPatterns
	Threads  int           // each on an OS thread of its own
	Block    int           // bytes, a multiple of 4 KiB
	Size     int64         // bytes of the file; 0: four times the limit
	Limit    int64         // bytes of memory, page cache included
	Time     time.Duration // of each method with each pattern, in a round
	Every    time.Duration // from one sample to the next
	Rounds   int           // each in an order of its own
	Seed     uint64        // of the orders
	Dir      string        // of the file; empty: .iopath beside go.mod
}

// LargerPatterns names the orders of the blocks: drawn at random over the whole
// file with replacement, or each thread around the file from a place of its own.
var LargerPatterns = []string{"rand", "seq"}

// largerMethods are the usual choice.
var largerMethods = []string{"mmap", "mmap+random", "pread", "odirect", "os.File"}

// leastLimit is the least memory that a child, its buffers and its page tables do
// with.
const leastLimit = 16 << 20

// Register declares the experiment's flags, with their defaults.
func (l *Larger) Register(fs *flag.FlagSet) {
	*l = Larger{Patterns: []string{"rand"}, Block: 4 << 10, Limit: 256 << 20}
	fs.Var((*listFlag)(&l.Methods), "methods", "readers by `name` (default: "+strings.Join(largerMethods, ",")+", of them those that there are)")
	fs.Var((*listFlag)(&l.Patterns), "patterns", "`orders` of the blocks: "+strings.Join(LargerPatterns, ","))
	fs.IntVar(&l.Threads, "threads", 2*runtime.NumCPU(), "`number` of threads that read")
	fs.Var((*oneBlockFlag)(&l.Block), "block", "bytes of one call, a `size` such as 4KiB")
	fs.Var((*SizeFlag)(&l.Size), "size", "`size` of the file (default: four times the limit)")
	fs.Var((*SizeFlag)(&l.Limit), "limit", "`size` of the memory, page cache included")
	fs.DurationVar(&l.Time, "time", 10*time.Second, "how `long` each method reads in a round")
	fs.DurationVar(&l.Every, "every", 100*time.Millisecond, "`time` from one sample to the next")
	fs.IntVar(&l.Rounds, "rounds", 3, "how many `rounds`, each with every method once, in random order")
	fs.Uint64Var(&l.Seed, "seed", 1, "`seed` of the orders")
	fs.StringVar(&l.Dir, "dir", "", "`directory` of the file (default: .iopath beside go.mod)")
}

type oneBlockFlag int

func (b *oneBlockFlag) String() string { return units.Base2Bytes(*b).String() }
func (b *oneBlockFlag) Get() any       { return int(*b) }
func (b *oneBlockFlag) Set(v string) error {
	var list blocksFlag
	if err := list.Set(v); err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%q is not one size", v)
	}
	*b = oneBlockFlag(list[0])
	return nil
}

// Check returns the error of options that cannot be run anywhere.
func (l Larger) Check() error {
	_, err := l.resolve()
	return err
}

// resolve checks the options and fills in what they leave open.
func (l Larger) resolve() (Larger, error) {
	l.Size = cmp.Or(l.Size, 4*l.Limit)
	switch {
	case l.Threads < 1 || l.Threads > 1024:
		return l, usage("-threads %d: not from 1 to 1024", l.Threads)
	case l.Rounds < 1:
		return l, usage("-rounds %d: not above zero", l.Rounds)
	case l.Every < 10*time.Millisecond || l.Time < l.Every:
		return l, usage("-time %v -every %v: a sample takes 10ms or more, and fits into the time", l.Time, l.Every)
	case l.Limit < leastLimit:
		return l, usage("-limit %v: a process cannot do with less than %v", units.Base2Bytes(l.Limit), units.Base2Bytes(leastLimit))
	case l.Size <= l.Limit:
		return l, usage("-size %v: the file fits into the limit of %v (take a larger one)", units.Base2Bytes(l.Size), units.Base2Bytes(l.Limit))
	case l.Block%touched != 0 || l.Size%int64(l.Block) != 0:
		return l, usage("-block %v -size %v: a block is a multiple of 4KiB, and the file one of the block", units.Base2Bytes(l.Block), units.Base2Bytes(l.Size))
	case int64(l.Threads)*int64(l.Block) > l.Limit/4:
		return l, usage("-threads %d -block %v: their buffers take more than a quarter of the limit", l.Threads, units.Base2Bytes(l.Block))
	}
	for _, p := range l.Patterns {
		if !slices.Contains(LargerPatterns, p) {
			return l, usage("-patterns: %q is unknown (known: %s)", p, strings.Join(LargerPatterns, ", "))
		}
	}
	if l.Methods == nil {
		for _, name := range largerMethods {
			if _, ok := iomethod.Lookup(name); ok {
				l.Methods = append(l.Methods, name)
			}
		}
	}
	for _, name := range l.Methods {
		m, ok := iomethod.Lookup(name)
		if !ok || m.Reader.New == nil || m.Idle || m.Whole {
			return l, usage("-methods: %q is no reader that takes blocks in any order (see iopath methods)", name)
		}
	}
	if l.Dir == "" {
		dir, err := DefaultDir()
		if err != nil {
			return l, err
		}
		l.Dir = dir
	}
	return l, nil
}

// touched is the distance in bytes between two words that are compared: the
// smallest page there is.
const touched = 4096

// A Sample is what happened in one stretch of a series.
type Sample struct {
	At      time.Duration // its end, from the series' begin
	Took    time.Duration
	Bytes   int64 // that were read
	CPU     time.Duration
	Minor   int64 // page faults
	Major   int64
	Device  int64 // bytes from the device
	Scanned int64 // pages that reclaim looked at
	Stolen  int64 // pages that it took
	Refault int64 // pages that came back soon after
	// Interrupts is how often a CPU of the machine, any of them, was interrupted
	// to drop translations from its TLB; negative where that is not told.
	Interrupts int64
	Resident   int64 // bytes of the page cache, at the end
	Charged    int64 // bytes that count towards the limit, at the end
}

// Rate is the throughput in bytes a second.
func (s Sample) Rate() float64 { return perSecond(s.Bytes, s.Took) }

func perSecond(n int64, d time.Duration) float64 { return float64(n) / d.Seconds() }

// A Series is one method with one pattern in one round.
type Series struct {
	Round           int // from 1 on
	Pattern, Method string
	Samples         []Sample
	Err             error // why there are no more; matches errors.ErrUnsupported where there cannot be any
	limit, block    int64
}

// LargerUnits are the units of the samples, with their metadata.
var LargerUnits = []string{
	"ns/op assume=nothing",
	"MB/s better=higher",
	"cpu-ns/op better=lower",
	"minflt/op better=lower",
	"majflt/op better=lower",
	"device-B/op better=lower",
	"scanned-pages/op better=lower",
	"stolen-pages/op better=lower",
	"refaults/op better=lower",
	"tlb-interrupts/op better=lower",
	"resident-B assume=nothing",
	"charged-B assume=nothing",
}

// line is the sample as a result: one op is the stretch.
func (l Larger) line(s Series, at Sample) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Benchmark%s/at=%gs/method=%s\t1\t%d ns/op\t%.3f MB/s\t%d cpu-ns/op\t%d minflt/op\t%d majflt/op\t%d device-B/op\t%d scanned-pages/op\t%d stolen-pages/op\t%d refaults/op",
		l.name(s.Pattern), at.At.Seconds(), s.Method, at.Took.Nanoseconds(), at.Rate()/1e6, at.CPU.Nanoseconds(),
		at.Minor, at.Major, at.Device, at.Scanned, at.Stolen, at.Refault)
	if at.Interrupts >= 0 {
		fmt.Fprintf(&b, "\t%d tlb-interrupts/op", at.Interrupts)
	}
	fmt.Fprintf(&b, "\t%d resident-B\t%d charged-B", at.Resident, at.Charged)
	return b.String()
}

// name is the experiment's part of a result's name.
func (l Larger) name(pattern string) string {
	return fmt.Sprintf("Larger/pattern=%s/size=%v/limit=%v/threads=%d/block=%v",
		pattern, units.Base2Bytes(l.Size), units.Base2Bytes(l.Limit), l.Threads, units.Base2Bytes(l.Block))
}

// writeHeader writes what stands above the results. The group is where the limit
// holds: see cgroup.Group.String.
func (l Larger) writeHeader(w io.Writer, group string, o host.Options) error {
	facts := append(host.Facts(l.Dir, o), host.Fact{Key: "memory-limit", Value: units.Base2Bytes(l.Limit).String()}, host.Fact{Key: "cgroup", Value: group})
	return writeHead(w, facts, LargerUnits)
}

// writeHead writes the config and Unit lines of an experiment.
func writeHead(w io.Writer, facts []host.Fact, units []string) error {
	var b bytes.Buffer
	if err := host.WriteConfig(&b, append(host.TestHeader("iopath/bench"), facts...)); err != nil {
		return err
	}
	for _, unit := range units {
		fmt.Fprintf(&b, "Unit %s\n", unit)
	}
	if err := counters.ProbeShootdowns(); err != nil && slices.ContainsFunc(units, func(u string) bool { return strings.HasPrefix(u, "tlb-interrupts") }) {
		fmt.Fprintf(&b, "# skipped: tlb-interrupts/op: %s\n", oneLine(err))
	}
	_, err := b.WriteTo(w)
	return err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// A Summary is what the series of one method with one pattern come to: of every
// figure the median over the rounds. Rates are a second's.
type Summary struct {
	Pattern, Method string
	Rounds          int
	First           float64 // bytes read in the first second, or until memory was full where that was sooner
	Steady          float64 // bytes read since memory was full: the median of the samples
	KeptLo, KeptHi  float64 // Steady as a share of First, in the round with the least and with the most
	Full            float64 // seconds until memory was full; 0 where it was not, as of a method that goes past the page cache: then all is since the first second
	Lowest          float64 // bytes read in the lowest sample since then
	// Means over the same samples.
	Read, Device    float64 // bytes
	Resident        float64 // bytes of the page cache, and no rate
	Minor, Major    float64 // page faults
	Scanned, Stolen float64 // pages
	Interrupts      float64 // negative where they are not told
	CPUFirst, CPU   float64 // seconds of CPU time that a block took, in what First is of, and since memory was full
}

// Summaries returns what the series come to, in the order of the methods' names. A
// series that is too short is left out.
func Summaries(all []Series) []Summary {
	type key struct{ pattern, method string }
	rounds := map[key][]Summary{}
	for _, s := range all {
		if sum, ok := s.summary(); ok {
			k := key{s.Pattern, s.Method}
			rounds[k] = append(rounds[k], sum)
		}
	}
	var sums []Summary
	for _, of := range rounds {
		middle := func(figure func(Summary) float64) float64 {
			var v []float64
			for _, s := range of {
				v = append(v, figure(s))
			}
			slices.Sort(v)
			return median(v)
		}
		sums = append(sums, Summary{
			Pattern: of[0].Pattern, Method: of[0].Method, Rounds: len(of),
			First:      middle(func(s Summary) float64 { return s.First }),
			Full:       middle(func(s Summary) float64 { return s.Full }),
			Steady:     middle(func(s Summary) float64 { return s.Steady }),
			KeptLo:     slices.MinFunc(of, byKept).KeptLo,
			KeptHi:     slices.MaxFunc(of, byKept).KeptHi,
			Lowest:     middle(func(s Summary) float64 { return s.Lowest }),
			Read:       middle(func(s Summary) float64 { return s.Read }),
			Device:     middle(func(s Summary) float64 { return s.Device }),
			Resident:   middle(func(s Summary) float64 { return s.Resident }),
			Minor:      middle(func(s Summary) float64 { return s.Minor }),
			Major:      middle(func(s Summary) float64 { return s.Major }),
			Scanned:    middle(func(s Summary) float64 { return s.Scanned }),
			Stolen:     middle(func(s Summary) float64 { return s.Stolen }),
			Interrupts: middle(func(s Summary) float64 { return s.Interrupts }),
			CPUFirst:   middle(func(s Summary) float64 { return s.CPUFirst }),
			CPU:        middle(func(s Summary) float64 { return s.CPU }),
		})
	}
	slices.SortFunc(sums, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Method, b.Method))
	})
	return sums
}

func byKept(a, b Summary) int { return cmp.Compare(a.KeptLo, b.KeptLo) }

// fullShare is the share of the limit from which on the memory counts as full: the
// kernel charges each CPU some pages ahead.
const fullShare = 0.97

// summary is what one series comes to; ok is false where it is too short.
func (of Series) summary() (sum Summary, ok bool) {
	sum = Summary{Pattern: of.Pattern, Method: of.Method, Rounds: 1}
	var head, tail Sample
	for _, at := range of.Samples {
		if sum.Full == 0 && float64(at.Charged) >= fullShare*float64(of.limit) {
			sum.Full = at.At.Seconds()
		}
		if at.At <= time.Second && (sum.Full == 0 || head.Took == 0) {
			head.add(at)
		}
	}
	var rates []float64
	for _, at := range of.Samples {
		if at.At.Seconds() > max(sum.Full, 1) {
			rates = append(rates, at.Rate())
			tail.add(at)
			sum.Resident += float64(at.Resident)
		}
	}
	if head.Bytes == 0 || tail.Bytes == 0 {
		return sum, false
	}
	sum.Resident /= float64(len(rates))
	slices.Sort(rates)
	per := func(n int64) float64 { return perSecond(n, tail.Took) }
	sum.First, sum.Steady, sum.Lowest = head.Rate(), median(rates), rates[0]
	sum.Read, sum.Device = tail.Rate(), per(tail.Device)
	sum.Minor, sum.Major = per(tail.Minor), per(tail.Major)
	sum.Scanned, sum.Stolen = per(tail.Scanned), per(tail.Stolen)
	sum.Interrupts = per(tail.Interrupts)
	sum.KeptLo = sum.Steady / sum.First
	sum.KeptHi = sum.KeptLo
	price := func(s Sample) float64 { return s.CPU.Seconds() * float64(of.block) / float64(s.Bytes) }
	sum.CPUFirst, sum.CPU = price(head), price(tail)
	return sum, true
}

// add makes s a longer stretch by one that follows.
func (s *Sample) add(next Sample) {
	s.Took += next.Took
	s.Bytes += next.Bytes
	s.CPU += next.CPU
	s.Minor += next.Minor
	s.Major += next.Major
	s.Device += next.Device
	s.Scanned += next.Scanned
	s.Stolen += next.Stolen
	s.Interrupts += next.Interrupts // all of them negative, or none
}

// median is that of sorted values.
func median(v []float64) float64 { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

// cliffShare is what there must be left of a mapping's throughput: of its own first
// second in every round, and of what a method without a mapping has then. Either
// alone may be the doing of the device, or of what else the machine is at.
const cliffShare = 0.7

// Verdict says whether a mapping falls off a cliff when memory is full, held
// against a method that maps nothing: odirect where it was measured, else pread.
func Verdict(sums []Summary) []string {
	var lines []string
	for _, s := range sums {
		if !strings.HasPrefix(s.Method, "mmap") {
			continue
		}
		head := s.Pattern + " " + s.Method + ": "
		ref, ok := reference(sums, s.Pattern)
		switch {
		case s.Full == 0:
			lines = append(lines, head+"the memory was not full for long enough to tell (take a longer -time)")
			continue
		case !ok:
			lines = append(lines, head+"nothing to hold it against (measure odirect or pread as well)")
			continue
		}
		what := "no cliff"
		switch beside := s.Steady / ref.Steady; {
		case beside < cliffShare && s.KeptHi < cliffShare*min(1, ref.KeptLo):
			what = "a cliff"
		case beside < cliffShare && s.KeptLo < cliffShare && s.Steady/s.First < cliffShare:
			what = "unclear, the rounds differ"
		case beside < cliffShare:
			what = "no cliff, but slow from the start"
		}
		percents := func(s Summary) string { return fmt.Sprintf("%.0f to %.0f %%", 100*s.KeptLo, 100*s.KeptHi) }
		lines = append(lines, fmt.Sprintf("%s%s: with memory full after %.1f s, %.0f MiB of it page cache, it keeps %s of its first second (%s: %s), and does %.2g × %s; a block takes %.1f µs of CPU time, %.1f before (%s: %.1f), and a byte %.2g from the device; %.0f major faults/s, %.0f reclaimed pages/s",
			head, what, s.Full, s.Resident/float64(units.MiB), percents(s), ref.Method, percents(ref), s.Steady/ref.Steady, ref.Method,
			1e6*s.CPU, 1e6*s.CPUFirst, ref.Method, 1e6*ref.CPU, s.Device/s.Read, s.Major, s.Stolen))
	}
	return lines
}

// reference is what mappings with that pattern are held against.
func reference(sums []Summary, pattern string) (ref Summary, ok bool) {
	for _, method := range []string{"odirect", "pread"} {
		i := slices.IndexFunc(sums, func(s Summary) bool { return s.Pattern == pattern && s.Method == method })
		if i >= 0 {
			return sums[i], true
		}
	}
	return ref, false
}

// failure is a line of the results that stands for what has no result.
func failure(name string, err error) string {
	what := "failed"
	if errors.Is(err, errors.ErrUnsupported) {
		what = "skipped"
	}
	return fmt.Sprintf("# %s: Benchmark%s: %s", what, name, oneLine(err))
}
