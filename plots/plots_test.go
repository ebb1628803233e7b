package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iopath/internal/summary"
)

var update = flag.Bool("update", false, "rewrite testdata")

func read(t testing.TB, text string) *summary.Results {
	t.Helper()
	r, err := summary.Read(summary.Input{Name: "test", Reader: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bench(t testing.TB) *summary.Results {
	t.Helper()
	r, err := summary.ReadFiles("../internal/summary/testdata/bench.txt")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// text writes what a sheet shows.
func (s *sheet) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, s.title)
	for i, row := range s.points {
		fmt.Fprintln(&b, strings.Join(row, "\t"))
		if i > 0 && len(row) != len(s.points[0]) {
			fmt.Fprintf(&b, "(a row of %d, the heading has %d)\n", len(row), len(s.points[0]))
		}
	}
	for _, n := range strings.Split(s.notes, "\n") {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "caption: %s\n", s.caption)
	return b.String()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
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
		t.Errorf("%s differs from what is drawn now (look at it, then: go test ./plots -update)", path)
	}
}

func TestSpine(t *testing.T) {
	r := bench(t)
	dir := t.TempDir()
	paths, err := Spine().Draw(r, dir, "svg")
	if err != nil {
		t.Fatal(err)
	}
	more, err := Spine()[:1].Draw(r, dir, "png", "pdf", "csv") // one is enough: they take time
	if err != nil {
		t.Fatal(err)
	}
	paths = append(paths, more...)
	if got, want := len(paths), 74+3; got != want { // none of sparse reads
		t.Errorf("Draw wrote %d files, want %d", got, want)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(paths) {
		t.Errorf("the directory holds %d files, want the %d that Draw names", len(entries), len(paths))
	}

	var points strings.Builder
	for _, c := range Spine() {
		s, err := c.sheet(r)
		if errors.Is(err, ErrNoData) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.About().Name, err)
		}
		fmt.Fprintf(&points, "== %s\n%s", c.About().Name, s.text())
	}
	golden(t, "spine.points", []byte(points.String()))

	for _, name := range []string{"read-seq-warm-throughput", "read-rand-cold-syscalls", "read-rand-cold-throughput", "read-seq-warm-latency", "send-tcp-warm-throughput", "send-tcp-cold-tail"} {
		svg, err := os.ReadFile(filepath.Join(dir, name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".svg", svg)
	}
	again := t.TempDir()
	twice, err := Spine()[:1].Draw(bench(t), again, "svg", "png", "pdf", "csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range twice {
		p = filepath.Join(dir, filepath.Base(p))
		a, errA := os.ReadFile(p)
		b, errB := os.ReadFile(filepath.Join(again, filepath.Base(p)))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs from one drawing to the next", filepath.Base(p))
		}
	}
}

// resultLines makes result lines: for each name, n equal ones.
func resultLines(n int, value string, names ...string) string {
	var b strings.Builder
	for range n {
		for _, name := range names {
			fmt.Fprintf(&b, "Benchmark%s 1 %s\n", name, value)
		}
	}
	return b.String()
}

