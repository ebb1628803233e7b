package history

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"iopath/internal/summary"
)

// A night is a run made up.
type night struct {
	date       string
	cpu        string
	base, head string
	ratio      float64
	extra      string // config lines
	rounds     int
}

func (n night) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# iopath regress: base=v1.0 head=main seed=7\n")
	if n.date != "-" {
		fmt.Fprintf(&b, "# date: %s\n", cmp.Or(n.date, "2026-11-22T00:48:37Z"))
	}
	fmt.Fprintf(&b, "goos: linux\ngoarch: amd64\npkg: iopath/bench\ncpu: %s\nmachine: epyc-2vcpu\ngo: go1.26.8\nkernel: Linux 6.18\nllc: 32MiB\ncpus: 2\nvirt: kvm\n%s", cmp.Or(n.cpu, "AMD EPYC"), n.extra)
	b.WriteString("Unit ns/op better=lower\nUnit MB/s better=higher\nUnit cpu-ns/op better=lower\nUnit minflt/op better=lower\nUnit syscalls/op better=lower assume=exact\n")
	ratio := cmp.Or(n.ratio, 1)
	for round := range cmp.Or(n.rounds, 3) {
		fmt.Fprintf(&b, "# round %d: seed=%d took=1s\n", round+1, round)
		ns := 1000 + 100*float64(round) // of the machine, the same for all
		for _, side := range []struct {
			name, commit string
			ns           float64
		}{{"base", cmp.Or(n.base, "aaaaaaaaaaaa"), ns}, {"again", cmp.Or(n.base, "aaaaaaaaaaaa"), ns + 1}, {"head", cmp.Or(n.head, "bbbbbbbbbbbb"), ns * ratio}, {"reference", "", 77}} {
			fmt.Fprintf(&b, "side: %s\n%s\n", side.name, strings.TrimSuffix("commit: "+side.commit, " "))
			if side.name == "reference" {
				fmt.Fprintf(&b, "BenchmarkReference/what=memory-2\t20\t%g ns/op\n", side.ns)
				continue
			}
			for _, method := range []string{"pread", "mmap"} {
				fmt.Fprintf(&b, "BenchmarkRead/pattern=rand/cache=warm/size=16MiB/block=64KiB/method=%s-2\t20\t%.1f ns/op\t2.5 MB/s\t%g cpu-ns/op\t17 minflt/op\t256 syscalls/op\n", method, side.ns, side.ns)
			}
		}
	}
	return b.String()
}

func (n night) write(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(n.text()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// git runs git in dir without anything of the user's.
func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// newRepo makes a repository with a commit and nobody's settings.
func newRepo(t testing.TB) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, "none"))
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(dir, "tracked"), []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	gitIn(t, dir, "add", "tracked")
	gitIn(t, dir, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "first")
	return dir
}

func mustAdd(t testing.TB, s Store, path string) *Added {
	t.Helper()
	a, err := s.Add(t.Context(), path)
	if err != nil {
		t.Fatalf("Add(%s): %v", path, err)
	}
	return a
}

