package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"iopath/workloads/claims"
)

func TestClaimsUsage(t *testing.T) {
	// The directory is a file's.
	file := t.TempDir() + "/file"
	writeText(t, file, "")
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"23"}, `claim "23" is unknown`},
		{[]string{"2", "nothing"}, `claim "nothing" is unknown`},
		{[]string{"-markdown", "-json", "2"}, "want one of them"},
		{[]string{"-nothing"}, "not defined"},
		{[]string{"-dir", file, "alignment"}, "choose another place with -dir"},
	} {
		status, stdout, stderr := iopath(t, append([]string{"claims"}, test.args...)...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("claims %q: status %d, %q, %q; want %d and %q in one line", test.args, status, stdout, stderr, exitUsage, test.says)
		}
	}
}

func TestClaimsList(t *testing.T) {
	all := claims.All()
	if len(all) == 0 {
		t.Skip("skipped: the claims are about Linux")
	}
	status, stdout, stderr := iopath(t, "claims", "-list")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %s", status, stderr)
	}
	fit(t, stdout)
	for _, c := range all {
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), c.Name+" "+c.Text) {
			t.Errorf("no %s in\n%s", c.Name, stdout)
		}
	}
	status, stdout, _ = iopath(t, "claims", "-list", "-json", "tail")
	var list []map[string]any
	if err := json.Unmarshal([]byte(stdout), &list); status != 0 || err != nil || len(list) != 1 || list[0]["name"] != "tail" || list[0]["number"] != 11.0 {
		t.Errorf("-list -json tail: status %d, %v, %s", status, err, stdout)
	}
}

