package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iopath/internal/summary"
	"iopath/workloads/crash"
)

func TestCrash(t *testing.T) {
	results, dir := t.TempDir(), t.TempDir()
	args := []string{"crash", "-results", results, "-machine", "m", "-dir", dir, "-backend", "none", "-cycles", "2", "-seed", "7",
		"-methods", "mmap.private,write", "-policies", "none", "-faults", "sigkill,exit"}
	status, stdout, stderr := iopath(t, append(args, "-run", "r")...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, row := range []string{"100% of 4", "0 of 4 <75%"} {
		if !strings.Contains(stdout, row) {
			t.Errorf("no %q in\n%s", row, stdout)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if table := read(t, filepath.Join(results, "m", "r", "README.md")); !strings.Contains(table, "| mmap.private/none | prealloc | 100% of 4 |") || !strings.Contains(table, " seed 7;") || !strings.Contains(table, "![kept](kept.svg)") || !strings.Contains(table, "    go: go") {
		t.Errorf("README.md:\n%s", table)
	}
	record, err := readCrash(strings.NewReader(read(t, filepath.Join(results, "m", "r", crashFile))), crashFile)
	if err != nil {
		t.Fatal(err)
	}
	seeds := map[uint64]bool{}
	for _, c := range record.cycles {
		if c.Acknowledged == 0 || c.Backend != crash.ByProcess || c.After <= 0 {
			t.Errorf("%+v", c)
		}
		seeds[c.Seed] = true
	}
	if len(seeds) != 8 || !seeds[7] || !seeds[14] {
		t.Errorf("seeds %v, want 7 to 14", seeds)
	}
	// Shown again, it says the same.
	drawn := read(t, filepath.Join(results, "m", "r", "kept.svg"))
	if status, again, stderr := iopath(t, "crash", "show", filepath.Join(results, "m", "r")); status != 0 || again != stdout || read(t, filepath.Join(results, "m", "r", "kept.svg")) != drawn {
		t.Errorf("crash show: status %d: %s%s, want\n%s", status, again, stderr, stdout)
	}
	status, stdout, stderr = iopath(t, append(args, "-run", "j", "-json", "-cycles", "1")...)
	var table crashTable
	if err := json.Unmarshal([]byte(stdout), &table); err != nil || status != 0 || len(table.Rows) != 2 || table.Rows[0].Loss["process"].Worst != 1 {
		t.Errorf("status %d, %v: %s%s", status, err, stdout, stderr)
	}
}

// Every row that the usual set can have fits in 120 columns, and in 80 in two parts.
func TestCrashTableFits(t *testing.T) {
	var table crashTable
	worst := crash.Loss{Cycles: 24, Lossy: 24, Mean: 0.00141, Worst: 0.0031, Torn: 3}
	for _, m := range crash.Methods {
		for _, p := range m.Policies {
			table.Rows = append(table.Rows, &crash.Row{Method: m.Name, Policy: p, Layout: usualLayout(m.Name, p), Rate: 1234567, P50: 0.00123456, P99: 0.0123456, PerByte: 1045.6,
				Filesystem: "ext4", Loss: map[string]crash.Loss{crash.ByProcess: worst, "shutdown": {Cycles: 4}, "qemu": {Cycles: 4}, "voldisk": {Cycles: 56, Lossy: 1, Mean: 0.48123, Worst: 1, Torn: 1}}})
		}
	}
	table.Promises = []crash.Promise{{Backend: "shutdown", Filesystem: "btrfs", Promised: 1200, Broken: 1200, Unpromised: 1200, LossyOthers: 1200}}
	for _, columns := range []int{80, 120} {
		var b bytes.Buffer
		if err := table.text(&b, columns); err != nil {
			t.Fatal(err)
		}
		if n := widest(b.String()); n > columns {
			t.Errorf("%d columns, want %d at most:\n%s", n, columns, &b)
		}
		// A row is whole, or in both parts.
		if got, want := strings.Count(b.String(), "mmap.shared/none"), map[int]int{80: 2, 120: 1}[columns]; got != want {
			t.Errorf("at %d columns mmap.shared/none is there %d times, want %d", columns, got, want)
		}
	}
}

func TestCrashWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{"-methods", "ink"}, {"-policies", "hope"}, {"-layouts", "spiral"}, {"-faults", "flood"}, {"-backend", "axe"}, {"-fs", "fat"},
		{"-cycles", "0"}, {"-runs", "-1"}, {"-methods", "bufio", "-policies", "dsync"}, {"-bogus"}, {"more"},
		{"explain"}, {"explain", "write"}, {"explain", "write/flush"}, {"explain", "write/none", "more"}, {"-dir", "/proc/none"}, {"-run", "a/b"},
		{"-kernel", "/nowhere"}, {"-age", "-1s"}, {"-age", "10h"}, {"show"}, {"show", "/nowhere"}, {"show", "a", "b"},
	} {
		status, stdout, stderr := iopath(t, append([]string{"crash"}, args...)...)
		if status != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("crash %q: status %d, want %d, and one line\n%s%s", args, status, exitUsage, stdout, stderr)
		}
	}
}

