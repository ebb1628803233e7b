package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iopath/bench"
	"iopath/internal/cgroup"
)

// runIn runs the program with its results in a directory of the test's.
func runIn(t *testing.T, args ...string) (status int, stdout, stderr, results string) {
	t.Helper()
	var out, complaints bytes.Buffer
	results = filepath.Join(t.TempDir(), "results")
	status = run(context.Background(), append([]string{"iopath"}, append(args, "-results", results)...), strings.NewReader(""), &out, &complaints)
	return status, out.String(), complaints.String(), results
}

func TestExperimentsRefuseWrongUse(t *testing.T) {
	for _, args := range []string{
		"larger -methods nothing", "larger -patterns zigzag", "larger -limit 1MiB", "larger -threads 0", "larger -block 1", "larger -nothing",
		"pressure -steps 0", "pressure -size 1GiB", "pressure -swap 1", "pressure -limit x",
	} {
		status, _, stderr, results := runIn(t, strings.Fields(args)...)
		if status != exitUsage || strings.Count(stderr, "\n") != 1 {
			t.Errorf("iopath %s: status %d and %q, want %d and one line", args, status, stderr, exitUsage)
		}
		if _, err := os.Stat(results); err == nil {
			t.Errorf("iopath %s left results", args)
		}
	}
}

func TestExperimentsAreSkippedWithoutGroups(t *testing.T) {
	if err := cgroup.Probe(); !errors.Is(err, errors.ErrUnsupported) {
		t.Skip("there are control groups to be had")
	}
	for _, name := range []string{"larger", "pressure"} {
		status, stdout, stderr, results := runIn(t, name)
		if status != exitUndecided || !strings.HasPrefix(stderr, "skipped: "+name+": ") || strings.Count(stderr, "\n") != 1 || stdout != "" {
			t.Errorf("iopath %s: status %d, %q and %q, want %d and one line that says why", name, status, stdout, stderr, exitUndecided)
		}
		if _, err := os.Stat(results); err == nil {
			t.Errorf("iopath %s left results", name)
		}
	}
}

func TestLargerTable(t *testing.T) {
	rows := largerRows([]bench.Summary{
		{Pattern: "rand", Method: "mmap", First: 2 << 20, Full: 1.5, Steady: 1 << 20, Lowest: 1 << 19, Minor: 1, Major: 2, Scanned: 3, Stolen: 4, Device: 8 << 20, Resident: 3 << 20, CPU: 5e-5, Interrupts: -1},
		{Pattern: "rand", Method: "odirect", First: 2 << 20, Steady: 4 << 20, Lowest: 1 << 19, CPU: 2.5e-6, Interrupts: 7},
		{Pattern: "seq", Method: "pread", First: 2 << 20, Steady: 4 << 20, Lowest: 1 << 19, CPU: 2.5e-6, Interrupts: 7},
	})
	var b bytes.Buffer
	if err := writeLarger(&b, rows, []string{"verdict"}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"", "", "rand mmap 2.0 1.5 1.0 0.5 0.25 - 1 2 3 4 - 50.0 8.0 3.0", "rand odirect 2.0 - 4.0 0.5 1.00 - 0 0 0 0 7 2.5 0.0 0.0",
		"seq pread 2.0 - 4.0 0.5 - 1.00 0 0 0 0 7 2.5 0.0 0.0", "verdict",
	} {
		if got := strings.Join(strings.Fields(strings.Split(b.String(), "\n")[i]), " "); want != "" && got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
}

func TestPressureTable(t *testing.T) {
	var b bytes.Buffer
	rows := pressureRows([]bench.Step{
		{Method: "mapping", Neighbour: 64 << 20, Resident: 9 << 20, Took: 12e6, Minor: 5, Major: 6, Device: 7 << 20, GroupAnon: 1 << 20, GroupFile: 2 << 20, InUse: 3 << 20},
		{Method: "heap", Neighbour: 64 << 20, Killed: "holder"},
	})
	if err := writePressure(&b, rows, nil); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range map[int]string{2: "mapping 64 9 0 12ms 5 6 7 0 1 2 3", 3: "heap 64 holder killed"} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
}
