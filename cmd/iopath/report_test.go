package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iopath/internal/summary"
)

// madeUp is a run of the suite with made-up figures.
const madeUp = "../../internal/summary/testdata/bench.txt"

// iopath runs a command, and returns what it prints.
func iopath(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), append([]string{"iopath"}, args...), strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runOf makes a run of one workload, as charts take time, and returns its directory.
func runOf(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var some strings.Builder
	for line := range strings.Lines(read(t, madeUp)) {
		if !strings.HasPrefix(line, "Benchmark") || strings.Contains(line, "Read/pattern=seq/cache=warm") || strings.Contains(line, "Ceiling/pattern=seq") {
			some.WriteString(line)
		}
	}
	writeText(t, resultFile(dir), some.String())
	return dir
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReportOfRun(t *testing.T) {
	dir := runOf(t, "a-run")
	readme, page := filepath.Join(dir, "README.md"), filepath.Join(dir, "report.html")
	status, stdout, stderr := iopath(t, "report", dir)
	if want := readme + "\n" + page + "\n"; status != 0 || stdout != want {
		t.Fatalf("report: status %d, %q, %s; want 0, %q", status, stdout, stderr, want)
	}
	text, html := read(t, readme), read(t, page)
	for _, want := range []string{"# a-run\n", "[bench.txt](bench.txt)", "[report.html](report.html)", "## Findings\n", "## Advice\n", "## What the machine does at best\n", "## Reads of a cached file\n", "(read-seq-warm-throughput.svg)", "<details>", "## Tables\n", "## The machine\n", "## How to repeat it\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
	for _, want := range []string{"<title>a-run</title>", `id="findings"`, `id="advice"`, "How fast is each method at sequential reads of a cached file?"} {
		if !strings.Contains(html, want) {
			t.Errorf("report.html lacks %q", want)
		}
	}
	// README links to charts that are there, and to all of them.
	svgs := slices.DeleteFunc(files(t, dir), func(name string) bool { return filepath.Ext(name) != ".svg" })
	for _, name := range svgs {
		if !strings.Contains(text, "]("+name+")") {
			t.Errorf("README.md does not show %s", name)
		}
	}
	if got := strings.Count(text, "!["); got != len(svgs) || got == 0 {
		t.Errorf("README.md shows %d charts, want %d", got, len(svgs))
	}
	// plot writes the same README, and leaves the page.
	if status, _, stderr := iopath(t, "plot", "-format", "svg", dir); status != 0 {
		t.Fatalf("plot: status %d, %s", status, stderr)
	}
	if read(t, readme) != text {
		t.Error("plot writes another README.md than report")
	}
	if os.Remove(page); strings.Contains(read(t, readme), "report.html") {
		if status, _, stderr := iopath(t, "plot", "-format", "svg", dir); status != 0 {
			t.Fatalf("plot: status %d, %s", status, stderr)
		}
		if strings.Contains(read(t, readme), "report.html") {
			t.Error("README.md links to a report.html that is not there")
		}
	}
}

func TestReportOfFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other suite.txt")
	if err := os.WriteFile(file, []byte("BenchmarkFib/n=10-8 100 325 ns/op\nBenchmarkFib/n=20-8 100 40537 ns/op\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := iopath(t, "report", file); status != exitUsage || !strings.Contains(stderr, "-out") {
		t.Errorf("report FILE: status %d, %q; want %d, and -out named", status, stderr, exitUsage)
	}
	out := filepath.Join(t.TempDir(), "new", "dir")
	if status, _, stderr := iopath(t, "report", "-out", out, file); status != 0 {
		t.Fatalf("report -out: status %d, %s", status, stderr)
	}
	if got, want := strings.Join(files(t, out), " "), "README.md report.html"; got != want {
		t.Errorf("the directory holds %s, want %s", got, want)
	}
	text := read(t, filepath.Join(out, "README.md"))
	if !strings.HasPrefix(text, "# other suite.txt\n") || !strings.Contains(text, "the results are in "+summary.EscapeMarkdown(file)+",") || strings.Contains(text, "suite.txt)") {
		t.Errorf("README.md does not name a file that lies elsewhere, or links to it:\n%s", text)
	}
	// Beside the file, it is linked.
	if status, _, stderr := iopath(t, "report", "-out", filepath.Dir(file), file); status != 0 {
		t.Fatalf("report -out: status %d, %s", status, stderr)
	}
	if text := read(t, filepath.Join(filepath.Dir(file), "README.md")); !strings.Contains(text, "(other%20suite.txt)") {
		t.Errorf("README.md does not link to the file beside it:\n%s", text)
	}
}

// A report is called by its run wherever it goes, and names the files.
func TestReportElsewhere(t *testing.T) {
	older, newer := runOf(t, "older_run"), runOf(t, "newer")
	out := t.TempDir()
	if status, _, stderr := iopath(t, "report", "-out", out, older, newer); status != 0 {
		t.Fatalf("report: status %d, %s", status, stderr)
	}
	want := "# older\\_run and newer\n\nMade by `iopath`; the results are in " +
		summary.EscapeMarkdown(resultFile(older)) + " and " + summary.EscapeMarkdown(resultFile(newer)) + ", in the Go benchmark format."
	if got := read(t, filepath.Join(out, readmeFile)); !strings.HasPrefix(got, want) {
		t.Errorf("README.md begins with\n%.300s\nwant\n%s", got, want)
	}
	html := read(t, filepath.Join(out, pageFile))
	for _, want := range []string{"<title>older_run and newer</title>", "<code>" + resultFile(older) + "</code> and <code>" + resultFile(newer) + "</code>."} {
		if !strings.Contains(html, want) {
			t.Errorf("report.html lacks %q", want)
		}
	}
	// In the directory of one of them, that one is linked.
	if status, _, stderr := iopath(t, "report", "-out", newer, older, newer); status != 0 {
		t.Fatalf("report: status %d, %s", status, stderr)
	}
	if got, want := read(t, filepath.Join(newer, readmeFile)), "bench.txt and [bench.txt](bench.txt), in"; !strings.Contains(got, want) {
		t.Errorf("README.md begins with\n%.300s\nwant %q in it", got, want)
	}
}

// A run in the directory where one stands has a name too.
func TestReportHere(t *testing.T) {
	t.Chdir(runOf(t, "here"))
	if status, _, stderr := iopath(t, "report", "."); status != 0 {
		t.Fatalf("report: status %d, %s", status, stderr)
	}
	if got, want := read(t, readmeFile), "# here\n\nMade by `iopath`; the results are in [bench.txt](bench.txt), in"; !strings.HasPrefix(got, want) {
		t.Errorf("README.md begins with\n%.200s\nwant\n%s", got, want)
	}
}

// Where nothing is told apart, it is said why, and no row has no verdict.
func TestReportUndecided(t *testing.T) {
	dir := t.TempDir()
	const one = "BenchmarkX/method=a 1 100 ns/op\nBenchmarkX/method=b 1 200 ns/op\n"
	if err := os.WriteFile(resultFile(dir), []byte(one), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := iopath(t, "report", dir); status != 0 {
		t.Fatalf("report: status %d, %s", status, stderr)
	}
	for _, name := range []string{readmeFile, pageFile} {
		text := read(t, filepath.Join(dir, name))
		if !strings.Contains(text, "n=1: a verdict needs 6 rounds") || strings.Contains(text, "undecided") || strings.Contains(text, "Findings") {
			t.Errorf("%s of one round:\n%s", name, text)
		}
	}
}

func TestReportRefuses(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.txt")
	if err := os.WriteFile(good, []byte("BenchmarkFib 100 325 ns/op\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.txt")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	theirs := t.TempDir()
	if err := os.WriteFile(filepath.Join(theirs, "README.md"), []byte("# My project\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	another := t.TempDir()
	writeText(t, resultFile(another), "BenchmarkFib 100 325 ns/op\n")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing named", nil, "which results?"},
		{"no such run", []string{filepath.Join(theirs, "none")}, "no such file"},
		{"no results", []string{"-out", theirs, empty}, "no result lines"},
		{"a README of another's", []string{"-out", theirs, good}, "iopath did not make it"},
		{"another run's directory", []string{"-out", another, good}, "another run"},
		{"a file for a directory", []string{"-out", good, good}, "not a directory"},
		{"two files and no directory", []string{good, madeUp}, "-out"},
		{"a run named twice", []string{good, good}, "named twice"},
	} {
		status, stdout, stderr := iopath(t, append([]string{"report"}, tt.args...)...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, %q; want %d and one line with %q", tt.name, status, stdout, stderr, exitUsage, tt.want)
		}
	}
	if got := strings.Join(files(t, theirs), " "); got != "README.md" || read(t, filepath.Join(theirs, "README.md")) != "# My project\n" {
		t.Errorf("a refused report left %s", got)
	}
}

// What is on record as a command line is what a shell would hand on.
func TestCommandLine(t *testing.T) {
	words := []string{"bench", "-profile", "quick", "-dir", "/a b", "it's", "", "$HOME", "two\nlines", "*", "a;b", "ü", `back\slash`, `"`, "~", "!x", "#"}
	line := commandLine(words)
	if strings.Contains(line, "\n") {
		t.Fatalf("commandLine = %q, want one line", line)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	out, err := exec.Command(bash, "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, words) {
		t.Errorf("a shell makes of %s\n%q, want\n%q", line, got, words)
	}
	if got, want := commandLine(words[:3]), "bench -profile quick"; got != want {
		t.Errorf("commandLine = %q, want %q", got, want)
	}
}

// What an experiment has written of itself is not written over, nor said to be.
func TestReportKeepsAnExperimentsPage(t *testing.T) {
	dir := t.TempDir()
	const page = "# run\n\nMade by `iopath larger`; a cliff.\n"
	readme := filepath.Join(dir, readmeFile)
	writeText(t, resultFile(dir), "BenchmarkLarger/pattern=rand/at=0.1s/method=mmap 1 5 ns/op 7 MB/s\n")
	writeText(t, readme, page)
	for _, args := range [][]string{{"report", dir}, {"plot", "-format", "svg", dir}} {
		code, stdout, stderr := iopath(t, args...)
		if code != 0 {
			t.Fatalf("iopath %s: exit %d, %s", args[0], code, stderr)
		}
		if got := read(t, readme); got != page || strings.Contains(stdout, readmeFile) {
			t.Errorf("after iopath %s, which says %q, the README is %q; want it as it was, and not named", args[0], stdout, got)
		}
		if !slices.Contains(files(t, dir), "larger.svg") {
			t.Errorf("iopath %s drew no chart", args[0])
		}
	}
	// It is the results that make it one.
	writeText(t, resultFile(dir), "BenchmarkOther 1 5 ns/op\n")
	if code, stdout, stderr := iopath(t, "report", dir); code != 0 || read(t, readme) == page || !strings.Contains(stdout, readmeFile) {
		t.Errorf("report of other results: exit %d, %q, %s, README %q; want a new README", code, stdout, stderr, read(t, readme))
	}
}