// TestExtremes draws what is unusual and checks that each file is whole.
func TestExtremes(t *testing.T) {
	chart := Chart{Headline: Headline{Name: "c", Title: "What?"}, X: "/block", Series: "/method", Unit: "calls/op"}
	var forty, sizes []string
	for i := range 40 {
		forty = append(forty, fmt.Sprintf("R/block=4KiB/method=m%d", i), fmt.Sprintf("R/block=8KiB/method=m%d", i))
		sizes = append(sizes, fmt.Sprintf("R/block=%d/method=m", 1000+i))
	}
	for _, tt := range []struct {
		name, text string
		log        bool
		want       string // a part of the points, notes or caption
	}{
		{"one point", resultLines(1, "5 calls/op", "R/block=4KiB/method=m"), false, "single measurements"},
		{"one point, log", resultLines(1, "5 calls/op", "R/block=4KiB/method=m"), true, "m\t4KiB\t5\t\t\t1"},
		{"all zero", resultLines(6, "0 calls/op", "R/block=4KiB/method=m"), false, "m\t4KiB\t0\t0\t0\t6"},
		{"all zero, log", resultLines(6, "0 calls/op", "R/block=4KiB/method=m"), true, "m\t4KiB\t0\t0\t0\t6"},
		{"some zero, log", resultLines(6, "0 calls/op", "R/block=4KiB/method=m") + resultLines(6, "7 calls/op", "R/block=8KiB/method=m"), true, "m\t8KiB\t7"},
		{"interval down to zero, log", resultLines(2, "0 calls/op", "R/block=4KiB/method=m") + resultLines(5, "9 calls/op", "R/block=4KiB/method=m"), true, "m\t4KiB\t9\t0\t9"},
		{"negative", resultLines(6, "-3 calls/op", "R/block=4KiB/method=m"), false, "m\t4KiB\t-3"},
		{"one negative, log", resultLines(1, "-3 calls/op", "R/block=4KiB/method=m") + resultLines(1, "3 calls/op", "R/block=8KiB/method=m"), true, "note: m at 4 KiB is negative"},
		{"forty methods", resultLines(6, "5 calls/op", forty...), false, "m39\t8KiB"},
		{"forty sizes", resultLines(6, "5 calls/op", sizes...), false, "m\t1039"},
		{"a name of sixty", resultLines(6, "5 calls/op", "R/block=4KiB/method="+strings.Repeat("W", 60)), false, strings.Repeat("W", 60)},
		{"a name of thousands", resultLines(6, "5 calls/op", "R/block="+strings.Repeat("b", 5000)+"/method="+strings.Repeat("W", 5000)), false, "caption"},
		{"markup and letters of the world", resultLines(6, "5 calls/op", `R/block=<b>&"'/method=日本</text><script>ж`), false, "caption"},
		{"huge", resultLines(1, "1e308 calls/op", "R/block=4KiB/method=m") + resultLines(1, "1e299 calls/op", "R/block=8KiB/method=m"), false, "note: m at 4 KiB is beyond"},
		{"tiny", resultLines(1, "1e-320 calls/op", "R/block=4KiB/method=m"), false, "m\t4KiB"},
		{"tiny, log", resultLines(1, "1e-320 calls/op", "R/block=4KiB/method=m") + resultLines(1, "1e299 calls/op", "R/block=8KiB/method=m"), true, "m\t4KiB"},
		{"Inf and NaN beside figures", resultLines(1, "+Inf calls/op", "R/block=4KiB/method=m") + resultLines(1, "NaN calls/op", "R/block=4KiB/method=m") + resultLines(1, "2 calls/op", "R/block=4KiB/method=m"), true, "n=1"},
		{"x of 1e308", resultLines(1, "2 calls/op", "R/block=-1e308/method=m", "R/block=1e308/method=m"), false, "caption"},
		{"two sizes meet", resultLines(6, "2 calls/op", "R/size=1GiB/block=4KiB/method=m", "R/size=2GiB/block=4KiB/method=m"), false, "m size=2GiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := chart
			c.Log = tt.log
			d, err := c.sheet(read(t, tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := d.text(); !strings.Contains(got, tt.want) {
				t.Errorf("points are\n%swant %q in them", got, tt.want)
			}
			page := d.layout()
			if page.w > 1200 || page.h > 3000 {
				t.Errorf("the page is %g by %g points, want one that can be looked at", page.w, page.h)
			}
			var svg bytes.Buffer
			if _, err := d.render("svg").WriteTo(&svg); err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"NaN", "Inf"} {
				if bytes.Contains(svg.Bytes(), []byte(bad)) {
					t.Errorf("the SVG has %s in it", bad)
				}
			}
			for dec := xml.NewDecoder(&svg); ; {
				if _, err := dec.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("the SVG is no XML: %v", err)
				}
			}
			if !tt.log { // one format is enough of the other axis
				return
			}
			var img bytes.Buffer
			if _, err := d.render("png").WriteTo(&img); err != nil {
				t.Fatal(err)
			}
			cfg, err := png.DecodeConfig(&img)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := float64(cfg.Width), page.w.Points()*pngDPI/72; math.Abs(got-want) > 1 {
				t.Errorf("the PNG is %g wide, want %g", got, want)
			}
		})
	}
}

