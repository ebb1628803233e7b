package git

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(t.Context(), dir, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	// A hook of the repository, and the environment of another one's.
	hook := filepath.Join(dir, ".git", "hooks", "post-checkout")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "ran")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "no-repository"))
	t.Setenv("GIT_INDEX_FILE", "elsewhere")
	identity := []string{"-c", "user.name=a", "-c", "user.email=a@example.org"}
	for _, args := range [][]string{
		append(identity, "commit", "-q", "--allow-empty", "-m", "first"),
		{"checkout", "-q", "-b", "other"},
	} {
		if _, err := Run(t.Context(), dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the hook ran")
	}
	if got, err := Run(t.Context(), dir, "rev-parse", "--abbrev-ref", "HEAD"); err != nil || got != "other" {
		t.Errorf("on branch %q, %v; want other", got, err)
	}
}

func TestRunFails(t *testing.T) {
	_, err := Run(t.Context(), t.TempDir(), "rev-parse", "--verify", "no-such-commit")
	if err == nil || !strings.HasPrefix(err.Error(), "git rev-parse: fatal: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want what git says in one line", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, "", "version"); err == nil {
		t.Error("a cancelled command ran")
	}
}
