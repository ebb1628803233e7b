package summary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func parse(text string) (*Results, error) {
	return Read(Input{"test.txt", strings.NewReader(text)})
}

func mustParse(t testing.TB, text string) *Results {
	t.Helper()
	r, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	r := mustParse(t, `# iopath bench: profile=quick seed=7
# command: iopath bench -profile quick -dir '/a: b'
# date: 2026-11-21T12:00:00Z
goos: linux
kernel: Linux 6.18
Unit syscalls/op better=lower assume=exact
BenchmarkRead/block=4KiB/method=pread-2 5 2000000 ns/op 500 MB/s 256 syscalls/op
# skipped: BenchmarkRead/cache=cold: /tmp is tmpfs
# skipped: BenchmarkRead/cache=cold: /tmp is tmpfs
BenchmarkBroken-2 	--- FAIL: BenchmarkBroken-2
# failed: BenchmarkX: receiver went away
# settle: 1.25s, then steal=0.0%
# stopped: BenchmarkRead/block=4KiB/method=pread-2: ±2.4% after 8 rounds
# noise: steal=0.3%; quiet
kernel: Linux 6.19
BenchmarkRead/block=4KiB/method=pread-2 5 1000000 ns/op 1000 MB/s +Inf x/op 256 syscalls/op
PASS
`)
	cells, err := r.Cells("")
	if err != nil || len(cells) != 1 {
		t.Fatalf("Cells = %d cells, %v; want 1", len(cells), err)
	}
	c := cells[0]
	for _, tt := range []struct{ what, got, want string }{
		{"name", c.Name, "Read/block=4KiB/method=pread-2"},
		{".name", c.Key(".name"), "Read"},
		{"/block", c.Key("/block"), "4KiB"},
		{"/gomaxprocs", c.Key("/gomaxprocs"), "2"},
		{"/none", c.Key("/none"), ""},
		{".file", c.Key(".file"), "test.txt"},
		{"units", strings.Join(c.Units, " "), "sec/op B/s syscalls/op"},
		{"times", fmt.Sprint(c.Values("sec/op")), "[0.002 0.001]"},
		{"per GiB", fmt.Sprint(c.Values("syscalls/GiB")), "[274877.906944 274877.906944]"},
		{"not measured", fmt.Sprint(c.Values("minflt/GiB")), "[]"},
		{"config", fmt.Sprint(r.Config), "[goos=linux kernel=Linux 6.18 (varies)]"},
		{"commands", fmt.Sprint(r.Commands), "[iopath bench -profile quick -dir '/a: b']"},
		{"made", fmt.Sprint(r.Made), "[iopath bench: profile=quick seed=7]"},
		{"dates", fmt.Sprint(r.Dates), "[2026-11-21T12:00:00Z]"},
		{"skipped", fmt.Sprint(r.Skipped), "[BenchmarkRead/cache=cold: /tmp is tmpfs]"},
		{"failed", fmt.Sprint(r.Failed), "[BenchmarkBroken-2 BenchmarkX: receiver went away]"},
		{"settle", fmt.Sprint(r.Settle), "[1.25s, then steal=0.0%]"},
		{"stopped", fmt.Sprint(r.Stopped), "[BenchmarkRead/block=4KiB/method=pread-2: ±2.4% after 8 rounds]"},
		{"noise", fmt.Sprint(r.Noise), "[steal=0.3%; quiet]"},
		{"notes", fmt.Sprint(r.Notes), "[x/op of Read/block=4KiB/method=pread-2 is infinite or not a number: left out]"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	byKernel, err := r.Cells("*", "kernel")
	if err != nil || len(byKernel) != 2 {
		t.Errorf("Cells by kernel = %d cells, %v; want 2", len(byKernel), err)
	}
	later, err := r.Cells(`kernel:"Linux 6.19" .unit:ns/op`)
	if err != nil || len(later) != 1 || fmt.Sprint(later[0].Units, later[0].Values("sec/op")) != "[sec/op] [0.001]" {
		t.Errorf("Cells of the later kernel = %v, %v; want one with sec/op alone", later, err)
	}
}

// Results may be used by any number of goroutines: the race detector tells.
func TestConcurrentUse(t *testing.T) {
	r := mustParse(t, "kernel: Linux 6.18\nBenchmarkX/method=a 1 5 ns/op\n")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			cells, err := r.Cells(`kernel:"Linux 6.18" /method:a`)
			if err != nil || len(cells) != 1 || cells[0].Key("kernel") != "Linux 6.18" {
				t.Errorf("Cells = %d cells, %v; want one of the kernel", len(cells), err)
			}
		})
	}
	wait.Wait()
}