func TestAdd(t *testing.T) {
	dir := newRepo(t)
	// Staged, changed and untracked files stay as they are.
	for name, text := range map[string]string{"staged": "1\n", "tracked": "changed\n", "untracked": "2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "add", "staged")
	// A hook that runs would leave its mark, and one of update-ref could refuse.
	mark := filepath.Join(t.TempDir(), "mark")
	for _, hook := range []string{"reference-transaction", "post-commit", "pre-commit"} {
		script := fmt.Sprintf("#!/bin/sh\necho %s >>%s\nexit 1\n", hook, mark)
		if err := os.WriteFile(filepath.Join(dir, ".git/hooks", hook), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, ".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	status, refs := gitIn(t, dir, "status", "--porcelain"), gitIn(t, dir, "rev-parse", "main")

	// In somebody's hook, git names another repository.
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "elsewhere"))
	t.Setenv("GIT_INDEX_FILE", "elsewhere")
	s := Store{Repo: dir}
	a := mustAdd(t, s, night{}.write(t, "first"))
	if a.File != "2026-11.txt" || a.Base != "aaaaaaaaaaaa" || a.Head != "bbbbbbbbbbbb" || a.Name != "first" || a.Lines != 3*7 {
		t.Errorf("Add = %+v, want 21 lines in 2026-11.txt", a)
	}
	os.Unsetenv("GIT_DIR")
	os.Unsetenv("GIT_INDEX_FILE")
	before := gitIn(t, dir, "show", DefaultBranch+":2026-11.txt")
	mustAdd(t, s, night{date: "2026-11-23T01:00:00+02:00", head: "cccccccccccc", extra: "governor: none\n"}.write(t, "second"))
	mustAdd(t, s, night{date: "2026-12-01T01:00:00+02:00", head: "cccccccccccc"}.write(t, "third")) // November in UTC
	mustAdd(t, s, night{date: "2026-12-01T03:00:00+02:00", head: "cccccccccccc"}.write(t, "fourth"))
	after := gitIn(t, dir, "show", DefaultBranch+":2026-11.txt")
	if !strings.HasPrefix(after, before) || strings.Count(after, "# run: ") != 3 {
		t.Errorf("2026-11.txt has %d runs, and begins as it did: %v; want 3", strings.Count(after, "# run: "), strings.HasPrefix(after, before))
	}
	if got := gitIn(t, dir, "ls-tree", "--name-only", DefaultBranch); got != "2026-11.txt\n2026-12.txt" {
		t.Errorf("the branch has %q, want two months", got)
	}
	if got := gitIn(t, dir, "log", "--format=%an %s", DefaultBranch); strings.Count(got, "\n") != 3 || !strings.HasSuffix(got, "iopath history first: epyc-2vcpu at bbbbbbbbbbbb") {
		t.Errorf("the log is\n%s\nwant four commits, the first by iopath history", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a hook has run")
	}
	if now, err := os.ReadFile(filepath.Join(dir, ".git/index")); err != nil || !bytes.Equal(now, index) {
		t.Errorf("the index has changed (%v)", err)
	}
	if got := gitIn(t, dir, "status", "--porcelain"); got != status {
		t.Errorf("status is\n%s\nwant\n%s", got, status)
	}
	if got := gitIn(t, dir, "rev-parse", "main"); got != refs {
		t.Error("main has moved")
	}
	if got := gitIn(t, dir, "for-each-ref", "--format=%(refname)"); got != "refs/heads/iopath-history\nrefs/heads/main" {
		t.Errorf("the refs are %q", got)
	}

	// What benchfmt reads of it: every line with its own facts, and no others.
	r := benchfmt.NewReader(strings.NewReader(after), "2026-11.txt")
	lines, governed := 0, 0
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Errorf("benchfmt: %v", rec)
		case *benchfmt.Result:
			lines++
			if rec.GetConfig("governor") != "" {
				governed++
			}
			if side, commit := rec.GetConfig("side"), rec.GetConfig("commit"); (side == "reference") != (commit == "") {
				t.Errorf("side %s has commit %q", side, commit)
			}
		}
	}
	if lines != 3*21 || governed != 21 {
		t.Errorf("%d lines, %d of them with the fact that one run has, want 63 and 21", lines, governed)
	}
	if _, err := summary.Read(summary.Input{Name: "x", Reader: strings.NewReader(after)}); err != nil {
		t.Errorf("summary.Read: %v", err)
	}
	h, err := s.Read(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Runs) != 4 || len(h.Series) != 2 || len(h.Series[0].Points) != 4 || h.Series[0].Points[0].N != 3 || h.Series[0].Points[0].Ratio != 1 {
		t.Errorf("Read = %d runs, %d series, the first is %+v; want 4, 2, and 4 points of 3 rounds at 1", len(h.Runs), len(h.Series), h.Series[0])
	}
}

func TestAddBare(t *testing.T) {
	from := newRepo(t)
	dir := filepath.Join(t.TempDir(), "bare.git")
	gitIn(t, from, "clone", "-q", "--bare", from, dir)
	s := Store{Repo: dir, Branch: "perf/nightly"}
	mustAdd(t, s, night{}.write(t, "first"))
	if h, err := s.Read(t.Context(), Options{Units: []string{"syscalls/op", "cpu-ns/op"}}); err != nil || len(h.Series) != 4 {
		t.Errorf("Read of a bare repository: %v, want 4 series", err)
	}
	// A clone of nothing has no commit at all.
	empty := t.TempDir()
	gitIn(t, empty, "init", "-q")
	mustAdd(t, Store{Repo: empty}, night{}.write(t, "first"))
}

