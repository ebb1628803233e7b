package trial

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress counts result lines as they are printed.
type progress struct {
	out     *os.File
	bar     *progressbar.ProgressBar // nil where out is not a terminal
	results int                      // of the round under way, as expected
	done    int                      // results of the rounds that have ended
	told    time.Time                // when the last line was printed, where there is no bar
	partial []byte
}

// linePause is how long lines are apart, at least: of short rounds, not each has one.
const linePause = 5 * time.Second

func newProgress(out *os.File, rounds, results int) *progress {
	p := &progress{out: out, results: results}
	if out != nil && term.IsTerminal(int(out.Fd())) {
		first := "round 1" // of who knows how many
		if rounds > 0 {
			first = fmt.Sprintf("round 1 of %d", rounds)
		}
		p.bar = progressbar.NewOptions(max(rounds, 2)*results,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(first),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowCount(),
			progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(200*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// Write takes in what a process prints.
func (p *progress) Write(b []byte) (int, error) {
	if p.bar == nil {
		return len(b), nil
	}
	p.partial = append(p.partial, b...)
	for {
		line, rest, whole := bytes.Cut(p.partial, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		if bytes.HasPrefix(line, []byte("Benchmark")) || bytes.HasPrefix(line, []byte("# failed:")) {
			p.bar.Add(1)
		}
		p.partial = rest
	}
}

// roundEnded says that round k took that long, and how many are left, of so many
// results each; at most, where the run may end before.
func (p *progress) roundEnded(k, left, results int, atMost bool, took time.Duration) {
	p.done += p.results
	p.results = results
	switch {
	case p.out == nil:
	case p.bar != nil:
		p.bar.ChangeMax(p.done + left*results)
		p.bar.Set(p.done)
		of := "of"
		if atMost {
			of = "of at most"
		}
		p.bar.Describe(fmt.Sprintf("round %d %s %d", min(k+1, k+left), of, k+left))
	case left > 0 && time.Since(p.told) < linePause:
	case atMost:
		p.told = time.Now()
		fmt.Fprintf(p.out, "round %d ended after %v; cells to go: %d, in at most %d rounds, about %v\n",
			k, took.Round(time.Second), results, left, (took * time.Duration(left)).Round(time.Second))
	default:
		p.told = time.Now()
		fmt.Fprintf(p.out, "round %d ended after %v; %d left, about %v\n",
			k, took.Round(time.Second), left, (took * time.Duration(left)).Round(time.Second))
	}
}

func (p *progress) close() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