func TestReadErrors(t *testing.T) {
	good := "BenchmarkA-2 1 5 ns/op 7 syscalls/op\n"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "read test.txt: no result lines"},
		{"another file", "hello\nworld\n", "no result lines"},
		{"skipped alone", "# skipped: x: y\n", "no result lines, only 1 skipped or failed cells"},
		{"no units", good + "BenchmarkA-2 1 5\n" + good, "read test.txt:2: missing units (the line is damaged: mend or remove it)"},
		{"no number", good + "BenchmarkA-2 1 x ns/op\n", "read test.txt:2: parsing measurement"},
		{"cut after a number", good + "BenchmarkA-2 1 5 ns/op 7", "read test.txt:2: missing units: the last line is cut short"},
		{"cut in a unit", good + "BenchmarkA-2 1 5 ns/op 7 sysc", `read test.txt:2: unit "sysc" is on no line before: the last line is cut short`},
		{"control characters", "BenchmarkA\x1b[31m-2 1 5 ns/op\n", "read test.txt:1: control characters in a benchmark's name"},
		{"binary", "BenchmarkA\xff\xfe 1 5 ns/op\n", "control characters"},
		{"endless line", "Benchmark" + strings.Repeat("x", 1<<20) + " 1 5 ns/op\n", "token too long"},
	} {
		_, err := parse(tt.text)
		if err == nil || !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v (ErrInput %v), want one line with %q", tt.name, err, errors.Is(err, ErrInput), tt.want)
		}
	}
	for _, text := range []string{strings.TrimSuffix(good, "\n"), good + strings.TrimSuffix(good, "\n"), strings.ReplaceAll(good, "\n", "\r\n")} {
		if _, err := parse(text); err != nil {
			t.Errorf("read %q: %v, want no error", text, err)
		}
	}
	broken := errors.New("device gone")
	if _, err := Read(Input{"x", iotest.ErrReader(broken)}); !errors.Is(err, ErrInput) || !errors.Is(err, broken) {
		t.Errorf("Read of a failing reader: %v, want ErrInput around %v", err, broken)
	}
	for path, cause := range map[string]error{"no/such/file": os.ErrNotExist, t.TempDir(): nil} {
		_, err := ReadFiles(path)
		if !errors.Is(err, ErrInput) || cause != nil && !errors.Is(err, cause) || !strings.Contains(err.Error(), path) {
			t.Errorf("ReadFiles(%s): %v, want ErrInput that names it", path, err)
		}
	}
	if _, err := Read(); !errors.Is(err, ErrInput) {
		t.Errorf("Read(): %v, want ErrInput", err)
	}
	r := mustParse(t, good)
	if _, err := r.Table(".name:B"); !errors.Is(err, ErrInput) {
		t.Errorf("Table of nothing: %v, want ErrInput", err)
	}
	if _, err := r.Cells("a:(("); !errors.Is(err, ErrInput) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Cells of a bad filter: %v, want ErrInput on one line", err)
	}
}

