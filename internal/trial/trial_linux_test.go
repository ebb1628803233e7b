package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

const manyLines = 20000

// childEnv makes the test binary a round's process: "WHAT ARGUMENT".
const childEnv = "TRIAL_TEST_CHILD"

func TestMain(m *testing.M) {
	what, arg, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		os.Exit(m.Run())
	}
	switch what {
	case "print": // results, and ends well
		fmt.Println(arg)
	case "many": // results, half a megabyte of them
		fmt.Print(strings.Repeat(arg+"\n", manyLines))
	case "fail": // half a round, and a complaint
		fmt.Println("BenchmarkHalf 1 1 ns/op")
		fmt.Fprintln(os.Stderr, arg)
		os.Exit(3)
	case "silently":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Hour)
	case "parent": // starts a grandchild, writes both ids to the file, and waits
		cmd := child("sleep", "on")
		cmd.Stdout = os.Stdout // holds the pipe of the round open
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Println("BenchmarkHalf 1 1 ns/op")
		ids := fmt.Sprintf("%d %d", os.Getpid(), cmd.Process.Pid)
		if err := os.WriteFile(arg+".tmp", []byte(ids), 0o644); err != nil {
			panic(err)
		}
		if err := os.Rename(arg+".tmp", arg); err != nil {
			panic(err)
		}
		cmd.Wait()
	}
	os.Exit(0)
}

func child(what, arg string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what+" "+arg,
		"GORACE=atexit_sleep_ms=0") // the race detector would sleep for a second
	return cmd
}

// result is a line as a benchmark prints it.
func result(name string) string { return "Benchmark" + name + " 1 5 ns/op" }

// out opens a result file that holds a head already.
const head = "goos: linux\n"

func out(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "bench.txt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(head); err != nil {
		t.Fatal(err)
	}
	return f
}

// written returns the file's lines, without what the clock decides.
func written(t *testing.T, f *os.File) []string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`took=\S+`).ReplaceAllString(string(b), "took=T")
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("the test hangs"))
	t.Cleanup(cancel)
	return ctx
}

