package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"iopath/internal/atomicfile"
	"iopath/internal/host"
	"iopath/internal/summary"
	"iopath/plots"
	"iopath/workloads/crash"
)

// crashFile is where a run keeps its record: a crashLine, or a crash.Cycle, a line.
const crashFile = "crash.json"

// A crashHead says what run it is.
type crashHead struct {
	Seed        uint64      `json:"seed"` // of the first cycle
	Machine     string      `json:"machine"`
	Began       time.Time   `json:"began"`
	Facts       []host.Fact `json:"facts,omitempty"`
	DirtyExpire float64     `json:"dirty_expire_seconds,omitempty"` // of what is dirty, the kernel's setting
}

// A crashLine is what there is in a record beside cycles.
type crashLine struct {
	Run     *crashHead `json:"run,omitempty"`
	Skipped string     `json:"skipped,omitempty"` // what was not measured
	Why     string     `json:"why,omitempty"`
}

// A crashRecord is what a run has found.
type crashRecord struct {
	head   crashHead
	cycles []crash.Cycle
	absent map[string]string // why a column, a method or a fault is not measured
}

// readCrash reads a record. An error is summary.ErrInput where the file is to blame.
func readCrash(r io.Reader, name string) (*crashRecord, error) {
	record := &crashRecord{absent: map[string]string{}}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		line := bytes.TrimSpace(in.Bytes())
		if len(line) == 0 {
			continue
		}
		var l struct {
			crashLine
			crash.Cycle
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, summary.Errorf("%s:%d: %v (want a line of JSON as iopath crash writes it)", name, n, err)
		}
		switch {
		case l.Run != nil:
			record.head = *l.Run
		case l.Skipped != "":
			record.absent[l.Skipped] = l.Why
		default:
			c := l.Cycle
			if c.Method == "" || c.Backend == "" || c.Acknowledged != c.Intact+c.Lost+c.Torn {
				return nil, summary.Errorf("%s:%d: a cycle without method or backend, or whose records do not add up", name, n)
			}
			record.cycles = append(record.cycles, c)
		}
	}
	if err := in.Err(); err != nil {
		return nil, summary.Errorf("%s: %v", name, err)
	}
	if len(record.cycles) == 0 {
		return nil, summary.Errorf("%s: there is no cycle in it", name)
	}
	return record, nil
}

// show writes the run's README and charts into its directory, and returns the table.
func (r *crashRecord) show(dir string, formats []string) (crashTable, error) {
	t := r.table()
	charts, err := crashCharts(r.cycles, r.head.Machine, r.head.DirtyExpire).Draw(nil, dir, formats...)
	if err != nil && !errors.Is(err, plots.ErrNoData) {
		return t, err
	}
	return t, atomicfile.WriteFile(filepath.Join(dir, "README.md"), func(w io.Writer) error { return t.markdown(w, charts) })
}

func crashShowCommand(stdout io.Writer) *cli.Command {
	var (
		format string
		asJSON bool
	)
	usual, others := plots.Formats()
	return &cli.Command{
		Name:      "show",
		Usage:     "print the table of a run, and draw its charts and write its README anew",
		ArgsUsage: "RUN",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&format, "format", strings.Join(usual, ","), "`formats` of the charts: "+strings.Join(append(usual, others...), ", ")+" (the points)")
			fs.BoolVar(&asJSON, "json", false, "print the table as JSON")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return usage("iopath crash show: %d arguments, want one: the directory of a run", c.Args().Len())
			}
			dir := c.Args().First()
			name := filepath.Join(dir, crashFile)
			f, err := os.Open(name)
			if err != nil {
				return usage("iopath crash show: %w (name the directory of a run of iopath crash)", err)
			}
			defer f.Close()
			record, err := readCrash(f, name)
			if err != nil {
				return err
			}
			t, err := record.show(dir, strings.FieldsFunc(format, func(c rune) bool { return c == ',' || c == ' ' }))
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(stdout, t)
			}
			return t.text(stdout, width(stdout))
		},
	}
}

// A crashTable is what a run is told as.
type crashTable struct {
	crashHead
	Rows   []*crash.Row      `json:"rows"`
	Models map[string]string `json:"models"`
	Absent map[string]string `json:"not_measured,omitempty"`
	Strays []string          `json:"stray_stores_and_cuts,omitempty"`
	Costs  string            `json:"costs,omitempty"` // where the writers were that costs are of
	// By backend and filesystem.
	Promises []crash.Promise `json:"promises,omitempty"`
}