func TestFigure(t *testing.T) {
	line := func(values ...float64) string {
		text := "Unit exact/op assume=exact\n"
		for _, v := range values {
			text += fmt.Sprintf("BenchmarkA 1 %v any/op %v exact/op\n", v, v)
		}
		return text
	}
	for _, tt := range []struct {
		values []float64
		unit   string
		want   string
		pm     string
	}{
		{[]float64{3, 1, 2}, "any/op", "{2 0 0 false false 3}", "0 false"},
		{[]float64{5, 5, 5, 5, 5}, "any/op", "{5 0 0 false false 5}", "0 false"},
		{[]float64{9, 8, 10, 11, 12, 10}, "any/op", "{10 8 12 true false 6}", "0.2 true"},
		{[]float64{7}, "exact/op", "{7 7 7 true true 1}", "0 true"},
		{[]float64{7, 8, 7}, "exact/op", "{7 7 8 true true 3}", "0.14285714285714285 true"},
		{[]float64{0, 0, 0, 0, 0, 0}, "any/op", "{0 0 0 true false 6}", "0 true"},
	} {
		cells, err := mustParse(t, line(tt.values...)).Cells("*")
		if err != nil {
			t.Fatal(err)
		}
		f, ok := cells[0].Figure(tt.unit)
		if got := fmt.Sprint(f); !ok || got != tt.want {
			t.Errorf("Figure of %v %s = %s, want %s", tt.values, tt.unit, got, tt.want)
		}
		pm, ok := f.PlusMinus()
		if got := fmt.Sprint(pm, ok); got != tt.pm {
			t.Errorf("PlusMinus of %v %s = %s, want %s", tt.values, tt.unit, got, tt.pm)
		}
		if got := cells[0].Values(tt.unit); !slices.Equal(got, tt.values) {
			t.Errorf("Values after Figure = %v, want the order read, %v", got, tt.values)
		}
		if _, ok := cells[0].Figure("none/op"); ok {
			t.Error("Figure of a unit that was not measured is there, want none")
		}
	}
}