// TestBounds draws ceilings and floors, each where it belongs.
func TestBounds(t *testing.T) {
	const cells = "R/block=4KiB/method=m-2"
	chart := Chart{Headline: Headline{Name: "c", Title: "What?"}, X: "/block", Series: "/method", Unit: "B/s",
		Filter: ".name:R", Ceiling: ".name:Top", CeilingLabel: "device", CeilingBy: []string{"/consume", "/gomaxprocs"}}
	floors := Chart{Headline: Headline{Name: "c", Title: "What?"}, X: "/block", Series: "/method", Unit: "p50-ns", Y: "time per block, p50", Log: true,
		Filter: ".name:R", Floors: []Floor{{".name:Floor /what:a", "ns/op", "a call"}, {".name:Floor /what:b", "ns/op", "b"}}}
	for _, tt := range []struct {
		name, text string
		chart      Chart
		want       []string
		not        string
	}{
		{"by block", resultLines(1, "10 MB/s", cells) + resultLines(1, "20 MB/s", "Top/block=4KiB-2") + resultLines(1, "25 MB/s", "Top/block=8KiB-2"), chart,
			[]string{"ceiling (device)\t4KiB\t19.0735\t\t\t1"}, "23.8"},
		{"of another GOMAXPROCS", resultLines(1, "10 MB/s", cells) + resultLines(1, "20 MB/s", "Top/block=4KiB"), chart, nil, "ceiling"},
		{"of another consumer", resultLines(1, "10 MB/s", cells) + resultLines(1, "20 MB/s", "Top/consume=touch/block=4KiB-2"), chart, nil, "ceiling"},
		{"a line for each consumer", resultLines(1, "10 MB/s", cells, "R/consume=touch/block=4KiB/method=m-2") + resultLines(1, "20 MB/s", "Top/block=4KiB-2", "Top/consume=touch/block=4KiB-2"), chart,
			[]string{"ceiling (device)\t4KiB", "ceiling (device) consume=touch\t4KiB"}, "gomaxprocs"},
		{"the highest of many", resultLines(1, "10 MB/s", cells) + resultLines(1, "15 MB/s", "Top/block=4KiB/depth=1-2") + resultLines(1, "20 MB/s", "Top/block=4KiB/depth=32-2"), chart,
			[]string{"ceiling (device)\t4KiB\t19.0735"}, "14.3"},
		{"far above", resultLines(1, "10 MB/s", cells) + resultLines(1, "31 MB/s", "Top/block=4KiB-2"), chart,
			[]string{"note: The ceiling (device) is not drawn, as it would press the rest: 29.6 MiB/s at 4 KiB."}, "ceiling (device)\t"},
		{"floors near and far", resultLines(6, "500 p50-ns", cells) + resultLines(6, "51 ns/op", "Floor/what=a") + resultLines(6, "49 ns/op", "Floor/what=b"), floors,
			[]string{"time per block, p50 (ns)", "floor: a call 51 ns\t\t51", "note: Floors far from this chart: b 49 ns."}, "floor: b"},
		{"a floor above", resultLines(6, "500 p50-ns", cells) + resultLines(6, "5000 ns/op", "Floor/what=b"), floors, []string{"floor: b 5 µs\t\t5000"}, "far"},
		{"no floors measured", resultLines(6, "500 p50-ns", cells), floors, nil, "floor"},
		{"a warm file inside the cache", "llc: 32MiB\n" + resultLines(1, "10 MB/s", "R/cache=warm/size=16MiB/block=4KiB/method=m"), chart,
			[]string{"size 16 MiB = 0.5 × last-level cache (32 MiB): the cache's speed, not memory's"}, ""},
		{"a cold file of that size", "llc: 32MiB\n" + resultLines(1, "10 MB/s", "R/cache=cold/size=16MiB/block=4KiB/method=m"), chart, nil, "not memory's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := tt.chart.sheet(read(t, tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got := d.text()
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("points are\n%swant %q in them", got, want)
				}
			}
			if tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("points are\n%swant no %q in them", got, tt.not)
			}
			var svg bytes.Buffer
			if _, err := d.render("svg").WriteTo(&svg); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(svg.Bytes(), []byte("NaN")) {
				t.Error("the SVG has NaN in it")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	r := read(t, resultLines(1, "5 calls/op", "R/block=4KiB/method=m")+resultLines(1, "-5 faults/op", "R/block=4KiB/method=m"))
	ok := Chart{Headline: Headline{Name: "c"}, X: "/block", Series: "/method", Unit: "calls/op"}
	with := func(change func(*Chart)) Chart {
		c := ok
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name   string
		chart  Chart
		format string
		want   string
		empty  bool
	}{
		{"no data", with(func(c *Chart) { c.Filter = ".name:X" }), "svg", `no result passes the filter ".name:X"`, true},
		{"no unit", with(func(c *Chart) { c.Unit = "x/op" }), "svg", `no result has the unit "x/op" (there are calls/op, faults/op)`, true},
		{"no such x", with(func(c *Chart) { c.X = "/y" }), "svg", `has the key "/y"`, true},
		{"negative on log", with(func(c *Chart) { c.Unit, c.Log = "faults/op", true }), "svg", "is negative", true},
		{"filter", with(func(c *Chart) { c.Filter = "((" }), "svg", "parse filter", false},
		{"key", with(func(c *Chart) { c.X = ".unit" }), "svg", "not a key", false},
		{"nothing asked", Chart{Headline: Headline{Name: "c"}}, "svg", "needs an x key", false},
		{"format", ok, "bmp", `unknown format "bmp" (take svg, png, pdf, csv)`, false},
		{"path in name", with(func(c *Chart) { c.Name = "../c" }), "svg", "no name for a file", false},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		_, err := Drawings{tt.chart}.Draw(r, dir, tt.format)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v, want one line with %q", tt.name, err, tt.want)
			continue
		}
		if !errors.Is(err, summary.ErrInput) || errors.Is(err, ErrNoData) != tt.empty {
			t.Errorf("%s: error is ErrInput %v, ErrNoData %v; want true, %v", tt.name, errors.Is(err, summary.ErrInput), errors.Is(err, ErrNoData), tt.empty)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the directory was made for nothing", tt.name)
		}
	}
	if _, err := Spine().Draw(r, t.TempDir()); !errors.Is(err, ErrNoData) {
		t.Errorf("Draw of a file of another suite: %v, want ErrNoData", err)
	}
}

