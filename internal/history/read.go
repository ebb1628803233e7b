package history

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
	"golang.org/x/perf/benchunit"

	"iopath/internal/git"
	"iopath/internal/summary"
)

// A Run is one run of the store.
type Run struct {
	Name    string
	Date    time.Time
	Machine string // its name
	CPU     string
	Kernel  string
	Go      string
	Print   string // fingerprint of the machine
	Base    string // the pinned commit
	Head    string // the commit that was measured against it
}

// A Point is what a run says of a cell in one unit.
type Point struct {
	Run   int     // index of History.Runs
	Ratio float64 // head ÷ base: the median over the rounds that have both
	N     int     // of so many
}

// A Series is one cell in one unit, on machines with one fingerprint, against one
// pinned commit, in the order of time.
type Series struct {
	Print, Base string
	Cell        string // full name without "Benchmark"
	Unit        string // tidied
	Better      int    // +1 where a greater value is better, else -1
	Points      []Point
}

// A History is what was read of a store.
type History struct {
	Runs   []Run // in the order of time
	Series []*Series
}

// Options select what is read.
type Options struct {
	Units  []string // as in the file or tidied; none for sec/op
	Filter string   // benchproc filter of the cells, "" for all
}

// Read reads a store. Months are read side by side, as many as there are processors;
// of their lines only the points stay.
//
// The error is summary.ErrInput for a store that is not there, or is damaged, and for
// a filter that does not parse or keeps nothing.
func (s Store) Read(ctx context.Context, o Options) (*History, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	head, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	if head == "" {
		return nil, summary.Errorf("read history: there is no branch %s (iopath history add RUN makes it; fetch it where another machine adds: git fetch ORIGIN %s:%s)", s.branch(), s.branch(), s.branch())
	}
	files, err := s.months(ctx, head)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what git still prints
	parts, errs := make([]*part, len(files)), make([]error, len(files))
	var wait sync.WaitGroup
	tickets := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, f := range files {
		wait.Add(1)
		tickets <- struct{}{}
		go func() {
			defer func() { <-tickets; wait.Done() }()
			if parts[i], errs[i] = s.readMonth(ctx, f, o); errs[i] != nil {
				cancel()
			}
		}()
	}
	wait.Wait()
	// The first that failed by itself: the others were stopped for it.
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	h := merge(parts)
	if len(h.Series) == 0 {
		return nil, summary.Errorf("read history: none of its %d runs has the unit %s in a cell that passes the filter %q (widen them)", len(h.Runs), strings.Join(o.units(), ", "), cmp.Or(o.Filter, "*"))
	}
	return h, nil
}

func (o Options) units() []string {
	if len(o.Units) == 0 {
		return []string{"sec/op"}
	}
	var all []string
	for _, u := range o.Units {
		_, tidied := benchunit.Tidy(1, u)
		if !slices.Contains(all, tidied) {
			all = append(all, tidied)
		}
	}
	return all
}

// readMonth reads one file as git prints it.
func (s Store) readMonth(ctx context.Context, f month, o Options) (*part, error) {
	p, err := newPart(o)
	if err != nil {
		return nil, err
	}
	var errs bytes.Buffer
	cmd := s.command(ctx, "cat-file", "blob", f.blob)
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("read history: git cat-file: %w", err)
	}
	err = p.read(out, s.branch()+":"+f.name)
	if err != nil {
		io.Copy(io.Discard, out) // or git would wait for us
	}
	if ended := cmd.Wait(); ctx.Err() != nil {
		return nil, ctx.Err()
	} else if ended != nil && err == nil {
		err = git.Error("cat-file", ended, errs.String())
	}
	if err != nil {
		return nil, summary.Errorf("read history: %w (git log -p %s shows what changed there last)", err, s.branch())
	}
	return p, nil
}

// A part is what one file gives.
type part struct {
	units  []string
	filter *benchproc.Filter
	reader benchfmt.Reader

	runs   []Run
	cells  map[string]int // by full name
	names  []string       // of the cells
	found  []found        // of each cell and unit: cell*len(units)+unit
	better []int          // of each unit

	open    bool  // inside a run
	round   int   // of the lines that follow
	touched []int // what the open run has values of
	passes  []int8
}

// found is what was found of one cell in one unit.
type found struct {
	sides  [2][]value // of the open run: base, head
	points []Point
}

// A value is one measurement, with its round.
type value struct {
	round int
	v     float64
}