// Ctrl-C leaves no file, and says so with its status.
func TestCrashInterrupted(t *testing.T) {
	results, dir := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(1500*time.Millisecond, cancel)
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"iopath", "crash", "-results", results, "-machine", "m", "-run", "r", "-dir", dir, "-cycles", "1000", "-backend", "none"}, strings.NewReader(""), &stdout, &stderr)
	if status != exitInterrupted {
		t.Errorf("status %d, want %d: %s", status, exitInterrupted, &stderr)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := os.Stat(filepath.Join(results, "m", "r", "README.md")); err != nil {
		t.Errorf("what was measured is not kept: %v", err)
	}
}

// Where nothing can be measured, the answer is none.
func TestCrashNothing(t *testing.T) {
	results := t.TempDir()
	kernel := filepath.Join(t.TempDir(), "vmlinuz-0") // without modules
	if err := os.WriteFile(kernel, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := iopath(t, "crash", "-results", results, "-dir", t.TempDir(), "-faults", "none", "-backend", "qemu", "-kernel", kernel)
	if status != exitUndecided || stdout != "" || !strings.Contains(stderr, "skipped: qemu: ") || !strings.Contains(stderr, "nothing of what was asked for") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if left, err := os.ReadDir(results); err == nil && len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestReadCrashRefuses(t *testing.T) {
	good := `{"method":"write","policy":"none","layout":"append","fault":"exit","backend":"process","acknowledged":2,"intact":1,"lost":1}`
	if r, err := readCrash(strings.NewReader("\n"+good+"\n"), "f"); err != nil || len(r.cycles) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	for _, bad := range []string{"", "{", "[]", `{"run":{"seed":1}}`, good + "\nink", strings.Replace(good, `"lost":1`, `"lost":2`, 1), strings.Replace(good, "process", "", 1), `{"acknowledged":-1}`, strings.Repeat("x", 2<<20)} {
		if _, err := readCrash(strings.NewReader(bad), "f"); !errors.Is(err, summary.ErrInput) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v, want one line of ErrInput", bad, err)
		}
	}
}

// Whatever is read can be told.
func FuzzReadCrash(f *testing.F) {
	f.Add([]byte(`{"run":{"seed":1,"machine":"m","began":"2026-01-01T00:00:00Z"}}` + "\n" + `{"skipped":"uml","why":"none"}` + "\n" +
		`{"method":"write","policy":"none","layout":"append","fault":"power","backend":"voldisk","filesystem":"ext4","pace":5,"after_seconds":1,"acknowledged":2,"intact":1,"lost":1,"records_per_second":9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readCrash(bytes.NewReader(b), "f")
		if err != nil {
			if !errors.Is(err, summary.ErrInput) {
				t.Fatal(err)
			}
			return
		}
		if err := r.table().text(io.Discard, 80); err != nil {
			t.Fatal(err)
		}
		if _, err := crashCharts(r.cycles, r.head.Machine, r.head.DirtyExpire).Draw(nil, t.TempDir(), "csv"); err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatal(err)
		}
	})
}

func TestCrashExplain(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := iopath(t, "crash", "explain", "-dir", dir, "mmap.private/none")
	if status != 0 || !strings.Contains(stdout, "came back     0 intact, ") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
