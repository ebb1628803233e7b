package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdvise(t *testing.T) {
	dir := t.TempDir()
	rounds := func(n int, cells string) string { return strings.Repeat(cells, n) }
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const apart = "BenchmarkRead/block=4KiB/method=pread 1 200 ns/op\nBenchmarkRead/block=4KiB/method=mmap 1 100 ns/op\n"
	const alike = "BenchmarkRead/block=4KiB/method=pread 1 100 ns/op\nBenchmarkRead/block=4KiB/method=mmap 1 100 ns/op\n"
	told := write("told.txt", rounds(6, apart))
	for _, c := range []struct {
		name       string
		args       []string
		want       int
		out, error string // parts of what is printed
	}{
		{"told", []string{told}, 0, "mmap  pread takes 2.0 × as long [2.0, 2.0]", ""},
		{"as Markdown", []string{"-markdown", told}, 0, "| 4 KiB | mmap |", ""},
		{"as JSON", []string{"-json", told}, 0, `"best": "mmap"`, ""},
		{"a directory", []string{filepath.Dir(write("bench.txt", rounds(6, apart)))}, 0, "mmap", ""},
		{"filtered to one method", []string{"-filter", "/method:mmap", told}, exitUndecided, "Nothing to choose", ""},
		{"one round", []string{write("one.txt", apart)}, exitUndecided, "n=1: a verdict needs 6 rounds (iopath bench -rounds 6)", ""},
		{"one round as JSON", []string{"-json", write("one.txt", apart)}, exitUndecided, `"verdict": "undecided"`, ""},
		{"alike", []string{write("alike.txt", rounds(6, alike))}, exitUndecided, "no difference", ""},
		{"empty", []string{write("empty.txt", "")}, exitUsage, "", "no result lines"},
		{"no methods", []string{write("foreign.txt", rounds(6, "BenchmarkSort/n=10 1 5 ns/op\n"))}, exitUsage, "", "/method"},
		{"a bad filter", []string{"-filter", "(", told}, exitUsage, "", "filter"},
		{"nothing passes", []string{"-filter", ".name:None", told}, exitUsage, "", "filter"},
		{"no file", []string{filepath.Join(dir, "none")}, exitUsage, "", "no such file"},
		{"no argument", nil, exitUsage, "", "which results"},
		{"help", []string{"-h"}, 0, "Exit status 3", ""},
	} {
		var out, errs bytes.Buffer
		got := run(context.Background(), append([]string{"iopath", "advise"}, c.args...), nil, &out, &errs)
		if got != c.want || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.error) {
			t.Errorf("%s: exit status %d, printed %q and %q, want %d, %q and %q", c.name, got, out.String(), errs.String(), c.want, c.out, c.error)
		}
		if n := strings.Count(errs.String(), "\n"); n > 1 {
			t.Errorf("%s: an error of %d lines: %q", c.name, n, errs.String())
		}
		if strings.Contains(fmt.Sprint(c.args), "-json") && !json.Valid(out.Bytes()) {
			t.Errorf("%s: not JSON: %q", c.name, out.String())
		}
	}
}
