package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
	if table := read(t, filepath.Join(results, "m", "r", "README.md")); !strings.Contains(table, "| mmap.private/none | sparse | 100% of 4 |") || !strings.Contains(table, "Seed 7;") {
		t.Errorf("README.md:\n%s", table)
	}
	seeds := map[uint64]bool{}
	for line := range strings.Lines(read(t, filepath.Join(results, "m", "r", "crash.json"))) {
		var c crash.Cycle
		if err := json.Unmarshal([]byte(line), &c); err != nil || c.Acknowledged == 0 || c.Backend != "process" {
			t.Errorf("%v in %s", err, line)
		}
		seeds[c.Seed] = true
	}
	if len(seeds) != 8 || !seeds[7] || !seeds[14] {
		t.Errorf("seeds %v, want 7 to 14", seeds)
	}
	status, stdout, stderr = iopath(t, append(args, "-run", "j", "-json", "-cycles", "1")...)
	var table crashTable
	if err := json.Unmarshal([]byte(stdout), &table); err != nil || status != 0 || len(table.Rows) != 2 || table.Rows[0].Loss["process"].Worst != 1 {
		t.Errorf("status %d, %v: %s%s", status, err, stdout, stderr)
	}
}

// Every row that the usual set can have fits in 120 columns.
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
	var b bytes.Buffer
	if err := table.text(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 120 {
			t.Errorf("%d columns, want 120 at most: %s", n, line)
		}
	}
}

func TestCrashWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{"-methods", "ink"}, {"-policies", "hope"}, {"-layouts", "spiral"}, {"-faults", "flood"}, {"-backend", "axe"}, {"-fs", "fat"},
		{"-cycles", "0"}, {"-runs", "-1"}, {"-methods", "bufio", "-policies", "dsync"}, {"-bogus"}, {"more"},
		{"explain"}, {"explain", "write"}, {"explain", "write/flush"}, {"explain", "write/none", "more"}, {"-dir", "/proc/none"}, {"-run", "a/b"},
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