func TestStyles(t *testing.T) {
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("method-%d", i))
	}
	names = append(names, "pread", "mmap")
	styles := assign(names, map[string]style{})
	if got, want := styles["pread"], known["pread"]; got != want {
		t.Errorf("pread is drawn as %v, want its fixed style %v", got, want)
	}
	pairs := map[[2]int]string{}
	for _, name := range names {
		s := styles[name]
		p := [2]int{s.color, s.shape}
		if other, ok := pairs[p]; ok {
			t.Errorf("%s and %s share colour and shape", name, other)
		}
		pairs[p] = name
	}
	alone := assign([]string{"io_uring"}, map[string]style{})["io_uring"]
	if got := assign([]string{"a", "io_uring"}, map[string]style{})["io_uring"]; got != alone {
		t.Errorf("io_uring is %v beside another method and %v alone", got, alone)
	}
	// Names of different roles may look alike, but for their dashes.
	looks := map[style]string{}
	for name, s := range known {
		if other, ok := looks[s]; ok {
			t.Errorf("%s and %s look the same", name, other)
		}
		looks[s] = name
	}
	for role, names := range map[string]string{
		"reader":  "pread read readv preadv2+nowait preadv2+dontcache odirect io_uring.1 io_uring.8 io_uring.32 io_uring.1+odirect io_uring.8+odirect io_uring.32+odirect mmap mmap+private mmap+populate mmap+populate_read mmap+sequential mmap+random mmap+willneed mmap+hugepage mmap+kept memfd hugetlb os.File ReadAt bufio os.ReadFile exp.mmap null",
		"writer":  "write pwrite writev odirect io_uring.1 io_uring.8 io_uring.32 io_uring.1+odirect io_uring.8+odirect io_uring.32+odirect mmap mmap+append os.File bufio null",
		"sender":  "read+write mmap+write sendfile splice splice+1MiB vmsplice zerocopy io_uring.send_zc io.Copy io.CopyBuffer net.http null",
		"copier":  "read+write mmap+write mmap+mmap sendfile splice copy_file_range reflink io.Copy null",
		"channel": "ring.memfd ring.file pipe pipe+vmsplice unix tcp",
		"mapper":  "map+shared map+private map+populate map+anon map+anon+populate map+anon+hugepage map+hugetlb map+memfd map+device map+devmem heap",
	} {
		pairs, inGrey := map[[2]int]string{}, map[[2]int]string{}
		for _, name := range strings.Fields(names) {
			s, ok := known[name]
			p := [2]int{s.color, s.shape}
			if other := pairs[p]; !ok || other != "" {
				t.Errorf("as %ss, %s and %q share colour and shape, or it has no fixed style", role, name, other)
			}
			pairs[p] = name
			grey := [2]int{s.shape, s.dash}
			if other := inGrey[grey]; other != "" {
				t.Errorf("as %ss, %s and %s look alike in grey print", role, name, other)
			}
			inGrey[grey] = name
		}
	}
	many := assign(make([]string, 0), map[string]style{})
	for i := range 1000 { // more than there are styles: repeats, and ends
		assign([]string{fmt.Sprint(i)}, many)
	}
}