func newPart(o Options) (*part, error) {
	p := &part{units: o.units(), cells: map[string]int{}}
	if strings.TrimSpace(o.Filter) != "" && strings.TrimSpace(o.Filter) != "*" {
		f, err := benchproc.NewFilter(o.Filter)
		if err != nil {
			why, _, _ := strings.Cut(err.Error(), "\n")
			return nil, summary.Errorf("parse filter %q: %s (write it as .name:Read /cache:warm)", o.Filter, why)
		}
		p.filter = f
	}
	p.better = make([]int, len(p.units))
	return p, nil
}

// read takes in a file of the store.
func (p *part) read(r io.Reader, name string) error {
	err := scanner{
		comment: p.comment,
		result:  p.result,
		damaged: func(e *benchfmt.SyntaxError) error { return errors.New(e.Msg) },
	}.scan(&p.reader, r, name)
	if err != nil {
		return err
	}
	p.closeRun()
	for i, u := range p.units {
		p.better[i] = cmp.Or(p.reader.Units().GetBetter(u), -1)
	}
	return nil
}

func (p *part) comment(text string) error {
	key, rest, _ := strings.Cut(text, ":")
	switch value := strings.TrimSpace(rest); {
	case key == "run":
		p.closeRun()
		p.runs = append(p.runs, Run{Name: value})
		p.open, p.round = true, 0
	case key == "date" && p.open:
		date, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return fmt.Errorf("run %s: %q is no date", p.runs[len(p.runs)-1].Name, value)
		}
		p.runs[len(p.runs)-1].Date = date.UTC()
	default:
		if n, ok := roundOf(key); ok {
			p.round = n
		}
	}
	return nil
}

// roundOf reads the number of "round 3" or "round 3 of 10".
func roundOf(key string) (int, bool) {
	word, ok := strings.CutPrefix(key, "round ")
	if !ok {
		return 0, false
	}
	word, _, _ = strings.Cut(word, " ")
	n, err := strconv.Atoi(word)
	return n, err == nil && n > 0
}

const (
	sideBase = iota
	sideHead
	sideOther
)

// sideOf tells which side a line is of.
func sideOf(rec *benchfmt.Result) int {
	i, ok := rec.ConfigIndex("side")
	if !ok {
		return sideOther
	}
	switch string(rec.Config[i].Value) {
	case "base":
		return sideBase
	case "head":
		return sideHead
	}
	return sideOther
}

func (p *part) result(rec *benchfmt.Result) error {
	if !p.open {
		return errors.New("a result above the first run (lines are added by iopath history add alone)")
	}
	side := sideOf(rec)
	if side == sideOther {
		return nil
	}
	run := &p.runs[len(p.runs)-1]
	if run.Print == "" {
		run.Print = fingerprint(rec.GetConfig)
		run.Machine, run.CPU = rec.GetConfig("machine"), rec.GetConfig("cpu")
		run.Kernel, run.Go = rec.GetConfig("kernel"), rec.GetConfig("go")
	}
	if side == sideBase && run.Base == "" {
		run.Base = rec.GetConfig("commit")
	} else if side == sideHead && run.Head == "" {
		run.Head = rec.GetConfig("commit")
	}
	cell, ok := p.cells[string(rec.Name)]
	if !ok {
		cell = len(p.names)
		name := string(rec.Name)
		p.cells[name], p.names = cell, append(p.names, name)
		p.found = append(p.found, make([]found, len(p.units))...)
		p.passes = append(p.passes, unknown)
	}
	if p.filter != nil {
		if p.passes[cell] == unknown {
			match, err := p.filter.Match(rec)
			p.passes[cell] = fails
			if err == nil && match.Any() {
				p.passes[cell] = passes
			}
		}
		if p.passes[cell] == fails {
			return nil
		}
	}
	for u, unit := range p.units {
		for _, v := range rec.Values {
			// benchfmt takes a zero for a value that needed no tidying.
			if _, tidied := benchunit.Tidy(0, v.Unit); tidied != unit {
				continue
			}
			f := &p.found[cell*len(p.units)+u]
			if len(f.sides[sideBase])+len(f.sides[sideHead]) == 0 {
				p.touched = append(p.touched, cell*len(p.units)+u)
			}
			f.sides[side] = append(f.sides[side], value{p.round, v.Value})
		}
	}
	return nil
}

// Whether a cell of the open run passes the filter, which may ask for the run's facts.
const (
	unknown int8 = iota
	passes
	fails
)

// closeRun makes points of what the open run has.
func (p *part) closeRun() {
	for _, i := range p.touched {
		f := &p.found[i]
		if ratio, n := reduce(f.sides[sideHead], f.sides[sideBase]); n > 0 {
			f.points = append(f.points, Point{len(p.runs) - 1, ratio, n})
		}
		f.sides[sideBase], f.sides[sideHead] = f.sides[sideBase][:0], f.sides[sideHead][:0]
	}
	p.touched = p.touched[:0]
	clear(p.passes)
}

