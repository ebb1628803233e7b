package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A README.md of the user's own stays, and nothing is drawn beside it unasked.
func TestPlotRefusesAReadmeOfAnothers(t *testing.T) {
	dir := runOf(t, "run")
	readme := filepath.Join(dir, readmeFile)
	writeText(t, readme, "# Mine\n")
	status, stdout, stderr := iopath(t, "plot", dir)
	if status != exitUsage || stdout != "" || !strings.Contains(stderr, "iopath did not make it") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("plot: status %d, %q, %q; want %d and one line with the cause", status, stdout, stderr, exitUsage)
	}
	if got, want := strings.Join(files(t, dir), " "), "README.md bench.txt"; got != want || read(t, readme) != "# Mine\n" {
		t.Errorf("a refused plot left %s, and README.md %q", got, read(t, readme))
	}
	// What writes no README draws.
	for _, args := range [][]string{{"-format", "csv"}, {"-format", "svg", "-unit", "B/s"}, {"-format", "svg", "-out", t.TempDir()}} {
		if status, _, stderr := iopath(t, append(append([]string{"plot"}, args...), dir)...); status != 0 || read(t, readme) != "# Mine\n" {
			t.Errorf("plot %v: status %d, %s, README.md %q; want charts alone", args, status, stderr, read(t, readme))
		}
	}
}

// A flag that would do nothing is refused.
func TestPlotFlags(t *testing.T) {
	dir := runOf(t, "run")
	for _, tt := range []struct {
		args []string
		want string // the refusal, "" where there is none
	}{
		{[]string{"-filter", "*"}, "-filter without -unit"},
		{[]string{"-x", "/block", "-log"}, "-x, -log without -unit"},
		{[]string{"--series", "/method", "-title", "t", "-name", "n"}, "-series, -title, -name without -unit"},
		{[]string{"-trend", "-filter", "*"}, "-filter without -unit"},
		{[]string{"-ratio", "-log", runOf(t, "older")}, "-log without -unit"},
		{[]string{"-ratio", dir}, "named twice"},
		{[]string{"-trend", "-unit", "B/s"}, "-unit, -trend and -ratio"},
		{[]string{"-unit", "B/s", "-filter", ".name:Read", "-x", "/block", "-series", "/method", "-title", "t", "-name", "n", "-log"}, ""},
	} {
		out := t.TempDir()
		status, stdout, stderr := iopath(t, append(append([]string{"plot", "-format", "csv", "-out", out}, tt.args...), dir)...)
		if tt.want == "" {
			if want := filepath.Join(out, "n.csv") + "\n"; status != 0 || stdout != want {
				t.Errorf("plot %v: status %d, %q, %s; want 0, %q", tt.args, status, stdout, stderr, want)
			}
			continue
		}
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("plot %v: status %d, %q, %q; want %d and one line with %q", tt.args, status, stdout, stderr, exitUsage, tt.want)
		}
	}
}

// Formats may stand apart.
func TestPlotFormats(t *testing.T) {
	dir := runOf(t, "run")
	status, stdout, stderr := iopath(t, "plot", "-format", "csv, svg", "-unit", "B/s", "-out", t.TempDir(), dir)
	if status != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("plot -format 'csv, svg': status %d, %q, %s; want two files", status, stdout, stderr)
	}
	nan := filepath.Join(t.TempDir(), "nan.txt")
	writeText(t, nan, "BenchmarkX/method=a 1 NaN ns/op\n")
	for _, args := range [][]string{{"plot", nan}, {"advise", nan}, {"table", nan}, {"report", "-out", t.TempDir(), nan}} {
		if status, _, stderr := iopath(t, args...); status != exitUsage || !strings.Contains(stderr, "no result has a finite figure") {
			t.Errorf("%s of NaN: status %d, %q; want %d and why", args[0], status, stderr, exitUsage)
		}
	}
}
