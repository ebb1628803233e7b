package bench

import (
	"errors"
	"flag"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// madeSeries is a series of samples a tenth of a second long with these rates in MB/s;
// memory is full from the sample of that number on.
func madeSeries(method string, full int, rates ...int64) Series {
	s := Series{Round: 1, Pattern: "rand", Method: method, limit: 1000, block: 1000}
	for i, rate := range rates {
		at := Sample{At: time.Duration(i+1) * time.Second / 10, Took: time.Second / 10, Bytes: rate * 1e5, Device: 2 * rate * 1e5, CPU: time.Second / 20, Major: 3, Interrupts: -1}
		if i+1 >= full {
			at.Charged = 1000
		}
		s.Samples = append(s.Samples, at)
	}
	return s
}

const never = 1 << 20

// phases are ten samples of the first second at one rate, then ten at another.
func phases(first, then int64) (rates []int64) {
	for range 10 {
		rates = append(rates, first)
	}
	for range 10 {
		rates = append(rates, then)
	}
	return rates
}

func TestSummary(t *testing.T) {
	rates := phases(100, 50)
	rates[15] = 7
	got := Summaries([]Series{madeSeries("mmap", 12, rates...), madeSeries("mmap", 12, phases(300, 70)...), madeSeries("mmap", 12, phases(200, 60)...)})
	if len(got) != 1 {
		t.Fatalf("Summaries = %+v, want those of one method", got)
	}
	want := Summary{
		Pattern: "rand", Method: "mmap", Rounds: 3, First: 200e6, Full: 1.2, Steady: 60e6, Lowest: 60e6, KeptLo: 70e6 / 300e6, KeptHi: 50. / 100,
		Read: 60e6, Device: 120e6, Major: 30, Interrupts: got[0].Interrupts, CPUFirst: 0.5 * 1000 / 200e6, CPU: 0.5 * 1000 / 60e6,
	}
	// Not what the last digit of a division comes to.
	want.CPU, want.CPUFirst, want.KeptLo = about(t, got[0].CPU, want.CPU), about(t, got[0].CPUFirst, want.CPUFirst), about(t, got[0].KeptLo, want.KeptLo)
	if got[0] != want || want.Interrupts >= 0 {
		t.Errorf("Summaries = %+v, want %+v and a negative number of interrupts", got[0], want)
	}
	if one := Summaries([]Series{madeSeries("mmap", 12, rates...)}); one[0].Lowest != 7e6 || one[0].Steady != 50e6 {
		t.Errorf("lowest %v, steady %v, want 7e6 and the median 50e6", one[0].Lowest, one[0].Steady)
	}
	if short := Summaries([]Series{madeSeries("mmap", 10, 1, 2, 3)}); len(short) != 0 {
		t.Errorf("of three samples there is a summary: %+v", short)
	}
}

// about returns got where it is want but for rounding.
func about(t *testing.T, got, want float64) float64 {
	t.Helper()
	if math.Abs(got-want) > 1e-9*want {
		return want
	}
	return got
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []Series
		want string
	}{
		{"it falls, and the device does not", []Series{madeSeries("mmap", 10, phases(100, 20)...), madeSeries("odirect", never, phases(90, 90)...)}, "rand mmap: a cliff"},
		{"it falls in one round of two", []Series{madeSeries("mmap", 10, phases(100, 20)...), madeSeries("mmap", 10, phases(90, 80)...), madeSeries("odirect", never, phases(90, 90)...)}, "unclear"},
		{"the device tires", []Series{madeSeries("mmap", 10, phases(100, 20)...), madeSeries("odirect", never, phases(90, 21)...)}, "rand mmap: no cliff:"},
		{"it is slow all along", []Series{madeSeries("mmap", 10, phases(1, 1)...), madeSeries("pread", 10, phases(90, 90)...)}, "no cliff, but slow from the start"},
		{"odirect comes before pread", []Series{madeSeries("mmap", 10, phases(9, 9)...), madeSeries("pread", 10, phases(3, 3)...), madeSeries("odirect", never, phases(1, 1)...)}, "9 × odirect"},
		{"memory is never full", []Series{madeSeries("mmap", never, phases(1, 1)...), madeSeries("pread", 10, phases(90, 90)...)}, "longer -time"},
		{"alone", []Series{madeSeries("mmap", 10, phases(1, 1)...)}, "nothing to hold it against"},
	} {
		if got := Verdict(Summaries(c.all)); len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: Verdict = %q, want one with %q", c.name, got, c.want)
		}
	}
	if got := Verdict(Summaries([]Series{madeSeries("pread", 10, phases(9, 9)...)})); len(got) != 0 {
		t.Errorf("without a mapping: Verdict = %q, want none", got)
	}
}

func TestLargerFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // of the error; "" where there is none
	}{
		{"", ""},
		{"-methods mmap,pread -patterns rand,seq -threads 3 -block 64KiB -limit 32MiB -size 128MiB -time 1s -every 50ms -rounds 2", ""},
		{"-methods nothing", "nothing"},
		{"-methods null", "null"},
		{"-patterns zigzag", "zigzag"},
		{"-threads 0", "-threads 0"},
		{"-block 4097", "multiple of 4KiB"},
		{"-limit 1MiB", "16MiB"},
		{"-limit 64MiB -size 64MiB", "fits into the limit"},
		{"-limit 64MiB -threads 1024 -block 1MiB", "buffers"},
		{"-every 1ms", "10ms"},
		{"-time 50ms", "fits into the time"},
		{"-rounds 0", "-rounds 0"},
	} {
		var l Larger
		fs := flag.NewFlagSet("larger", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		l.Register(fs)
		err := fs.Parse(strings.Fields(c.args))
		if err == nil {
			err = l.Check()
		}
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("larger %s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestLargerLine(t *testing.T) {
	l := Larger{Size: 1 << 30, Limit: 256 << 20, Threads: 4, Block: 4096}
	s := Series{Pattern: "rand", Method: "mmap"}
	at := Sample{At: 1300 * time.Millisecond, Took: time.Second / 10, Bytes: 1e6, CPU: 5, Minor: 1, Major: 2, Device: 3, Scanned: 4, Stolen: 6, Refault: 7, Interrupts: 8, Resident: 9, Charged: 10}
	want := "BenchmarkLarger/pattern=rand/size=1GiB/limit=256MiB/threads=4/block=4KiB/at=1.3s/method=mmap\t1\t100000000 ns/op\t10.000 MB/s\t5 cpu-ns/op\t1 minflt/op\t2 majflt/op\t3 device-B/op\t4 scanned-pages/op\t6 stolen-pages/op\t7 refaults/op\t8 tlb-interrupts/op\t9 resident-B\t10 charged-B"
	if got := l.line(s, at); got != want {
		t.Errorf("line = %q, want %q", got, want)
	}
	at.Interrupts = -1
	if got := l.line(s, at); strings.Contains(got, "tlb") {
		t.Errorf("what is not told is reported: %q", got)
	}
}

func TestPressureFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"-size 16MiB -limit 64MiB -swap 0 -steps 2", ""},
		{"-size 512MiB", "quarter"},
		{"-limit 1MiB", "32MiB"},
		{"-swap 4KiB", "less than 1MiB"},
		{"-steps 0", "-steps 0"},
	} {
		var p Pressure
		fs := flag.NewFlagSet("pressure", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		p.Register(fs)
		err := fs.Parse(strings.Fields(c.args))
		if err == nil {
			err = p.Check()
		}
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("pressure %s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestPressureVerdict(t *testing.T) {
	p := Pressure{Size: 64 << 20}
	got := p.Verdict([]Step{
		{Method: "mapping", Resident: 64 << 20, Took: time.Millisecond},
		{Method: "mapping", Neighbour: 99 << 20, Resident: 3 << 20, Took: time.Second, Major: 5, Device: 61 << 20},
		{Method: "heap", Resident: 64 << 20, Took: time.Millisecond},
		{Method: "heap", Neighbour: 99 << 20, Killed: "neighbour"},
	})
	if len(got) != 2 || !strings.Contains(got[0], "3 MiB of 64 MiB") || !strings.Contains(got[0], "takes 1s (alone: 1ms), with 5 major faults and 61 MiB") ||
		!strings.Contains(got[1], "at 99 MiB the kernel killed the neighbour") {
		t.Errorf("Verdict = %q", got)
	}
}
