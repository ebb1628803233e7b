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
	rounds  int
	results int // of a round, as expected
	partial []byte
}

func newProgress(out *os.File, rounds, results int) *progress {
	p := &progress{out: out, rounds: rounds, results: results}
	if out != nil && term.IsTerminal(int(out.Fd())) {
		p.bar = progressbar.NewOptions(rounds*results,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(fmt.Sprintf("round 1 of %d", rounds)),
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

// roundEnded says that round k took that long, and how many are left.
func (p *progress) roundEnded(k, left int, took time.Duration) {
	switch {
	case p.out == nil:
	case p.bar != nil:
		p.bar.ChangeMax((k + left) * p.results)
		p.bar.Set(k * p.results)
		p.bar.Describe(fmt.Sprintf("round %d of %d", min(k+1, k+left), k+left))
	default:
		fmt.Fprintf(p.out, "round %d ended after %v; %d left, about %v\n",
			k, took.Round(time.Second), left, (took * time.Duration(left)).Round(time.Second))
	}
}

func (p *progress) close() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
