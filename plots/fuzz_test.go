package plots

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// Whatever a file of results says, each chart is drawn or says why not.
func FuzzSpine(f *testing.F) {
	made, err := os.ReadFile("../internal/summary/testdata/bench.txt")
	if err != nil {
		f.Fatal(err)
	}
	var few []string
	for i, line := range strings.SplitAfter(string(made), "\n") {
		if !strings.HasPrefix(line, "Benchmark") || i%97 == 0 {
			few = append(few, line)
		}
	}
	f.Add(strings.Join(few, ""))
	f.Add(resultLines(6, "0 MB/s 1e300 ns/op -1 cpu-ns/op NaN minflt/op", "Read/pattern=seq/cache=warm/block=64KiB/method=null"))
	f.Add(resultLines(6, "5 MB/s 7 ns/op", "Parallel/pattern=rand/cache=cold/workers=-1e308/method=", "Larger/at=1ns/method=m", "Open/size=0B/method=mmap"))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := summary.Read(summary.Input{Name: "fuzz", Reader: strings.NewReader(text)})
		if err != nil {
			return
		}
		own := Drawings{Chart{Headline: Headline{Name: "c"}, X: ".fullname", Series: ".name", Unit: "ns/op", Log: true}}
		for _, d := range slices.Concat(Spine(), Trends(), Ratios("fuzz", "fuzz"), own) {
			s, err := d.sheet(r)
			if errors.Is(err, summary.ErrInput) {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", d.About().Name, err)
			}
			if _, err := s.render("svg").WriteTo(io.Discard); err != nil {
				t.Fatalf("%s: %v", d.About().Name, err)
			}
		}
	})
}
