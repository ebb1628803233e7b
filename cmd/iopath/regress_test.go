package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iopath/internal/summary"
	"iopath/internal/trial"
	"iopath/internal/verdict"
	"iopath/workloads/claims"
	"iopath/workloads/crash"
)

// The test binary stands in for iopath where that starts itself.
func TestMain(m *testing.M) {
	if crash.Child() || claims.Child() {
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == roundName {
		main()
	}
	os.Exit(m.Run())
}

// regressIn runs iopath regress with results in a directory of its own, and says what it
// left there and in TMPDIR.
func regressIn(t *testing.T, args ...string) (status int, stdout, stderr, dir string, left []string) {
	t.Helper()
	alone(t)
	results, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	args = append([]string{"regress", "-results", results, "-machine", "m", "-run", "r", "-settle", "0"}, args...)
	status, stdout, stderr = iopath(t, args...)
	return status, stdout, stderr, filepath.Join(results, "m", "r"), files(t, tmp)
}

// alone makes believe that nobody else is at the machine, as other packages' tests are.
func alone(t *testing.T) {
	t.Helper()
	was, reference := watchMachine, measureReference
	measureReference = func(string) (*exec.Cmd, error) {
		return exec.Command("echo", "BenchmarkFloor/what=syscall 1 100 ns/op"), nil
	}
	watchMachine = func() func() trial.Noise { return func() trial.Noise { return fakeNoise(0) } }
	t.Cleanup(func() { watchMachine, measureReference = was, reference })
}

// printing is a command that prints one result.
func printing(format string, figures ...any) string {
	return fmt.Sprintf("printf 'Unit syscalls/op better=lower assume=exact\\nBenchmarkA/x=1 1 "+format+"\\n'", figures...)
}

func TestRegressCommands(t *testing.T) {
	for _, test := range []struct {
		name, base, head string
		rounds           string
		status           int
		says             string
		confirm          bool
	}{
		{"slower", printing("100 ns/op"), printing("120 ns/op"), "8", exitNo, "regression: 1 of 1 row", true},
		{"faster", printing("120 ns/op"), printing("100 ns/op"), "8", 0, "improved", false},
		{"the same", printing("100 ns/op"), printing("100 ns/op"), "8", 0, "fine", false},
		{"too few", printing("100 ns/op"), printing("300 ns/op"), "3", exitUndecided, "3 pairs, and 1 row need 6", false},
		{"one call more", printing("7 syscalls/op 100 ns/op"), printing("8 syscalls/op 100 ns/op"), "8", exitNo, "7 → 8", true},
		{"head fails", printing("100 ns/op"), "echo oh no >&2; exit 4", "8", exitNo, "fail on head", false},
		{"head fails at a part", printing("100 ns/op") + ";" + strings.ReplaceAll(printing("5 ns/op"), "x=1", "x=2"),
			printing("100 ns/op") + `; exit 1`, "8", exitNo, "fail on head: A/x=1, A/x=2", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr, dir, left := regressIn(t, "-base-cmd", test.base, "-head-cmd", test.head, "-rounds", test.rounds, "-time", "0")
			if status != test.status || !strings.Contains(stdout+stderr, test.says) {
				t.Fatalf("status %d, %s%s\nwant %d, %q", status, stdout, stderr, test.status, test.says)
			}
			if len(left) > 0 {
				t.Errorf("left in TMPDIR: %q", left)
			}
			if test.name == "head fails" { // there is nothing to draw or to compare
				return
			}
			want := []string{"README.md", "bench.txt", "changes.png", "changes.svg", "verdict.json"}
			if test.confirm {
				want = append(want, confirmFile)
				slices.Sort(want)
			}
			if got := files(t, dir); !slices.Equal(got, want) {
				t.Errorf("the run has %q, want %q", got, want)
			}
			var j verdict.Judgement
			if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "verdict.json"))), &j); err != nil || len(j.Rows) == 0 {
				t.Errorf("verdict.json: %v, %+v", err, j)
			}
			// The kept run is judged alike.
			again, out, _ := iopath(t, "gate", dir)
			if again != test.status || out != stdout {
				t.Errorf("iopath gate: status %d,\n%swant %d,\n%s", again, out, test.status, stdout)
			}
			// benchstat's own reader takes it, and its sides.
			if out, err := exec.Command("go", "tool", "benchstat", "-col", "side", filepath.Join(dir, "bench.txt")).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("head")) {
				t.Errorf("benchstat: %v\n%s", err, out)
			}
		})
	}
}