func TestBytesPerOp(t *testing.T) {
	for _, tt := range []struct {
		line string
		want float64
	}{
		{"BenchmarkR/size=256MiB 1 31234567 ns/op 8594.10 MB/s", 256 << 20}, // rounded rate, whole size
		{"BenchmarkR/size=1MiB 1 1000 ns/op 1000 MB/s", 1000},               // another size altogether
		{"BenchmarkR/size=1MiB 1 1000 ns/op", 0},
	} {
		cells, err := mustParse(t, tt.line+"\n").Cells("*")
		if err != nil {
			t.Fatal(err)
		}
		got, ok := cells[0].BytesPerOp()
		if d := got - tt.want; d > 1e-6 || d < -1e-6 || ok != (tt.want > 0) {
			t.Errorf("BytesPerOp of %s = %v, %v; want %v", tt.line, got, ok, tt.want)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, want := range [][]string{
		{"seq", "rand", "zipf"},
		{"warm", "cold"},
		{"0.5", "1", "9", "10", "1k", "4KiB", "64KiB", "1MB", "1MiB", "1GiB", "Inf", "mmap", "pread"},
	} {
		got := slices.Clone(want)
		slices.Reverse(got)
		if slices.SortFunc(got, Compare); !slices.Equal(got, want) {
			t.Errorf("sorted: %v, want %v", got, want)
		}
	}
}

const generic = `goos: linux
pkg: example.com/x
BenchmarkFib10-8   	 5000000	       325 ns/op	       0 B/op	       0 allocs/op
BenchmarkFib20-8   	   30000	     40537 ns/op
BenchmarkEncode/digits/level=speed/size=1e5-8  100 1541250 ns/op 64.88 MB/s 40418 B/op 7.5 allocs/op
BenchmarkEncode/digits/level=speed/size=1e4-8  100 154125 ns/op 64.88 MB/s 40418 B/op 7 allocs/op
BenchmarkEncode/digits/level=best/size=1e5-8  100 1541250 ns/op 64.88 MB/s 40418 B/op 7 allocs/op 6 probes/op
BenchmarkBad-8   	--- FAIL: BenchmarkBad-8
PASS
`

// TestTable holds each rendering to testdata.
func TestTable(t *testing.T) {
	bench, err := ReadFiles(benchFile)
	if err != nil {
		t.Fatal(err)
	}
	few := mustParse(t, strings.Repeat("BenchmarkRead/pattern=seq/cache=warm/block=4KiB/method=pread 1 100 ns/op 7 MB/s\nBenchmarkRead/pattern=seq/cache=warm/block=4KiB/method=null 1 3 ns/op\n", 3)+
		"# skipped: BenchmarkRead/pattern=seq/cache=cold: /tmp is tmpfs: name a directory on a disk with -dir\n"+
		"# skipped: BenchmarkRead/pattern=rand/cache=cold: /tmp is tmpfs: name a directory on a disk with -dir\n"+
		"# failed: BenchmarkSend: receiver went away\n")
	render := func(r *Results, filter string, how func(*Table, io.Writer) error) []byte {
		t.Helper()
		table, err := r.Table(filter)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := how(table, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	width := func(n int) func(*Table, io.Writer) error {
		return func(t *Table, w io.Writer) error { return t.Text(w, n) }
	}
	for _, tt := range []struct {
		file string
		got  []byte
	}{
		{"table80.txt", render(bench, "*", width(80))},
		{"table120.txt", render(bench, ".name:Send", width(120))},
		{"table.md", render(bench, ".name:Read /cache:warm", (*Table).Markdown)},
		{"table.json", render(bench, "/pattern:seq /cache:warm /block:4KiB", (*Table).JSON)},
		{"generic.txt", render(mustParse(t, generic), "*", width(80))},
		{"few.txt", render(few, "*", width(80))},
	} {
		path := filepath.Join("testdata", tt.file)
		if *update {
			if err := os.WriteFile(path, tt.got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(tt.got, want) {
			t.Errorf("%s differs (look at it, then: go test ./internal/summary -update). Got:\n%s", path, tt.got)
		}
		limit := map[string]int{"table80.txt": 80, "table120.txt": 120, "generic.txt": 80, "few.txt": 80}[tt.file]
		for line := range strings.Lines(string(tt.got)) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); limit > 0 && n > limit {
				t.Errorf("%s has a line of %d columns, want at most %d: %s", tt.file, n, limit, line)
			}
		}
	}
}

// A zero is of the same unit as the rest.
func TestZeroIsTidied(t *testing.T) {
	cells, err := mustParse(t, "BenchmarkX 1 0 cpu-ns/op\nBenchmarkX 1 4 cpu-ns/op\n").Cells("*")
	if err != nil {
		t.Fatal(err)
	}
	if got := cells[0].Values("cpu-sec/op"); len(got) != 2 || got[0] != 0 || got[1] != 4e-9 {
		t.Errorf("0 and 4 cpu-ns/op are %v cpu-sec/op, want 0 and 4e-9", got)
	}
}

// TestLimits pairs each cell with what bounds it, and no other.
func TestLimits(t *testing.T) {
	const limits = `
BenchmarkCeiling/pattern=seq/size=1GiB/block=4KiB-2 1 100 ns/op 1000 MB/s
BenchmarkCeiling/pattern=seq/size=1GiB/block=4KiB 1 100 ns/op 1010 MB/s
BenchmarkCeiling/pattern=seq/size=2GiB/block=4KiB-2 1 100 ns/op 1020 MB/s
BenchmarkCeiling/pattern=seq/consume=touch/size=1GiB/block=4KiB-2 1 100 ns/op 2000 MB/s
BenchmarkCeiling/pattern=sparse/size=1GiB/block=4KiB-2 1 100 ns/op 900 MB/s
BenchmarkCeiling/transport=tcp/size=128MiB/block=4KiB-2 1 100 ns/op 500 MB/s
BenchmarkCeiling/transport=tcp/consume=touch/size=128MiB/block=4KiB-2 1 100 ns/op 700 MB/s
BenchmarkDevice/pattern=seq/size=128MiB/block=4KiB/depth=1-2 1 100 ns/op 80 MB/s
BenchmarkDevice/pattern=seq/size=128MiB/block=4KiB/depth=32-2 1 100 ns/op 800 MB/s
BenchmarkDevice/pattern=rand/size=128MiB/block=4KiB/depth=32-2 1 100 ns/op 400 MB/s
`
	for _, tt := range []struct {
		cell, limit string
		of          Limit
	}{
		{"Read/pattern=seq/cache=warm/size=1GiB/block=4KiB/method=pread-2", "Ceiling/pattern=seq/size=1GiB/block=4KiB-2", Memory},
		{"Read/pattern=seq/cache=warm/consume=touch/size=1GiB/block=4KiB/method=pread-2", "Ceiling/pattern=seq/consume=touch/size=1GiB/block=4KiB-2", Memory},
		{"Read/pattern=seq/cache=warm/consume=copy/size=1GiB/block=4KiB/method=pread-2", "", ""},
		{"Read/pattern=seq/cache=warm/size=1GiB/block=64KiB/method=pread-2", "", ""},
		{"Read/pattern=seq/cache=warm/size=4GiB/block=4KiB/method=pread-2", "", ""},
		{"Read/pattern=rand/cache=warm/size=1GiB/block=4KiB/method=pread-2", "", ""},
		{"Read/pattern=sparse/cache=warm/size=1GiB/block=4KiB/method=pread-2", "Ceiling/pattern=sparse/size=1GiB/block=4KiB-2", Memory},
		{"Read/pattern=seq/cache=cold/size=1GiB/block=4KiB/method=pread-2", "Device/pattern=seq/size=128MiB/block=4KiB/depth=32-2", Device},
		{"Read/pattern=seq/cache=cold/consume=touch/size=1GiB/block=4KiB/method=pread-2", "Device/pattern=seq/size=128MiB/block=4KiB/depth=32-2", Device},
		{"Read/pattern=sparse/cache=cold/size=1GiB/block=4KiB/method=pread-2", "Device/pattern=rand/size=128MiB/block=4KiB/depth=32-2", Device},
		{"Read/pattern=seq/cache=cold/size=1GiB/block=4KiB/method=pread", "", ""},
		{"Read/pattern=seq/cache=cold/size=1GiB/block=1MiB/method=pread-2", "Device/pattern=seq/size=128MiB/block=4KiB/depth=32-2", Device},
		{"Read/pattern=rand/cache=cold/size=1GiB/block=1MiB/method=pread-2", "", ""},
		{"Send/transport=tcp/cache=warm/size=1GiB/block=4KiB/method=sendfile-2", "Ceiling/transport=tcp/size=128MiB/block=4KiB-2", Socket},
		{"Send/transport=tcp/cache=warm/consume=touch/size=1GiB/block=4KiB/method=sendfile-2", "Ceiling/transport=tcp/consume=touch/size=128MiB/block=4KiB-2", Socket},
		{"Send/transport=unix/cache=warm/size=1GiB/block=4KiB/method=sendfile-2", "", ""},
		{"Send/transport=unix/cache=cold/size=1GiB/block=4KiB/method=sendfile-2", "Device/pattern=seq/size=128MiB/block=4KiB/depth=32-2", Device},
		{"Other/pattern=seq/cache=warm/size=1GiB/block=4KiB/method=pread-2", "", ""},
	} {
		table, err := mustParse(t, limits+"Benchmark"+tt.cell+" 1 100 ns/op 200 MB/s\n").Table(".name:(Read OR Send OR Other)")
		if err != nil {
			t.Fatal(err)
		}
		rows := table.Sections[0].Rows
		var limit string
		for _, r := range rows {
			if r.Limit != "" {
				limit += r.Cell.Name
				if _, ok := r.Figures["sec/op"]; ok { // its job is larger than the cell's
					t.Errorf("%s: the limit's row has the time of another job", tt.cell)
				}
				if r.Limit != tt.of || r.Share != 1 {
					t.Errorf("%s: the limit is by %q, its share %v; want %q, 1", tt.cell, r.Limit, r.Share, tt.of)
				}
			}
		}
		if limit != tt.limit {
			t.Errorf("%s is bounded by %q, want %q", tt.cell, limit, tt.limit)
		}
		last := rows[len(rows)-1]
		if last.Of != tt.of || (last.Share > 0) != (tt.of != "") {
			t.Errorf("%s has a share %v of %q, want one of %q", tt.cell, last.Share, last.Of, tt.of)
		}
	}
}

// TestNotes holds what a table says beside its figures.
func TestNotes(t *testing.T) {
	const warm = "BenchmarkRead/cache=warm/block=4KiB/method=pread 1 100 ns/op\n"
	for _, tt := range []struct {
		name, text, want string
		absent           bool
	}{
		{"a file inside the cache", "file-to-llc: 0.5\n" + warm, "The warm file has 0.5 times the size of the last-level cache: warm figures are the cache's, not memory's.", false},
		{"a file beyond the cache", "file-to-llc: 1.5\n" + warm, "last-level cache", true},
		{"cold cells alone", "file-to-llc: 0.5\n" + strings.ReplaceAll(warm, "warm", "cold"), "last-level cache", true},
		{"a note of the file", "# note: the page cache was small\n" + warm, "the page cache was small", false},
		{"cells that time stopped", "# stopped: BenchmarkA: ±2.4% after 8 rounds\n# stopped: BenchmarkB: time is up at ±6.1% after 14 rounds\n" + warm, "1 of 2 cells were stopped by the time limit before they were as precise as asked.", false},
		{"cells that precision stopped", "# stopped: BenchmarkA: ±2.4% after 8 rounds\n" + warm, "stopped by the time limit", true},
		{"noise", warm + "# noise: steal=0.3% over 6 rounds; quiet\n", "noise: steal=0.3% over 6 rounds; quiet", false},
	} {
		table, err := mustParse(t, tt.text).Table("*")
		if err != nil {
			t.Fatal(err)
		}
		for how, render := range map[string]func(io.Writer) error{
			"text":     func(w io.Writer) error { return table.Text(w, 200) },
			"Markdown": table.Markdown,
		} {
			var b bytes.Buffer
			if err := render(&b); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(b.String(), tt.want); got == tt.absent {
				t.Errorf("%s: %q is in the %s: %v, want %v:\n%s", tt.name, tt.want, how, got, !tt.absent, b.String())
			}
		}
	}
}

func TestTextNarrow(t *testing.T) {
	var line strings.Builder
	line.WriteString("BenchmarkX/" + strings.Repeat("n", 60) + " 1")
	for i := range 30 {
		fmt.Fprintf(&line, " %d00 unit%d/op", i, i)
	}
	table, err := mustParse(t, line.String()+"\n").Table("*")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := table.Text(&b, 10); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "unit"); got != 30 {
		t.Errorf("%d of 30 units are shown:\n%s", got, b.String())
	}
	for l := range strings.Lines(b.String()) {
		if len(l) > 81 {
			t.Errorf("a line has %d columns, want at most 80: %s", len(l)-1, l)
		}
	}
}

// FuzzRead feeds damaged files: whatever reads must also tabulate.
func FuzzRead(f *testing.F) {
	bench := generate(1)
	f.Add(bench[:3000])
	f.Add([]byte(generic))
	f.Add([]byte("file-to-llc: 0.5\n# stopped: BenchmarkA: time is up\nBenchmarkFloor/what=clock 1 4 ns/op\n" +
		"BenchmarkDevice/pattern=rand/block=4KiB/depth=32 1 100 ns/op 9 MB/s\nBenchmarkRead/pattern=sparse/cache=cold/block=4KiB/method=m 1 100 ns/op 7 MB/s 5 p50-ns 0 late-%\n"))
	f.Add([]byte("Unit x assume=exact\nBenchmarkA/-1 1 NaN x 1e308 y -0 z\n"))
	f.Add([]byte("Benchmark/method=/block= 1 1 MB/s 1 ns/op\nBenchmarkCeiling 1 1e308 MB/s"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(Input{"fuzz", bytes.NewReader(data)})
		if err != nil {
			if !errors.Is(err, ErrInput) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Read: %q, want one line of ErrInput", err)
			}
			return
		}
		table, err := r.Table("*")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := table.JSON(&b); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b.Bytes()) {
			t.Errorf("JSON is not valid: %s", b.String())
		}
		if err := errors.Join(table.Text(&b, 80), table.Markdown(&b)); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b.Bytes()) {
			t.Error("the table is not UTF-8")
		}
	})
}

