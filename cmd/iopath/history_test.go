package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// newRepo makes an empty git repository, away from the user's settings.
func newRepo(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, "none"))
	dir := t.TempDir()
	cmd := exec.Command("git", "init", "-q", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	return dir
}

// regressRun is what iopath regress writes: two cells, the first of which takes so many
// times as long as at the pinned base.
func regressRun(night int, head, kernel string, ratio float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# iopath regress: base=v1.0 head=main seed=%d\n# date: 2026-%02d-%02dT03:00:00Z\n", night, 1+night/28, 1+night%28)
	fmt.Fprintf(&b, "goos: linux\ngoarch: amd64\npkg: iopath/bench\ncpu: AMD EPYC\nmachine: lab\ngo: go1.26.8\nkernel: %s\nllc: 32MiB\ncpus: 2\nvirt: kvm\n", kernel)
	b.WriteString("Unit ns/op better=lower\nUnit syscalls/op better=lower assume=exact\n")
	for round := range 3 {
		fmt.Fprintf(&b, "# round %d: seed=%d\n", round+1, round)
		for _, side := range []struct {
			name, commit string
			ratio        float64
		}{{"base", "aaaaaaaaaaaa", 1}, {"again", "aaaaaaaaaaaa", 1}, {"head", head, ratio}} {
			fmt.Fprintf(&b, "side: %s\ncommit: %s\n", side.name, side.commit)
			// A little noise, the same in every round.
			noise := 1 + 0.002*float64((night*7)%5-2)
			fmt.Fprintf(&b, "BenchmarkRead/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=pread-2\t20\t%.1f ns/op\t256 syscalls/op\n", 1e6*side.ratio*map[bool]float64{true: noise, false: 1}[side.name == "head"])
			fmt.Fprintf(&b, "BenchmarkRead/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=mmap-2\t20\t%.1f ns/op\t3 syscalls/op\n", 5e5)
		}
	}
	return b.String()
}

