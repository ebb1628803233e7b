package plots

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// contest is a made-up run of reads: mmap wins by far at 4KiB, nothing can be told apart
// at 64KiB, and at 1MiB there are too few rounds.
func contest() string {
	var text strings.Builder
	text.WriteString("machine: lab\n")
	for round := range 6 {
		for _, m := range []struct {
			method         string
			at4, at64, at1 float64
		}{{"pread", 1000, 2000, 3000}, {"read", 900, 1900, 2900}, {"mmap", 3000, 2010, 3300}, {"mmap+kept", 3010, 1800, 0}, {"os.File", 9000, 9000, 9000}, {"memfd", 9000, 9000, 9000}} {
			noise := 1 + 0.05*math.Sin(float64(round*7+len(m.method)))
			line := func(block string, rate float64) {
				if rate > 0 {
					fmt.Fprintf(&text, "BenchmarkRead/pattern=rand/cache=warm/size=128MiB/block=%s/method=%s 1 %.2f MB/s\n", block, m.method, rate*noise)
				}
			}
			line("4KiB", m.at4)
			line("64KiB", m.at64)
			if round < 2 {
				line("1MiB", m.at1)
			}
		}
	}
	for range 6 {
		text.WriteString("BenchmarkRead/pattern=seq/cache=cold/size=64MiB/block=4KiB/method=odirect 1 800 MB/s\n")
	}
	return text.String()
}

