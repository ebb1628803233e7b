package regress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"iopath/internal/git"
	"iopath/internal/summary"
)

// A GoBench says which benchmarks of a Go package are measured, and how.
type GoBench struct {
	Pkg       string        // one, as go test has it
	Bench     string        // regular expression, as of go test -bench
	BenchTime string        // of each cell in a round, as of go test -benchtime
	Tags      string        // build tags
	Args      []string      // for the test binary
	Uncounted []string      // further ones by which it counts nothing; nil: it knows none
	Env       []string      // for the test binary
	Limit     time.Duration // for the run that learns the names; 0: none
	// Narrow returns further arguments with which the binary prepares no more than one
	// cell needs; nil: it knows none.
	Narrow func(cell string) []string
}

// A Tree is the source at a commit. It must be closed.
type Tree struct {
	Dir     string // in it, where we are in ours
	Version string // the commit, with -dirty for a work tree that has changes
	remove  func() error
}

// Close removes the worktree, where one was made.
func (t *Tree) Close() error { return t.remove() }

// Checkout returns the source at a commit, in a worktree that is made below dir; "" is
// the work tree as it is, files that git ignores left out. The error is summary.ErrInput where there is no such commit.
func Checkout(ctx context.Context, dir, ref string) (*Tree, error) {
	top, err := git.Run(ctx, ".", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, summary.Errorf("find the repository: %w (run this inside a git checkout, or give commands with -base-cmd and -head-cmd)", err)
	}
	prefix, err := git.Run(ctx, ".", "rev-parse", "--show-prefix")
	if err != nil {
		return nil, err
	}
	version := ""
	if ref == "" {
		if version, err = git.Run(ctx, ".", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"); err != nil {
			return nil, fmt.Errorf("name the work tree's commit: %w", err)
		}
		if ref, err = snapshot(ctx, top, dir); err != nil {
			return nil, fmt.Errorf("take the work tree as it is: %w", err)
		}
	}
	if strings.HasPrefix(ref, "-") {
		return nil, summary.Errorf("commit %q: not a name (it begins with a dash)", ref)
	}
	commit, err := git.Run(ctx, ".", "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return nil, summary.Errorf("commit %q is unknown here (name a branch, a tag or a hash; fetch it first)", ref)
	}
	place := filepath.Join(dir, "tree-"+commit[:12])
	for n := 2; ; n++ {
		if _, err := os.Lstat(place); errors.Is(err, os.ErrNotExist) {
			break
		}
		place = filepath.Join(dir, fmt.Sprintf("tree-%s-%d", commit[:12], n))
	}
	remove := func() error {
		// Also where the context was cancelled.
		_, err := git.Run(context.Background(), top, "worktree", "remove", "--force", place)
		if err != nil {
			os.RemoveAll(place)
			_, err = git.Run(context.Background(), top, "worktree", "prune")
		}
		return err
	}
	if _, err := git.Run(ctx, top, "worktree", "add", "--quiet", "--detach", place, commit); err != nil {
		remove()
		return nil, fmt.Errorf("check out %s: %w", ref, err)
	}
	return &Tree{Dir: filepath.Join(place, prefix), Version: cmp.Or(version, commit[:12]), remove: remove}, nil
}

// snapshot makes a commit of the work tree as it is, files that git does not know
// included and those that it ignores left out, and returns its hash. Neither the index nor
// a branch knows of it; git removes it in time.
//
// Head is built and run in a worktree as base is: the directory that a benchmark runs in,
// its filesystem and the length of its path are then no difference between them.
func snapshot(ctx context.Context, top, dir string) (string, error) {
	index := filepath.Join(dir, "index")
	defer os.Remove(index)
	run := func(args ...string) (string, error) {
		cmd := git.Command(ctx, top, args...)
		cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+index,
			"GIT_AUTHOR_NAME=iopath", "GIT_AUTHOR_EMAIL=iopath", "GIT_COMMITTER_NAME=iopath", "GIT_COMMITTER_EMAIL=iopath")
		return git.Feed(cmd, args[0], nil)
	}
	if _, err := run("read-tree", "HEAD"); err != nil {
		return "", err
	}
	if _, err := run("add", "--all"); err != nil {
		return "", err
	}
	tree, err := run("write-tree")
	if err != nil {
		return "", err
	}
	return run("commit-tree", "-p", "HEAD", "-m", "the work tree as it was measured", tree)
}