func TestRounds(t *testing.T) {
	f := out(t)
	res, err := Run{Rounds: 3, Seed: 7, Out: f, Results: 2, Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
		return []*exec.Cmd{child("print", result(fmt.Sprint("A", k))), child("print", result(fmt.Sprint("B", k)))}, nil
	}}.Do(within(t))
	if err != nil || res.Rounds != 3 || res.Stopped != "all rounds ended" || res.Failed != nil {
		t.Errorf("Do = %+v, %v, want 3 rounds, all ended, none failed", res, err)
	}
	want := []string{"goos: linux",
		"# round 1: seed=7 took=T", result("A1"), result("B1"),
		"# round 2: seed=7 took=T", result("A2"), result("B2"),
		"# round 3: seed=7 took=T", result("A3"), result("B3"),
	}
	if got := written(t, f); !slices.Equal(got, want) {
		t.Errorf("written:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each round's noise stands in its line, and the whole run's in the result. What
// settling came to is kept with the first round.
func TestNoise(t *testing.T) {
	f := out(t)
	calls := 0
	res, err := Run{Rounds: 2, Seed: 7, Out: f, Settle: time.Millisecond,
		Watch: func() func() Noise {
			calls++
			noise := fakeNoise{steal: float64(calls)}
			return func() Noise { return noise }
		},
		Round: func(int, *rand.Rand) ([]*exec.Cmd, error) { return []*exec.Cmd{child("print", result("A"))}, nil },
	}.Do(within(t))
	if err != nil || res.Rounds != 2 || res.Noise == nil || res.Noise.String() != "steal=2%" {
		t.Errorf("Do = %+v, %v, want 2 rounds and the noise that was begun before the first", res, err)
	}
	got := written(t, f)
	want := []string{"goos: linux", "# settle: T, and still steal=1% work=0.0%",
		"# round 1: seed=7 took=T steal=3%", result("A"),
		"# round 2: seed=7 took=T steal=4%", result("A")}
	got[1] = regexp.MustCompile(`settle: \S+,`).ReplaceAllString(got[1], "settle: T,")
	if !slices.Equal(got, want) {
		t.Errorf("written:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEnded(t *testing.T) {
	for _, c := range []struct {
		name    string
		ended   func(k int, lines []byte) (string, int, error)
		rounds  int
		stopped string
		want    []string // the notes
		err     string
	}{
		{"until nothing is left", func(k int, lines []byte) (string, int, error) {
			return fmt.Sprintf("# note %d: %d bytes\n", k, len(lines)), 3 - k, nil
		}, 3, "nothing is left to run", []string{"# note 1: 21 bytes", "# note 2: 21 bytes", "# note 3: 21 bytes"}, ""},
		{"until the last round", func(int, []byte) (string, int, error) { return "", 9, nil }, 5, "all rounds ended", nil, ""},
		{"nothing from the start", func(int, []byte) (string, int, error) { return "# a\n# b\n", 0, nil }, 1, "nothing is left to run", []string{"# a", "# b"}, ""},
		{"fails", func(k int, _ []byte) (string, int, error) {
			if k == 2 {
				return "# lost\n", 1, errors.New("a line is damaged")
			}
			return "# kept\n", 1, nil
		}, 1, "", []string{"# kept"}, "round 2: a line is damaged"},
	} {
		f := out(t)
		res, err := Run{Rounds: 5, Results: 2, Out: f, Ended: c.ended, Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
			return []*exec.Cmd{child("print", result("A"))}, nil
		}}.Do(within(t))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.err || res.Rounds != c.rounds || res.Stopped != c.stopped {
			t.Errorf("%s: Do = %+v, %v, want %d rounds, stopped because %q, error %q", c.name, res, err, c.rounds, c.stopped, c.err)
		}
		var notes []string
		got := written(t, f)
		for i, line := range got {
			if strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "# round") {
				notes = append(notes, line)
				if !strings.HasPrefix(got[i-1], "Bench") && !strings.HasPrefix(got[i-1], "# ") {
					t.Errorf("%s: %q stands after %q, want it after its round", c.name, line, got[i-1])
				}
			}
		}
		if !slices.Equal(notes, c.want) {
			t.Errorf("%s: notes %q, want %q", c.name, notes, c.want)
		}
	}
}

// The slowest round stands for the next only as long as that has as much to do.
func TestTimeLimitWithFewerResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, err := Run{Rounds: 100, Time: 20 * time.Second, Out: out(t), Results: 8,
			Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
				time.Sleep([]time.Duration{8 * time.Second, 8 * time.Second, time.Second, time.Second}[min(k, 4)-1])
				return nil, nil
			},
			Ended: func(k int, _ []byte) (string, int, error) {
				if k < 2 {
					return "", 8, nil
				}
				return "", 1, nil
			},
		}.Do(t.Context())
		// The third round has 4 s, and could take the second's 8.
		if err != nil || res.Rounds != 2 {
			t.Errorf("Do = %+v, %v, want 2 rounds", res, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		res, err := Run{Time: 20 * time.Second, Out: out(t), Results: 8,
			Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
				time.Sleep([]time.Duration{5 * time.Second, 5 * time.Second, time.Second}[min(k, 3)-1])
				return nil, nil
			},
			Ended: func(k int, _ []byte) (string, int, error) { return "", max(1, 9-2*k), nil },
		}.Do(t.Context())
		// 10 s after two rounds, and then one a second.
		if err != nil || res.Rounds != 12 {
			t.Errorf("Do = %+v, %v, want 12 rounds", res, err)
		}
	})
}