func TestRegressRefuses(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{nil, "-base"},
		{[]string{"-base-cmd", "true"}, "-head-cmd"},
		{[]string{"-base", "HEAD", "-base-cmd", "true", "-head-cmd", "true"}, "exclude"},
		{[]string{"-base-cmd", "true", "-head-cmd", "true", "--", "-x"}, "binaries"},
		{[]string{"-base", "no-such-commit"}, "unknown"},
		{[]string{"-base", "--upload-pack=x"}, "dash"},
		{[]string{"-base", "HEAD", "-rounds", "0", "-time", "0"}, "how long"},
		{[]string{"-base", "HEAD", "-rounds", "-1"}, "below zero"},
		{[]string{"-base", "HEAD", "-benchtime", "soon"}, "soon"},
		{[]string{"-base", "HEAD", "-waivers", "/no/such/file"}, "-waivers"},
		{[]string{"-base", "HEAD", "-accept"}, "-accepted"},
		{[]string{"-base-cmd", "true", "-head-cmd", "true", "-rounds", "1"}, "side base"},
		{[]string{"-self-test", "-base", "HEAD"}, "itself"},
		{[]string{"-self-test", "-runs", "0"}, "below one"},
	} {
		status, _, stderr, dir, left := regressIn(t, test.args...)
		if status != exitUsage || !strings.Contains(stderr, test.says) {
			t.Errorf("%q: status %d, %s; want %d, %q", test.args, status, stderr, exitUsage, test.says)
		}
		if _, err := os.Stat(dir); err == nil && len(left) > 0 {
			t.Errorf("%q leaves %s, and %q", test.args, dir, left)
		}
	}
}

// module makes a Go module in a repository of its own, of two commits.
func module(t *testing.T, base, head string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org",
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	writeText(t, filepath.Join(dir, "go.mod"), "module example.org/alloc\n\ngo 1.24\n")
	for i, body := range []string{base, head} {
		writeText(t, filepath.Join(dir, "alloc_test.go"), `package alloc

import "testing"

var sink [9][]byte

func BenchmarkAlloc(b *testing.B) {
	for _, name := range []string{"a/b", "c d", "e=1"} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				`+body+`
			}
		})
	}
}
`)
		git("add", ".")
		git("commit", "-q", "-m", fmt.Sprint("commit ", i))
	}
	return dir
}

// Any Go module: both commits are built in worktrees, which are gone afterwards.
func TestRegressModule(t *testing.T) {
	one, two := "sink[0] = make([]byte, 64)", "sink[0], sink[1] = make([]byte, 64), make([]byte, 64)"
	for _, test := range []struct {
		name, base, head string
		status           int
		says             []string
	}{
		{"one allocation more", one, two, exitNo, []string{"1 → 2", "Alloc/c_d", "Alloc/a/b"}},
		{"one allocation less", two, one, 0, []string{"2 → 1", "-accept"}},
		{"fails", one, `b.Fatal("it broke")`, exitNo, []string{"fail on head", "Alloc/e=1"}},
		{"does not build", one, "undefined()", exitUsage, []string{"undefined", "build ."}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(module(t, test.base, test.head))
			// Times are not what is tested.
			status, stdout, stderr, _, left := regressIn(t, "-base", "HEAD~1", "-rounds", "2", "-time", "0", "-benchtime", "100x", "-units", "allocs/op")
			if status != test.status {
				t.Errorf("status %d, want %d\n%s%s", status, test.status, stdout, stderr)
			}
			for _, says := range test.says {
				if !strings.Contains(strings.ReplaceAll(stdout+stderr, "\\_", "_"), says) {
					t.Errorf("says nothing of %q:\n%s%s", says, stdout, stderr)
				}
			}
			if len(left) > 0 {
				t.Errorf("left in TMPDIR: %q", left)
			}
			out, err := exec.Command("git", "worktree", "list").Output()
			if err != nil || strings.Count(string(out), "\n") != 1 {
				t.Errorf("worktrees left: %v\n%s", err, out)
			}
		})
	}
}

// Ctrl-C before a round has ended leaves nothing; afterwards the rounds that have ended.
func TestRegressInterrupted(t *testing.T) {
	for _, test := range []struct {
		name, cmd string
		kept      bool
	}{
		{"in the first round", "sleep 60", false},
		{"later", "[ -e $MARK ] && sleep 60; touch $MARK; echo BenchmarkA 1 1 ns/op", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			results, tmp := t.TempDir(), t.TempDir()
			t.Setenv("TMPDIR", tmp)
			t.Setenv("MARK", filepath.Join(t.TempDir(), "mark"))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(3*time.Second, cancel)
			var stdout, stderr bytes.Buffer
			began := time.Now()
			// The mark is the fifth process: base, again and head of round 1, and so on.
			status := run(ctx, []string{"iopath", "regress", "-results", results, "-machine", "m", "-run", "r", "-settle", "0", "-rounds", "9", "-time", "0",
				"-base-cmd", test.cmd, "-head-cmd", strings.ReplaceAll(test.cmd, "$MARK", "$MARK.head")}, strings.NewReader(""), &stdout, &stderr)
			if status != exitInterrupted || time.Since(began) > 30*time.Second {
				t.Errorf("status %d after %v, want %d: %s", status, time.Since(began), exitInterrupted, &stderr)
			}
			if left := files(t, tmp); len(left) > 0 {
				t.Errorf("left in TMPDIR: %q", left)
			}
			_, err := os.Stat(filepath.Join(results, "m", "r"))
			if kept := err == nil; kept && !test.kept {
				t.Error("a run without a round is kept")
			}
		})
	}
}

func TestGateFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		writeText(t, path, text)
		return path
	}
	times := func(ns ...int) string {
		var b strings.Builder
		for _, v := range ns {
			fmt.Fprintf(&b, "BenchmarkA-2 1 %d ns/op\n", v)
		}
		return b.String()
	}
	old := file("old", times(100, 101, 99, 100, 102, 100, 98))
	noisy := file("again", times(140, 101, 139, 100, 142, 130, 98))
	slow := file("slow", times(120, 121, 119, 122, 120, 118, 123))
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{old, slow}, exitNo, "regression"},
		{[]string{slow, old}, 0, "improved"},
		{[]string{old, old + "/../old"}, exitUsage, "twice"},
		{[]string{"-again", noisy, old, slow}, 0, "±"},
		{[]string{old}, exitUsage, "side base"},
		{[]string{old, slow, noisy}, exitUsage, "OLD and NEW"},
		{nil, exitUsage, "which results"},
		{[]string{old, file("empty", "")}, exitUsage, "no result"},
		{[]string{old, file("cut", "BenchmarkA-2 1 100 ns/op\nBenchmarkA-2 1 1")}, exitUsage, "cut short"},
		{[]string{old, file("damaged", "BenchmarkA-2 1 x ns/op\n")}, exitUsage, "damaged"},
		{[]string{old, file("binary", "\x7fELF\x00\x01\x02\nBenchmark\x00 1 1 ns/op\n")}, exitUsage, "control characters"},
		{[]string{old, file("other", "BenchmarkB 1 5 ns/op\n")}, exitUndecided, "no row in common"},
		{[]string{old, filepath.Join(dir, "none")}, exitUsage, "no such file"},
		{[]string{"-filter", "(", old, slow}, exitUsage, "filter"},
		{[]string{"-units", "parsecs", old, slow}, exitUsage, "direction"},
		{[]string{"-waivers", file("waivers", ".name:A | sec/op | 2999-01-01 | known\n"), old, slow}, 0, "waived"},
		{[]string{"-waivers", file("ended", ".name:A | sec/op | 1999-01-01 | known\n"), old, slow}, exitNo, "ended on 1999-01-01"},
		{[]string{"-waivers", file("bad", "everything\n"), old, slow}, exitUsage, "bad:1"},
		{[]string{"-json", old, slow}, exitNo, `"outcome": "regression"`},
		{[]string{"-markdown", old, slow}, exitNo, "| regressed |"},
	} {
		status, stdout, stderr := iopath(t, append([]string{"gate"}, test.args...)...)
		if status != test.status || !strings.Contains(stdout+stderr, test.says) {
			t.Errorf("gate %q: status %d,\n%s%s\nwant %d, %q", test.args, status, stdout, stderr, test.status, test.says)
		}
		if lines := strings.Count(stderr, "\n"); test.status == exitUsage && lines != 1 {
			t.Errorf("gate %q complains in %d lines: %s", test.args, lines, stderr)
		}
	}
}

func TestGateAccepts(t *testing.T) {
	dir := t.TempDir()
	old, better, accepted := filepath.Join(dir, "old"), filepath.Join(dir, "new"), filepath.Join(dir, "accepted.txt")
	const unit = "Unit syscalls/op better=lower assume=exact\n"
	writeText(t, old, unit+"BenchmarkA-2 1 7 syscalls/op\n")
	writeText(t, better, unit+"BenchmarkA-2 1 5 syscalls/op\n")
	if status, _, stderr := iopath(t, "gate", "-accepted", accepted, "-accept", old, better); status != 0 || !strings.Contains(stderr, "1 new count") {
		t.Fatalf("status %d, %s", status, stderr)
	}
	results, err := summary.ReadFiles(accepted)
	if err != nil {
		t.Fatal(err)
	}
	if cells, _ := results.Cells("*"); len(cells) != 1 || cells[0].Values("syscalls/op")[0] != 5 {
		t.Errorf("accepted: %+v", cells)
	}
	same := filepath.Join(dir, "same")
	writeText(t, same, read(t, old))
	// From then on it may not slip back, even where base already has.
	if status, stdout, _ := iopath(t, "gate", "-accepted", accepted, old, same); status != exitNo || !strings.Contains(stdout, "accepted is 5") {
		t.Errorf("back at 7: status %d,\n%s", status, stdout)
	}
}