func (r *crashRecord) table() crashTable {
	t := crashTable{crashHead: r.head, Rows: crash.Rows(r.cycles), Promises: crash.PromisesKept(r.cycles), Absent: r.absent, Models: map[string]string{}}
	for _, b := range crash.Backends {
		t.Models[b.Name] = b.Models
	}
	if i := slices.IndexFunc(r.cycles, func(c crash.Cycle) bool { return c.Backend == crash.ByProcess }); i >= 0 {
		t.Costs = "this machine's " + r.cycles[i].Filesystem
	} else if len(r.cycles) > 0 {
		t.Costs = "the machine that was lost by " + r.cycles[0].Backend
	}
	type tally struct{ strays, reached, cut, died int }
	var order []string
	by := map[string]*tally{}
	damaged := 0
	for _, c := range r.cycles {
		if c.Damaged != "" {
			damaged++
		}
		if c.Fault != "truncate" && !c.StrayStore {
			continue
		}
		name := c.Method + ", " + c.Layout
		n := by[name]
		if n == nil {
			n = &tally{}
			by[name], order = n, append(order, name)
		}
		if c.Fault == "truncate" {
			n.cut++
			if !c.StillWriting {
				n.died++
			}
		}
		if c.StrayStore {
			n.strays++
			if c.Corrupted {
				n.reached++
			}
		}
	}
	if damaged > 0 {
		t.Strays = append(t.Strays, fmt.Sprintf("Of %s nothing could be read any more: all is counted as lost.", plural(damaged, "filesystem")))
	}
	for _, name := range order {
		n := by[name]
		var said []string
		if n.strays > 0 {
			said = append(said, fmt.Sprintf("%d of %d stray stores into its memory are in the file", n.reached, n.strays))
		}
		if n.cut > 0 {
			said = append(said, fmt.Sprintf("%d of %d died of SIGBUS when the file was cut", n.died, n.cut))
		}
		t.Strays = append(t.Strays, name+": "+strings.Join(said, "; ")+".")
	}
	return t
}

// backends are those that lost something, in the order of the columns.
func (t crashTable) backends() (names []string) {
	known := []string{crash.ByProcess}
	for _, loses := range []string{"kernel", "power"} {
		for _, b := range crash.Backends {
			if b.Loses == loses {
				known = append(known, b.Name)
			}
		}
	}
	for _, name := range known {
		if slices.ContainsFunc(t.Rows, func(r *crash.Row) bool { return r.Loss[name].Cycles > 0 }) {
			names = append(names, name)
		}
	}
	return names
}

// several tells whether rows differ by the filesystem.
func (t crashTable) several() bool {
	return slices.ContainsFunc(t.Rows, func(r *crash.Row) bool {
		return r.Filesystem != t.Rows[0].Filesystem && r.Filesystem != "" && t.Rows[0].Filesystem != ""
	})
}

// weighed tells whether a backend saw what was written to its disk.
func (t crashTable) weighed() bool {
	return slices.ContainsFunc(t.Rows, func(r *crash.Row) bool { return r.PerByte >= 0 })
}

func (t crashTable) head() []string {
	head := []string{"method/policy", "layout"}
	if t.several() {
		head = append(head, "fs")
	}
	for _, name := range t.backends() {
		if b, is := crash.BackendNamed(name); is {
			head = append(head, b.Loses+": "+name)
		} else {
			head = append(head, "process: fault")
		}
	}
	head = append(head, "rec/s", "p50", "p99")
	if t.weighed() {
		head = append(head, "B/B")
	}
	return head
}

func (t crashTable) cells(r *crash.Row) []string {
	cells := []string{r.Method + "/" + r.Policy, r.Layout}
	if t.several() {
		cells = append(cells, r.Filesystem)
	}
	for _, name := range t.backends() {
		cells = append(cells, r.Loss[name].String())
	}
	cost := func(v float64, tell func(float64) string) string {
		if v <= 0 {
			return "-"
		}
		return tell(v)
	}
	cells = append(cells, cost(r.Rate, short), cost(r.P50, duration), cost(r.P99, duration))
	if t.weighed() {
		per := "-"
		if r.PerByte >= 0 {
			per = short(r.PerByte)
		}
		cells = append(cells, per)
	}
	return cells
}

