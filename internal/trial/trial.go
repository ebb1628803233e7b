// Package trial runs rounds: fresh processes that print results in the Go
// benchmark format, one after another, in an order drawn from a recorded seed.
// What a round prints is appended to a file when the round has ended, and
// synced, so that an interrupted run is a valid, shorter run.
//
// It knows no statistics and no machine: who runs it says after each round
// whether there is another one (Run.Ended), and how to watch the machine's noise
// (Run.Watch).
package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// A Run says which rounds to run, and for how long.
type Run struct {
	// Rounds is how many there are at most. 0: no limit but Time, which is then
	// above zero.
	Rounds int
	// Time is when no round starts any more that would not end in time, going by
	// the slowest one so far but the first, which may do more than the others, or
	// by the last one where that had more results to print than the next. The
	// first round always runs. Settling counts. 0: no limit.
	Time time.Duration
	// Seed decides every round's order. Round k draws from its own generator.
	Seed uint64
	// Round returns the processes of round k, counted from 1, in the order in
	// which they are to run. Their standard output is what is kept.
	Round func(k int, rng *rand.Rand) ([]*exec.Cmd, error)
	// Keep, where it is not nil, makes of what the processes of round k printed the
	// lines that are kept of it. Then a process that fails is for Keep to judge;
	// without it, all that was printed is kept, and a failure ends the run.
	Keep func(k int, ran []Ran) ([]byte, error)
	// Limit is how long a process may take, where there is a Keep: it is killed then, and
	// has failed. 0: as long as it likes.
	Limit time.Duration
	// Results is how many result lines a round is expected to print.
	Results int
	// Ended, where it is not nil, is told what round k printed. It returns lines
	// to be kept with the round, each with its newline, and how many results the
	// next one is expected to print: 0 ends the run.
	Ended func(k int, lines []byte) (note string, next int, err error)
	// Watch, where it is not nil, watches the machine's noise. It stands in each
	// round's line.
	Watch Watch
	// Settle is for how long at most the machine is given time to come to rest
	// before the first round, by what Watch tells. 0: it is not waited for.
	Settle time.Duration
	// CPUs are those that are kept busy meanwhile, the most important one first.
	CPUs []int
	// Out gets the results. Only whole rounds are written.
	Out *os.File
	// Progress gets the progress: a bar with the time left where it is a
	// terminal, a line a round where it is not.
	Progress *os.File
}

// Ran is a process that has ended.
type Ran struct {
	Printed []byte
	Err     error // that it failed, with what it complained of; nil: it did not
}

// A Result says how a run went.
type Result struct {
	Rounds  int      // that ended and were written
	Failed  []string // the "# failed:" lines' texts, in order
	Stopped string   // why there were no more rounds
	Noise   Noise    // from the first round's begin to the end of the last that was written; nil without a Watch
}

