package summary

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

const benchFile = "testdata/bench.txt"

// TestBenchFile holds testdata/bench.txt to its generator. Its figures are
// made up, of the size that a small virtual machine gives.
func TestBenchFile(t *testing.T) {
	want := generate(6)
	if *update {
		if err := os.WriteFile(benchFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(benchFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what generate writes (go test ./internal/summary -update)", benchFile)
	}
}

const header = `# iopath bench: profile=standard seed=1234
# date: 2026-11-21T12:00:00Z
goos: linux
goarch: amd64
pkg: iopath/bench
cpu: AMD EPYC 7763 64-Core Processor
machine: epyc-2core-vm
commit: 0123456789ab
go: go1.26.8
kernel: Linux 6.18.44
fs: ext4
device: vda virtio 252GiB
readahead: 8MiB
llc: 32MiB
mem: 23.5GiB
cpus: 2
virt: kvm
counter: tracepoint
file-to-llc: 8.0
latency: closed loop
Unit ns/op better=lower
Unit MB/s better=higher
Unit cpu-ns/op better=lower
Unit peer-cpu-ns/op better=lower
Unit ctxsw/op better=lower
Unit device-B/op better=lower
Unit majflt/op better=lower
Unit minflt/op better=lower
Unit syscalls/op better=lower assume=exact
Unit p50-ns better=lower
Unit p99-ns better=lower
Unit max-ns better=lower
Unit user-cpu-ns/op better=lower
Unit sys-cpu-ns/op better=lower
Unit read-amplification better=lower
Unit resident-after-% better=lower
Unit B/op better=lower
Unit allocs/op better=lower assume=exact
`

// generate writes a run in the suite's format: every cell of the spine, in
// shuffled order in each round, with noise and now and then a slow round.
func generate(rounds int) []byte {
	rng := rand.New(rand.NewPCG(1234, 0))
	var b bytes.Buffer
	b.WriteString(header + "# settle: 1.25s, then steal=0.0%\n")
	sizes := map[string]float64{"4KiB": 4 << 10, "64KiB": 64 << 10, "1MiB": 1 << 20}
	blocks := []string{"4KiB", "64KiB", "1MiB"}
	noisy := func(v, cv float64) float64 {
		v *= 1 + cv*rng.NormFloat64()
		if rng.IntN(20) == 0 {
			v *= 1 + 6*cv
		}
		return v
	}
	// A path costs so many ns a byte and so many ns a call.
	type cost struct{ perByte, perCall float64 }
	readers := map[string]cost{"read": {0.085, 300}, "pread": {0.085, 330}, "os.File": {0.086, 460}, "mmap": {0.083, 8}}
	senders := map[string]cost{"read+write": {0.42, 1500}, "mmap+write": {0.22, 1100}, "sendfile": {0.45, 900}, "splice": {0.43, 1900}, "io.Copy": {0.46, 1100}}
	calls := map[string]float64{"read+write": 2, "splice": 2}

	// Times of a block: the median, the tail and the slowest.
	latency := func(p50, p99 float64) string {
		p50, p99 = noisy(p50, 0.02), noisy(p99, 0.15)
		return fmt.Sprintf("\t%.1f p50-ns\t%.1f p99-ns\t%.0f max-ns", p50, p99, 30*p99)
	}
	split := func(cpu, user float64) string {
		return fmt.Sprintf("\t%.0f user-cpu-ns/op\t%.0f sys-cpu-ns/op", cpu*user, cpu*(1-user))
	}

	type cell func()
	var cells []cell
	line := func(name string, iters int, ns, bytes float64, rest string) {
		fmt.Fprintf(&b, "Benchmark%s-2 \t%8d\t%12.0f ns/op", name, iters, ns)
		if bytes > 0 {
			fmt.Fprintf(&b, "\t%9.2f MB/s", bytes/ns*1e3)
		}
		fmt.Fprintf(&b, "%s\n", rest)
	}
	for i, what := range []string{"syscall", "fault", "clock"} {
		cells = append(cells, func() { line("Floor/what="+what, 1000000, noisy([]float64{131, 512, 43}[i], 0.01), 0, "") })
	}
	for _, block := range blocks {
		for _, pattern := range []string{"seq", "rand"} {
			cells = append(cells, func() {
				const size = 128 << 20
				perByte := 0.72
				if pattern == "rand" {
					perByte += 5e3 / sizes[block]
				}
				line(fmt.Sprintf("Device/pattern=%s/size=128MiB/block=%s/depth=32", pattern, block), 3, noisy(size*perByte, 0.03), size, fmt.Sprintf("\t%d device-B/op", size))
			})
			cells = append(cells, func() {
				const size = 256 << 20
				line(fmt.Sprintf("Ceiling/pattern=%s/size=256MiB/block=%s", pattern, block), 12, noisy(size*0.078, 0.01), size, "")
			})
			for _, cache := range []string{"warm", "cold"} {
				size, name := 256.0*(1<<20), "256MiB"
				if cache == "cold" {
					size, name = 128*(1<<20), "128MiB"
				}
				n := size / sizes[block]
				at := fmt.Sprintf("Read/pattern=%s/cache=%s/size=%s/block=%s/method=", pattern, cache, name, block)
				for _, method := range []string{"read", "pread", "os.File", "mmap"} {
					cells = append(cells, func() {
						c := readers[method]
						ns, cv, device, major, switches := size*c.perByte+n*c.perCall, 0.015, 0.0, 0.0, 0.0
						if pattern == "rand" {
							ns += n * 250
						}
						cpu := ns
						if cache == "cold" {
							cv, device = 0.05, size
							ns += size * 1.05
							if pattern == "rand" {
								ns += n * 45e3
							}
							major, switches = math.Round(size/(512<<10)), math.Round(noisy(n/8+40, 0.1))
						}
						minor, sys := 0.0, n
						if method == "mmap" {
							minor, sys = math.Round(size/(64<<10)), 4
						} else {
							major = 0
						}
						each := sizes[block]*c.perByte + c.perCall
						more := latency(each, 2.5*each) + split(cpu, 0.3)
						if cache == "cold" {
							first := 110e3 + sizes[block]*0.8 // of a block that the device is asked for
							if pattern == "rand" {
								each = first
							}
							more = latency(each, 4*first) + split(cpu, 0.2) + "\t1.00 read-amplification\t100 resident-after-%"
						}
						line(at+method, 5, noisy(ns, cv), size, more+fmt.Sprintf("\t%12.0f cpu-ns/op\t%6.0f ctxsw/op\t%10.0f device-B/op\t%6.0f majflt/op\t%6.0f minflt/op\t%8.0f syscalls/op\t0 B/op\t0 allocs/op",
							noisy(cpu, cv), switches, device, major, minor, sys))
					})
				}
				cells = append(cells, func() {
					line(at+"null", 1000, noisy(n*4+900, 0.02), 0, fmt.Sprintf("\t%12.0f cpu-ns/op\t0 ctxsw/op\t0 device-B/op\t0 majflt/op\t0 minflt/op\t0 syscalls/op\t0 B/op\t0 allocs/op", n*4+900))
				})
			}
		}
		for _, transport := range []string{"tcp", "unix"} {
			cells = append(cells, func() {
				const size = 256 << 20
				ns := size*0.19 + size/sizes[block]*1000
				if transport == "unix" {
					ns *= 0.6
				}
				line(fmt.Sprintf("Ceiling/transport=%s/size=256MiB/block=%s", transport, block), 5, noisy(ns, 0.03), size, "")
			})
			for _, cache := range []string{"warm", "cold"} {
				size, name := 256.0*(1<<20), "256MiB"
				if cache == "cold" {
					size, name = 128*(1<<20), "128MiB"
				}
				n := size / sizes[block]
				at := fmt.Sprintf("Send/transport=%s/cache=%s/size=%s/block=%s/method=", transport, cache, name, block)
				for _, method := range []string{"read+write", "mmap+write", "sendfile", "splice", "io.Copy"} {
					cells = append(cells, func() {
						c := senders[method]
						ns, cv, device := size*c.perByte+n*c.perCall, 0.03, 0.0
						if transport == "unix" {
							ns *= 0.6
						}
						cpu := ns * 0.45
						if method == "read+write" || method == "mmap+write" {
							cpu = ns * 0.8
						}
						if cache == "cold" {
							cv, device = 0.06, size
							ns += size * 1.05
						}
						sys := max(calls[method], 1) * n
						minor := 0.0
						if method == "mmap+write" {
							sys, minor = n+4, math.Round(size/(64<<10))
						}
						each := ns / n
						line(at+method, 3, noisy(ns, cv), size, latency(each*0.8, 6*each+20e3)+split(cpu, 0.1)+fmt.Sprintf("\t%12.0f cpu-ns/op\t%12.0f peer-cpu-ns/op\t%6.0f ctxsw/op\t%10.0f device-B/op\t0 majflt/op\t%6.0f minflt/op\t%8.0f syscalls/op\t0 B/op\t0 allocs/op",
							noisy(cpu, cv), noisy(size*0.2, cv), math.Round(noisy(size/(256<<10), 0.2)), device, minor, sys))
					})
				}
				cells = append(cells, func() {
					line(at+"null", 1000, noisy(n*4+1200, 0.02), 0, fmt.Sprintf("\t%12.0f cpu-ns/op\t0 ctxsw/op\t0 device-B/op\t0 majflt/op\t0 minflt/op\t0 syscalls/op\t0 B/op\t0 allocs/op", n*4+1200))
				})
			}
		}
	}
	for round := range rounds {
		fmt.Fprintf(&b, "# round %d of %d: seed=%d\n", round+1, rounds, 1234+round)
		rng.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		for _, c := range slices.Clone(cells) {
			c()
		}
	}
	b.WriteString("# noise: steal=0.3% psi-cpu=2.1% psi-io=14% over 6 rounds; ± of the median: half of 66 warm cells within 4.1%, 31 within 3%; noisy\n")
	return b.Bytes()
}
