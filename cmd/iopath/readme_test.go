package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what the tests compare with")

// README's table of methods is the registry's: make methods writes it.
func TestReadmeMethods(t *testing.T) {
	const file, begin, end = "../../README.md", "<!-- methods: written by make methods -->\n", "<!-- /methods -->"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q … %q", file, begin, end)
	}
	var want bytes.Buffer
	if err := writeMethodsMarkdown(&want, methodRows(nil)); err != nil {
		t.Fatal(err)
	}
	if got == want.String() {
		return
	}
	if !*update {
		t.Fatalf("README's table of methods is not the registry's (run make methods); got:\n%s\nwant:\n%s", got, want.String())
	}
	if err := os.WriteFile(file, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