func TestHistory(t *testing.T) {
	repo := newRepo(t)
	dir := t.TempDir()
	add := func(night int, head, kernel string, ratio float64) (int, string, string) {
		run := filepath.Join(dir, fmt.Sprintf("night%03d", night))
		if err := os.MkdirAll(run, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(run, "bench.txt"), []byte(regressRun(night, head, kernel, ratio)), 0o644); err != nil {
			t.Fatal(err)
		}
		return iopath(t, "history", "add", "-repo", repo, run)
	}
	check := func(want int, out string, args ...string) string {
		t.Helper()
		status, stdout, stderr := iopath(t, append([]string{"history", "check", "-repo", repo}, args...)...)
		if status != want || !strings.Contains(stdout+stderr, out) {
			t.Errorf("check %q: status %d, %q and %q, want %d and %q", args, status, stdout, stderr, want, out)
		}
		for line := range strings.Lines(stdout) {
			if n := len([]rune(line)); n > 81 && !strings.Contains(fmt.Sprint(args), "json") {
				t.Errorf("check %q: a line of %d characters: %s", args, n, line)
			}
		}
		return stdout
	}
	check(exitUsage, "there is no branch iopath-history (iopath history add RUN makes it")
	night := 0
	for ; night < 5; night++ {
		if status, stdout, stderr := add(night, fmt.Sprintf("b%011d", night), "Linux 6.1", 1); status != 0 || !strings.Contains(stdout, fmt.Sprintf("night%03d: 18 results of lab at b%011d, against aaaaaaaaaaaa, added to iopath-history:2026-01.txt", night, night)) {
			t.Fatalf("add: status %d, %q, %q", status, stdout, stderr)
		}
	}
	if status, _, stderr := add(2, "b00000000002", "Linux 6.1", 1); status != exitUsage || !strings.Contains(stderr, "is there already, as night002") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("adding a run twice: status %d, %q", status, stderr)
	}
	check(exitUndecided, "No series has the 6 runs that two segments need: the longest has 5")
	for ; night < 57; night++ {
		ratio := 1.0
		if night == 30 || night == 31 {
			ratio = 3 // a spike of two nights is no change
		}
		add(night, fmt.Sprintf("b%011d", night), "Linux 6.1", ratio)
		switch night {
		case 8:
			check(0, "with fewer than 20, hardly any change")
		case 31, 35, 56:
			check(0, "No change.")
		}
	}
	// A change to stay, with a kernel.
	for ; night < 61; night++ { // seen on the fourth night: with the spikes on record, three are not enough
		check(0, "No change.")
		add(night, fmt.Sprintf("b%011d", night), "Linux 6.18", 1.1)
	}
	out := check(exitNo, "b00000000056..b00000000057")
	for _, want := range []string{
		"61 runs of 2026-01-01 to 2026-03-05", "+10.", "1.000 → 1.10", "2026-03-02", "worse", "Read/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=pread-2; kernel Linux 6.1 → Linux 6.18",
		"1 change, 1 for the worse within the newest 7 runs",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("check prints\n%s\nwant %q in it", out, want)
		}
	}
	if strings.Contains(out, "mmap") {
		t.Errorf("a cell that is as it was is listed:\n%s", out)
	}
	check(0, "1 change, 0 for the worse within the newest 2 runs", "-recent", "2")
	check(0, "No change.", "-filter", "/method:mmap")
	check(0, "No change.", "-unit", "syscalls/op")
	check(exitNo, "+10", "-unit", "ns/op,syscalls/op", "-since", "2026-03-02")
	check(0, "No change.", "-since", "2026-03-03")
	check(exitUsage, "parse filter", "-filter", "(")
	check(exitUsage, "-recent -1", "-recent", "-1")
	check(exitUsage, "is no date", "-since", "yesterday")
	check(exitUsage, "takes no arguments", "night000")
	check(exitUsage, "there is no branch other", "-branch", "other")
	check(exitUsage, "none of its 61 runs has the unit furlongs", "-unit", "furlongs")
	var found struct {
		Verdict string
		Changes []struct {
			Cell          string
			Change        float64
			Worse, Recent bool
			Before, After struct{ Run, Commit string }
		}
	}
	if err := json.Unmarshal([]byte(check(exitNo, `"regression"`, "-json")), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Changes) != 1 || !found.Changes[0].Worse || !found.Changes[0].Recent || found.Changes[0].Before.Run != "night056" || found.Changes[0].After.Commit != "b00000000057" {
		t.Errorf("JSON says %+v, want the change after night056", found)
	}

	charts := filepath.Join(t.TempDir(), "charts")
	status, stdout, stderr := iopath(t, "history", "plot", "-repo", repo, "-out", charts, "-format", "svg,csv")
	if status != 0 || strings.Count(stdout, "\n") != 4 || !strings.Contains(stdout, "history-01-read-pattern-rand-cache-warm-size-16mib-block-64kib-method-pread-2-sec-op.svg") || !strings.Contains(stdout, "history-overview.svg") {
		t.Errorf("plot: status %d, %q, %q; want a cell and the overview, twice each", status, stdout, stderr)
	}
	if status, stdout, stderr := iopath(t, "history", "plot", "-repo", repo, "-out", charts, "-format", "svg", "-filter", "/method:mmap"); status != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("plot of what did not change: status %d, %q, %q", status, stdout, stderr)
	}
	// What is long past is listed and fails no more.
	for ; night < 69; night++ {
		add(night, fmt.Sprintf("b%011d", night), "Linux 6.18", 1.1)
	}
	check(0, "1 change, 0 for the worse within the newest 7 runs")
}

func TestHistoryUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
		text string
	}{
		{"history", 0, "add    append a run"},
		{"history -h", 0, "check"},
		{"history add -h", 0, "RUN"},
		{"history nonsense", exitUsage, "iopath history -h"},
		{"history add", exitUsage, "which run?"},
		{"history add a b", exitUsage, "which run?"},
		{"history add -nonsense", exitUsage, "iopath history add -h"},
		{"history add none", exitUsage, "no such file"},
		{"history check -repo /nonexistent", exitUsage, "-repo DIR"},
		{"history plot -charts 0", exitUsage, "-charts 0"},
	} {
		status, stdout, stderr := iopath(t, strings.Fields(c.args)...)
		if status != c.want || !strings.Contains(stdout+stderr, c.text) || strings.Count(stderr, "\n") > 1 {
			t.Errorf("iopath %s: status %d, %q and %q, want %d and %q", c.args, status, stdout, stderr, c.want, c.text)
		}
	}
}
