package summary

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Table lays cells side by side. Names with a /method are one section for
// each workload and state, in it a group for each /block, and a row a method,
// the fastest first, below the limit that holds there: of a warm read the
// consumer alone over memory, of a warm send the socket alone, of what is cold
// the device alone. Other names are one section for each benchmark, its rows in
// the order of their keys.
type Table struct {
	Config   []Config
	Dates    []string
	Sections []Section
	Notes    []string // what a reader of the figures must know, a line each
	Noise    []string // what else the machine did during the runs
	Settle   []string // how it stood before the first round
	Stopped  []string // cells that were measured no further, with the reason
	Skipped  []string // cells that were not run, with the reason
	Failed   []string // cells that gave no result, with the reason
}

// A Section is a heading, columns and rows. Every row has the keys of the
// heading in common.
type Section struct {
	Name       string // the benchmark's; empty where every row is a benchmark of its own
	Keys       []Pair // of the heading, in the order of the name
	RowKey     string // what the labels of the rows are: method, a key, or benchmark
	MinN, MaxN int    // the fewest and the most measurements behind a row
	Columns    []Column
	Rows       []Row
}

// A Column shows one unit. One for which no row has a figure is left out.
type Column struct {
	Unit string // tidied, or Share
	Top  string // heading: the quantity
	Sub  string // heading: its unit, "" for a plain number

	spare  int  // which of those comes first that are shown where there is room; 0: always shown
	isZero bool // every figure is 0
	format func(Row) string
}

// Share is the unit of the column that gives a method's throughput as a share
// of the limit's.
const Share = "share"

// A Limit is what bounds a method.
type Limit string

const (
	Memory Limit = "memory" // the consumer alone, over memory
	Socket Limit = "socket" // one cached buffer, written again and again
	Device Limit = "device" // O_DIRECT at a queue depth
)

// label names the row of a limit. A device is not called a ceiling: readahead
// may ask it for more at once than its row did.
func (l Limit) label() string {
	if l == Device {
		return "(device)"
	}
	return "(ceiling)"
}

// A Row is one cell.
type Row struct {
	Group   string // the value of /block, "" without one
	Label   string // the method, or the name with the heading's keys taken out
	Cell    *Cell
	Limit   Limit             // what this row is the limit by; "" for a method
	Figures map[string]Figure // by tidied unit; without a figure, no entry
	Of      Limit             // what Share is a share of
	Share   float64           // of the limit's throughput; 0 without a limit
}

// Text returns what the column shows of the row, "-" if the row lacks it.
func (c Column) Text(r Row) string { return c.format(r) }

// Table lays out the cells that a benchproc filter keeps ("*" for all). The
// error is ErrInput: a filter that does not parse or keeps nothing.
func (r *Results) Table(filter string) (*Table, error) {
	cells, err := r.Cells(filter)
	if err != nil {
		return nil, err
	}
	if len(cells) == 0 {
		return nil, Errorf("make table: no result passes the filter %q (widen it; \"*\" passes all)", filter)
	}
	limits, err := r.Cells(".name:(Ceiling OR Device)")
	if err != nil {
		return nil, err
	}
	t := &Table{Config: r.Config, Dates: r.Dates, Skipped: r.Skipped, Failed: r.Failed, Notes: slices.Clone(r.Notes), Noise: r.Noise, Settle: r.Settle, Stopped: r.Stopped}

	byHead := map[string]*Section{}
	var sections []*Section
	var bare, rest []*Cell
	add := func(head []Pair, c *Cell, row Row) {
		id := c.Key(".name") + "\x00" + fmt.Sprint(head)
		s := byHead[id]
		if s == nil {
			s = &Section{Name: c.Key(".name"), Keys: head}
			byHead[id] = s
			sections = append(sections, s)
		}
		s.Rows = append(s.Rows, row)
	}
	procs := map[string]bool{}
	for _, c := range cells {
		procs[c.Key("/gomaxprocs")] = true
	}
	keysOf := func(c *Cell) []Pair {
		return slices.DeleteFunc(c.Keys(), func(p Pair) bool { return p.Key == "gomaxprocs" && len(procs) < 2 })
	}
	shown := map[string]bool{} // limits
	for _, c := range cells {
		method := c.Key("/method")
		if method == "" {
			rest = append(rest, c)
			continue
		}
		row := newRow(c, c.Key("/block"), method)
		head := slices.DeleteFunc(keysOf(c), func(p Pair) bool { return p.Key == "block" || p.Key == "method" })
		if top, what := limitOf(c, limits); top != nil {
			limit := newRow(top, row.Group, what.label())
			limit.Limit, limit.Of, limit.Share = what, what, 1
			mine, _ := c.BytesPerOp()
			if bytes, _ := top.BytesPerOp(); mine > 0 && math.Abs(bytes-mine) > mine/100 {
				// Its job is another: what one op took compares with nothing here.
				maps.DeleteFunc(limit.Figures, func(u string, _ Figure) bool { return strings.HasSuffix(u, "/op") })
			}
			if rate, ok := row.Figures["B/s"]; ok && limit.Figures["B/s"].Value > 0 {
				row.Of, row.Share = what, rate.Value/limit.Figures["B/s"].Value
			}
			if id := top.Name + "\x00" + fmt.Sprint(head); !shown[id] {
				shown[id], shown[top.Name] = true, true
				add(head, c, limit)
			}
		}
		add(head, c, row)
	}
	// Names of other suites: a section for a benchmark that has keys; those
	// without any stand together.
	for _, c := range rest {
		switch {
		case shown[c.Name]:
		case len(keysOf(c)) == 0:
			bare = append(bare, c)
		default:
			add(nil, c, newRow(c, "", ""))
		}
	}
	for _, s := range sections {
		if s.Keys == nil && s.Rows[0].Label == "" {
			s.liftKeys(keysOf)
		}
	}
	if len(bare) > 0 {
		s := &Section{RowKey: "benchmark"}
		for _, c := range bare {
			s.Rows = append(s.Rows, newRow(c, "", c.Key(".name")))
		}
		sections = append(sections, s)
	}
	slices.SortStableFunc(sections, func(a, b *Section) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return comparePairs(a.Keys, b.Keys)
	})
	for _, s := range sections {
		s.finish()
		t.Sections = append(t.Sections, *s)
	}
	t.addNotes()
	return t, nil
}

