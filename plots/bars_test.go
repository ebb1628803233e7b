package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// csvOf is the sheet's table of points as it is written.
func csvOf(t *testing.T, s *sheet) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.render("csv").WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// svgOf is the sheet as SVG, once it is seen to be whole and of a size that can be
// looked at.
func svgOf(t *testing.T, s *sheet) []byte {
	t.Helper()
	if p := s.layout(); p.w > 1200 || p.h > 3000 {
		t.Errorf("the page is %g by %g points, want one that can be looked at", p.w, p.h)
	}
	var b bytes.Buffer
	if _, err := s.render("svg").WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if bytes.Contains(b.Bytes(), []byte(bad)) {
			t.Errorf("the SVG has %s in it", bad)
		}
	}
	for dec := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		if _, err := dec.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the SVG is no XML: %v", err)
		}
	}
	return b.Bytes()
}

// An extremeCase is unusual input for a drawing.
type extremeCase struct {
	name, text string
	want       string // a part of the points, notes or caption; of the error where none is drawn
	none       bool
}

func testExtremes(t *testing.T, d Drawing, cases []extremeCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			s, err := d.sheet(read(t, tt.text))
			if tt.none {
				if !errors.Is(err, ErrNoData) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error is %v, want ErrNoData in one line with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.text(); !strings.Contains(got, tt.want) {
				t.Errorf("points are\n%swant %q in them", got, tt.want)
			}
			svgOf(t, s)
		})
	}
}

// oneOf finds a declared drawing.
func oneOf[D Drawing](t *testing.T, all []D, name string) D {
	t.Helper()
	for _, d := range all {
		if d.About().Name == name {
			return d
		}
	}
	t.Fatalf("no drawing has the name %q", name)
	panic("unreachable")
}

func TestBars(t *testing.T) {
	var text strings.Builder
	text.WriteString("machine: lab\n")
	for round := range 7 {
		for _, m := range []struct {
			method          string
			user, sys, peer int
		}{{"read+write", 50, 450, 300}, {"sendfile", 10, 300, 350}, {"mmap+write", 200, 350, 300}} {
			// User time is now counted, now not, as ticks have it: the sum is the same.
			tick := 9 * (round%2*2 - 1)
			fmt.Fprintf(&text, "BenchmarkSend/transport=tcp/cache=warm/size=1GiB/block=64KiB/method=%s 1 1000000000 ns/op 1073.741824 MB/s %d user-cpu-ns/op %d sys-cpu-ns/op %d cpu-ns/op %d peer-cpu-ns/op\n",
				m.method, (m.user+tick)*1e6, (m.sys-tick+round)*1e6, (m.user+m.sys+round)*1e6, m.peer*1e6)
		}
	}
	b := oneOf(t, cpuBars(), "send-tcp-warm-cpu-parts")
	s, err := b.sheet(read(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	if want := "sendfile,8.71429,304.286,350,663,660,666,7\n"; !strings.Contains(string(csvOf(t, s)), want) {
		t.Errorf("points are\n%swant %q in them: shares of all rounds, of the median of each side", csvOf(t, s), want)
	}
	golden(t, "bars.svg", svgOf(t, s))
	golden(t, "bars.csv", csvOf(t, s))
}

func TestBarsExtremes(t *testing.T) {
	const row = "R/method="
	b := Bars{Headline: Headline{Name: "b", Title: "What?"}, Series: "/method", Total: "time",
		Parts: []Part{{Unit: "a-ns/op", Label: "a"}, {Unit: "b-ns/op", Label: "b"}, {Unit: "c-ns/op", Label: "c"}}}
	var forty []string
	for i := range 40 {
		forty = append(forty, fmt.Sprintf("%sm%d", row, i))
	}
	testExtremes(t, b, []extremeCase{
		{"one", resultLines(1, "5 a-ns/op 6 b-ns/op", row+"m"), "m\t5\t6\t\t11\t\t\t1", false},
		{"one says so", resultLines(1, "5 a-ns/op 6 b-ns/op", row+"m"), "single measurements", false},
		{"too few for an interval", resultLines(5, "5 a-ns/op", row+"m"), "needs n=6", false},
		{"few beside enough", resultLines(5, "5 a-ns/op", row+"m") + resultLines(6, "5 a-ns/op", row+"n"), "none where n < 6", false},
		{"a part that a row lacks", resultLines(6, "5 a-ns/op 6 c-ns/op", row+"m") + resultLines(6, "1 b-ns/op", row+"n"), "m\t5\t\t6\t11\t11\t11\t6", false},
		{"all zero", resultLines(6, "0 a-ns/op 0 b-ns/op", row+"m"), "m\t0\t0\t\t0\t0\t0\t6", false},
		{"forty", resultLines(6, "5 a-ns/op 6 b-ns/op 7 c-ns/op", forty...), "m39\t5\t6\t7\t18", false},
		{"a name of sixty", resultLines(6, "5 a-ns/op", row+strings.Repeat("W", 60)), strings.Repeat("W", 60), false},
		{"a name of thousands", resultLines(6, "5 a-ns/op", row+strings.Repeat("W", 5000)), "caption", false},
		{"markup", resultLines(6, "5 a-ns/op", row+`<b>&"日本`), "<b>", false},
		{"huge beside usual", resultLines(1, "1e308 a-ns/op", row+"m") + resultLines(1, "5 a-ns/op", row+"n"), "n\t5", false},
		{"negative", resultLines(1, "-5 a-ns/op", row+"m") + resultLines(1, "5 a-ns/op", row+"n"), `note: m is not drawn: "a" of -5e-09 has no place on the axis.`, false},
		{"rounds without a part", resultLines(2, "5 a-ns/op 6 b-ns/op", row+"m") + resultLines(1, "5 a-ns/op", row+"m", row+"n"), `note: m is not drawn: its rounds do not all have "b".`, false},
		{"two sizes meet", resultLines(1, "5 a-ns/op", "R/size=1KiB/method=m", "R/size=2KiB/method=m"), "m size=2KiB", false},
		{"negative alone", resultLines(1, "-5 a-ns/op", row+"m"), "no row can be drawn", true},
		{"no unit of its parts", resultLines(1, "5 x/op", row+"m"), "has a unit of its parts", true},
	})
	b.Filter = ".name:Other"
	testExtremes(t, b, []extremeCase{{"no result passes", resultLines(1, "5 a-ns/op", row+"m"), "no result passes the filter", true}})
	b.Filter = "(("
	if _, err := b.sheet(read(t, resultLines(1, "5 a-ns/op", row+"m"))); !errors.Is(err, summary.ErrInput) || errors.Is(err, ErrNoData) {
		t.Errorf("a filter that does not parse: %v, want ErrInput", err)
	}
}