// The identity is the user's where there is one.
func TestIdentity(t *testing.T) {
	dir := newRepo(t)
	gitIn(t, dir, "config", "user.name", "Ann")
	gitIn(t, dir, "config", "user.email", "ann@example.org")
	mustAdd(t, Store{Repo: dir}, night{}.write(t, "first"))
	if got := gitIn(t, dir, "log", "-1", "--format=%an <%ae> %cn", DefaultBranch); got != "Ann <ann@example.org> Ann" {
		t.Errorf("the commit is by %s, want Ann", got)
	}
}

// What is no run is refused, in one line, and nothing is written.
func TestAddRefuses(t *testing.T) {
	dir := newRepo(t)
	s := Store{Repo: dir}
	mustAdd(t, s, night{}.write(t, "first"))
	whole := night{date: "2026-11-23T00:00:00Z"}.text()
	drop := func(side string) string {
		var keep strings.Builder
		skip := false
		for line := range strings.Lines(whole) {
			if strings.HasPrefix(line, "side: ") {
				skip = strings.TrimSpace(line) == "side: "+side
			}
			if !skip {
				keep.WriteString(line)
			}
		}
		return keep.String()
	}
	state := gitIn(t, dir, "for-each-ref") + gitIn(t, dir, "count-objects")
	for _, c := range []struct{ name, text, want string }{
		{"the same run", night{}.text(), "is there already, as first"},
		{"the same run, more of it", night{rounds: 5}.text(), "is there already, as first"},
		{"nothing", "", "no result lines"},
		{"no result", "goos: linux\n", "no result lines"},
		{"cut short", strings.TrimSuffix(whole, "7 ns/op\n"), "cut short"},
		{"cut in a unit", whole + "BenchmarkRead-2\t20\t1.0 ns/", "cut short"},
		{"no base", drop("base"), "no lines of the side base (iopath regress -base PINNED"},
		{"no head", drop("head"), "no lines of the side head"},
		{"no sides, as of iopath bench", "# date: 2026-11-23T00:00:00Z\ncommit: a\nBenchmarkX 1 5 ns/op\n", "no lines of the side base"},
		{"no commit of the base", strings.ReplaceAll(whole, "commit: aaaaaaaaaaaa", "commit:"), "does not say the commit of the side base"},
		{"two commits of a side", strings.Replace(whole, "commit: bbbbbbbbbbbb", "commit: cccccccccccc", 1), "two commits"},
		{"two runs", whole + night{date: "2026-11-24T00:00:00Z"}.text(), "two dates"},
		{"two runs of one date", whole + whole, "round 1 comes after round 3"},
		{"two machines", whole + "# round 4:\ncpu: Xeon\nside: head\ncommit: bbbbbbbbbbbb\nBenchmarkX 1 5 ns/op\n", "cpu is \"Xeon\" here and \"AMD EPYC\" above"},
		{"no date", night{date: "-"}.text(), "no line \"# date:\""},
		{"a bad date", night{date: "yesterday"}.text(), "\"yesterday\" is no date"},
		{"the sides in different rounds", drop("head") + "# round 4:\nside: head\ncommit: b\nBenchmarkRead-2 1 5 ns/op\n", "in one round"},
	} {
		path := filepath.Join(t.TempDir(), "run")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := s.Add(t.Context(), path)
		switch {
		case err == nil:
			t.Errorf("%s: added as %+v, want it refused", c.name, a)
		case !errors.Is(err, summary.ErrInput) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %q, want one line of bad input with %q", c.name, err, c.want)
		}
		if now := gitIn(t, dir, "for-each-ref") + gitIn(t, dir, "count-objects"); now != state {
			t.Fatalf("%s: something was written:\n%s\nwas\n%s", c.name, now, state)
		}
	}
	good := night{date: "2026-11-23T00:00:00Z"}.write(t, "good")
	linked := filepath.Join(t.TempDir(), "linked")
	gitIn(t, dir, "worktree", "add", "-q", linked, DefaultBranch)
	for _, c := range []struct {
		name  string
		store Store
		path  string
		want  string
	}{
		{"no file", Store{Repo: dir, Branch: "other"}, filepath.Join(dir, "none"), "no such file"},
		{"no repository", Store{Repo: t.TempDir()}, good, "-repo DIR"},
		{"no directory", Store{Repo: filepath.Join(dir, "none")}, good, "-repo DIR"},
		{"no branch's name", Store{Repo: dir, Branch: "a..b"}, good, "no name for a branch"},
		{"an option for a branch", Store{Repo: dir, Branch: "-x"}, good, "no name for a branch"},
		{"the branch that is checked out", Store{Repo: dir, Branch: "main"}, good, "is checked out at"},
		{"a branch checked out in another work tree", s, good, "is checked out at"},
	} {
		if _, err := c.store.Add(t.Context(), c.path); !errors.Is(err, summary.ErrInput) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want bad input with %q", c.name, err, c.want)
		}
	}
	gitIn(t, dir, "worktree", "remove", linked)
	gitIn(t, dir, "branch", "work", "main")
	if _, err := (Store{Repo: dir, Branch: "work"}).Add(t.Context(), good); !errors.Is(err, summary.ErrInput) || !strings.Contains(fmt.Sprint(err), `has "tracked" in it`) {
		t.Errorf("a branch of somebody's work: %v, want bad input", err)
	}
	mustAdd(t, s, good)
}

