// Package git runs git commands as a program does, and not as a user: no hook runs,
// nothing is asked, messages are in English, and what git sets for the hook that we may
// be called from does not lead to the hook's repository in place of ours.
//
// It has no commands of its own. All functions are safe for concurrent use.
package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// elsewhere are what git sets in a hook: they name the hook's repository.
var elsewhere = []string{
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
	"GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH",
}

// Command prepares a command in a directory, "" for the working directory.
func Command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=" + os.DevNull}, args...)...)
	cmd.Dir = dir
	// Asked to end, and not killed, git takes its locks away.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.Contains(elsewhere, key)
	})
	cmd.Env = append(cmd.Env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	return cmd
}

// Run runs a command and returns what it prints, without the blanks around it. The error
// is of one line: what git complains of first.
func Run(ctx context.Context, dir string, args ...string) (string, error) {
	return Feed(Command(ctx, dir, args...), args[0], nil)
}

// Feed runs a prepared command with that input, and returns what it prints; what names it
// in the error.
func Feed(cmd *exec.Cmd, what string, input []byte) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		return "", Error(what, err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Error is why git failed: what it printed first, or the error of its start.
func Error(what string, err error, stderr string) error {
	if line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n"); line != "" {
		return fmt.Errorf("git %s: %s", what, line)
	}
	return fmt.Errorf("git %s: %w", what, err)
}
