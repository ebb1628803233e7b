package summary

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
	"golang.org/x/perf/benchunit"
)

// An Input is a source of result lines.
type Input struct {
	Name   string // for messages and the key .file
	Reader io.Reader
}

// ReadFiles reads the files at paths as Read does.
func ReadFiles(paths ...string) (*Results, error) {
	var inputs []Input
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, Errorf("read results: %w (name a file of result lines, such as bench.txt)", err)
		}
		defer f.Close()
		inputs = append(inputs, Input{path, bufio.NewReaderSize(f, 1<<20)})
	}
	return Read(inputs...)
}

// Read takes in all inputs, one after the other. Lines that are no part of
// the format are passed over, as the format asks; a result line that does not
// parse, or is cut short, is an error, because a damaged file must not make
// a chart. The line that go test prints of a failed benchmark counts as a
// "# failed:" line.
//
// Every error is ErrInput.
func Read(inputs ...Input) (*Results, error) {
	r := &Results{orig: map[string]string{}, byName: map[string][]*group{}}
	proj, err := new(benchproc.ProjectionParser).Parse(".config,.file", nil)
	if err != nil {
		return nil, err
	}
	var (
		reader benchfmt.Reader
		groups = map[benchproc.Key]map[string]*group{} // by configuration, by name
		config []benchfmt.Config                       // of the result before
		byName map[string]*group                       // the groups of that configuration
		lines  int                                     // of results, so far
		names  []string
	)
	for file, in := range inputs {
		names = append(names, in.Name)
		side := &sideLines{results: r}
		reader.Reset(io.TeeReader(in.Reader, side), in.Name, ".file", in.Name)
		for reader.Scan() {
			_, line := reader.Result().Pos()
			// The reader is never ahead of side, save on a last line that
			// no newline ends.
			cut := line > side.line
			switch rec := reader.Result().(type) {
			case *benchfmt.SyntaxError:
				if side.notResult[line] {
					continue
				}
				if cut {
					return nil, Errorf("read %s:%d: %s: the last line is cut short (remove it to keep the rest)", in.Name, line, rec.Msg)
				}
				return nil, Errorf("read %s:%d: %s (the line is damaged: mend or remove it)", in.Name, line, rec.Msg)
			case *benchfmt.Result:
				if byName == nil || !slices.EqualFunc(config, rec.Config, sameConfig) {
					config = rec.Clone().Config
					key := proj.Project(rec)
					if byName = groups[key]; byName == nil {
						byName = map[string]*group{}
						groups[key] = byName
					}
				}
				g := byName[string(rec.Name)]
				if g == nil {
					if err := r.checkText(rec); err != nil {
						return nil, Errorf("read %s:%d: %w (the file is damaged, or no text: give one in the Go benchmark format)", in.Name, line, err)
					}
					g = &group{first: rec.Clone()}
					g.keys = nameKeys(g.first.Name)
					g.first.ConfigIndex("") // makes its index now: nothing changes Results later
					byName[string(rec.Name)] = g
					r.groups = append(r.groups, g)
					base := string(rec.Name.Base())
					r.byName[base] = append(r.byName[base], g)
					r.addConfig(rec)
				}
				if err := r.addValues(g, rec, turn{int32(file), side.roundOf(line)}, cut && lines > 0); err != nil {
					return nil, Errorf("read %s:%d: %w", in.Name, line, err)
				}
				lines++
			}
		}
		side.end()
		if err := reader.Err(); err != nil {
			return nil, Errorf("read results: %w (give a readable text file in the Go benchmark format)", err)
		}
	}
	if len(r.groups) == 0 {
		why := "no result lines"
		if n := len(r.Failed) + len(r.Skipped); n > 0 {
			why = fmt.Sprintf("no result lines, only %d skipped or failed cells", n)
		}
		if len(names) == 0 {
			names = []string{"nothing"}
		}
		return nil, Errorf("read %s: %s (a result line is like BenchmarkName 1 5 ns/op; go test -bench prints them)", strings.Join(names, ", "), why)
	}
	if !slices.ContainsFunc(r.groups, func(g *group) bool {
		return slices.ContainsFunc(g.columns, func(c column) bool { return len(c.values) > 0 })
	}) {
		return nil, Errorf("read %s: no result has a finite figure (see what printed NaN or Inf)", strings.Join(names, ", "))
	}
	r.Units = reader.Units()
	return r, nil
}

func sameConfig(a, b benchfmt.Config) bool {
	return a.Key == b.Key && a.File == b.File && bytes.Equal(a.Value, b.Value)
}

// checkText refuses what a terminal or an XML reader would choke on.
func (r *Results) checkText(res *benchfmt.Result) error {
	bad := func(text []byte) bool {
		return !utf8.Valid(text) || bytes.ContainsFunc(text, func(c rune) bool { return c != '\t' && unicode.IsControl(c) })
	}
	if bad(res.Name) {
		return errors.New("control characters in a benchmark's name")
	}
	for _, c := range res.Config {
		if c.File && bad(c.Value) {
			return fmt.Errorf("control characters in the value of %s", c.Key)
		}
	}
	for _, v := range res.Values {
		if bad([]byte(v.Unit)) {
			return errors.New("control characters in a unit")
		}
	}
	return nil
}

