// Package bench says what is measured: the matrix of cells, and how one cell is
// timed, counted and proven. There is one file a question (read.go, write.go and so
// on), matrix.go for which cells there are, and bounds.go for what no method can
// exceed or do without. Two experiments with memory that is too small are not cells
// of the matrix: larger.go and pressure.go.
//
// One op is one job: all bytes of the file moved once. A cell is measured in
// this order:
//
//  1. Its method is opened, and its warm file loaded into the page cache.
//  2. One job runs untimed, except where the page cache is to be cold.
//  3. Jobs run against the clock. Before each cold one the clock stops, the file
//     is evicted, and the eviction is proven. After each job the digest of its
//     bytes is compared with the reference.
//  4. The same jobs run under the counters, and the calls that were seen are
//     held against those that the method declares.
//  5. One more job has its blocks timed (latency.go).
//  6. The warm file is proven to be warm still, and the cold cell is held against
//     the speed of the device.
//
// A cell that fails any of this has no result.
//
// Nothing is reported that was not measured: where calls cannot be counted
// there is no syscalls/op.
//
// To benchmark a method of your own, register it (see package iomethod) and hand
// over from your package's test file:
//
//	func TestMain(m *testing.M)         { os.Exit(bench.Main(m)) }
//	func TestConformance(t *testing.T)  { iomethodtest.Run(t) }
//	func BenchmarkRead(b *testing.B)    { bench.Run(b) }
//	func BenchmarkCeiling(b *testing.B) { bench.Run(b) }
//
// and so on, for each of [Benchmarks] that you want. examples/mmapgo is such a
// package.
package bench

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"iopath/internal/counters"
	"iopath/internal/host"
)

// The options and the session of a test binary.
var (
	testOptions Options
	testSession *Session
)

// Main runs the tests and benchmarks of a package that measures by this one. It
// declares the flags of [Options], and before the first benchmark prints the
// machine's config lines. It returns the exit status.
func Main(m *testing.M) int {
	if started, err := Child(context.Background()); started {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	testOptions.Register(flag.CommandLine)
	flag.Parse()
	if bench := flag.Lookup("test.bench"); bench == nil || bench.Value.String() == "" {
		return m.Run() // tests alone: no files, no config lines
	}
	s, err := Open(context.Background(), testOptions)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 2
	}
	defer s.Close()
	testSession = s
	if err := s.WriteHeader(os.Stdout, host.Options{}); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 1
	}
	_, skips := s.Cells()
	for _, skip := range skips {
		fmt.Printf("# skipped: %v\n", skip)
	}
	return m.Run()
}

// Run runs the cells of the benchmark that it is called from, each as a
// sub-benchmark: BenchmarkRead runs the Read cells.
func Run(b *testing.B) {
	if testSession == nil {
		b.Fatal("bench.Run wants a TestMain that calls bench.Main")
	}
	cells, _ := testSession.Cells()
	for _, c := range cells {
		if name, ok := strings.CutPrefix(c.Name(), strings.TrimPrefix(b.Name(), "Benchmark")+"/"); ok {
			b.Run(name, func(b *testing.B) {
				err := testSession.Run(b, c)
				if errors.Is(err, errors.ErrUnsupported) {
					b.Skip(err)
				}
				if err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// Units are the units of all metrics, with their metadata in the Go benchmark
// format.
var Units = []string{
	"ns/op better=lower",
	"MB/s better=higher",
	"p50-ns better=lower",
	"p99-ns better=lower",
	"p999-ns better=lower",
	"max-ns better=lower",
	"late-% better=lower",
	"cpu-ns/op better=lower",
	"user-cpu-ns/op better=lower",
	"sys-cpu-ns/op better=lower",
	"peer-cpu-ns/op better=lower",
	"peer-user-cpu-ns/op better=lower",
	"peer-sys-cpu-ns/op better=lower",
	"syscalls/op better=lower assume=exact",
	"sched-syscalls/op better=lower",
	"minflt/op better=lower",
	"majflt/op better=lower",
	"ctxsw/op better=lower",
	"voluntary-ctxsw/op better=lower",
	"involuntary-ctxsw/op better=lower",
	"tlb-shootdowns/op better=lower",
	"cycles/op better=lower",
	"instructions/op better=lower",
	"llc-misses/op better=lower",
	"dtlb-misses/op better=lower",
	"device-B/op better=lower",
	"dirtied-B/op better=lower",
	"read-amplification better=lower",
	"copied-% better=lower",
	"map-ns better=lower",
	"touch-ns better=lower",
	"unmap-ns better=lower",
	"resident-before-% assume=nothing",
	"resident-after-% assume=nothing",
	"B/op better=lower",
	"allocs/op better=lower",
}

// WriteHeader writes what stands above the results: a config line for each fact
// of the machine and of the session, and a Unit line for each unit.
func (s *Session) WriteHeader(w io.Writer, o host.Options) error {
	facts := host.Facts(s.Dir(), o)
	if warm := s.Size("warm"); warm != 0 {
		if llc, ok := host.LLC(); ok {
			facts = append(facts, host.Fact{Key: "file-to-llc", Value: fmt.Sprintf("%.2g", float64(warm)/float64(llc))})
		}
	}
	counter, why := s.Counter()
	if why != nil {
		counter = "none"
	}
	descriptors := "shared" // by the process's threads
	if s.ownTable {
		descriptors = "own"
	}
	hardware, names, lacks := counters.ProbeHardware()
	if len(names) > 0 {
		hardware += " (" + strings.Join(names, ", ") + ")"
	}
	latency := "closed loop"
	if s.opt.Rate > 0 {
		latency = fmt.Sprintf("open loop, %g blocks/s", s.opt.Rate)
	}
	facts = append(facts,
		host.Fact{Key: "counter", Value: counter},
		host.Fact{Key: "hardware-counters", Value: cmp.Or(hardware, "none")},
		host.Fact{Key: "descriptors", Value: descriptors},
		host.Fact{Key: "latency", Value: latency})
	if err := host.WriteConfig(w, facts); err != nil {
		return err
	}
	for _, unit := range Units {
		if _, err := fmt.Fprintf(w, "Unit %s\n", unit); err != nil {
			return err
		}
	}
	var untold error
	for _, cache := range s.opt.Caches {
		untold = cmp.Or(untold, s.files[cache].untold)
	}
	shootdowns := errors.New("counted by tracepoint alone (run as root)")
	if counter == "tracepoint" {
		shootdowns = counters.ProbeShootdowns()
	}
	for _, absent := range []struct {
		what string
		why  error
	}{{"syscalls/op", why}, {"tlb-shootdowns/op", shootdowns}, {"hardware counters", lacks}, {"device-B/op, dirtied-B/op, read-amplification", untold}} {
		if absent.why == nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "# skipped: %s: %s\n", absent.what, strings.ReplaceAll(absent.why.Error(), "\n", "; ")); err != nil {
			return err
		}
	}
	return nil
}