func TestOrderDependsOnTheSeed(t *testing.T) {
	orders := func(seed uint64, rounds int) (all [][]int) {
		t.Helper()
		_, err := Run{Rounds: rounds, Seed: seed, Out: out(t), Round: func(_ int, rng *rand.Rand) ([]*exec.Cmd, error) {
			all = append(all, rng.Perm(50))
			return nil, nil
		}}.Do(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	a, b, other := orders(1, 3), orders(1, 2), orders(2, 1)
	if !slices.Equal(a[0], b[0]) || !slices.Equal(a[1], b[1]) {
		t.Error("the same seed gave two orders, want one")
	}
	if slices.Equal(a[0], a[1]) || slices.Equal(a[1], a[2]) {
		t.Error("two rounds have the same order, want each its own")
	}
	if slices.Equal(a[0], other[0]) {
		t.Error("two seeds gave the same order, want two")
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		second func() ([]*exec.Cmd, error) // the second round's
		want   string
	}{
		{"says why", func() ([]*exec.Cmd, error) {
			return []*exec.Cmd{child("print", result("B")), child("fail", "the disk is on fire"), child("print", result("C"))}, nil
		}, "round 2: the disk is on fire"},
		{"says nothing", func() ([]*exec.Cmd, error) { return []*exec.Cmd{child("silently", "")}, nil }, "round 2: exit status 3"},
		{"cannot start", func() ([]*exec.Cmd, error) { return []*exec.Cmd{exec.Command("/nonexistent/program")}, nil }, "round 2: fork/exec /nonexistent/program: no such file or directory"},
		{"cannot be made", func() ([]*exec.Cmd, error) { return nil, errors.New("no cells") }, "round 2: no cells"},
	} {
		f := out(t)
		res, err := Run{Rounds: 3, Out: f, Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
			if k == 2 {
				return c.second()
			}
			return []*exec.Cmd{child("print", result("A"))}, nil
		}}.Do(within(t))
		if err == nil || err.Error() != c.want || res.Rounds != 1 {
			t.Errorf("%s: Do = %+v, %v, want 1 round and %q", c.name, res, err, c.want)
		}
		want := []string{"goos: linux", "# round 1: seed=0 took=T", result("A")}
		if got := written(t, f); !slices.Equal(got, want) {
			t.Errorf("%s: written %q, want the first round alone: %q", c.name, got, want)
		}
	}
}

func TestFailedCellsAreCollected(t *testing.T) {
	res, err := Run{Rounds: 2, Out: out(t), Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
		return []*exec.Cmd{child("print", fmt.Sprintf("# failed: BenchmarkX: reason %d\n%s\n# skipped: BenchmarkY: none\n# failed: BenchmarkZ: other", k, result("A")))}, nil
	}}.Do(within(t))
	want := []string{"BenchmarkX: reason 1", "BenchmarkZ: other", "BenchmarkX: reason 2", "BenchmarkZ: other"}
	if err != nil || res.Rounds != 2 || !slices.Equal(res.Failed, want) {
		t.Errorf("Do = %+v, %v, want 2 rounds and the failures %q", res, err, want)
	}
}

func TestTimeLimit(t *testing.T) {
	slow := func(int, *rand.Rand) ([]*exec.Cmd, error) { time.Sleep(30 * time.Millisecond); return nil, nil }
	for _, c := range []struct {
		limit    time.Duration
		least, m int // rounds
	}{
		{time.Nanosecond, 1, 1}, // the first one always runs
		{100 * time.Millisecond, 1, 3},
		{time.Hour, 10, 10},
	} {
		began := time.Now()
		res, err := Run{Rounds: 10, Time: c.limit, Out: out(t), Round: slow}.Do(within(t))
		if err != nil || res.Rounds < c.least || res.Rounds > c.m {
			t.Errorf("limit %v: Do = %+v, %v, want %d to %d rounds", c.limit, res, err, c.least, c.m)
		}
		if stopped := "another round would not end within " + c.limit.String(); c.m < 10 && res.Stopped != stopped {
			t.Errorf("limit %v: stopped because %q, want %q", c.limit, res.Stopped, stopped)
		}
		if took := time.Since(began); c.m == 3 && took > 10*c.limit {
			t.Errorf("limit %v: took %v", c.limit, took)
		}
	}
}

// gone waits until the process is no more; one that nobody waited for counts.
func gone(pid int) bool {
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return true
		}
		_, state, _ := strings.Cut(string(b), ") ")
		if strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return true
		}
	}
	return false
}

