package plots

import (
	"fmt"
	"strings"
	"testing"
)

func TestVersus(t *testing.T) {
	var text strings.Builder
	text.WriteString("machine: lab\n")
	for round := range 6 {
		for _, m := range []struct {
			method     string
			warm, cold float64
			amplified  float64
		}{{"pread", 8000, 500, 1}, {"mmap", 14000, 700, 1.5}, {"odirect", 0, 900, 1}, {"memfd", 9000, 0, 0}} {
			drift := 1 + 0.02*float64(round)
			if m.warm > 0 {
				fmt.Fprintf(&text, "BenchmarkRead/pattern=rand/cache=warm/size=128MiB/block=64KiB/method=%s 1 %v MB/s\n", m.method, m.warm*drift)
			}
			if m.cold > 0 {
				fmt.Fprintf(&text, "BenchmarkRead/pattern=rand/cache=cold/size=64MiB/block=64KiB/method=%s 1 %v MB/s %v read-amplification\n", m.method, m.cold*drift, m.amplified)
			}
		}
	}
	s, err := oneOf(t, coldAgainstWarm(), "read-rand-cold-against-warm").sheet(read(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, row := range s.points[1:] {
		order = append(order, row[0]+" "+row[1])
	}
	if got, want := strings.Join(order, ", "), "odirect cold, mmap warm, mmap cold, pread warm, pread cold, memfd warm"; got != want {
		t.Errorf("rows are %s; want %s: by what is cold", got, want)
	}
	if got, want := strings.Join(s.points[3][5:], " "), "6 20 1.5"; got != want {
		t.Errorf("mmap cold has n, times slower and read amplification %q, want %q", got, want)
	}
	if want := "pattern rand · block 64 KiB\nwarm: size 128 MiB; cold: size 64 MiB"; s.notes != want {
		t.Errorf("notes are %q, want %q", s.notes, want)
	}
	golden(t, "versus.svg", svgOf(t, s))
	golden(t, "versus.csv", csvOf(t, s))
}

func TestVersusExtremes(t *testing.T) {
	const warm, cold = "R/cache=warm/method=", "R/cache=cold/method="
	v := Versus{Headline: Headline{Name: "v", Title: "What?"}, Series: "/method", Key: "/cache", Values: [2]string{"warm", "cold"}, Unit: "B/s", Beside: "extra"}
	var forty []string
	for i := range 40 {
		forty = append(forty, fmt.Sprintf("%sm%d", warm, i), fmt.Sprintf("%sm%d", cold, i))
	}
	long := strings.Repeat("W", 60)
	testExtremes(t, v, []extremeCase{
		{"one", resultLines(1, "5 MB/s", warm+"m", cold+"m"), "m\tcold\t4.76837\t\t\t1\t1\t", false},
		{"nothing beside", resultLines(1, "5 MB/s", warm+"m", cold+"m"), "single measurements", false},
		{"zero when cold", resultLines(6, "5 MB/s", warm+"m") + resultLines(6, "0 MB/s", cold+"m"), "m\tcold\t0\t0\t0\t6\t\t", false},
		{"all zero", resultLines(6, "0 MB/s", warm+"m", cold+"m"), "m\twarm\t0\t0\t0\t6", false},
		{"forty", resultLines(6, "5 MB/s 3 extra", forty...), "m39\tcold", false},
		{"a name of sixty", resultLines(6, "5 MB/s 1234567 extra", warm+long, cold+long), long, false},
		{"a name of thousands", resultLines(6, "5 MB/s", warm+strings.Repeat("W", 5000), cold+strings.Repeat("W", 5000)), "caption", false},
		{"far apart", resultLines(1, "1e290 MB/s", warm+"m") + resultLines(1, "1e-300 MB/s", cold+"m"), "m\tcold", false},
		{"negative and huge rows are left out", resultLines(1, "5 MB/s", warm+"m", cold+"m") + resultLines(1, "-5 MB/s", warm+"n", cold+"n") + resultLines(1, "1e308 MB/s", warm+"h"), "m\tcold", false},
		{"a third state", resultLines(1, "5 MB/s", warm+"m", cold+"m", "R/cache=tepid/method=m"), "m\tcold", false},
		{"two blocks meet", resultLines(1, "5 MB/s", warm+"m", cold+"m", "R/cache=cold/block=4KiB/method=m", "R/cache=cold/block=8KiB/method=m"), "m block=8KiB", false},
		{"one state alone", resultLines(6, "5 MB/s", warm+"m", warm+"n"), "both where cache is warm and where it is cold", true},
		{"no method in both", resultLines(6, "5 MB/s", warm+"m", cold+"n"), "both where", true},
		{"no unit", resultLines(6, "5 x/op", warm+"m", cold+"m"), "nothing has B/s", true},
		{"no key", resultLines(6, "5 MB/s", "R/method=m"), "nothing has B/s", true},
	})
}
