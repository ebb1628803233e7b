package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"iopath/internal/summary"
)

var update = flag.Bool("update", false, "rewrite testdata")

// madeUp is a run of six rounds with two methods, what bounds them, and all that a
// result file says beside.
func madeUp() string {
	var b strings.Builder
	b.WriteString(`# iopath bench: profile=quick seed=7 benchtime=10ms rounds=6
# command: iopath bench -profile quick -dir '/a b'
# date: 2026-11-21T12:00:00Z
goos: linux
commit: 0123456789ab
kernel: Linux 6.18
mitigations: spectre_v1=usercopy|swapgs; <none>
Unit ns/op better=lower
Unit MB/s better=higher
Unit syscalls/op better=lower assume=exact
# skipped: BenchmarkRead/cache=cold/method=mmap: tmpfs is never cold
# skipped: BenchmarkRead/cache=cold/method=pread: tmpfs is never cold
# failed: BenchmarkRead/cache=warm/method=broken: its sum is wrong
# noise: steal=0.3%; quiet
`)
	for round := range 6 {
		drift := 1 + 0.01*float64(round)
		cell := func(name string, nanoseconds, syscalls float64, more string) {
			ns := nanoseconds * drift
			fmt.Fprintf(&b, "Benchmark%s-2 10 %.0f ns/op %.2f MB/s %.0f syscalls/op%s\n", name, ns, 1<<20/ns*1e3, syscalls, more)
		}
		for _, block := range []struct {
			name string
			n    float64
		}{{"64KiB", 16}, {"4KiB", 256}} {
			cell("Read/pattern=seq/cache=warm/size=1MiB/block="+block.name+"/method=pread", 90_000+1000*block.n, block.n, " 0 minflt/op")
			cell("Read/pattern=seq/cache=warm/size=1MiB/block="+block.name+"/method=mmap", 80_000, 3, fmt.Sprintf(" %d minflt/op", 256+round%2))
			cell("Ceiling/pattern=seq/size=1MiB/block="+block.name, 60_000, 0, "")
		}
		fmt.Fprintf(&b, "BenchmarkFloor/what=syscall-2 1000 %.0f ns/op\n", 180*drift)
	}
	return b.String()
}

