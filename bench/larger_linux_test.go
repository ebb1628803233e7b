package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iopath/internal/cgroup"
	"iopath/internal/datafile"
	"iopath/internal/host"
)

// labDir is a directory on a disk for an experiment, where there can be control
// groups.
func labDir(t *testing.T) string {
	t.Helper()
	if err := cgroup.Probe(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(".", ".iopath-lab-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if tmpfs, err := host.IsTmpfs(dir); err != nil || tmpfs {
		t.Skip("the checkout is on tmpfs")
	}
	return dir
}

// noneLeft fails where a process of ours that an experiment started is still there.
func noneLeft(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ps", "--ppid", fmt.Sprint(os.Getpid()), "-o", "pid=,comm=").Output()
	if err == nil && strings.Contains(string(out), filepath.Base(os.Args[0])[:8]) {
		t.Errorf("children are left: %s", out)
	}
}

func TestLargerThanMemory(t *testing.T) {
	l := Larger{
		Methods: []string{"mmap", "pread"}, Patterns: []string{"seq"}, Threads: 2, Block: 64 << 10, Size: 96 << 20, Limit: 32 << 20,
		Time: 600 * time.Millisecond, Every: 50 * time.Millisecond, Rounds: 1, Dir: labDir(t),
	}
	var out bytes.Buffer
	all, err := l.Run(t.Context(), &out, host.Options{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d series, want one for each method", len(all))
	}
	for _, s := range all {
		var sum Sample
		for _, at := range s.Samples {
			sum.add(at)
			if at.Charged > l.Limit {
				t.Errorf("%s: %d bytes charged, over a limit of %d", s.Method, at.Charged, l.Limit)
			}
		}
		if s.Err != nil || len(s.Samples) < 5 || sum.Bytes < l.Limit {
			t.Fatalf("%s: %d samples, %d bytes, %v, want ten or so that come to more than the limit", s.Method, len(s.Samples), sum.Bytes, s.Err)
		}
		if last := s.Samples[len(s.Samples)-1]; last.At < l.Time || last.Resident < l.Limit/4 {
			t.Errorf("%s: the last sample is %+v, want the page cache filled", s.Method, last)
		}
		if sum.Stolen == 0 || sum.Device < l.Limit {
			t.Errorf("%s: %d pages reclaimed, %d bytes from the device, want reclaim and more than the limit", s.Method, sum.Stolen, sum.Device)
		}
		if s.Method == "mmap" && sum.Minor+sum.Major == 0 {
			t.Errorf("a mapping was read without a fault")
		}
	}
	if got, want := strings.Count(out.String(), "\nBenchmarkLarger/"), len(all[0].Samples)+len(all[1].Samples); got != want {
		t.Errorf("%d result lines, want %d", got, want)
	}
	for _, want := range []string{"\nmemory-limit: 32MiB\n", "\ncgroup: v", "\nUnit majflt/op better=lower\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the header lacks %q", want)
		}
	}
	noneLeft(t)
}