func TestInterrupted(t *testing.T) {
	ids := filepath.Join(t.TempDir(), "ids")
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(ids); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	f := out(t)
	res, err := Run{Rounds: 3, Out: f, Round: func(k int, _ *rand.Rand) ([]*exec.Cmd, error) {
		if k == 1 {
			return []*exec.Cmd{child("print", result("A"))}, nil
		}
		return []*exec.Cmd{child("parent", ids)}, nil
	}}.Do(ctx)
	if err != nil || res.Rounds != 1 || res.Stopped != "interrupted" {
		t.Errorf("Do = %+v, %v, want 1 round, interrupted, and no error", res, err)
	}
	want := []string{"goos: linux", "# round 1: seed=0 took=T", result("A")}
	if got := written(t, f); !slices.Equal(got, want) {
		t.Errorf("written %q, want the first round alone: %q", got, want)
	}
	b, err := os.ReadFile(ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		if !gone(pid) {
			t.Errorf("the %s, process %d, still runs", []string{"child", "grandchild"}[i], pid)
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

func TestInterruptedBeforeItStarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := out(t)
	res, err := Run{Rounds: 3, Out: f, Round: func(int, *rand.Rand) ([]*exec.Cmd, error) {
		t.Error("a round was made")
		return nil, nil
	}}.Do(ctx)
	if err != nil || res.Rounds != 0 || res.Stopped != "interrupted" {
		t.Errorf("Do = %+v, %v, want no round, interrupted, and no error", res, err)
	}
	if got := written(t, f); len(got) != 1 {
		t.Errorf("written %q, want nothing", got)
	}
}

// A disk that is full amid a round: what it took of that round is cut off again.
// The limit on a file's size does it without a disk.
func TestFullDisk(t *testing.T) {
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	f := out(t)
	line := result("A")
	limited := before
	// One round, and half of another. Large, because the limit holds for what
	// the testing package writes meanwhile, too.
	limited.Cur = uint64(len(head) + manyLines*(len(line)+1)*3/2)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limited); err != nil {
		t.Skip(err)
	}
	res, err := Run{Rounds: 3, Out: f, Round: func(int, *rand.Rand) ([]*exec.Cmd, error) {
		return []*exec.Cmd{child("many", line)}, nil
	}}.Do(within(t))
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EFBIG) || !strings.HasPrefix(err.Error(), "keep round 2: ") || res.Rounds != 1 {
		t.Errorf("Do = %+v, %v, want 1 round, and that the second cannot be kept: EFBIG", res, err)
	}
	want := append([]string{"goos: linux", "# round 1: seed=0 took=T"}, slices.Repeat([]string{line}, manyLines)...)
	if got := written(t, f); !slices.Equal(got, want) {
		t.Errorf("written %d lines, want the first round's alone: %d", len(got), len(want))
	}
}

func TestProgressOfAFile(t *testing.T) {
	progress, err := os.Create(filepath.Join(t.TempDir(), "progress"))
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	if _, err := (Run{Rounds: 2, Results: 1, Out: out(t), Progress: progress, Round: func(int, *rand.Rand) ([]*exec.Cmd, error) {
		return []*exec.Cmd{child("print", result("A"))}, nil
	}}).Do(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := (Run{Rounds: 9, Results: 3, Out: out(t), Progress: progress, Round: func(int, *rand.Rand) ([]*exec.Cmd, error) {
		return []*exec.Cmd{child("print", result("A"))}, nil
	}, Ended: func(k int, _ []byte) (string, int, error) { return "", 2 - k, nil }}).Do(within(t)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(progress.Name())
	got := regexp.MustCompile(`\d+s`).ReplaceAllString(string(b), "Ts")
	if want := "round 1 ended after Ts; 1 left, about Ts\nround 2 ended after Ts; 0 left, about Ts\n" +
		"round 1 ended after Ts; cells to go: 1, in at most 8 rounds, about Ts\nround 2 ended after Ts; cells to go: 0, in at most 0 rounds, about Ts\n"; err != nil || got != want {
		t.Errorf("progress = %q, %v, want %q", b, err, want)
	}
}
