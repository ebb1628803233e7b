package history

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"iopath/internal/git"
	"iopath/internal/summary"
)

// A Store is a branch of a git repository.
type Store struct {
	Repo   string // a directory of the repository, bare or not; "" for the working directory
	Branch string // "" for DefaultBranch
}

// DefaultBranch is the branch of a store that is given none.
const DefaultBranch = "iopath-history"

func (s Store) branch() string {
	if s.Branch == "" {
		return DefaultBranch
	}
	return s.Branch
}

func (s Store) ref() string { return "refs/heads/" + s.branch() }

// command prepares a git command.
func (s Store) command(ctx context.Context, args ...string) *exec.Cmd {
	return git.Command(ctx, s.Repo, args...)
}

// git returns what a git command prints, which it is fed with input.
func (s Store) git(ctx context.Context, input []byte, args ...string) (string, error) {
	return git.Feed(s.command(ctx, args...), args[0], input)
}

// check refuses what is no repository, or no name for a branch.
func (s Store) check(ctx context.Context) error {
	if _, err := exec.LookPath("git"); err != nil {
		return summary.Errorf("open history: %w (install git)", err)
	}
	if _, err := s.git(ctx, nil, "rev-parse", "--git-dir"); err != nil {
		return summary.Errorf("open history: %w (name a git repository: -repo DIR)", err)
	}
	if strings.HasPrefix(s.branch(), "-") {
		return summary.Errorf("open history: %q is no name for a branch (take -branch %s)", s.branch(), DefaultBranch)
	}
	if _, err := s.git(ctx, nil, "check-ref-format", s.ref()); err != nil {
		return summary.Errorf("open history: %q is no name for a branch (take -branch %s)", s.branch(), DefaultBranch)
	}
	return nil
}

// head is the branch's newest commit, "" where there is no branch.
func (s Store) head(ctx context.Context) (string, error) {
	out, err := s.git(ctx, nil, "for-each-ref", "--format=%(objectname)", s.ref())
	if err != nil {
		return "", fmt.Errorf("open history: %w", err)
	}
	return out, nil
}

// A month is a file of the store.
type month struct{ name, blob string }

// months lists the files of a commit, in the order of time. A branch with anything
// else in it is somebody's work, and no store.
func (s Store) months(ctx context.Context, commit string) ([]month, error) {
	out, err := s.git(ctx, nil, "ls-tree", commit)
	if err != nil {
		return nil, fmt.Errorf("list history: %w", err)
	}
	var all []month
	for line := range strings.Lines(out) {
		// MODE TYPE OBJECT, a tab, and the name.
		what, name, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		f := strings.Fields(what)
		if len(f) != 3 || f[1] != "blob" || !isMonth(name) {
			return nil, summary.Errorf("list history: branch %s has %q in it, which no store has (choose another -branch; the default is %s)", s.branch(), name, DefaultBranch)
		}
		all = append(all, month{name, f[2]})
	}
	slices.SortFunc(all, func(a, b month) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// isMonth reports whether a file is named YYYY-MM.txt.
func isMonth(name string) bool {
	if len(name) != len("2006-01.txt") || name[4] != '-' || name[7:] != ".txt" {
		return false
	}
	return !strings.ContainsFunc(name[:4]+name[5:7], func(c rune) bool { return c < '0' || c > '9' })
}

// checkedOut is where the branch is checked out, "" for nowhere: a work tree would
// show what is added as if somebody had deleted it.
func (s Store) checkedOut(ctx context.Context) (string, error) {
	out, err := s.git(ctx, nil, "worktree", "list", "--porcelain")
	if err != nil {
		return "", fmt.Errorf("open history: %w", err)
	}
	dir, bare := "", false
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "worktree":
			dir, bare = value, false
		case "bare":
			bare = true
		case "branch":
			if value == s.ref() && !bare {
				return dir, nil
			}
		}
	}
	return "", nil
}

// The identity of a commit where git has none to give, as on a machine of a CI.
var nobody = []string{
	"GIT_AUTHOR_NAME=iopath history", "GIT_AUTHOR_EMAIL=iopath@localhost",
	"GIT_COMMITTER_NAME=iopath history", "GIT_COMMITTER_EMAIL=iopath@localhost",
}

// commit moves the branch from old, "" where there is none, to a new commit with these
// files. It is false where somebody else has moved the branch meanwhile.
func (s Store) commit(ctx context.Context, old string, files []month, message string) (moved bool, err error) {
	var tree bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&tree, "100644 blob %s\t%s\n", f.blob, f.name)
	}
	id, err := s.git(ctx, tree.Bytes(), "mktree")
	if err != nil {
		return false, err
	}
	args := []string{"commit-tree", id}
	if old != "" {
		args = append(args, "-p", old)
	}
	cmd := s.command(ctx, args...)
	for _, who := range []string{"GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"} {
		if _, err := s.git(ctx, nil, "var", who); err != nil {
			cmd.Env = append(cmd.Env, nobody...)
			break
		}
	}
	id, err = git.Feed(cmd, "commit-tree", []byte(message))
	if err != nil {
		return false, err
	}
	// With the old value, git moves the branch only if it still is there: an empty
	// one says that there must be no branch.
	_, failed := s.git(ctx, nil, "update-ref", "-m", "iopath history add", s.ref(), id, old)
	if failed == nil {
		return true, nil
	}
	now, err := s.head(ctx)
	if err != nil {
		return false, err
	}
	if now != old || strings.Contains(failed.Error(), "lock") {
		return false, nil
	}
	return false, failed
}