func TestWinners(t *testing.T) {
	s, err := oneOf(t, winners(), "winners-read").sheet(read(t, contest()))
	if err != nil {
		t.Fatal(err)
	}
	column := func(row []string, names ...string) (words []string) {
		for _, name := range names {
			words = append(words, row[slices.Index(s.points[0], name)])
		}
		return words
	}
	var got []string
	for _, row := range s.points[1:] {
		got = append(got, strings.Join(column(row, "row", "block", "winner", "rival", "n", "verdict"), "/"))
	}
	want := []string{
		"seq, cold/4KiB/odirect///no rival",
		"rand, warm/4KiB/mmap+kept/pread/6/leads", // not against mmap, its variant
		"rand, warm/64KiB/pread/mmap/6/within noise",
		"rand, warm/1MiB/mmap/pread/2/too few rounds",
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if want := "Not in the contest: os.File (Go's own API); memfd (no file is read)."; !strings.Contains(s.caption, want) {
		t.Errorf("caption is %q, want %q in it", s.caption, want)
	}
	golden(t, "winners.svg", svgOf(t, s))
	golden(t, "winners.csv", csvOf(t, s))
}

// By a time or a count the least wins, and what else differs joins the rows.
func TestWinnersByCPU(t *testing.T) {
	var text strings.Builder
	for range 6 {
		for block, size := range map[string]string{"4KiB": "1MiB", "64KiB": "2MiB"} {
			for method, cpu := range map[string]int{"read+write": 400, "sendfile": 100, "splice": 90, "null": 1} {
				fmt.Fprintf(&text, "BenchmarkSend/transport=tcp/cache=warm/size=%s/block=%s/method=%s 1 %d cpu-ns/op\n", size, block, method, cpu)
				fmt.Fprintf(&text, "BenchmarkSend/transport=tcp/cache=warm/size=4MiB/block=%s/method=%s 1 %d cpu-ns/op\n", block, method, 500-cpu)
			}
		}
	}
	s, err := oneOf(t, winners(), "winners-send-cpu").sheet(read(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range s.points[1:] {
		got = append(got, strings.Join([]string{row[0], row[1], row[2], row[4], row[5]}, "/"))
	}
	want := []string{
		"tcp, warm, 1 MiB/4KiB/splice/read+write/4.44444", "tcp, warm, 2 MiB/64KiB/splice/read+write/4.44444",
		"tcp, warm, 4 MiB/4KiB/read+write/sendfile/4", "tcp, warm, 4 MiB/64KiB/read+write/sendfile/4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Go's API has no field, and yet is one more that the rounds must tell from the best: as
// internal/advice lets it compete, which must say the same of sendfile and read+write.
func TestWinnersJudgedAmongAll(t *testing.T) {
	var text strings.Builder
	for round := range 6 {
		noise := math.Exp(0.25 * float64(2*(round%2)-1))
		line := func(block, method string, rate float64) {
			fmt.Fprintf(&text, "BenchmarkSend/transport=tcp/cache=warm/size=1MiB/block=%s/method=%s 1 %.4f MB/s\n", block, method, rate)
		}
		for _, block := range []string{"4KiB", "64KiB"} {
			line(block, "read+write", 100)
			line(block, "sendfile", 135*noise)
		}
		for _, method := range []string{"io.Copy", "io.CopyBuffer", "net.http"} {
			line("64KiB", method, 50)
		}
		line("64KiB", "null", 9000)
	}
	s, err := oneOf(t, winners(), "winners-send").sheet(read(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range s.points[1:] {
		got = append(got, strings.Join([]string{row[1], row[2], row[4], row[9]}, "/"))
	}
	if want := []string{"4KiB/sendfile/read+write/leads", "64KiB/sendfile/read+write/within noise"}; !slices.Equal(got, want) {
		t.Errorf("fields are %q, want %q", got, want)
	}
}

func TestWinnersExtremes(t *testing.T) {
	w := Winners{Headline: Headline{Name: "w", Title: "What?"}, Series: "/method", Columns: "/block", Rows: []string{"/pattern"}, Unit: "B/s", Measure: "throughput"}
	cell := func(pattern, block, method string) string {
		return "R/pattern=" + pattern + "/block=" + block + "/method=" + method
	}
	var forty, blocks, patterns []string
	for i := range 40 {
		forty = append(forty, cell("p", "4KiB", fmt.Sprintf("m%d", i)), cell("p", "8KiB", fmt.Sprintf("m%d", i)))
		blocks = append(blocks, cell("p", fmt.Sprint(1000+i), "m"), cell("p", fmt.Sprint(1000+i), "n"))
		patterns = append(patterns, cell(fmt.Sprintf("p%d", i), "4KiB", fmt.Sprintf("m%d", i)), cell(fmt.Sprintf("p%d", i), "4KiB", "n"))
	}
	two := []string{cell("p", "4KiB", "m"), cell("p", "4KiB", "n"), cell("p", "8KiB", "m")}
	long := strings.Repeat("W", 60)
	endless := strings.Repeat("W", 5000)
	testExtremes(t, w, []extremeCase{
		{"one round", resultLines(1, "5 MB/s", two...), "p\t4KiB\tm\tm\tn\t1\t\t\t1\ttoo few rounds", false},
		{"no rival", resultLines(6, "5 MB/s", two...), "p\t8KiB\tm\tm\t\t\t\t\t\tno rival", false},
		{"equal", resultLines(6, "5 MB/s", two...), "p\t4KiB\tm\tm\tn\t1\t1\t1\t6\twithin noise", false},
		{"all zero", resultLines(6, "0 MB/s", two...), "p\t4KiB\tm\tm\tn\t0\t\t\t0\ttoo few rounds", false},
		{"forty methods", resultLines(6, "5 MB/s", forty...), "p\t8KiB\tm0", false},
		{"forty columns", resultLines(6, "5 MB/s", blocks...), "p\t1039\tm", false},
		{"forty rows and families", resultLines(6, "5 MB/s", patterns...), "p39\t4KiB\tm39", false},
		{"names of sixty", resultLines(6, "5 MB/s", cell(long, "4KiB", long), cell(long, "8KiB", long+"2"), cell(long, "8KiB", long)), long + "\t4KiB\t" + long, false},
		{"names of thousands", resultLines(6, "5 MB/s", cell(endless, endless, endless), cell(endless, "8KiB", endless)), "caption", false},
		{"markup", resultLines(6, "5 MB/s", cell("<b>", "4KiB", `&"日本`), cell("<b>", "8KiB", "</text>")), "<b>", false},
		{"far apart", resultLines(6, "1e290 MB/s", cell("p", "4KiB", "m"), cell("p", "8KiB", "m")) + resultLines(6, "1e-5 MB/s", cell("p", "4KiB", "n")), "p\t4KiB\tm\tm\tn\t1e+295", false},
		{"one field", resultLines(6, "5 MB/s", cell("p", "4KiB", "m"), cell("p", "4KiB", "n")), "a map of one field is none", true},
		{"no unit", resultLines(6, "5 x/op", two...), "0 of its workloads", true},
		{"no column", resultLines(6, "5 MB/s", "R/pattern=p/method=m", "R/pattern=q/method=m"), `the key "/block"`, true},
	})
}

// Every name with a look of its own is of a family, or does not compete.
func TestFamilies(t *testing.T) {
	var left []string
	for _, a := range aside {
		left = append(left, a.Methods...)
	}
	for name := range known {
		if _, ok := families[name]; ok == slices.Contains(left, name) {
			t.Errorf("%s is of a family: %v, and does not compete: %v; want one of both", name, ok, !ok)
		}
	}
	for name := range families {
		if _, ok := known[name]; !ok {
			t.Errorf("%s is of a family, and no name of the suite", name)
		}
	}
}