func TestLargerSeesWrongBytes(t *testing.T) {
	l := Larger{
		Methods: []string{"mmap", "pread"}, Patterns: []string{"rand"}, Threads: 1, Block: 4 << 10, Size: 32 << 20, Limit: 16 << 20,
		Time: 10 * time.Second, Every: 50 * time.Millisecond, Rounds: 1, Dir: labDir(t),
	}
	if err := os.WriteFile(datafile.Path(l.Dir, "cold", l.Size), make([]byte, l.Size), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	all, err := l.Run(t.Context(), &out, host.Options{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Err == nil || !strings.Contains(s.Err.Error(), "verification failed") {
			t.Errorf("%s reads zeros: %v, want a failed verification", s.Method, s.Err)
		}
	}
	if got := strings.Count(out.String(), "\n# failed: BenchmarkLarger/"); got != 2 {
		t.Errorf("%d failures in the results, want 2", got)
	}
}

func TestLargerInterrupted(t *testing.T) {
	l := Larger{
		Methods: []string{"pread", "mmap"}, Patterns: []string{"rand"}, Threads: 1, Block: 4 << 10, Size: 32 << 20, Limit: 16 << 20,
		Time: time.Minute, Every: 20 * time.Millisecond, Rounds: 1, Dir: labDir(t),
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out cancelling
	out.after, out.cancel = "/at=0.1s/", cancel
	all, err := l.Run(ctx, &out, host.Options{}, func(string) {})
	if err != nil || len(all) != 1 || len(all[0].Samples) == 0 {
		t.Errorf("Run = %d series, %v, want what there was of the first", len(all), err)
	}
	noneLeft(t)
}

// cancelling cancels once a text was written.
type cancelling struct {
	bytes.Buffer
	after  string
	cancel func()
}

func (c *cancelling) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.after) {
		c.cancel()
	}
	return c.Buffer.Write(b)
}

// noSwapLeft fails where swap that was made for a run is still there.
func noSwapLeft(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, swapPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if text, _ := os.ReadFile("/proc/swaps"); strings.Contains(string(text), fmt.Sprintf("%s%d", swapPrefix, os.Getpid())) {
		t.Errorf("swap is still on:\n%s", text)
	}
}

func TestPressure(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes several times the memory that a process takes")
	}
	p := Pressure{Size: 16 << 20, Limit: 64 << 20, Swap: 64 << 20, Steps: 2, Dir: labDir(t)}
	var out bytes.Buffer
	steps, err := p.Run(t.Context(), &out, host.Options{}, func(string) {})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 6 {
		t.Fatalf("%d steps, want three for each way to hold the file: %+v", len(steps), steps)
	}
	for i, s := range steps {
		alone, last := i%3 == 0, i%3 == 2
		switch {
		case s.Killed != "":
			t.Errorf("%+v: somebody was killed, with swap enough", s)
		case alone && s.Resident != p.Size:
			t.Errorf("%+v: alone, want all of it resident", s)
		case last && s.Resident > p.Size*3/4:
			t.Errorf("%+v: beside a neighbour that takes the whole limit, want less resident", s)
		case s.Method == "mapping" && s.Swapped > 1<<20:
			t.Errorf("%+v: a mapping was swapped", s)
		case s.Method == "heap" && last && (s.Swapped < p.Size/4 || s.SwapIn == 0 || s.Major == 0):
			t.Errorf("%+v: want the heap swapped out, and in again", s)
		case s.Took <= 0:
			t.Errorf("%+v: reading took no time", s)
		}
	}
	if got := strings.Count(out.String(), "\nBenchmarkPressure/"); got != 6 {
		t.Errorf("%d result lines, want 6", got)
	}
	noSwapLeft(t, p.Dir)
	noneLeft(t)
}

func TestPressureWithoutSwapKills(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes several times the memory that a process takes")
	}
	p := Pressure{Size: 24 << 20, Limit: 48 << 20, Steps: 1, Dir: labDir(t)}
	steps, err := p.Run(t.Context(), new(bytes.Buffer), host.Options{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	last := steps[len(steps)-1]
	if last.Method != "heap" || last.Killed == "" {
		t.Errorf("the last step is %+v, want one at which somebody was killed", last)
	}
	noneLeft(t)
}

func TestPressureInterrupted(t *testing.T) {
	for _, after := range []string{"cgroup: ", "neighbour=0B/method=mapping", "neighbour=32MiB/method=heap"} {
		p := Pressure{Size: 16 << 20, Limit: 64 << 20, Swap: 64 << 20, Steps: 4, Dir: labDir(t)}
		ctx, cancel := context.WithCancel(t.Context())
		out := cancelling{after: after, cancel: cancel}
		steps, err := p.Run(ctx, &out, host.Options{}, func(string) {})
		cancel()
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil || len(steps) > 9 {
			t.Errorf("interrupted after %q: %d steps, %v, want what there was", after, len(steps), err)
		}
		noSwapLeft(t, p.Dir)
		noneLeft(t)
	}
}

func TestSweepSwapTakesOnlyWhatTheDeadLeft(t *testing.T) {
	dir := t.TempDir()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Skip(err)
	}
	goes := filepath.Join(dir, fmt.Sprintf("%s%d%s", swapPrefix, dead.Process.Pid, swapSuffix))
	stays := filepath.Join(dir, fmt.Sprintf("%s%d%s", swapPrefix, os.Getpid(), swapSuffix))
	for _, path := range []string{goes, stays} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sweepSwap(dir)
	if _, err := os.Stat(goes); err == nil {
		t.Error("what a dead process left is there")
	}
	if _, err := os.Stat(stays); err != nil {
		t.Errorf("what a living process uses is gone: %v", err)
	}
}

func TestUsageOfAProcess(t *testing.T) {
	u, err := usageOf(os.Getpid())
	if err != nil || u.cpu <= 0 || u.minor <= 0 {
		t.Errorf("usageOf(ourselves) = %+v, %v, want CPU time and faults", u, err)
	}
}