// Build builds the benchmarks at a tree into the file binary, runs each of them once
// to learn their names, and returns them as a program.
//
// The error is summary.ErrInput where the package does not build or has no benchmark.
func (b GoBench) Build(ctx context.Context, t *Tree, binary string) (*Program, error) {
	args := []string{"test", "-c", "-trimpath", "-o", binary}
	if b.Tags != "" {
		args = append(args, "-tags", b.Tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, b.Pkg)...)
	cmd.Dir = t.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, summary.Errorf("build %s at %s: %s (mend it, or name another -pkg)", b.Pkg, t.Version, buildError(out, err))
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, summary.Errorf("build %s at %s: it has no test files (name the package of the benchmarks with -pkg)", b.Pkg, t.Version)
	}
	dir, err := packageDir(ctx, t.Dir, b.Pkg)
	if err != nil {
		return nil, err
	}
	p := &Program{Version: t.Version, procs: runtime.GOMAXPROCS(0)}
	if i := slices.IndexFunc(b.Args, func(a string) bool { return strings.Contains(a, "test.cpu") }); i >= 0 {
		_, value, _ := strings.Cut(b.Args[i], "=")
		if p.procs, err = strconv.Atoi(value); err != nil || p.procs < 1 {
			return nil, summary.Errorf("run the benchmarks: %s: want one number of CPUs (-test.cpu=2), as a cell is of one", b.Args[i])
		}
	}
	run := func(bench, time string, more []string) *exec.Cmd {
		cmd := exec.Command(binary, "-test.run=^$", "-test.bench="+bench, "-test.benchtime="+time, "-test.benchmem", fmt.Sprintf("-test.cpu=%d", p.procs))
		cmd.Args = slices.Concat(cmd.Args, b.Args, more)
		cmd.Dir = dir // as go test has it
		cmd.Env = append(os.Environ(), b.Env...)
		return cmd
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if b.Limit > 0 {
		limited, cancel = context.WithTimeout(ctx, b.Limit)
	}
	defer cancel()
	if err := p.discover(limited, run(b.Bench, "1x", nil)); err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			return nil, summary.Errorf("run each benchmark of %s at %s once: no end within %v (narrow -bench, or take a longer -time)", b.Pkg, t.Version, b.Limit)
		}
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, summary.Errorf("run the benchmarks of %s at %s: %s", b.Pkg, t.Version, oneLine(err.Error()))
	}
	if len(p.Cells) == 0 && len(p.Failed) == 0 {
		return nil, summary.Errorf("run the benchmarks of %s at %s: none matches -bench %q", b.Pkg, t.Version, b.Bench)
	}
	p.Command = func(cell string) *exec.Cmd {
		more := b.Uncounted
		if b.Narrow != nil {
			more = slices.Concat(more, b.Narrow(cell))
		}
		return run(Pattern(cell), b.BenchTime, more)
	}
	if b.Uncounted != nil {
		p.Count = func() *exec.Cmd { return run(b.Bench, "1x", nil) }
	}
	return p, nil
}

// Pattern is the regular expression of go test -bench that a cell alone matches.
func Pattern(cell string) string {
	parts := strings.Split(cell, "/")
	for i, part := range parts {
		if i == 0 {
			part = "Benchmark" + part
		}
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// Command is a command line, handed to the shell, that prints results.
func Command(line, side string) *Program {
	return &Program{Command: func(string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", line)
		cmd.Env = append(os.Environ(), "IOPATH_SIDE="+side)
		return cmd
	}}
}

// Measures reports whether the package's benchmarks are measured by another package,
// directly or not.
func Measures(ctx context.Context, t *Tree, pkg, by string) bool {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-test", pkg)
	cmd.Dir = t.Dir
	out, err := cmd.Output()
	return err == nil && slices.Contains(strings.Fields(string(out)), by)
}

func packageDir(ctx context.Context, dir, pkg string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", summary.Errorf("find package %s: %w", pkg, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// buildError is what the compiler said first.
func buildError(out []byte, err error) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !strings.HasPrefix(line, "go: downloading") {
			return line
		}
	}
	return err.Error()
}
