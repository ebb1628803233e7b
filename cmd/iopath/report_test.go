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

func TestReportOfRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a-run")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// One workload is enough: charts take time.
	var some strings.Builder
	for line := range strings.Lines(read(t, madeUp)) {
		if !strings.HasPrefix(line, "Benchmark") || strings.Contains(line, "Read/pattern=seq/cache=warm") || strings.Contains(line, "Ceiling/pattern=seq") {
			some.WriteString(line)
		}
	}
	if err := os.WriteFile(resultFile(dir), []byte(some.String()), 0o644); err != nil {
		t.Fatal(err)
	}
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
	if text := read(t, filepath.Join(out, "README.md")); strings.Contains(text, "suite.txt") {
		t.Errorf("README.md links to a file that lies elsewhere:\n%s", text)
	}
	// Beside the file, it is linked.
	if status, _, stderr := iopath(t, "report", "-out", filepath.Dir(file), file); status != 0 {
		t.Fatalf("report -out: status %d, %s", status, stderr)
	}
	if text := read(t, filepath.Join(filepath.Dir(file), "README.md")); !strings.Contains(text, "(other%20suite.txt)") {
		t.Errorf("README.md does not link to the file beside it:\n%s", text)
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
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing named", nil, "which results?"},
		{"no such run", []string{filepath.Join(theirs, "none")}, "no such file"},
		{"no results", []string{"-out", theirs, empty}, "no result lines"},
		{"a README of another's", []string{"-out", theirs, good}, "iopath did not make it"},
		{"a file for a directory", []string{"-out", good, good}, "not a directory"},
		{"two files and no directory", []string{good, good}, "-out"},
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

// What an experiment has written of itself is not written over.
func TestReportKeepsAnExperimentsPage(t *testing.T) {
	dir := t.TempDir()
	const page = "# run\n\nMade by `iopath larger`; a cliff.\n"
	for name, text := range map[string]string{
		"bench.txt": "BenchmarkLarger/pattern=rand/at=0.1s/method=mmap 1 5 ns/op 7 MB/s\n", "README.md": page,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"report", dir}, {"plot", "-format", "svg", dir}} {
		if code, _, stderr := iopath(t, args...); code != 0 {
			t.Fatalf("iopath %s: exit %d, %s", args[0], code, stderr)
		}
		if got := read(t, filepath.Join(dir, readmeFile)); got != page {
			t.Errorf("after iopath %s the README is %q, want it as it was", args[0], got)
		}
		if !slices.Contains(files(t, dir), "larger.svg") {
			t.Errorf("iopath %s drew no chart", args[0])
		}
	}
}