// Do runs the rounds. A cancelled context ends the round under way, kills its
// processes, and is no error as such: the result says what was kept.
func (r Run) Do(ctx context.Context) (Result, error) {
	// Pdeathsig kills a child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var (
		res     Result
		settled string
		slowest time.Duration
		results = r.Results
		more    = true
		began   = time.Now()
		watch   = r.Watch
	)
	if watch == nil {
		watch = func() func() Noise { return func() Noise { return nil } }
	}
	if r.Watch != nil && r.Settle > 0 && ctx.Err() == nil {
		settled = settle(ctx, r.Settle, r.Watch, spinner(r.CPUs))
		if r.Progress != nil && ctx.Err() == nil {
			fmt.Fprint(r.Progress, strings.TrimPrefix(settled, "# "))
		}
	}
	progress := newProgress(r.Progress, r.Rounds, r.Results)
	defer progress.close()
	noise := watch()
	for k := 1; ; k++ {
		switch elapsed := time.Since(began); {
		case !more:
			res.Stopped = "nothing is left to run"
		case r.Rounds > 0 && k > r.Rounds:
			res.Stopped = "all rounds ended"
		case r.Time > 0 && k > 1 && elapsed+slowest > r.Time:
			res.Stopped = fmt.Sprintf("another round would not end within %v", r.Time)
		case ctx.Err() != nil:
			res.Stopped = "interrupted"
		}
		if res.Stopped != "" {
			return res, nil
		}
		start := time.Now()
		ofRound := watch()
		lines, err := r.round(ctx, k, progress)
		if ctx.Err() != nil {
			res.Stopped = "interrupted"
			return res, nil
		}
		if err != nil {
			return res, fmt.Errorf("round %d: %w", k, err)
		}
		took := time.Since(start)
		head := fmt.Sprintf("%s# round %d: seed=%d took=%v", settled, k, r.Seed, took.Round(time.Millisecond))
		settled = ""
		if r.Watch != nil {
			head += fmt.Sprint(" ", ofRound())
		}
		note, next := "", results
		if r.Ended != nil {
			if note, next, err = r.Ended(k, lines); err != nil {
				return res, fmt.Errorf("round %d: %w", k, err)
			}
			more = next > 0
		}
		if err := Append(r.Out, head+"\n"+string(lines)+note); err != nil {
			return res, fmt.Errorf("keep round %d: %w", k, err)
		}
		res.Rounds++
		res.Noise = noise()
		for _, line := range strings.Split(string(lines), "\n") {
			if text, ok := strings.CutPrefix(line, "# failed: "); ok {
				res.Failed = append(res.Failed, text)
			}
		}
		// A round with fewer cells takes no longer than the one it is part of.
		if k <= 2 || next < results {
			slowest = took
		}
		slowest = max(slowest, took)
		left := math.MaxInt
		if r.Rounds > 0 {
			left = r.Rounds - k
		}
		if r.Time > 0 {
			left = min(left, int((r.Time-time.Since(began))/slowest))
		}
		if !more {
			left = 0
		}
		progress.roundEnded(k, max(left, 0), next, r.Ended != nil, took)
		results = next
	}
}

// round runs the processes of one round and returns what they printed.
func (r Run) round(ctx context.Context, k int, progress *progress) ([]byte, error) {
	// The seed's second word is the round: a round can be repeated by itself.
	cmds, err := r.Round(k, rand.New(rand.NewPCG(r.Seed, uint64(k))))
	if err != nil {
		return nil, err
	}
	var (
		lines bytes.Buffer
		ran   []Ran
	)
	for _, cmd := range cmds {
		var printed bytes.Buffer
		err := r.process(ctx, cmd, io.MultiWriter(&printed, progress))
		if err != nil && r.Keep == nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lines.Write(printed.Bytes())
		ran = append(ran, Ran{printed.Bytes(), err})
	}
	if r.Keep != nil {
		return r.Keep(k, ran)
	}
	return lines.Bytes(), nil
}

// process runs one within the limit.
func (r Run) process(ctx context.Context, cmd *exec.Cmd, out io.Writer) error {
	if r.Limit == 0 || r.Keep == nil {
		return Process(ctx, cmd, out)
	}
	limited, cancel := context.WithTimeout(ctx, r.Limit)
	defer cancel()
	err := Process(limited, cmd, out)
	if limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no end within %v: killed", r.Limit)
	}
	return err
}

// pipeWait is how long a pipe may stay open after its process has ended: by a child of
// that, which is killed with it where it did not leave the group.
const pipeWait = 5 * time.Second

// Process runs one process to its end, or kills it and its children when the context
// is cancelled. out gets what it prints; what it complains of is in the error.
//
// The caller has locked its thread: the process is killed when that ends.
func Process(ctx context.Context, cmd *exec.Cmd, out io.Writer) error {
	var complaint bytes.Buffer
	cmd.Stdout = out
	cmd.Stderr = &complaint
	cmd.WaitDelay = pipeWait
	apart(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		select {
		case <-ctx.Done():
			kill(cmd)
		case <-ended:
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-killed
	if err != nil && ctx.Err() == nil {
		if text := strings.TrimSpace(complaint.String()); text != "" {
			err = errors.New(text)
		}
		return err
	}
	return nil
}

// Append appends all of the text to the file, synced, or nothing: what a full
// disk took in part is cut off again.
func Append(f *os.File, text string) error {
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(text); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(at))
	}
	return nil
}