// Whoever adds at the same time, all runs are there in the end.
func TestAddTogether(t *testing.T) {
	dir := newRepo(t)
	const n = 8
	var paths []string
	for i := range n {
		paths = append(paths, night{date: fmt.Sprintf("2026-11-%02dT00:00:00Z", i+1)}.write(t, fmt.Sprintf("run%d", i)))
	}
	var wait sync.WaitGroup
	errs := make([]error, n)
	for i, path := range paths {
		wait.Add(1)
		go func() {
			defer wait.Done()
			_, errs[i] = Store{Repo: dir}.Add(t.Context(), path)
		}()
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	h, err := Store{Repo: dir}.Read(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range h.Runs {
		names = append(names, r.Name)
	}
	if len(names) != n || !slices.IsSorted(names) {
		t.Errorf("the runs are %q, want all %d in the order of their dates", names, n)
	}
	if got := gitIn(t, dir, "rev-list", "--count", DefaultBranch); got != fmt.Sprint(n) {
		t.Errorf("%s commits, want %d", got, n)
	}
}

// Series are apart by what the machine is and by the pinned commit, and by nothing else.
func TestSeries(t *testing.T) {
	dir := newRepo(t)
	s := Store{Repo: dir}
	for i, n := range []night{
		{ratio: 1.1},
		{ratio: 1.2, extra: "mitigations: none\nmem: 23.5GiB\n"}, // the same machine
		{ratio: 1.3, cpu: "Xeon"},
		{ratio: 1.4, base: "dddddddddddd"},
		{ratio: 1.5, extra: "fs: ext4 noatime\ndevice: vda virtio 256GiB scheduler=none\n"},
		{ratio: 1.6, extra: "fs: ext4 relatime\ndevice: vda virtio 256GiB scheduler=mq-deadline\n"},
		{ratio: 1.7, extra: "fs: xfs relatime\ndevice: vda virtio 256GiB scheduler=none\n"},
	} {
		n.date = fmt.Sprintf("2026-1%d-01T00:00:00Z", 2-i%3) // added out of order
		mustAdd(t, s, n.write(t, fmt.Sprintf("run%d", i)))
	}
	h, err := s.Read(t.Context(), Options{Filter: "/method:mmap", Units: []string{"ns/op"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, series := range h.Series {
		text := ""
		for _, p := range series.Points {
			text += fmt.Sprintf("%.1f ", p.Ratio)
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if want := []string{"1.2 1.1 ", "1.3 ", "1.4 ", "1.6 1.5 ", "1.7 "}; !slices.Equal(got, want) {
		t.Errorf("series are %q, want %q", got, want)
	}
	for _, o := range []Options{{Filter: "("}, {Filter: ".name:None"}, {Units: []string{"none/op"}}} {
		if _, err := s.Read(t.Context(), o); !errors.Is(err, summary.ErrInput) {
			t.Errorf("Read(%+v): %v, want bad input", o, err)
		}
	}
	if _, err := (Store{Repo: dir, Branch: "none"}).Read(t.Context(), Options{}); !errors.Is(err, summary.ErrInput) || !strings.Contains(err.Error(), "iopath history add") {
		t.Errorf("Read of no branch: %v, want bad input with the remedy", err)
	}
}

// Ratios are of one round; the median is over them.
func TestReduce(t *testing.T) {
	v := func(pairs ...float64) (all []value) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, value{int(pairs[i]), pairs[i+1]})
		}
		return all
	}
	for _, c := range []struct {
		name       string
		head, base []value
		want       float64
		n          int
	}{
		{"rounds", v(1, 2, 2, 30, 3, 4), v(1, 1, 2, 10, 3, 1), 3, 3},
		{"the geometric mean of two", v(1, 1, 2, 4), v(1, 1, 2, 1), 2, 2},
		{"one missing on each side", v(1, 2, 3, 9), v(2, 10, 3, 3), 3, 1},
		{"several of a round", v(1, 2, 1, 8), v(1, 1, 1, 1, 1, 7), 4, 2},
		{"out of order", v(2, 20, 1, 2), v(1, 1, 2, 10), 2, 2},
		{"no logarithm", v(1, 0, 2, 3, 3, 1), v(1, 1, 2, 1, 3, 0), 3, 1},
		{"none", v(1, 1), v(2, 1), 0, 0},
	} {
		if got, n := reduce(c.head, c.base); n != c.n || got < c.want*(1-1e-12) || got > c.want*(1+1e-12) {
			t.Errorf("%s: reduce = %g of %d, want %g of %d", c.name, got, n, c.want, c.n)
		}
	}
}

// Whatever is in a month's file, it is read or refused in one line; and a run's file
// that is taken reads back.
func FuzzRead(f *testing.F) {
	b, err := readBlock([]byte(night{}.text()), "seed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.text)
	f.Add([]byte(night{rounds: 1}.text()))
	f.Add([]byte("# run: a\n# date: 2026-11-22T00:00:00Z\n# round 1\nside: base\ncommit: a\nBenchmarkX 1 5 ns/op\nside: head\ncommit: b\nBenchmarkX 1 0 ns/op\n# run: b"))
	f.Add([]byte("# run: \n# round 99999999999999999999\nUnit ns/op better=higher\nUnit ns/op better=lower\nside: head\nBenchmarkX 1 -1 ns/op NaN cpu-ns/op"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := newPart(Options{Units: []string{"ns/op", "cpu-ns/op"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.read(bytes.NewReader(data), "fuzz"); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
		} else {
			h := merge([]*part{p})
			for _, s := range h.Series {
				for _, pt := range s.Points {
					if pt.Run < 0 || pt.Run >= len(h.Runs) || !positive(pt.Ratio) || pt.N < 1 {
						t.Errorf("a point %+v of %d runs", pt, len(h.Runs))
					}
				}
			}
			h.Changes()
		}
		b, err := readBlock(data, "fuzz")
		if err != nil {
			if !errors.Is(err, summary.ErrInput) || strings.Contains(err.Error(), "\n") {
				t.Errorf("readBlock: %q, want one line of bad input", err)
			}
			return
		}
		if b.Date.Before(time.Time{}) || len(b.text) == 0 || b.text[len(b.text)-1] != '\n' {
			t.Errorf("a block of %s: %q", b.Date, b.text)
		}
		// Twice in a file, each with its own facts.
		twice, err := newPart(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := twice.read(bytes.NewReader(slices.Concat(b.text, b.text)), "twice"); err != nil || len(twice.runs) != 2 || twice.runs[0] != twice.runs[1] {
			t.Errorf("a block twice is not twice the run: %v, %+v", err, twice.runs)
		}
	})
}
