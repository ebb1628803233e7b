package advice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"iopath/internal/summary"
	"iopath/internal/verdict"
)

func read(t *testing.T, text string) *summary.Results {
	t.Helper()
	r, err := summary.Read(summary.Input{Name: "made up", Reader: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func of(t *testing.T, text string) []Advice {
	t.Helper()
	all, err := Of(read(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// lines are n measurements of a cell, 1 % apart.
func lines(n int, name string, ns float64, rest string) string {
	var b strings.Builder
	for k := range n {
		fmt.Fprintf(&b, "Benchmark%s 1 %v ns/op %s\n", name, ns*(1+0.01*float64(k%3)), rest)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	results := read(t, string(generate(6)))
	all, err := Of(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []struct {
		name  string
		write func(*bytes.Buffer) error
	}{
		{"advice80.txt", func(b *bytes.Buffer) error { return Text(b, results, all, 80) }},
		{"advice120.txt", func(b *bytes.Buffer) error { return Text(b, results, all, 120) }},
		{"advice.md", func(b *bytes.Buffer) error { return Markdown(b, results, all) }},
		{"advice.json", func(b *bytes.Buffer) error { return JSON(b, results, all) }},
	} {
		var b bytes.Buffer
		if err := g.write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, g.name, b.Bytes())
	}
	var b bytes.Buffer
	for _, a := range all {
		fmt.Fprintln(&b, a.Sentence)
	}
	fmt.Fprintln(&b)
	for _, f := range Findings(all) {
		fmt.Fprintln(&b, f)
	}
	golden(t, "sentences.txt", b.Bytes())
}

// A terminal of 80 columns shows every line whole.
func TestTextFits(t *testing.T) {
	results := read(t, string(generate(6)))
	all, err := Of(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{0, 80, 120} {
		var b bytes.Buffer
		if err := Text(&b, results, all, width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > max(80, width) && !strings.Contains(line, "more_than_forty") {
				t.Errorf("at %d columns a line has %d: %q", width, n, line)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name, text                   string
		verdict, best, against, next string
		tied                         []string
	}{
		{"better than the baseline",
			lines(6, "Read/method=pread", 200, "") + lines(6, "Read/method=mmap", 100, ""),
			Wins, "mmap", "pread", "", []string{}},
		{"the baseline is the best",
			lines(6, "Read/method=pread", 100, "") + lines(6, "Read/method=read", 101, "") + lines(6, "Read/method=mmap", 200, ""),
			Wins, "pread", "mmap", "", []string{"read"}},
		{"pread before read",
			lines(6, "Read/method=pread", 200, "") + lines(6, "Read/method=read", 300, "") + lines(6, "Read/method=mmap", 100, ""),
			Wins, "mmap", "pread", "", []string{}},
		{"read where there is no pread",
			lines(6, "Read/method=read", 300, "") + lines(6, "Read/method=mmap", 100, ""),
			Wins, "mmap", "read", "", []string{}},
		{"the baseline ties",
			lines(6, "Read/method=mmap", 100, "") + lines(6, "Read/method=pread", 101, "") + lines(6, "Read/method=os.File", 200, ""),
			NoDifference, "", "pread", "os.File", []string{"mmap", "pread"}},
		{"all tie",
			lines(6, "Read/method=pread", 100, "") + lines(6, "Read/method=read", 101, ""),
			NoDifference, "", "read", "", []string{"pread", "read"}},
		{"too few rounds",
			lines(5, "Read/method=pread", 100, "") + lines(5, "Read/method=mmap", 1000, ""),
			Undecided, "", "mmap", "", []string{"pread", "mmap"}},
		{"null is no winner",
			lines(6, "Read/method=null", 1, "") + lines(6, "Read/method=memfd", 2, "") + lines(6, "Read/method=pread", 100, "") + lines(6, "Read/method=mmap", 50, ""),
			Wins, "mmap", "pread", "", []string{}},
		{"another suite: against the next",
			lines(6, "Sort/method=a", 100, "") + lines(6, "Sort/method=b", 200, "") + lines(6, "Sort/method=c", 400, ""),
			Wins, "a", "b", "", []string{}},
		{"another suite: the first two tie",
			lines(6, "Sort/method=a", 100, "") + lines(6, "Sort/method=b", 101, "") + lines(6, "Sort/method=c", 400, ""),
			Wins, "a", "c", "", []string{"b"}},
	} {
		all := of(t, c.text)
		if len(all) != 1 {
			t.Errorf("%s: %d rows, want 1", c.name, len(all))
			continue
		}
		a := all[0]
		if a.Verdict != c.verdict || a.Best != c.best || a.Against != c.against || a.Next != c.next || !slices.Equal(a.Tied, c.tied) {
			t.Errorf("%s: %s, best %q against %q, tied %q, next %q, want %s, %q, %q, %q, %q", c.name,
				a.Verdict, a.Best, a.Against, a.Tied, a.Next, c.verdict, c.best, c.against, c.tied, c.next)
		}
		if got, want := Told(all), c.verdict == Wins || c.next != ""; got != want {
			t.Errorf("%s: told = %v, want %v", c.name, got, want)
		}
	}
}

func TestMeasures(t *testing.T) {
	rate := func(name string, cpu string) string {
		return lines(6, name+"/method=read+write", 200, "10 MB/s "+cpu) + lines(6, name+"/method=splice", 100, "20 MB/s "+cpu)
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"send", rate("Send", "5 cpu-ns/op"), []string{Throughput, CPUTime}},
		{"send without CPU times", rate("Send", ""), []string{Throughput}},
		{"relay", rate("Relay", "5 cpu-ns/op"), []string{Throughput, CPUTime}},
		{"relay without CPU times", rate("Relay", ""), []string{Throughput}},
		{"receive", rate("Receive", "5 cpu-ns/op"), []string{Throughput}},
		{"round trip", rate("Channel/what=roundtrip", "7 p50-ns"), []string{RoundTrip}},
		{"stream", rate("Channel/what=stream", "7 p50-ns"), []string{Throughput}},
		{"nothing but time", lines(6, "X/method=a", 1, "") + lines(6, "X/method=b", 1, ""), []string{Time}},
		{"nothing but throughput", "BenchmarkX/method=a 1 5 MB/s\nBenchmarkX/method=b 1 5 MB/s\n", []string{Throughput}},
		{"one method", lines(6, "Read/method=pread", 1, ""), nil},
	} {
		var got []string
		for _, a := range of(t, c.text) {
			got = append(got, a.Measure)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: measures %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCauses(t *testing.T) {
	// A job of 1 MiB and 1 ms, or 2 ms.
	pair := func(a, b string) string {
		return strings.Repeat("BenchmarkRead/size=1MiB/method=pread 1 2000000 ns/op 524.288 MB/s "+a+"\n", 6) +
			strings.Repeat("BenchmarkRead/size=1MiB/method=mmap 1 1000000 ns/op 1048.576 MB/s "+b+"\n", 6)
	}
	for _, c := range []struct {
		name, a, b string
		want       []Saving
	}{
		{"per GiB", "1000 syscalls/op", "2 syscalls/op", []Saving{{Unit: "syscalls/GiB", Best: 2048, Against: 1024000}}},
		{"zero is a figure", "0 minflt/op", "4096 minflt/op", []Saving{{Unit: "minflt/GiB", Best: 4096 * 1024}}},
		{"what one lacks is no cause", "", "4096 minflt/op", []Saving{}},
		{"alike", "1000 minflt/op", "1050 minflt/op", []Saving{}},
		{"negligible", "100 syscalls/op", "2 syscalls/op", []Saving{}},
		{"CPU time where nothing else differs", "7 syscalls/op 1000000 cpu-ns/op", "7 syscalls/op 1000001 cpu-ns/op",
			[]Saving{{Unit: "cpu-sec/GiB", Best: 1.024001024, Against: 1.024, Alike: true}}},
		{"in their order", "0 device-B/op 2000000 cpu-ns/op 900 syscalls/op", "1048576 device-B/op 1000000 cpu-ns/op 9 syscalls/op",
			[]Saving{
				{Unit: "syscalls/GiB", Best: 9216, Against: 921600}, {Unit: "device-B/GiB", Best: 1 << 30}, {Unit: "cpu-sec/GiB", Best: 1.024, Against: 2.048},
			}},
	} {
		all := of(t, pair(c.a, c.b))
		if len(all) != 1 || all[0].Verdict != Wins {
			t.Errorf("%s: got %+v, want one winner", c.name, all)
			continue
		}
		if got := fmt.Sprintf("%.6v", all[0].Cause); got != fmt.Sprintf("%.6v", c.want) {
			t.Errorf("%s: causes %s, want %.6v", c.name, got, c.want)
		}
	}
}

// What differs by no more than the rounds do among themselves is no cause, and
// neither is CPU time that does.
func TestCausesWithinNoise(t *testing.T) {
	var b strings.Builder
	for k, switches := range []int{5000, 100, 4000, 200, 6000, 50} {
		fmt.Fprintf(&b, "BenchmarkRead/method=pread 1 %d ns/op %d ctxsw/op %d cpu-ns/op\n", 2000000+k, switches, 1000*switches)
		fmt.Fprintf(&b, "BenchmarkRead/method=mmap 1 %d ns/op %d ctxsw/op 1000000 cpu-ns/op\n", 1000000+k, 1000+k)
	}
	all := of(t, b.String())
	if len(all) != 1 || len(all[0].Cause) != 1 || !all[0].Cause[0].Alike || all[0].Cause[0].Unit != byCPU.unit {
		t.Fatalf("got %+v, want one row with CPU time that is alike", all)
	}
	if want := "Nothing that was counted explains it"; !strings.Contains(all[0].Sentence, want) {
		t.Errorf("sentence %q, want %q in it", all[0].Sentence, want)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ name, section, workload, label string }{
		{"Read/pattern=rand/cache=warm/size=1GiB/block=4KiB", "Reads of a cached file", "random 4 KiB reads of a cached file", "random, 4 KiB"},
		{"Read/pattern=seq/cache=cold/size=1GiB/block=1MiB/consume=touch", "Reads of an uncached file", "sequential 1 MiB reads of an uncached file, consume=touch", "sequential, 1 MiB, consume=touch"},
		{"Read/pattern=new/cache=tepid/block=odd", "Reads of a tepid file", "new odd reads of a tepid file", "new, odd"},
		{"Send/transport=unix/cache=cold/block=64KiB", "Sending an uncached file", "sending an uncached file over a Unix socket in blocks of 64 KiB", "Unix, 64 KiB"},
		{"Receive/transport=veth/block=64KiB", "Receiving a file", "receiving a file over TCP between network namespaces in blocks of 64 KiB", "TCP, veth, 64 KiB"},
		{"Relay/transport=tcp", "Relaying from socket to socket", "relaying over TCP loopback", "TCP"},
		{"Write/pattern=append/sync=dsync/block=4KiB", "Writing a file", "appending to a file in blocks of 4 KiB, with O_DSYNC", "append, 4 KiB, O_DSYNC"},
		{"Copy/cache=warm/block=4KiB", "Copying a file", "copying a cached file in blocks of 4 KiB", "cached, 4 KiB"},
		{"Channel/block=4KiB/what=roundtrip", "Between two processes", "4 KiB to another process and back", "there and back, 4 KiB"},
		{"Channel/block=4KiB/what=stream", "Between two processes", "a stream to another process in blocks of 4 KiB", "stream, 4 KiB"},
		{"Map/touch=read/size=1MiB", "Mapping itself", "1 MiB of memory, mapped, read once and unmapped", "read once, 1 MiB"},
		{"Open/size=4KiB/files=9", "Small files, opened, read and closed", "files of 4 KiB, opened, read whole and closed", "4 KiB"},
		{"Parallel/pattern=seq/cache=warm/block=4KiB/workers=1/as=threads", "Several workers", "sequential 4 KiB reads of a cached file by 1 thread", "sequential, cached, 4 KiB, 1 thread"},
		{"Sort/n=10/fast", "Sort", "Sort, n=10, fast", "n=10, fast"},
		{"Étude", "Étude", "Étude", "Étude"},
		{"", "Benchmark", "Benchmark", "Benchmark"},
	} {
		all := of(t, lines(6, c.name+"/method=a", 1, "")+lines(6, c.name+"/method=b", 2, ""))
		if len(all) != 1 {
			t.Errorf("%s: %d rows, want 1", c.name, len(all))
			continue
		}
		if a := all[0]; a.Section != c.section || a.Workload != c.workload || a.Label != c.label {
			t.Errorf("%s: %q, %q, %q, want %q, %q, %q", c.name, a.Section, a.Workload, a.Label, c.section, c.workload, c.label)
		}
	}
}

// Two workloads never have one name.
func TestSizesAreTold(t *testing.T) {
	var text string
	for _, size := range []string{"64MiB", "1GiB"} {
		text += lines(6, "Read/size="+size+"/block=4KiB/method=pread", 1, "") + lines(6, "Read/size="+size+"/block=4KiB/method=mmap", 2, "")
	}
	var got []string
	for _, a := range of(t, text) {
		got = append(got, a.Label)
	}
	if want := []string{"4 KiB, size=64MiB", "4 KiB, size=1GiB"}; !slices.Equal(got, want) {
		t.Errorf("labels %q, want %q", got, want)
	}
}

func TestCrossing(t *testing.T) {
	// Of each size, how many times as long mapping takes.
	for _, c := range []struct {
		name  string
		ratio []float64
		want  string
	}{
		{"calls, then mappings", []float64{3, 2, 0.5, 0.4}, "up to 16 KiB read, from 64 KiB on mmap"},
		{"doubt between", []float64{3, 1, 1, 0.5}, "at 4 KiB read, at 256 KiB mmap; no difference shown from 16 KiB to 64 KiB"},
		{"doubt at one size", []float64{3, 3, 1, 0.5}, "up to 16 KiB read, at 256 KiB mmap; no difference shown at 64 KiB"},
		{"calls always", []float64{3, 3, 3, 3}, "from 4 KiB to 256 KiB read"},
		{"mappings always", []float64{0.3, 0.3, 0.3, 0.3}, "from 4 KiB to 256 KiB mmap"},
		{"to and fro", []float64{3, 0.3, 3, 0.3}, "at 4 KiB read, at 16 KiB mmap, at 64 KiB read, at 256 KiB mmap"},
		{"calls, then doubt", []float64{3, 3, 1, 1}, "up to 16 KiB read; no difference shown from 64 KiB on"},
		{"nothing decided", []float64{1, 1, 1, 1}, ""},
		{"one size", []float64{3}, ""},
	} {
		var text string
		for i, size := range []string{"4KiB", "16KiB", "64KiB", "256KiB"}[:len(c.ratio)] {
			for _, m := range []struct {
				name string
				ns   float64
			}{{"read", 1000}, {"mmap", 1000 * c.ratio[i]}} {
				text += lines(6, "Open/size="+size+"/method="+m.name, m.ns, fmt.Sprintf("%v MB/s", 1e6/m.ns))
			}
		}
		var got string
		for _, a := range of(t, text) {
			if a.isSummary() {
				got = strings.TrimSuffix(strings.TrimPrefix(a.Sentence, "Small files, opened, read whole and closed: "), ".")
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct{ text, filter, want string }{
		{"BenchmarkX 1 5 ns/op\n", "*", "/method"},
		{"BenchmarkX/method=a 1 5 ns/op\n", ".name:Y", "filter"},
		{"BenchmarkX/method=a 1 5 ns/op\n", "(", "filter"},
	} {
		_, err := Select(read(t, c.text), c.filter)
		if !errors.Is(err, summary.ErrInput) || !strings.Contains(fmt.Sprint(err), c.want) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("Select(%q, %q) = %v, want one line of ErrInput with %q", c.text, c.filter, err, c.want)
		}
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"syscalls/GiB", 0, "0"}, {"syscalls/GiB", 5.94, "5.94"}, {"syscalls/GiB", 999.6, "1,000"},
		{"minflt/op", 262144, "262,144"}, {"minflt/op", 1234567.8, "1,234,568"},
		{"device-B/GiB", 0, "0 B"}, {"device-B/GiB", 512, "512 B"}, {"device-B/GiB", 1.5 * (1 << 30), "1.50 GiB"},
		{"cpu-sec/GiB", 0, "0 ns"}, {"cpu-sec/GiB", 1.234, "1.23 s"}, {"peer-cpu-sec/op", 0.0593, "59.3 ms"}, {"cpu-sec/op", 45e-6, "45.0 µs"},
		{"device-B/GiB", 1<<30 - 1000, "1.00 GiB"}, {"cpu-sec/op", 0.9999, "1.00 s"}, {"cpu-sec/op", 0.9994, "999 ms"},
	} {
		if got := (Saving{Unit: c.unit}).amount(c.v); got != c.want {
			t.Errorf("%v of %s is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

// What the best costs is never told as a cause, and what is not told apart as no
// saving.
func TestExplained(t *testing.T) {
	calls := Saving{Unit: "syscalls/GiB", Best: 4, Against: 1004}
	cpu := Saving{Unit: "cpu-sec/GiB", Best: 0.25, Against: 1.5}
	switches := Saving{Unit: "ctxsw/GiB", Best: 4048, Against: 508}
	alike := Saving{Unit: "cpu-sec/GiB", Best: 1, Against: 1.2, Alike: true}
	for _, c := range []struct {
		name            string
		cause           []Saving
		counted         bool
		sentence, table []string
	}{
		{"saved", []Saving{calls, cpu}, true,
			[]string{"it saves per GiB: 1,000 system calls, 1.25 s of CPU time"},
			[]string{"it saves per GiB: system calls 1,004 → 4, CPU time 1.50 s → 250 ms"}},
		{"saved and paid", []Saving{calls, switches, cpu}, true,
			[]string{"it saves per GiB: 1,000 system calls, 1.25 s of CPU time", "it costs 3,540 context switches"},
			[]string{"it saves per GiB: system calls 1,004 → 4, CPU time 1.50 s → 250 ms", "it costs context switches 508 → 4,048"}},
		{"paid", []Saving{switches}, true,
			[]string{"nothing that was counted explains it", "it costs per GiB: 3,540 context switches"},
			[]string{"nothing that was counted explains it", "it costs per GiB: context switches 508 → 4,048"}},
		{"alike", []Saving{alike}, true,
			[]string{"nothing that was counted explains it", "per GiB: CPU time 1.00 s against 1.20 s"},
			[]string{"nothing that was counted explains it", "per GiB: CPU time 1.00 s against 1.20 s"}},
		{"nothing differs", nil, true, []string{"nothing that was counted explains it"}, []string{"nothing that was counted explains it"}},
		{"nothing was counted", nil, false, nil, nil},
	} {
		a := Advice{Cause: c.cause, counted: c.counted}
		if got := a.explained(differences); !slices.Equal(got, c.sentence) {
			t.Errorf("%s, in a sentence: %q, want %q", c.name, got, c.sentence)
		}
		if got := a.explained(changes); !slices.Equal(got, c.table) {
			t.Errorf("%s, in a table: %q, want %q", c.name, got, c.table)
		}
	}
}

// A time is worse the more there is of it, in a table as in a sentence.
func TestFigure(t *testing.T) {
	gain := verdict.Ratio{Value: 2.8, Lo: 2, Hi: 3.9, Interval: true, N: 6}
	for _, c := range []struct{ measure, want string }{
		{Throughput, "2.8 × read+write [2.0, 3.9]"},
		{CPUTime, "read+write takes 2.8 × as much [2.0, 3.9]"},
		{RoundTrip, "read+write takes 2.8 × as long [2.0, 3.9]"},
		{Time, "read+write takes 2.8 × as long [2.0, 3.9]"},
	} {
		a := Advice{Measure: c.measure, Verdict: Wins, Best: "splice", Baseline: "read+write", Against: "read+write", Gain: gain}
		if got := a.figure(); got != c.want {
			t.Errorf("by %s: %q, want %q", c.measure, got, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"too few", lines(1, "Read/method=pread", 1, "") + lines(1, "Read/method=mmap", 2, ""), "n=1: a verdict needs 6 rounds (iopath bench -rounds 6)."},
		{"one method", lines(6, "Read/method=pread", 1, ""), "Nothing to choose"},
		{"nothing told", lines(6, "Read/method=pread", 1, "") + lines(6, "Read/method=mmap", 1, ""), "(iopath bench -rounds 24)"},
		{"unlike runs", "commit: a\n" + lines(3, "Read/method=pread", 1, "") + "commit: b\n" + lines(3, "Read/method=pread", 1, ""), "commit differs"},
		{"other cells", "commit: a\n" + lines(3, "Read/method=pread", 1, "") + "commit: b\n" + lines(3, "Send/method=splice", 1, ""), "!commit differs"},
	} {
		results := read(t, c.text)
		all, err := Of(results)
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(Notes(results, all), "\n")
		want, not := strings.CutPrefix(c.want, "!")
		if strings.Contains(notes, want) == not {
			t.Errorf("%s: notes %q, want %q", c.name, notes, c.want)
		}
	}
}

func TestNote(t *testing.T) {
	cold := keys{{Key: "pattern", Value: "rand"}, {Key: "cache", Value: "cold"}}
	for _, c := range []struct {
		name, method string
		of           keys
		want         string // part of the note
	}{
		{"Read", "pread", cold, ""},
		{"Read", "mmap", cold, "reads ahead"},
		{"Read", "mmap+random", cold, ""},
		{"Read", "mmap", keys{{Key: "pattern", Value: "sparse"}, {Key: "cache", Value: "cold"}}, ""},
		{"Read", "mmap", keys{{Key: "pattern", Value: "rand"}, {Key: "cache", Value: "warm"}}, ""},
		{"Parallel", "mmap", cold, "reads ahead"},
		{"Read", "os.ReadFile", nil, "the whole file"},
		{"Read", "io_uring.32+odirect", cold, "the next reader"},
		{"Write", "odirect", keys{{Key: "sync", Value: "none"}}, "at the device"},
		{"Send", "io.Copy", nil, "its own block"},
		{"Map", "heap", nil, "no file"},
		{"Sort", "heap", nil, ""},
		{"Sort", "io.Copy", nil, ""},
	} {
		if got := kindOf(c.name).note(c.method, c.of); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("note of %s by %s%v: %q, want %q", c.name, c.method, c.of, got, c.want)
		}
	}
}

// At most eight sentences, reads among them, however strong the others are.
func TestFindings(t *testing.T) {
	var text string
	for i, name := range []string{"Read/cache=warm", "Write", "Receive", "Copy", "Map", "Parallel", "Other", "Another", "Third", "Fourth"} {
		text += lines(6, name+"/method=read", 100*float64(i+2), "") + lines(6, name+"/method=mmap", 100, "")
	}
	text += lines(6, "Read/pattern=seq/cache=cold/method=pread", 100, "") + lines(6, "Read/pattern=seq/cache=cold/method=mmap", 100, "")
	found := Findings(of(t, text))
	if len(found) != mostFindings {
		t.Errorf("%d findings, want %d: %q", len(found), mostFindings, found)
	}
	for i, want := range map[int]string{0: "Fourth: ", 6: "Reads of a cached file: ", 7: "Sequential reads of an uncached file: no difference"} {
		if i < len(found) && !strings.HasPrefix(found[i], want) {
			t.Errorf("finding %d is %q, want %q", i, found[i], want)
		}
	}
	if found := Findings(nil); len(found) != 0 {
		t.Errorf("findings of nothing: %q", found)
	}
}

// JSON leaves out what there is not, and has no null.
func TestJSON(t *testing.T) {
	for _, text := range []string{
		lines(1, "Read/method=pread", 1, "") + lines(1, "Read/method=mmap", 2, ""),
		lines(6, "Read/method=pread", 1, ""),
		lines(6, "Read/method=pread", 1, "") + lines(6, "Read/method=mmap", 2, ""),
	} {
		results := read(t, text)
		all, err := Of(results)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := JSON(&b, results, all); err != nil {
			t.Fatal(err)
		}
		var any map[string]any
		if err := json.Unmarshal(b.Bytes(), &any); err != nil {
			t.Errorf("not JSON: %v", err)
		}
		if bytes.Contains(b.Bytes(), []byte("null")) {
			t.Errorf("a null in %s", b.Bytes())
		}
	}
}