func parse(t testing.TB, text string) *summary.Results {
	t.Helper()
	results, err := summary.Read(summary.Input{Name: "bench.txt", Reader: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// chartFile writes an SVG like those that plots makes.
func chartFile(t testing.TB, dir, name, outline string) string {
	t.Helper()
	path := filepath.Join(dir, name+".svg")
	text := `<?xml version="1.0"?>
<!-- Generated -->
<svg role="img" width="20pt" height="10pt" viewBox="0 0 20 10"
	xmlns="http://www.w3.org/2000/svg"
	xmlns:xlink="http://www.w3.org/1999/xlink">
<title>` + name + `</title>
<defs>
<path id="r7" d="M0 0L1 1Z"/>
<path id="r8" d="` + outline + `"/>
<pattern id="hatch"></pattern>
</defs>
<use xlink:href="#r7" x="1"/><use xlink:href="#r8" x="2"/>
<rect fill="url(#hatch)"/>
</svg>
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func example(t testing.TB, text string) *Report {
	t.Helper()
	r, err := New("a_run", parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r.Sources, r.Page = []Source{{Name: "bench.txt", Beside: true}}, "report.html"
	r.Findings = []string{"Sequential 4 KiB reads of a cached file: mmap, 4.3 times pread [4.2, 4.4].", "Elsewhere there is no difference."}
	r.Advice = []Advice{
		{"Reads of a cached file", "sequential, 4 KiB", "mmap", "4.3 × pread [4.2, 4.4]", "saves 253 system calls"},
		{"Reads of a cached file", "sequential, 64 KiB", "no difference", "", ""},
		{"Reads of a cached file", "", "", "", "Up to 16 KiB, take read."},
		{"Sending a cached file", "TCP, 4 KiB", "sendfile", "2 × read+write [1.9, 2.1]", ""},
	}
	r.AdviceNotes = []string{"n=6."}
	r.Charts = []Chart{
		{"fast", "How fast is each method?", "Reads of a cached file", true, chartFile(t, dir, "fast", "M1 1L2 2Z")},
		{"calls", "How many system calls?", "Reads of a cached file", false, chartFile(t, dir, "calls", "M2 2L3 3Z")},
		{"send (1)", "How fast is [each] sender?", "Sending a cached file", true, chartFile(t, dir, "send (1)", "M2 2L3 3Z")},
	}
	return r
}

func write(t testing.TB, writer func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := writer(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is written now (go test ./internal/report -update); got:\n%s", path, got)
	}
}

func TestMarkdown(t *testing.T) {
	golden(t, "README.md", write(t, example(t, madeUp()).Markdown))
}

// A file that this suite never made has a report, too.
func TestForeign(t *testing.T) {
	r, err := New("foreign", parse(t, `goos: linux
pkg: example.com/a
BenchmarkEncode/digits/level=best-8 100 1541000 ns/op 40443 B/op
BenchmarkEncode/digits/level=speed-8 100 154100 ns/op 40443 B/op
pkg: example.com/b
BenchmarkEncode/digits/level=speed-8 100 100 ns/op
BenchmarkFib10 100 325 ns/op
`))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "foreign.md", write(t, r.Markdown))
	page := write(t, r.HTML)
	for _, absent := range []string{`id="findings"`, `id="advice"`, `id="bounds"`, "<figure>", "<details"} {
		if strings.Contains(page, absent) {
			t.Errorf("the page of a foreign file has %q", absent)
		}
	}
	if got, want := labels(r.grid()), "benchmark pkg part 1 level gomaxprocs n sec/op B/op"; got != want {
		t.Errorf("columns = %q, want %q", got, want)
	}
}

func labels(g *grid) string {
	var words []string
	for _, k := range g.Keys {
		words = append(words, k.Label)
	}
	words = append(words, "n")
	for _, u := range g.Units {
		words = append(words, u.Unit)
	}
	return strings.Join(words, " ")
}

func TestGrid(t *testing.T) {
	g := example(t, madeUp()).grid()
	if got, want := labels(g), "benchmark what pattern cache size block method n B/s sec/op syscalls/op minflt/op"; got != want {
		t.Errorf("columns = %q, want %q", got, want)
	}
	var rows []string
	for _, row := range g.Rows {
		var words []string
		for _, k := range row.Keys {
			words = append(words, fmt.Sprintf("%s:%d", k.Text, k.Place))
		}
		words = append(words, fmt.Sprint("n=", row.N))
		for _, f := range row.Figures {
			words = append(words, strings.TrimSpace(f.Text+" "+f.PlusMinus)+";")
		}
		rows = append(rows, strings.Join(words, " "))
	}
	golden(t, "grid.txt", strings.Join(rows, "\n")+"\n")
}

// Keys that have a name of the script's, or no name, or one twice, are columns and
// have an address each.
func TestKeyColumns(t *testing.T) {
	r, err := New("keys", parse(t, "BenchmarkX/sort=quick/ints/a=1/a=2/text=no/benchmark=y 1 5 ns/op\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, k := range r.grid().Keys {
		got = append(got, k.Label+"@"+k.Param+"="+r.grid().Rows[0].Keys[i].Text)
	}
	if want := "[benchmark@benchmark=X sort@/sort=quick part 2@part 2=ints a@a=1 a 2@a 2=2 text@/text=no benchmark@/benchmark=y]"; fmt.Sprint(got) != want {
		t.Errorf("keys = %v, want %s", got, want)
	}
}

func TestFigureText(t *testing.T) {
	for _, tt := range []struct {
		unit  string
		value float64
		exact bool
		want  string
	}{
		{"sec/op", 2.64e-8, false, "26.4 ns"}, {"sec/op", 0, false, "0 s"}, {"sec/op", 1234, false, "1.23 ks"}, {"p50-sec", 1.5e-5, false, "15.0 µs"},
		{"B/s", 1.5 * (1 << 30), false, "1.50 GiB"}, {"B/op", 1023 * 1024, false, "1,023 KiB"}, {"device-B/op", 12, false, "12.0 B"},
		{"syscalls/op", 262144, true, "262,144"}, {"syscalls/op", 1024.5, true, "1,024.5"}, {"minflt/op", 1024.5, false, "1,025"},
		{"ctxsw/op", 0.5, false, "0.5"}, {"ctxsw/op", 0.0001, false, "0.0001"}, {"delta/op", -12345, false, "-12,345"}, {"x/op", 1e18, false, "1e+18"},
	} {
		if got := figureText(tt.unit, summary.Figure{Value: tt.value, Exact: tt.exact}); got != tt.want {
			t.Errorf("figureText(%s, %v) = %q, want %q", tt.unit, tt.value, got, tt.want)
		}
	}
}

func TestHTML(t *testing.T) {
	r := example(t, madeUp())
	page := write(t, r.HTML)
	if again := write(t, r.HTML); again != page {
		t.Error("the same report was written in two ways")
	}
	if m := regexp.MustCompile(`https?://|\s(src|srcset|xmlns|xlink:href)=|@import|url\([^#]`).FindString(page); m != "" {
		t.Errorf("the page is to need no other file, and has %q", m)
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("id %q stands twice", m[1])
		}
	}
	refs := regexp.MustCompile(`(?:href="#|url\(#|aria-labelledby=")([^")]+)`).FindAllStringSubmatch(page, -1)
	if len(refs) < 3*3+8 {
		t.Errorf("%d references within the page, want those of three charts and of the sections", len(refs))
	}
	for _, m := range refs {
		if ids[m[1]] == 0 {
			t.Errorf("%q refers to nothing", m[0])
		}
	}
	// r8 is one letter in one file and another in the others; r7 is the same in all.
	if n := strings.Count(page, "<path id="); n != 3 {
		t.Errorf("%d outlines of letters, want 3", n)
	}
	for _, want := range []string{
		"<li>Elsewhere there is no difference.</li>", `<th scope="row">sequential, 4 KiB</th>`, `<tr><td colspan="4">Up to 16 KiB, take read.</td></tr>`, "tmpfs is never cold", "its sum is wrong",
		"<dt>mitigations</dt><dd>spectre_v1=usercopy|swapgs; &lt;none&gt;</dd>", "iopath bench -profile quick -dir &#39;/a b&#39;",
		"memory ceiling, pattern=seq size=1MiB", `data-best="higher"`, "commit <code>0123456789ab</code>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got, want := strings.Count(page, "<tr><td data-v"), 7; got != want {
		t.Errorf("the table has %d rows, want %d: without JavaScript, too, all cells are there", got, want)
	}
}

func TestHTMLLacksChart(t *testing.T) {
	r := example(t, madeUp())
	r.Charts[0].SVG = filepath.Join(t.TempDir(), "gone.svg")
	if err := r.HTML(io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("HTML without a chart's file: %v, want os.ErrNotExist", err)
	}
}

// hostile is what a name may hold: all but control characters and spaces.
const hostile = `</script><img/src=x/onerror=document.title="owned">&amp;[a](b)|*_` + "\u202e`"

func TestHostile(t *testing.T) {
	text := "cpu: " + hostile + "\n# failed: " + hostile + "\n# command: " + hostile + "\nBenchmarkX/k=" + hostile + "/" + hostile + "/a\"b=\"'=" + strings.Repeat("ü", 60) + " 1 5 ns/op 7 " + hostile + "/op\n"
	r := example(t, text)
	r.Name, r.Page = hostile, hostile
	r.Sources = []Source{{Name: hostile, Beside: true}, {Name: hostile}}
	r.Findings = []string{hostile}
	r.Advice = []Advice{{hostile, hostile, hostile, hostile, hostile}}
	r.Charts[0].Title, r.Charts[0].Section = hostile, hostile
	page := write(t, r.HTML)
	if strings.Contains(page, "<img") || strings.Count(page, "</script") != 1 {
		t.Error("a name was taken for HTML")
	}
	markdown := write(t, r.Markdown)
	// What stands in code is text there, and not escaped. The tables are summary's.
	before, rest, _ := strings.Cut(markdown, "## Tables")
	_, after, _ := strings.Cut(rest, "## The machine")
	prose := before + strings.ReplaceAll(after, "    "+hostile, "")
	if strings.Contains(prose, "<img") || strings.Contains(prose, "[a](b)") {
		t.Errorf("a name was taken for Markdown:\n%s", prose)
	}
	for line := range strings.Lines(markdown) {
		if strings.HasPrefix(line, "| ") && strings.Count(line, "|")-strings.Count(line, `\|`) > 6 {
			t.Errorf("a name made columns: %s", line)
		}
	}
}

func TestNewErrors(t *testing.T) {
	empty := &summary.Results{}
	if _, err := New("empty", empty); !errors.Is(err, summary.ErrInput) {
		t.Errorf("New of no results: %v, want summary.ErrInput", err)
	}
}

// Charts share their letters and no id, and keep their colours.
func TestInline(t *testing.T) {
	const svg = "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"\n\txmlns:xlink=\"http://www.w3.org/1999/xlink\"><defs>\n" +
		"<path id=\"r36\" d=\"M0 0Z\"/>\n<path id=\"r37\" d=\"M1 1Z\"/>\n<clipPath id=\"box\"/></defs>\n" +
		"<g fill=\"#222222\" clip-path=\"url(#box)\"><use xlink:href=\"#r36\"/><use xlink:href=\"#r37\"/></g><path d=\"M5 5\" style=\"fill:#0072B2\"/></svg>"
	var g glyphs
	g.share("M9 9Z") // of another chart
	const want = "<svg><defs>\n<clipPath id=\"c1-box\"/></defs>\n" +
		"<g fill=\"#222222\" clip-path=\"url(#c1-box)\"><use href=\"#g1\"/><use href=\"#g2\"/></g><path d=\"M5 5\" style=\"fill:#0072B2\"/></svg>"
	if got := g.inline("c1", []byte(svg)); got != want {
		t.Errorf("in a page the chart is\n%s\nwant\n%s", got, want)
	}
	if again := g.inline("c1", []byte(svg)); again != want {
		t.Errorf("the second time it is\n%s\nwant the same letters", again)
	}
	for _, odd := range []string{"", "<svg", `<path id="`, `<path id="a" d="b`, `<path id="a"/>`, `url(#`} {
		g.inline("c2", []byte(odd)) // ends
	}
}