func TestTicks(t *testing.T) {
	labels := func(a yAxis) string {
		var got []string
		for _, tick := range a.ticks {
			if tick.Label != "" {
				got = append(got, tick.Label)
			}
		}
		return strings.Join(got, " ")
	}
	for _, tt := range []struct {
		axis yAxis
		want string
	}{
		{linearAxis(0.1, 12), "0 2 4 6 8 10 12"},
		{linearAxis(0, 0), "0 0.2 0.4 0.6 0.8 1"},
		{linearAxis(-3, 3), "−3 −2 −1 0 1 2 3"},
		{linearAxis(0, 0.08), "0 0.02 0.04 0.06 0.08"},
		{logAxis(32, 262144, false), "100 1,000 10,000 100,000"},
		{logAxis(113, 1060, false), "100 200 500 1,000 2,000"},
		{logAxis(1, 1000, false), "1 2 5 10 20 50 100 200 500 1,000"},
		{logAxis(200, 400, true), "0 100 200 500 1,000"},
		{logAxis(math.Inf(1), math.Inf(-1), true), "0 1 2 5 10"},
		{ratioAxis(1, 1), "0.96 0.98 1 1.02 1.04"},
		{ratioAxis(0.7, 1.9), "0.8 1 1.2 1.4 1.6 1.8"},
		{ratioAxis(2, 3), "1 1.5 2 2.5 3"},
		{ratioAxis(0.1, 20), "0.1 0.2 0.5 1 2 5 10 20"},
	} {
		if got := labels(tt.axis); got != tt.want {
			t.Errorf("ticks are %q, want %q", got, tt.want)
		}
	}
}

// TestImports holds the line that DESIGN draws: charts know only the format.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(src), "\n") {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, `"iopath/`) && !slices.Contains([]string{`"iopath/internal/atomicfile"`, `"iopath/internal/suite"`, `"iopath/internal/summary"`, `"iopath/internal/verdict"`}, line) {
				t.Errorf("%s imports %s", f, line)
			}
		}
	}
}

// Where there is one x, each series has a row, the highest on top, under its ceiling.
func TestRows(t *testing.T) {
	var text strings.Builder
	for round := range 6 {
		for method, rate := range map[string]float64{"mmap+kept": 30, "mmap": 10, "pread": 6, "read": 5} {
			fmt.Fprintf(&text, "BenchmarkRead/pattern=rand/cache=warm/size=1MiB/block=64KiB/method=%s 1 %v MB/s\n", method, rate*1e3*(1+0.02*float64(round)))
		}
		fmt.Fprintln(&text, "BenchmarkCeiling/pattern=rand/size=1MiB/block=64KiB 1 21000 MB/s")
	}
	r := read(t, text.String())
	i := slices.IndexFunc(Spine(), func(d Drawing) bool { return d.About().Name == "read-rand-warm-throughput" })
	d, err := Spine()[i].(Chart).collect(r)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, s := range d.series {
		rows = append(rows, s.name)
	}
	if want := []string{"mmap+kept", "mmap", "pread", "read"}; !d.inRows() || !slices.Equal(rows, want) || len(d.ceils) != 1 {
		t.Errorf("in rows: %v, %q under %d ceilings; want rows %q under one", d.inRows(), rows, len(d.ceils), want)
	}
	var svg bytes.Buffer
	if _, err := d.sheet().render("svg").WriteTo(&svg); err != nil {
		t.Fatal(err)
	}
	golden(t, "rows.svg", svg.Bytes())
}