func newRow(c *Cell, group, label string) Row {
	row := Row{Group: group, Label: label, Cell: c, Figures: map[string]Figure{}}
	for _, u := range c.Units {
		if f, ok := c.Figure(u); ok {
			row.Figures[u] = f
		}
	}
	return row
}

// limitOf finds what bounds a cell. The consumer alone, over memory, bounds a
// warm read that agrees with it in all that both are named by; the socket alone
// a warm send that does so, but for the file's size; the device what is cold in
// the same block, and in the pattern: random for sparse reads, sequential for
// sends. Of several it is the fastest, such as the one of the greatest depth.
func limitOf(c *Cell, limits []*Cell) (*Cell, Limit) {
	except := func(c *Cell, keys ...string) []Pair {
		return slices.DeleteFunc(c.Keys(), func(p Pair) bool { return slices.Contains(keys, p.Key) })
	}
	pattern := c.Key("/pattern")
	if pattern == "sparse" {
		pattern = "rand"
	}
	var what Limit
	var name string
	var agrees func(top *Cell) bool
	switch kind := c.Key(".name") + " " + c.Key("/cache"); kind {
	case "Read warm":
		what, name = Memory, "Ceiling"
		want := except(c, "cache", "method")
		agrees = func(top *Cell) bool { return slices.Equal(top.Keys(), want) }
	case "Send warm":
		what, name = Socket, "Ceiling"
		want := except(c, "size", "cache", "method")
		agrees = func(top *Cell) bool { return slices.Equal(except(top, "size"), want) }
	case "Read cold", "Send cold":
		if kind == "Send cold" {
			pattern = "seq"
		}
		what, name = Device, "Device"
		agrees = func(top *Cell) bool {
			// In order, the kernel reads ahead in blocks of its own.
			block := pattern == "seq" || top.Key("/block") == c.Key("/block")
			return block && top.Key("/pattern") == pattern && top.Key("/gomaxprocs") == c.Key("/gomaxprocs")
		}
	default:
		return nil, ""
	}
	var best *Cell
	var most float64
	for _, top := range limits {
		if top.Key(".name") != name || !agrees(top) {
			continue
		}
		if rate, _ := top.Figure("B/s"); best == nil || rate.Value > most {
			best, most = top, rate.Value
		}
	}
	return best, what
}

// liftKeys moves the keys that all rows share into the heading, and names
// each row by what is left.
func (s *Section) liftKeys(keysOf func(*Cell) []Pair) {
	shared := keysOf(s.Rows[0].Cell)
	if len(s.Rows) == 1 {
		shared = nil
	}
	for _, row := range s.Rows {
		keys := keysOf(row.Cell)
		shared = slices.DeleteFunc(shared, func(p Pair) bool { return p.Key == "" || !slices.Contains(keys, p) })
	}
	s.Keys = shared
	left := func(r Row) []Pair {
		return slices.DeleteFunc(keysOf(r.Cell), func(p Pair) bool { return slices.Contains(shared, p) })
	}
	slices.SortStableFunc(s.Rows, func(a, b Row) int { return comparePairs(left(a), left(b)) })
	// Where one key is left in all rows, it heads their values.
	s.RowKey = "benchmark"
	if p := left(s.Rows[0]); len(p) == 1 && p[0].Key != "" && !slices.ContainsFunc(s.Rows, func(r Row) bool {
		q := left(r)
		return len(q) != 1 || q[0].Key != p[0].Key
	}) {
		s.RowKey = p[0].Key
	}
	for i, row := range s.Rows {
		var words []string
		for _, p := range left(row) {
			if p.Key == s.RowKey {
				p.Key = ""
			}
			words = append(words, p.String())
		}
		s.Rows[i].Label = strings.Join(words, " ")
		if len(words) == 0 {
			s.Rows[i].Label = s.Name
		}
	}
}