// Measurements pair by round: one that is missing shifts no other.
func TestPaired(t *testing.T) {
	const rounds = `# round 1: seed=1
BenchmarkX/method=a 1 10 ns/op
# failed: BenchmarkX/method=b: broke
# round 2: seed=1
BenchmarkX/method=b 1 22 ns/op
BenchmarkX/method=a 1 20 ns/op
# round 3: seed=1
BenchmarkX/method=a 1 +Inf ns/op
BenchmarkX/method=b 1 33 ns/op
# round 4: seed=1
BenchmarkX/method=a 1 40 ns/op
BenchmarkX/method=b 1 44 ns/op
`
	const plain = `BenchmarkX/method=a 1 10 ns/op
BenchmarkX/method=a 1 NaN ns/op
BenchmarkX/method=a 1 30 ns/op
BenchmarkX/method=b 1 11 ns/op
BenchmarkX/method=b 1 22 ns/op
BenchmarkX/method=b 1 33 ns/op
BenchmarkX/method=b 1 44 ns/op
`
	for _, tt := range []struct {
		name   string
		inputs []string
		a, b   string // filters of one cell each
		want   string
	}{
		{"rounds", []string{rounds}, "/method:a", "/method:b", "[20 40] [22 44]"},
		{"k-th lines", []string{plain}, "/method:a", "/method:b", "[10 30] [11 33]"},
		{"several files", []string{rounds, "# round 2: seed=2\nBenchmarkX/method=a 1 5 ns/op\n# round 1: seed=2\nBenchmarkX/method=b 1 7 ns/op\n"},
			"/method:a", "/method:b", "[20 40] [22 44]"},
		{"two runs", []string{rounds, strings.ReplaceAll(rounds, "1 4", "1 5")}, "/method:a .file:input0", "/method:a .file:input1", "[10 20 40] [10 20 50]"},
		{"a run twice in one file", []string{rounds + rounds}, "/method:b", "/method:a", "[22 44 22 44] [20 40 20 40]"},
	} {
		var inputs []Input
		for i, text := range tt.inputs {
			inputs = append(inputs, Input{fmt.Sprint("input", i), strings.NewReader(text)})
		}
		r, err := Read(inputs...)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var cells []*Cell
		for _, filter := range []string{tt.a, tt.b} {
			found, err := r.Cells(filter)
			if err != nil || len(found) != 1 {
				t.Fatalf("%s: %s keeps %d cells, %v", tt.name, filter, len(found), err)
			}
			cells = append(cells, found[0])
		}
		pair := Paired
		if tt.name == "two runs" {
			pair = PairedRuns
		}
		a, b := pair(cells[0], cells[1], "sec/op")
		for i := range a {
			a[i], b[i] = math.Round(a[i]*1e9), math.Round(b[i]*1e9)
		}
		if got := fmt.Sprint(a, b); got != tt.want {
			t.Errorf("%s: pairs are %s, want %s", tt.name, got, tt.want)
		}
	}
}