func (r *Results) addConfig(res *benchfmt.Result) {
	for _, c := range res.Config {
		if !c.File {
			continue
		}
		value := string(c.Value)
		i := slices.IndexFunc(r.Config, func(have Config) bool { return have.Key == c.Key })
		if i < 0 {
			r.Config = append(r.Config, Config{Pair: Pair{c.Key, value}})
		} else if r.Config[i].Value != value {
			r.Config[i].Varies = true
		}
	}
}

// addValues adds the values of a result of that turn; round 0 means that the file
// does not tell.
func (r *Results) addValues(g *group, res *benchfmt.Result, when turn, cut bool) error {
	for i, v := range res.Values {
		// benchfmt takes a zero for a value that needed no tidying.
		if _, unit := benchunit.Tidy(v.Value, v.Unit); unit != v.Unit {
			v.Unit, v.OrigUnit = unit, v.Unit
		}
		if _, ok := r.orig[v.Unit]; !ok {
			// A line cut inside a unit still parses: "8 sysc" for
			// "8 syscalls/op". No other line has such a unit.
			if cut {
				return fmt.Errorf("unit %q is on no line before: the last line is cut short (remove it to keep the rest, or end it with a newline)", v.Unit)
			}
			r.orig[v.Unit] = v.OrigUnit
		}
		col := g.column(i, v.Unit)
		col.seen++
		at := when
		if at.round == 0 {
			at.round = int32(col.seen)
		}
		if !finite(v.Value) {
			unit := v.OrigUnit
			if unit == "" {
				unit = v.Unit
			}
			r.Notes = addOnce(r.Notes, fmt.Sprintf("%s of %s is infinite or not a number: left out", unit, res.Name))
			continue
		}
		col.values, col.turns = append(col.values, v.Value), append(col.turns, at)
	}
	return nil
}

// sideLines sees every line that the benchfmt reader sees, and keeps what
// that one passes over: comments, and the failures that go test reports.
type sideLines struct {
	results   *Results
	partial   []byte
	line      int          // lines ended so far
	notResult map[int]bool // lines that look like results and are none
	rounds    []roundLine  // in their order
}

// A roundLine is where a round begins.
type roundLine struct {
	line  int
	round int32
}

// roundOf is the round of the result on a line, 0 where none has begun.
func (s *sideLines) roundOf(line int) int32 {
	// Results come in order, so those before are not asked for again.
	for len(s.rounds) > 1 && s.rounds[1].line <= line {
		s.rounds = s.rounds[1:]
	}
	if len(s.rounds) == 0 || s.rounds[0].line > line {
		return 0
	}
	return s.rounds[0].round
}

func (s *sideLines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.partial = append(s.partial, p...)
			return n, nil
		}
		line := p[:i]
		if len(s.partial) > 0 {
			line = append(s.partial, line...)
			s.partial = s.partial[:0]
		}
		s.line++
		s.see(line)
		p = p[i+1:]
	}
}

func (s *sideLines) end() {
	if len(s.partial) > 0 {
		s.see(s.partial)
	}
}

func (s *sideLines) see(line []byte) {
	r := s.results
	switch {
	case bytes.HasPrefix(line, []byte("# ")):
		text := printable(string(line[2:]))
		key, value, _ := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		if strings.HasPrefix(key, "iopath ") {
			r.Made = addOnce(r.Made, strings.TrimSpace(text))
		}
		if n, isRound := strings.CutPrefix(key, "round "); isRound {
			if n, err := strconv.ParseInt(n, 10, 32); err == nil && n > 0 {
				s.rounds = append(s.rounds, roundLine{s.line, int32(n)})
			}
		}
		switch key {
		case "command":
			r.Commands = addOnce(r.Commands, value)
		case "date":
			r.Dates = addOnce(r.Dates, value)
		case "skipped":
			r.Skipped = addOnce(r.Skipped, value)
		case "failed":
			r.Failed = addOnce(r.Failed, value)
		case "noise":
			r.Noise = addOnce(r.Noise, value)
		case "settle":
			r.Settle = addOnce(r.Settle, value)
		case "stopped":
			r.Stopped = addOnce(r.Stopped, value)
		case "note":
			r.Notes = addOnce(r.Notes, value)
		}
	case bytes.HasPrefix(line, []byte("Benchmark")) && bytes.Contains(line, []byte("--- ")):
		if f := strings.Fields(printable(string(line))); len(f) > 2 && f[1] == "---" {
			if s.notResult == nil {
				s.notResult = map[int]bool{}
			}
			s.notResult[s.line] = true
			if f[2] == "SKIP:" {
				r.Skipped = addOnce(r.Skipped, f[0])
			} else {
				r.Failed = addOnce(r.Failed, f[0])
			}
		}
	}
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "�"))
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// ResultFile is where a run keeps its results.
const ResultFile = "bench.txt"

// RunName is what the run of a result file is called: its directory where that is a
// run's, else the file.
func RunName(file string) string {
	if whole, err := filepath.Abs(file); err == nil && filepath.Base(whole) == ResultFile {
		file = filepath.Dir(whole)
	}
	return filepath.Base(file)
}
