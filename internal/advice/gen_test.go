package advice

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestBenchFile holds testdata/bench.txt to its generator. Its figures are made
// up.
func TestBenchFile(t *testing.T) {
	golden(t, "bench.txt", generate(6))
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another (go test ./internal/advice -update, and look at it)\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

const header = `# date: 2026-11-21T12:00:00Z
goos: linux
machine: made-up
Unit ns/op better=lower
Unit MB/s better=higher
Unit cpu-ns/op better=lower
Unit syscalls/op better=lower assume=exact
`

// A made is a cell that is made up: MiB moved, ms that they take, and the rest of
// the line in figures without noise.
type made struct {
	name    string
	mib, ms float64
	cpu     float64 // ms; 0: not measured
	counts  string
}

var makeUp = []made{
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/method=pread", 128, 30, 29, "32768 syscalls/op 0 minflt/op"},
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/method=read", 128, 30.1, 29, "32768 syscalls/op 0 minflt/op"},
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/method=mmap", 128, 15, 14, "3 syscalls/op 8192 minflt/op"},
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/method=mmap+populate", 128, 15.1, 14, "3 syscalls/op 2048 minflt/op"},
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/method=null", 0, 0.1, 0, "0 syscalls/op 0 minflt/op"},
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/consume=touch/method=pread", 128, 10, 9, "32768 syscalls/op 0 minflt/op"},
	{"Read/pattern=seq/cache=warm/size=128MiB/block=4KiB/consume=touch/method=mmap+kept", 128, 2, 2, "1 syscalls/op 0 minflt/op"},
	{"Read/pattern=seq/cache=cold/size=64MiB/block=1MiB/method=pread", 64, 100, 20, "64 syscalls/op 0 majflt/op 30 ctxsw/op"},
	{"Read/pattern=seq/cache=cold/size=64MiB/block=1MiB/method=read", 64, 100, 20, "64 syscalls/op 0 majflt/op 30 ctxsw/op"},
	{"Read/pattern=seq/cache=cold/size=64MiB/block=1MiB/method=mmap", 64, 101, 20, "3 syscalls/op 40 majflt/op 40 ctxsw/op"},
	{"Read/pattern=rand/cache=cold/size=64MiB/block=4KiB/method=pread", 64, 600, 200, "16384 syscalls/op 0 majflt/op 7500 ctxsw/op"},
	{"Read/pattern=rand/cache=cold/size=64MiB/block=4KiB/method=mmap", 64, 100, 30, "3 syscalls/op 13 majflt/op 14 ctxsw/op"},
	{"Read/pattern=sparse/cache=cold/size=64MiB/block=4KiB/method=pread", 4, 50, 20, "1024 syscalls/op 4194304 device-B/op"},
	{"Read/pattern=sparse/cache=cold/size=64MiB/block=4KiB/method=read", 4, 50, 20, "2048 syscalls/op 4194304 device-B/op"},
	{"Read/pattern=sparse/cache=cold/size=64MiB/block=4KiB/method=mmap", 4, 150, 30, "3 syscalls/op 67108864 device-B/op"},
	{"Send/transport=tcp/cache=warm/size=128MiB/block=64KiB/method=read+write", 128, 60, 50, "4096 syscalls/op"},
	{"Send/transport=tcp/cache=warm/size=128MiB/block=64KiB/method=sendfile", 128, 59.8, 15, "2048 syscalls/op"},
	{"Send/transport=tcp/cache=warm/size=128MiB/block=64KiB/method=io.Copy", 128, 60.2, 15.1, "32 syscalls/op"},
	{"Write/pattern=append/sync=end/size=16MiB/block=64KiB/method=write", 16, 20, 10, "257 syscalls/op 0 minflt/op"},
	{"Write/pattern=append/sync=end/size=16MiB/block=64KiB/method=mmap", 16, 30, 18, "4 syscalls/op 4096 minflt/op"},
	{"Relay/transport=unix/size=16MiB/block=64KiB/method=read+write", 16, 9, 5, "512 syscalls/op"},
	{"Relay/transport=unix/size=16MiB/block=64KiB/method=splice", 16, 9, 2, "512 syscalls/op"},
	{"Copy/cache=warm/size=128MiB/block=64KiB/method=read+write", 128, 60, 59, "4096 syscalls/op"},
	{"Copy/cache=warm/size=128MiB/block=64KiB/method=reflink", 128, 1, 1, "2048 syscalls/op"},
	{"Channel/size=16MiB/block=64KiB/what=roundtrip/method=pipe", 16, 9, 5, "40000 p50-ns"},
	{"Channel/size=16MiB/block=64KiB/what=roundtrip/method=unix", 16, 9, 5, "30000 p50-ns"},
	{"Map/touch=write/size=1MiB/method=map+shared", 16, 8, 8, "4096 minflt/op"},
	{"Map/touch=write/size=1MiB/method=heap", 16, 2, 2, "1 minflt/op"},
	{"Open/size=4KiB/files=1024/method=read", 4, 4, 4, ""},
	{"Open/size=4KiB/files=1024/method=mmap", 4, 9, 9, ""},
	{"Open/size=64KiB/files=256/method=read", 16, 4, 4, ""},
	{"Open/size=64KiB/files=256/method=mmap", 16, 4, 4, ""},
	{"Open/size=1MiB/files=16/method=read", 16, 4, 4, ""},
	{"Open/size=1MiB/files=16/method=mmap", 16, 3, 3, ""},
	{"Parallel/pattern=rand/cache=cold/size=64MiB/block=4KiB/workers=2/as=threads/method=pread", 64, 300, 200, "0 majflt/op"},
	{"Parallel/pattern=rand/cache=cold/size=64MiB/block=4KiB/workers=2/as=threads/method=mmap+random", 64, 900, 800, "16384 majflt/op"},
	{"Sort/n=10/method=quick", 0, 0.0001, 0, ""},
	{"Sort/n=10/method=a_method_with_a_name_of_more_than_forty_characters", 0, 0.0002, 0, ""},
}

// generate writes so many rounds of all cells, in shuffled order, with noise of
// 1 %.
func generate(rounds int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString(header)
	noisy := func(v float64) float64 { return v * math.Exp(0.01*rng.NormFloat64()) }
	for range rounds {
		for _, i := range rng.Perm(len(makeUp)) {
			c := makeUp[i]
			ns := noisy(c.ms * 1e6)
			fmt.Fprintf(&b, "Benchmark%s-2 10 %.2f ns/op", c.name, ns)
			if c.mib > 0 {
				fmt.Fprintf(&b, " %.2f MB/s", c.mib*(1<<20)/ns*1e3)
			}
			if c.cpu > 0 {
				fmt.Fprintf(&b, " %.0f cpu-ns/op", noisy(c.cpu*1e6))
			}
			fields := strings.Fields(c.counts)
			for i := 0; i < len(fields); i += 2 {
				v, unit := fields[i], fields[i+1]
				if unit == "p50-ns" {
					base, err := strconv.ParseFloat(v, 64)
					if err != nil {
						panic(err)
					}
					v = fmt.Sprintf("%.0f", noisy(base))
				}
				fmt.Fprintf(&b, " %s %s", v, unit)
			}
			b.WriteByte('\n')
		}
	}
	b.WriteString("# noise: steal=0.1% over 6 rounds; quiet\n")
	return b.Bytes()
}
