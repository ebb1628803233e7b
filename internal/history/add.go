package history

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"

	"iopath/internal/git"
	"iopath/internal/summary"
)

// Added says what was added, and where.
type Added struct {
	Run
	File  string // of the store
	Lines int    // results
}

// tries is how often a run is added anew that somebody else's came before.
const tries = 20

// Add appends the run of a result file to the store, and makes the store if need be.
// Where others add at the same time, each of their runs is there in the end.
//
// The error is summary.ErrInput for a file that is no run of iopath regress, or is
// damaged, and for a run that is there already. Nothing is written then.
func (s Store) Add(ctx context.Context, path string) (*Added, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if dir, err := s.checkedOut(ctx); err != nil {
		return nil, err
	} else if dir != "" {
		return nil, summary.Errorf("add to history: branch %s is checked out at %s (check out another one there, or choose another -branch)", s.branch(), dir)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, summary.Errorf("add to history: %w (name a run's directory, or its %s)", err, summary.ResultFile)
	}
	b, err := readBlock(content, path)
	if err != nil {
		return nil, err
	}
	for range tries {
		done, err := s.append(ctx, b)
		if err != nil {
			return nil, err
		}
		if done {
			return &Added{b.Run, b.file(), b.lines}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(10+rand.IntN(90)) * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("add to history: branch %s cannot be moved: others move it all the time, or left it locked (see if %s.lock is in the repository)", s.branch(), s.ref())
}

// append is false where the branch has moved meanwhile.
func (s Store) append(ctx context.Context, b *block) (bool, error) {
	old, err := s.head(ctx)
	if err != nil {
		return false, err
	}
	var files []month
	if old != "" {
		if files, err = s.months(ctx, old); err != nil {
			return false, err
		}
	}
	name := b.file()
	var content []byte
	at := slices.IndexFunc(files, func(f month) bool { return f.name == name })
	if at < 0 {
		at = len(files)
		files = append(files, month{name: name})
	} else {
		cmd := s.command(ctx, "cat-file", "blob", files[at].blob)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if content, err = cmd.Output(); err != nil {
			return false, fmt.Errorf("add to history: %w", git.Error("cat-file", err, errs.String()))
		}
		// It reads what is there whole, so that no run is added below damage.
		p, err := newPart(Options{})
		if err == nil {
			err = p.read(bytes.NewReader(content), s.branch()+":"+name)
		}
		if err != nil {
			return false, summary.Errorf("add to history: %w (git log -p %s shows what changed there last)", err, s.branch())
		}
		for _, r := range p.runs {
			if b.same(r) {
				return false, summary.Errorf("add to history: run %s of %s on %s is there already, as %s (a run is added once)", b.Name, b.Date.Format(time.RFC3339), cmp.Or(b.Machine, b.Print), r.Name)
			}
		}
		if n := len(content); n > 0 && content[n-1] != '\n' {
			return false, summary.Errorf("add to history: %s:%s ends within a line (git log -p %s shows what changed there last)", s.branch(), name, s.branch())
		}
	}
	blob, err := s.git(ctx, slices.Concat(content, b.text), "hash-object", "-w", "--stdin")
	if err != nil {
		return false, fmt.Errorf("add to history: %w", err)
	}
	files[at].blob = blob
	moved, err := s.commit(ctx, old, files, b.message())
	if err != nil {
		return false, fmt.Errorf("add to history: %w", err)
	}
	return moved, nil
}

// A block is a run as the store has it.
type block struct {
	Run
	text  []byte
	lines int // results
}

func (b *block) file() string { return b.Date.Format("2006-01") + ".txt" }

// same reports whether a run is this one, whatever its directory is called now.
func (b *block) same(r Run) bool {
	return r.Date.Equal(b.Date) && r.Machine == b.Machine && r.Print == b.Print && r.Base == b.Base && r.Head == b.Head
}

func (b *block) message() string {
	return fmt.Sprintf("%s: %s at %s\n\nbase: %s\nmachine: %s (%s)\ndate: %s\n", b.Name, cmp.Or(b.Machine, b.Print), b.Head, b.Base, b.Machine, b.Print, b.Date.Format(time.RFC3339))
}

// kept are the units that the store keeps beside those that the file calls exact: the
// others are causes, to be looked up in the run itself, and would make the store
// several times as large and as slow to read.
var kept = []string{"sec/op", "cpu-sec/op", "peer-cpu-sec/op"}

// sides are those of a run that the store keeps.
var sides = []string{"base", "again", "head", "reference"}

const remedy = "iopath regress -base PINNED writes one"

// readBlock makes a block of the content of a run's file.
func readBlock(content []byte, path string) (*block, error) {
	// What is damaged, cut short or empty is its business.
	results, err := summary.Read(summary.Input{Name: path, Reader: bytes.NewReader(content)})
	if err != nil {
		return nil, fmt.Errorf("add to history: %w", err)
	}
	b := &block{Run: Run{Name: summary.RunName(path)}}
	w := blockWriter{block: b, units: results.Units, commits: map[string]string{}, config: map[string]string{}}
	var reader benchfmt.Reader
	err = scanner{
		comment: w.comment,
		result:  w.result,
		damaged: func(*benchfmt.SyntaxError) error { return nil }, // lines of go test about a failure
	}.scan(&reader, bytes.NewReader(content), path)
	if err == nil {
		err = w.finish(results)
	}
	if err != nil {
		return nil, summary.Errorf("add to history: %w", err)
	}
	return b, nil
}

// A blockWriter writes the lines of a run in their order, those that the store keeps.
type blockWriter struct {
	*block
	units   benchfmt.UnitMetadataMap
	made    string            // what regress says of itself
	config  map[string]string // the facts: the same for all lines
	order   []string          // of their keys
	commits map[string]string // by side
	round   int
	body    bytes.Buffer
	wrote   struct {
		round        int
		side, commit string
	}
}

func (w *blockWriter) comment(text string) error {
	key, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	switch n, isRound := roundOf(key); {
	case strings.HasPrefix(key, "iopath "):
		if w.made != "" && w.made != text {
			return errors.New("the lines of two runs are in one file (add each run alone)")
		}
		w.made = text
	case key == "date":
		date, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return fmt.Errorf("%q is no date (%s)", value, remedy)
		}
		if !w.Date.IsZero() && !w.Date.Equal(date) {
			return errors.New("the lines of two runs are in one file: there are two dates (add each run alone)")
		}
		w.Date = date.UTC()
	case isRound:
		if n < w.round {
			return fmt.Errorf("the lines of two runs are in one file: round %d comes after round %d (add each run alone)", n, w.round)
		}
		w.round = n
	}
	return nil
}

func (w *blockWriter) result(rec *benchfmt.Result) error {
	side := rec.GetConfig("side")
	if !slices.Contains(sides, side) {
		return nil
	}
	commit := rec.GetConfig("commit")
	if have, ok := w.commits[side]; ok && have != commit {
		return fmt.Errorf("the side %s is of two commits, %q and %q (add each run alone)", side, have, commit)
	}
	w.commits[side] = commit
	for _, c := range rec.Config {
		if !c.File || c.Key == "side" || c.Key == "commit" {
			continue
		}
		have, ok := w.config[c.Key]
		if ok && have != string(c.Value) {
			return fmt.Errorf("%s is %q here and %q above: the lines of two runs are in one file (add each run alone)", c.Key, c.Value, have)
		}
		if !ok {
			w.config[c.Key] = string(c.Value)
			w.order = append(w.order, c.Key)
		}
	}
	var line bytes.Buffer
	values := 0
	fmt.Fprintf(&line, "Benchmark%s\t%d", rec.Name, rec.Iters)
	for _, v := range rec.Values {
		if slices.Contains(kept, v.Unit) || w.exact(v.Unit) {
			number, unit := v.Value, v.Unit
			if v.OrigUnit != "" {
				number, unit = v.OrigValue, v.OrigUnit
			}
			fmt.Fprintf(&line, "\t%v %s", plain(number), unit)
			values++
		}
	}
	if values == 0 {
		return nil
	}
	if w.wrote.round != w.round {
		w.wrote.round = w.round
		fmt.Fprintf(&w.body, "# round %d\n", w.round)
	}
	if w.lines == 0 || w.wrote.side != side {
		fmt.Fprintf(&w.body, "side: %s\n", side)
	}
	if w.lines == 0 && commit != "" || w.wrote.commit != commit {
		fmt.Fprintln(&w.body, strings.TrimRight("commit: "+commit, " "))
	}
	w.wrote.side, w.wrote.commit = side, commit
	w.body.Write(line.Bytes())
	w.body.WriteByte('\n')
	w.lines++
	return nil
}

func (w *blockWriter) exact(unit string) bool {
	m := w.units.Get(unit, "assume")
	return m != nil && m.Value == "exact"
}

// finish checks that the run is whole, and puts its block together.
func (w *blockWriter) finish(results *summary.Results) error {
	for _, side := range []string{"base", "head"} {
		commit, ok := w.commits[side]
		if !ok {
			return fmt.Errorf("%s has no lines of the side %s (%s)", w.Name, side, remedy)
		}
		if commit == "" {
			return fmt.Errorf("%s does not say the commit of the side %s (%s)", w.Name, side, remedy)
		}
	}
	if w.Date.IsZero() {
		return fmt.Errorf("%s has no line \"# date:\" (%s)", w.Name, remedy)
	}
	if y := w.Date.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("%s is of the year %d (set the clock)", w.Name, y)
	}
	fact := func(key string) string { return w.config[key] }
	w.Print, w.Base, w.Head = fingerprint(fact), w.commits["base"], w.commits["head"]
	w.Machine, w.CPU, w.Kernel, w.Go = fact("machine"), fact("cpu"), fact("kernel"), fact("go")

	var b bytes.Buffer
	fmt.Fprintf(&b, "# run: %s\n# date: %s\n", w.Name, w.Date.Format(time.RFC3339))
	if w.made != "" {
		fmt.Fprintf(&b, "# %s\n", w.made)
	}
	for _, key := range w.order {
		fmt.Fprintf(&b, "%s: %s\n", key, w.config[key])
	}
	var meta []*benchfmt.UnitMetadata
	for m := range maps.Values(results.Units) {
		if slices.Contains(kept, m.Unit) || w.exact(m.Unit) {
			meta = append(meta, m)
		}
	}
	slices.SortFunc(meta, func(a, b *benchfmt.UnitMetadata) int {
		return cmp.Or(strings.Compare(a.OrigUnit, b.OrigUnit), strings.Compare(b.Key, a.Key))
	})
	for _, m := range meta {
		fmt.Fprintf(&b, "Unit %s %s=%s\n", m.OrigUnit, m.Key, m.Value)
	}
	b.Write(w.body.Bytes())
	// Nothing of it holds for the block below: an empty value takes a key away.
	for _, key := range append([]string{"side", "commit"}, w.order...) {
		fmt.Fprintf(&b, "%s:\n", key)
	}
	w.text = b.Bytes()
	// What is appended is read back, by what will read it every night.
	p, err := newPart(Options{Units: []string{"sec/op"}})
	if err == nil {
		err = p.read(bytes.NewReader(w.text), w.Name)
	}
	if err != nil {
		return err
	}
	if len(p.runs) != 1 || p.runs[0] != w.Run {
		return fmt.Errorf("%s cannot be read back as it was written (a fact or a name in it is no text of one line)", w.Name)
	}
	if !slices.ContainsFunc(p.found, func(f found) bool { return len(f.points) > 0 }) {
		return fmt.Errorf("%s has no cell with ns/op on the sides base and head in one round (%s)", w.Name, remedy)
	}
	return nil
}

// plain writes a number as the shortest text that reads back the same, without an
// exponent where it has few digits.
func plain(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprint(int64(v))
	}
	return fmt.Sprint(v)
}
