package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "README.md")
	say := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	for _, text := range []string{"old", "new"} {
		if err := WriteFile(path, say(text)); err != nil {
			t.Fatal(err)
		}
	}
	failure := errors.New("no power")
	if err := WriteFile(path, func(w io.Writer) error { io.WriteString(w, "half"); return failure }); !errors.Is(err, failure) {
		t.Errorf("a writer that fails: %v, want %v", err, failure)
	}
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("the file holds %q, want what was written whole", got)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v; want 0644", st.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory holds %v, want README.md alone", entries)
	}
	if err := WriteFile(filepath.Join(dir, "none", "a"), say("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v, want os.ErrNotExist", err)
	}
}