// reduce is the median of the ratios head ÷ base over the rounds that have both; n is
// their number. Several of one round pair in their order, as summary.Paired has it.
// Pairs without a logarithm are left out, as verdict.Paired has it.
func reduce(head, base []value) (ratio float64, n int) {
	byRound := func(a, b value) int { return cmp.Compare(a.round, b.round) }
	for _, side := range [][]value{head, base} {
		if !slices.IsSortedFunc(side, byRound) {
			slices.SortStableFunc(side, byRound)
		}
	}
	var few [32]float64 // most runs have no more rounds
	logs := few[:0]
	for i, k := 0, 0; i < len(head) && k < len(base); {
		switch byRound(head[i], base[k]) {
		case -1:
			i++
		case +1:
			k++
		default:
			// Of subnormal figures the ratio can be infinite or zero.
			a, b := head[i].v, base[k].v
			if r := a / b; positive(a) && positive(b) && positive(r) {
				logs = append(logs, math.Log(r))
			}
			i, k = i+1, k+1
		}
	}
	if len(logs) == 0 {
		return 0, 0
	}
	slices.Sort(logs)
	return math.Exp(middle(logs)), len(logs)
}

func positive(v float64) bool { return v > 0 && !math.IsInf(v, 1) }

// printed are the facts of a machine that make its ratios those of another one: what
// the machine is. What is done with it is not among them (kernel, go, mitigations,
// governor, thp, swap, readahead): that a ratio changes with these is what a history
// is for. Nor is its name, which a CI makes up anew every night, nor mem, which a new
// kernel changes by some MiB.
var printed = []string{"goos", "goarch", "cpu", "cpus", "llc", "virt", "page-size", "fs", "device"}

// fingerprint is a short hash of those facts. Of the filesystem it takes the type, and
// of the device what it is: the words without the settings (scheduler=…).
func fingerprint(config func(string) string) string {
	h := fnv.New64a()
	for _, key := range printed {
		words := strings.Fields(config(key))
		switch key {
		case "fs":
			words = words[:min(1, len(words))]
		case "device":
			words = slices.DeleteFunc(words, func(w string) bool { return strings.Contains(w, "=") })
		}
		fmt.Fprintf(h, "%s=%s\n", key, strings.Join(words, " "))
	}
	return fmt.Sprintf("%08x", uint32(h.Sum64()>>32))
}

// merge puts the parts together. Runs are put in the order of time: one that was added
// late stands where it belongs.
func merge(parts []*part) *History {
	h := &History{}
	type where struct{ part, run int }
	var order []where
	for i, p := range parts {
		for k := range p.runs {
			order = append(order, where{i, k})
		}
	}
	at := func(w where) *Run { return &parts[w.part].runs[w.run] }
	slices.SortStableFunc(order, func(a, b where) int {
		return cmp.Or(at(a).Date.Compare(at(b).Date), strings.Compare(at(a).Name, at(b).Name))
	})
	places := make([][]int, len(parts)) // of each part's runs, in h.Runs
	for i, p := range parts {
		places[i] = make([]int, len(p.runs))
	}
	for k, w := range order {
		h.Runs = append(h.Runs, *at(w))
		places[w.part][w.run] = k
	}
	type key struct{ print, base, cell, unit string }
	byKey := map[key]*Series{}
	for i, p := range parts {
		for f := range p.found {
			cell, unit := p.names[f/len(p.units)], f%len(p.units)
			var s *Series
			for _, pt := range p.found[f].points {
				run := &p.runs[pt.Run]
				if s == nil || s.Print != run.Print || s.Base != run.Base {
					k := key{run.Print, run.Base, cell, p.units[unit]}
					if s = byKey[k]; s == nil {
						s = &Series{Print: k.print, Base: k.base, Cell: k.cell, Unit: k.unit, Better: p.better[unit]}
						byKey[k] = s
						h.Series = append(h.Series, s)
					}
				}
				pt.Run = places[i][pt.Run]
				s.Points = append(s.Points, pt)
			}
		}
	}
	for _, s := range h.Series {
		slices.SortStableFunc(s.Points, func(a, b Point) int { return cmp.Compare(a.Run, b.Run) })
	}
	slices.SortFunc(h.Series, func(a, b *Series) int {
		return cmp.Or(strings.Compare(a.Print, b.Print), strings.Compare(a.Base, b.Base), strings.Compare(a.Unit, b.Unit), strings.Compare(a.Cell, b.Cell))
	})
	return h
}
