package advice

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// Whatever a file of results says, there is advice or one line that says why not.
func FuzzOf(f *testing.F) {
	made, err := os.ReadFile("testdata/bench.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(made))
	f.Add(strings.Repeat("BenchmarkX/method=a 1 0 ns/op\nBenchmarkX/method=b 1 1e308 ns/op\n", 7))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := summary.Read(summary.Input{Name: "fuzz", Reader: strings.NewReader(text)})
		if err != nil {
			return
		}
		found, err := Of(r)
		if err != nil {
			if !errors.Is(err, summary.ErrInput) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want one line that is ErrInput", err)
			}
			return
		}
		for _, a := range found {
			if a.Verdict == Wins && a.Best != "" && !a.Gain.Beyond() {
				t.Errorf("%s wins with %+v", a.Best, a.Gain)
			}
		}
		if err := Text(io.Discard, r, found, 80); err != nil {
			t.Fatal(err)
		}
		Findings(found)
	})
}
