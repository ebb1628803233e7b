package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// steps tell how far long work is that has as many steps as were counted before: by a bar
// with the time left where out is a terminal, else by a line now and then.
type steps struct {
	out         io.Writer
	bar         *progressbar.ProgressBar // nil where out is no terminal
	done, total int
	began, told time.Time
}

// stepPause is how long lines are apart, at least.
const stepPause = 10 * time.Second

func newSteps(out io.Writer, total int) *steps {
	s := &steps{out: out, total: total, began: time.Now(), told: time.Now()}
	if f, is := out.(*os.File); is && term.IsTerminal(int(f.Fd())) {
		s.bar = progressbar.NewOptions(max(total, 1),
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowCount(),
			progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(200*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return s
}

// begin says what comes next, of steps that are worth a line each.
func (s *steps) begin(what string) {
	if s.bar != nil {
		s.bar.Describe(what)
		s.bar.RenderBlank()
		return
	}
	fmt.Fprintf(s.out, "%d of %d: %s\n", s.done+1, s.total, what)
}

// step says that so many more are done, and of what; "" where each has had a line.
func (s *steps) step(n int, of string) {
	s.done += n
	switch {
	case s.bar != nil:
		if of != "" {
			s.bar.Describe(of)
		}
		s.bar.Set(min(s.done, s.total))
	case of != "" && time.Since(s.told) > stepPause:
		s.told = time.Now()
		took := time.Since(s.began)
		left := time.Duration(float64(took) / float64(max(s.done, 1)) * float64(max(s.total-s.done, 0)))
		fmt.Fprintf(s.out, "%s: %d of %d, %v, %v left\n", of, s.done, s.total, took.Round(time.Second), left.Round(time.Second))
	}
}

// end leaves no bar behind.
func (s *steps) end() {
	if s.bar != nil {
		s.bar.Clear()
	}
}
