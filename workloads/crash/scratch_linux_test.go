package crash

import (
	"os"
	"path/filepath"
	"testing"
)

// What a killed run has left goes; what a running one has, and whatever else, stays.
func TestScratch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{scratchPrefix + "dead/sub", scratchPrefix + "mine", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{scratchPrefix + "dead/" + scratchLock, scratchPrefix + "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, removeFirst, err := Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, removeSecond, err := Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{filepath.Join(dir, scratchPrefix+"dead"): false, filepath.Join(dir, scratchPrefix+"mine"): true, filepath.Join(dir, scratchPrefix+"notes"): true, filepath.Join(dir, "other"): true, first: true, second: true} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	for _, remove := range []func() error{removeFirst, removeSecond} {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, _, err := Scratch(filepath.Join(dir, "none")); err == nil {
		t.Error("made a directory in none")
	}
}