// fit checks that no line has more than 80 columns.
func fit(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// triedClaims are one of each kind.
var triedClaims = []tried{
	{Number: 1, Name: "one", Claim: strings.Repeat("a claim of many words ", 6), Seconds: 1, Finding: claims.Finding{
		Verdict: claims.Depends, Because: strings.Repeat("for a reason | and another ", 5), Evidence: []claims.Evidence{
			{What: "what is short", Value: 1, Unit: claims.YesNo},
			{What: strings.Repeat("what is long ", 9), Value: 1.5, Unit: "ratio", Note: "[1.20, 1.80] n=9"},
			{What: "what cannot be tried", Unit: claims.NotTried, Note: strings.Repeat("there is none here ", 4)},
			{What: "size", Value: 64 << 10, Unit: "B"}, {What: "nothing", Unit: "B"}, {What: "odd", Value: 68124 << 10, Unit: "B"},
			{What: "time", Value: 0.0015, Unit: "s"}, {What: "one", Value: 1, Unit: "faults"}, {What: "many", Value: 16384, Unit: "faults"},
			{What: "part", Value: 37.13, Unit: "pages"}, {What: "share", Value: 18.25, Unit: "%"}, {What: "bare", Value: 1000},
		}}},
	{Number: 2, Name: "two", Claim: "a claim", Skipped: "run as root"},
	{Number: 3, Name: "three", Claim: "a claim", Broken: "open: no such file"},
}

func TestClaimsText(t *testing.T) {
	var b bytes.Buffer
	if err := claimsText(&b, triedClaims, 80); err != nil {
		t.Fatal(err)
	}
	fit(t, b.String())
	for _, want := range []string{
		"DEPENDS: for a reason", "SKIPPED: run as root", "BROKEN: open: no such file", " yes  what is short", "1.50 [1.20, 1.80] n=9  what is long",
		"what cannot be tried: not tried: there is", " 64KiB  size", " 0B  nothing", " 66.53MiB  odd", " 1.500ms  time", " 1 fault  one", " 16384 faults  many",
		" 37.1 pages  part", " 18.2 %  share", " 1000  bare",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestClaimsMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := claimsMarkdown(&b, triedClaims); err != nil {
		t.Fatal(err)
	}
	columns := 0
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := len(regexp.MustCompile(`(^|[^\\])\|`).FindAllString(line, -1))
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("%d bars, want %d: %s", n, columns, line)
		}
	}
	for _, want := range []string{"| 2 | a claim | **skipped** | run as root |\n", "| 1 | size | 64KiB |\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestClaimsJSON(t *testing.T) {
	if len(claims.All()) == 0 {
		t.Skip("skipped: the claims are about Linux")
	}
	dir := t.TempDir()
	status, stdout, stderr := iopath(t, "claims", "-dir", dir, "-json", "alignment", "outlives")
	var all []struct {
		Number   int
		Name     string
		Claim    string
		Verdict  string
		Because  string
		Evidence []claims.Evidence
		Seconds  float64
	}
	if err := json.Unmarshal([]byte(stdout), &all); status != 0 || err != nil || len(all) != 2 {
		t.Fatalf("status %d, %v, %s%s", status, err, stdout, stderr)
	}
	for i, want := range []struct{ name, verdict string }{{"alignment", "depends"}, {"outlives", "holds"}} {
		if got := all[i]; got.Name != want.name || got.Verdict != want.verdict || got.Claim == "" || got.Because == "" || len(got.Evidence) == 0 || got.Seconds <= 0 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// A claim without a verdict has nothing of one.
	text, err := json.Marshal(triedClaims[1])
	if err != nil || string(text) != `{"number":2,"name":"two","claim":"a claim","skipped":"run as root","seconds":0}` {
		t.Errorf("got %s, %v", text, err)
	}
}

// A skipped claim alone is no answer, a broken one is 1, and Ctrl-C keeps what there is.
func TestClaimsStatus(t *testing.T) {
	ends := func(err error) claims.Claim {
		return claims.Claim{Number: 1, Name: "c", Text: "text", Run: func(context.Context, *claims.Lab) (claims.Finding, error) {
			return claims.Finding{Verdict: claims.Holds, Because: "so"}, err
		}}
	}
	good, broken, skipped := ends(nil), ends(errors.New("broken")), ends(errors.ErrUnsupported)
	ctx, cancel := context.WithCancel(t.Context())
	interrupts := claims.Claim{Number: 2, Name: "i", Text: "text", Run: func(ctx context.Context, _ *claims.Lab) (claims.Finding, error) {
		cancel()
		return claims.Finding{}, ctx.Err()
	}}
	for _, test := range []struct {
		name   string
		wanted []claims.Claim
		is     error
		prints int
	}{
		{"good", []claims.Claim{good, skipped}, nil, 2},
		{"skipped", []claims.Claim{skipped}, errInconclusive, 1},
		{"broken", []claims.Claim{broken, good}, errNo, 2},
		{"interrupted", []claims.Claim{good, interrupts, broken}, errInterrupted, 1},
	} {
		var stdout, stderr bytes.Buffer
		dir := t.TempDir()
		o := claimsOptions{dir: dir}
		if err := o.do(ctx, test.wanted, &stdout, &stderr); !errors.Is(err, test.is) {
			t.Errorf("%s: %v, want %v", test.name, err, test.is)
		}
		if n := strings.Count(stdout.String(), ". text\n"); n != test.prints {
			t.Errorf("%s: %d claims are printed, want %d:\n%s", test.name, n, test.prints, &stdout)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("%s leaves %q", test.name, left)
		}
	}
}

// The claims' cells are measured as others are.
func TestClaimsCells(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: measures, for seconds (without -short)")
	}
	if len(claims.All()) == 0 {
		t.Skip("skipped: the claims are about Linux")
	}
	dir, err := os.MkdirTemp(".", "testdata-*") // of a disk
	if err != nil {
		t.Skipf("skipped: no directory to write to: %v", err)
	}
	defer os.RemoveAll(dir)
	const name = "Map/touch=write/size=16MiB/method=map+anon"
	began := time.Now()
	found, err := cells{dir}.Cells(t.Context(), 1, name)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("skipped: " + claims.Why(err))
	}
	if err != nil {
		t.Fatal(err)
	}
	if s := found[name]; len(s["sec/op"]) != 1 || s["sec/op"][0] <= 0 || len(found) != 1 {
		t.Errorf("measured %v", found)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("one cell took %v", took)
	}
	if _, err := (cells{dir}).Cells(t.Context(), 1, "Map/method=none"); err == nil {
		t.Error("a method that there is not is measured")
	}
}