func (s *Section) finish() {
	isSuite := s.RowKey == ""
	if isSuite {
		s.RowKey = "method"
		slices.SortStableFunc(s.Rows, func(a, b Row) int {
			if c := Compare(a.Group, b.Group); c != 0 {
				return c
			}
			return faster(a, b)
		})
	}
	for _, row := range s.Rows {
		if row.Limit != "" {
			continue
		}
		// Counts may be taken in one round alone; what n stands for is the time's.
		f, ok := row.Figures["sec/op"]
		if !ok {
			for _, other := range row.Figures {
				if other.N > f.N {
					f = other
				}
			}
		}
		if s.MinN == 0 || f.N < s.MinN {
			s.MinN = f.N
		}
		s.MaxN = max(s.MaxN, f.N)
	}
	s.Columns = columns(s.Rows, isSuite)
}

// faster puts the limit first, then the higher throughput, then what has
// none, the shorter time first.
func faster(a, b Row) int {
	if a.Limit != b.Limit {
		if a.Limit != "" {
			return -1
		}
		return 1
	}
	ra, oka := a.Figures["B/s"]
	rb, okb := b.Figures["B/s"]
	ta, tb := a.Figures["sec/op"].Value, b.Figures["sec/op"].Value
	switch {
	case oka != okb:
		if oka {
			return -1
		}
		return 1
	case ra.Value != rb.Value:
		return descending(ra.Value, rb.Value)
	case ta != tb:
		return -descending(ta, tb)
	}
	return strings.Compare(a.Label, b.Label)
}

func descending(a, b float64) int {
	if a > b {
		return -1
	}
	return 1
}

// addNotes says what the figures alone would not.
func (t *Table) addNotes() {
	var hasInterval, lacksInterval bool
	limits := map[Limit][]string{} // the queue depths of their rows
	ofCache := math.Inf(1)         // the warm file's size as a multiple of the last-level cache's
	for _, s := range t.Sections {
		for _, r := range s.Rows {
			if r.Limit != "" {
				limits[r.Limit] = addOnce(limits[r.Limit], r.Cell.Key("/depth"))
			}
			if v, ok := ParseNumber(r.Cell.Key("file-to-llc")); ok && r.Cell.Key("/cache") == "warm" {
				ofCache = min(ofCache, v)
			}
			for u, f := range r.Figures {
				if f.Exact {
					continue
				}
				if u == "B/s" || u == "sec/op" {
					hasInterval = hasInterval || f.Interval
					lacksInterval = lacksInterval || !f.Interval
				}
			}
			for _, u := range r.Cell.Units {
				if f := r.Figures[u]; f.Exact && f.Lo != f.Hi {
					t.note("%s of %s is called exact, yet it varies from %s to %s.", u, r.Cell.Name, Count(f.Lo), Count(f.Hi))
				}
			}
		}
	}
	if hasInterval {
		t.note("Figures are medians; ± is their 95 %% interval.")
	}
	if lacksInterval {
		t.note("Where n is below %d a median has no 95 %% interval, so there is no ±.", MinSamples)
	}
	if ofCache < CacheBound {
		t.note("The warm file has %s times the size of the last-level cache: warm figures are the cache's, not memory's.", Count(ofCache))
	}
	if limits[Memory] != nil {
		t.note("(ceiling) of reads: the consumer alone, over memory.")
	}
	if limits[Socket] != nil {
		t.note("(ceiling) of sends: one cached buffer sent by write(2) again and again. It bounds what copies; sendfile and splice hand over pages, and a share above 100%% can be right.")
	}
	if depths := limits[Device]; depths != nil {
		at := ""
		if !slices.Contains(depths, "") {
			slices.SortFunc(depths, Compare)
			at = " at a queue depth of " + strings.Join(depths, " or ")
		}
		t.note("(device): the device alone, by O_DIRECT%s for random reads in blocks of the same size, else in large ones. A share above 100%% can be right: readahead joins small reads into large ones, and may read what is asked for later.", at)
	}
	for _, c := range t.Config {
		if c.Varies {
			t.note("%s differs within the input (first: %s): figures are of unlike runs.", c.Key, c.Value)
		}
	}
	late := slices.DeleteFunc(slices.Clone(t.Stopped), func(line string) bool {
		_, why, _ := strings.Cut(line, ": ")
		return !strings.HasPrefix(why, "time is up")
	})
	if n := len(late); n > 0 {
		t.note("%d of %d cells were stopped by the time limit before they were as precise as asked.", n, len(t.Stopped))
	}
}

// CacheBound is the size of a file, as a multiple of the last-level cache's,
// below which reading it again is served by that cache for the greater part.
const CacheBound = 1.5

func (t *Table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}