// short is a number of three digits at most.
func short(v float64) string {
	switch {
	case v >= 999500:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 999.5:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}

// duration has three digits.
func duration(seconds float64) string {
	d := time.Duration(seconds * 1e9)
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// text prints the table, in two parts where it is wider than the columns: what is lost, and
// what that costs.
func (t crashTable) text(w io.Writer, columns int) error {
	head := t.head()
	rows := [][]string{nil, nil}
	for _, name := range head { // what is lost, and below it how
		above, below, is := strings.Cut(name, ": ")
		if !is {
			above, below = "", name
		}
		rows[0], rows[1] = append(rows[0], above), append(rows[1], below)
	}
	for _, r := range t.Rows {
		rows = append(rows, t.cells(r))
	}
	if table := grid(rows, 2, func(int) bool { return true }); widest(table) <= columns {
		fmt.Fprint(w, table)
	} else {
		cost := slices.Index(head, "rec/s")
		losses := grid(rows, 1, func(i int) bool { return i < cost && head[i] != "layout" })
		costs := grid(rows[1:], 2, func(i int) bool { return i < 2 || i >= cost || head[i] == "fs" })
		fmt.Fprintf(w, "%s\n%s", losses, costs)
	}
	fmt.Fprintln(w)
	for _, line := range t.notes() {
		if _, err := fmt.Fprintln(w, strings.Join(wrap(line, max(columns-2, 20)), "\n  ")); err != nil {
			return err
		}
	}
	return nil
}

// grid lines the columns up that are shown, so many blanks apart.
func grid(rows [][]string, blanks int, shown func(column int) bool) string {
	var b strings.Builder
	tab := tabwriter.NewWriter(&b, 0, 0, blanks, ' ', 0)
	for _, row := range rows {
		var cells []string
		for i, c := range row {
			if shown(i) {
				cells = append(cells, c)
			}
		}
		fmt.Fprintln(tab, strings.Join(cells, "\t"))
	}
	tab.Flush()
	return b.String()
}

// widest is the columns of the longest line.
func widest(s string) (n int) {
	for line := range strings.Lines(s) {
		n = max(n, utf8.RuneCountInString(strings.TrimRight(line, " \n")))
	}
	return n
}

func (t crashTable) notes() []string {
	notes := []string{
		"Losses: the share of acknowledged records that are gone or torn: mean ≤ worst of n cycles; † some are torn.",
		"0 of n: the share of cycles that lose one is under 3/n, at 95 %. Each power cut is a cycle, some of one writer.",
		"rec/s: acknowledged, making the record included. p50, p99: from a record's write until it is acknowledged, of those acknowledged together the first. Of the writer on " + t.Costs + ".",
	}
	if t.weighed() {
		notes = append(notes, "B/B: bytes to the disk for each acknowledged byte, by voldisk.")
	}
	used := t.backends()
	for _, b := range crash.Backends {
		if why, absent := t.Absent[b.Name]; absent {
			notes = append(notes, fmt.Sprintf("Not measured: %s, by %s (%s)", b.Models, b.Name, why))
		} else if slices.Contains(used, b.Name) {
			notes = append(notes, fmt.Sprintf("By %s: %s.", b.Name, b.Models))
		}
	}
	var others []string
	for what, why := range t.Absent {
		if _, is := crash.BackendNamed(what); !is {
			others = append(others, fmt.Sprintf("Not measured: %s (%s)", what, why))
		}
	}
	slices.Sort(others)
	for _, p := range t.Promises {
		notes = append(notes, fmt.Sprintf("%s on %s: of policies that promise it, %d of %d cycles lost a record; of the others, %d of %d.",
			p.Backend, p.Filesystem, p.Broken, p.Promised, p.LossyOthers, p.Unpromised))
	}
	return append(append(notes, others...), t.Strays...)
}

func (t crashTable) markdown(w io.Writer, charts []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# What survives a crash on %s\n\n| %s |\n|%s\n", t.Machine, strings.Join(t.head(), " | "), strings.Repeat("---|", len(t.head())))
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(t.cells(r), " | "))
	}
	b.WriteByte('\n')
	for _, line := range t.notes() {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, chart := range charts {
		if filepath.Ext(chart) == ".svg" {
			name := filepath.Base(chart)
			fmt.Fprintf(&b, "\n![%s](%s)\n", strings.TrimSuffix(name, ".svg"), name)
		}
	}
	fmt.Fprintf(&b, "\n%s, from %s on, seed %d; each cycle, with its own, in %s.\n", t.Machine, t.Began.Format(time.DateTime+" MST"), t.Seed, crashFile)
	if len(t.Facts) > 0 {
		b.WriteString("\n")
	}
	for _, f := range t.Facts {
		fmt.Fprintf(&b, "    %s: %s\n", f.Key, f.Value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
