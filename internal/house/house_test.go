// Package house holds the lines of the architecture: which package may know
// which. It has nothing but this test.
package house

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// deps returns what a package imports, directly and not, without its tests.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pkg, err, out)
	}
	return strings.Fields(string(out))
}

func packages(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", pattern).CombinedOutput()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", pattern, err, out)
	}
	return strings.Fields(string(out))
}

// Every package of ours says what else of ours it may know. A new package has
// to be entered here.
var mayKnow = map[string][]string{
	"iopath/workloads/iomethod":              {"iopath/internal/uring"},
	"iopath/workloads":                       {"iopath/workloads/iomethod", "iopath/internal/uring"},
	"iopath/workloads/iomethod/iomethodtest": {"iopath/workloads/iomethod", "iopath/workloads", "iopath/internal/peer", "iopath/internal/uring"},
	"iopath/workloads/claims":                {"iopath/internal/cgroup", "iopath/internal/git", "iopath/internal/host", "iopath/internal/loopdev", "iopath/internal/pagecache", "iopath/internal/summary", "iopath/internal/verdict"},
	"iopath/workloads/crash":                 {"iopath/internal/cgroup", "iopath/internal/loopdev", "iopath/internal/pagecache", "iopath/internal/uring"},
	"iopath/internal/uring":                  {},
	"iopath/internal/loopdev":                {},
	"iopath/internal/counters":               {},
	"iopath/internal/pagecache":              {},
	"iopath/internal/git":                    {},
	"iopath/internal/host":                   {"iopath/internal/git"},
	"iopath/internal/datafile":               {"iopath/internal/git", "iopath/internal/host"},
	"iopath/internal/peer":                   {"iopath/workloads", "iopath/workloads/iomethod", "iopath/internal/uring"},
	"iopath/internal/device":                 {"iopath/workloads/iomethod", "iopath/internal/counters", "iopath/internal/pagecache", "iopath/internal/uring"},
	"iopath/internal/trial":                  {},
	"iopath/internal/cgroup":                 {},
	"iopath/internal/atomicfile":             {},
	"iopath/internal/summary":                {},
	"iopath/internal/suite":                  {},
	"iopath/internal/verdict":                {"iopath/internal/summary"},
	"iopath/internal/regress":                {"iopath/internal/git", "iopath/internal/summary", "iopath/internal/trial", "iopath/internal/verdict"},
	"iopath/internal/advice":                 {"iopath/internal/suite", "iopath/internal/summary", "iopath/internal/verdict"},
	"iopath/internal/history":                {"iopath/internal/git", "iopath/internal/summary", "iopath/internal/verdict"},
	"iopath/internal/report":                 {"iopath/internal/summary"},
	"iopath/plots":                           {"iopath/internal/atomicfile", "iopath/internal/suite", "iopath/internal/summary", "iopath/internal/verdict"},
	"iopath/bench": {
		"iopath/workloads", "iopath/workloads/iomethod", "iopath/internal/counters", "iopath/internal/pagecache",
		"iopath/internal/cgroup", "iopath/internal/datafile", "iopath/internal/device", "iopath/internal/git", "iopath/internal/host", "iopath/internal/peer", "iopath/internal/uring",
	},
	"iopath/internal/house": {},
}

func TestWhoKnowsWhom(t *testing.T) {
	for _, pkg := range packages(t, "iopath/...") {
		allowed, entered := mayKnow[pkg]
		if strings.HasPrefix(pkg, "iopath/cmd/") {
			continue // commands may know everything
		}
		if !entered {
			t.Errorf("%s is not entered in mayKnow", pkg)
			continue
		}
		for _, dep := range deps(t, pkg) {
			if strings.HasPrefix(dep, "iopath/") && dep != pkg && !slices.Contains(allowed, dep) {
				t.Errorf("%s knows %s, and may know only %v", pkg, dep, allowed)
			}
		}
	}
}

// How bytes move is the kernel's business and golang.org/x/sys/unix's.
func TestMethodsNeedNothingButUnix(t *testing.T) {
	for _, dep := range deps(t, "iopath/workloads/iomethod") {
		first, _, _ := strings.Cut(dep, "/")
		standard := !strings.Contains(first, ".") && first != "iopath" || strings.HasPrefix(dep, "vendor/")
		// The one library that is itself a method, exp.mmap.
		measured := dep == "golang.org/x/exp/mmap"
		ours := dep == "iopath/workloads/iomethod" || dep == "iopath/internal/uring" // the ring is nothing but system calls, too
		if !standard && !measured && !ours && !strings.HasPrefix(dep, "golang.org/x/sys/unix") {
			t.Errorf("iomethod imports %s, want nothing but the standard library, internal/uring, golang.org/x/sys/unix and golang.org/x/exp/mmap", dep)
		}
	}
}

// Workloads choose which bytes in which order, and make no system call.
func TestWorkloadsMakeNoSystemCall(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports " "}}`, "iopath/workloads").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if dep == "os" || dep == "syscall" || dep == "net" || strings.HasPrefix(dep, "golang.org/x/sys") {
			t.Errorf("workloads imports %s", dep)
		}
	}
}