// The machine itself is measured by this program.
func TestReference(t *testing.T) {
	cmd, err := referenceProcess(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BenchmarkCeiling/pattern=seq", "BenchmarkFloor/what=syscall", "method=pread"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the reference prints no %s:\n%s", want, out)
		}
	}
}

// Head runs where base does: in a worktree, with what is not committed, the index as it was.
func TestRegressTakesTheWorkTree(t *testing.T) {
	dir := module(t, "sink[0] = nil", "sink[0] = make([]byte, 64)")
	t.Chdir(dir)
	source := strings.Replace(read(t, "alloc_test.go"), "make([]byte, 64)", "make([]byte, n())", 1)
	writeText(t, "alloc_test.go", source)
	writeText(t, "untracked_test.go", "package alloc\n\nimport \"os\"\n\nfunc n() int { d, _ := os.Getwd(); os.WriteFile(os.Getenv(\"WHERE\"), []byte(d), 0o600); sink[2] = make([]byte, 9); return 64 }\n")
	where := filepath.Join(t.TempDir(), "where")
	t.Setenv("WHERE", where)
	before, err := exec.Command("git", "status", "--short").Output()
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr, _, left := regressIn(t, "-base", "HEAD", "-rounds", "2", "-time", "0", "-benchtime", "20x", "-units", "allocs/op")
	if status != exitNo {
		t.Errorf("status %d, want %d\n%s%s", status, exitNo, stdout, stderr)
	}
	if !strings.Contains(stdout, "-dirty") {
		t.Errorf("the work tree is not called dirty:\n%s", stdout)
	}
	if ran := read(t, where); strings.HasPrefix(ran, dir) || len(left) > 0 {
		t.Errorf("head ran in %s, and left %q", ran, left)
	}
	if after, err := exec.Command("git", "status", "--short").Output(); err != nil || string(after) != string(before) {
		t.Errorf("git status was %q and is %q, %v", before, after, err)
	}
}

// What hangs is killed, and has failed.
func TestRegressHangs(t *testing.T) {
	was := leastLimit
	leastLimit = time.Second
	defer func() { leastLimit = was }()
	status, stdout, stderr, _, _ := regressIn(t, "-base-cmd", "echo BenchmarkA 1 5 ns/op", "-head-cmd", "sleep 600", "-rounds", "1", "-time", "500ms")
	if status != exitNo || !strings.Contains(stdout, "fail on head") {
		t.Errorf("status %d, want %d\n%s%s", status, exitNo, stdout, stderr)
	}
}

func TestSelfTestComplaint(t *testing.T) {
	tallies := func(alarms, inconclusive, ten, calls int) *selfTest {
		return &selfTest{Tallies: []tally{
			{What: "same", Runs: 20, Found: alarms, Inconclusive: inconclusive},
			{What: "10% slower", Slowdown: 0.1, Runs: 20, Found: ten, Inconclusive: inconclusive},
			{What: "a call", worsen: "1syscall", Runs: 20, Found: calls},
		}}
	}
	for _, test := range []struct {
		t    *selfTest
		says string // "": nothing
	}{
		{tallies(0, 0, 20, 20), ""},
		{tallies(1, 0, 19, 20), ""}, // as a rate of 1 % has it in 18 of 100
		{tallies(2, 0, 20, 20), "false alarms"},
		{tallies(0, 0, 16, 20), "10% slower"},
		{tallies(0, 4, 16, 20), ""},
		{tallies(0, 0, 20, 19), "system call"},
		{tallies(0, 11, 9, 20), "inconclusive"},
	} {
		if got := test.t.complaint(); !strings.Contains(got, test.says) || (got == "") != (test.says == "") {
			t.Errorf("%+v: %q, want %q", test.t.Tallies, got, test.says)
		}
	}
}

func TestSelfTestTally(t *testing.T) {
	for _, test := range []struct {
		k, n   int
		lo, hi float64
	}{
		// R: prop.test(k, n, correct=FALSE)$conf.int
		{0, 100, 0, 0.03699}, {95, 100, 0.88825, 0.97846}, {1, 20, 0.00888, 0.23613}, {0, 0, 0, 1},
	} {
		if lo, hi := wilson(test.k, test.n); fmt.Sprintf("%.4f %.4f", lo, hi) != fmt.Sprintf("%.4f %.4f", test.lo, test.hi) {
			t.Errorf("wilson(%d, %d) = %.5f, %.5f; want %.5f, %.5f", test.k, test.n, lo, hi, test.lo, test.hi)
		}
	}
}
