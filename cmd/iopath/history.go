package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"iopath/internal/history"
	"iopath/plots"
)

// historyOptions are the flags of iopath history; each of its commands has some.
type historyOptions struct {
	store  history.Store
	units  string
	filter string
	since  dateFlag
	recent int
	json   bool

	out, format string
	charts      int
}

func (o *historyOptions) register(fs *flag.FlagSet) {
	fs.StringVar(&o.store.Branch, "branch", history.DefaultBranch, "`branch` of the store")
	fs.StringVar(&o.store.Repo, "repo", "", "`directory` of the git repository (default: this one)")
}

func (o *historyOptions) registerRead(fs *flag.FlagSet) {
	o.register(fs)
	fs.StringVar(&o.units, "unit", "sec/op", "`units`, such as sec/op,syscalls/op")
	fs.StringVar(&o.filter, "filter", "*", "`cells`, in benchstat's filter syntax")
}

// dateFlag is a day, or nothing.
type dateFlag struct{ time.Time }

func (d *dateFlag) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.DateOnly)
}

func (d *dateFlag) Set(s string) (err error) {
	if d.Time, err = time.Parse(time.DateOnly, s); err != nil {
		return fmt.Errorf("%q is no date (write it as 2026-11-22)", s)
	}
	return nil
}

// Get is for the command line's library.
func (d *dateFlag) Get() any { return d.Time }

func historyCommand(stdout io.Writer) *cli.Command {
	var add, check, plot historyOptions
	return &cli.Command{
		Name:  "history",
		Usage: "keep nightly runs, and find what changed and when",
		Description: "A plain git branch holds the runs of iopath regress, one file a month. It is\n" +
			"pushed and fetched as any other. Nothing else of the repository is touched.",
		Commands: []*cli.Command{
			{
				Name:      "add",
				Usage:     "append a run to the history",
				ArgsUsage: "RUN",
				Description: "RUN is the directory or the file that iopath regress wrote: with the pinned\n" +
					"baseline as its side base, and what is followed as its side head. A run is\n" +
					"added once. The branch is made if need be; no work tree, index or hook takes\n" +
					"part.",
				Flags:  flags(add.register),
				Action: func(ctx context.Context, c *cli.Command) error { return add.add(ctx, c, stdout) },
			},
			{
				Name:  "check",
				Usage: "find what changed for good, and between which commits",
				Description: "Of each cell, the ratio head ÷ pinned base over the runs, apart for each\n" +
					"machine, is split by E-divisive with medians where its level changed by more\n" +
					"than 2 % beyond chance (p ≤ 0.001). One or two runs that stand out are no\n" +
					"change. What changed less than the noise of a night takes more than three\n" +
					"runs to be seen. Exit status 1: a cell became worse within the newest -recent\n" +
					"runs of its machine; 3: no cell has the six runs that two segments need.",
				Flags: flags(func(fs *flag.FlagSet) {
					check.registerRead(fs)
					fs.Var(&check.since, "since", "list changes from this `date` on (2026-11-22) only")
					fs.IntVar(&check.recent, "recent", 7, "status 1 for what became worse in so many `runs`")
					fs.BoolVar(&check.json, "json", false, "print JSON")
				}),
				Action: func(ctx context.Context, c *cli.Command) error { return check.check(ctx, c, stdout) },
			},
			{
				Name:  "plot",
				Usage: "draw the cells that changed over time",
				Description: "A chart of each cell that changed, those first that became worse the most:\n" +
					"runs, medians between changes, and the commits of these; and one of all of\n" +
					"them below one another.",
				Flags: flags(func(fs *flag.FlagSet) {
					plot.registerRead(fs)
					usual, others := plots.Formats()
					fs.StringVar(&plot.out, "out", ".iopath/history", "`directory` for the charts")
					fs.StringVar(&plot.format, "format", strings.Join(usual, ","), "`formats`: "+strings.Join(append(usual, others...), ", ")+" (the points)")
					fs.IntVar(&plot.charts, "charts", 12, "draw at most so `many` cells alone")
				}),
				Action: func(ctx context.Context, c *cli.Command) error { return plot.plot(ctx, c, stdout) },
			},
		},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("command %q is unknown (see iopath history -h)", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func (o *historyOptions) add(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	if c.Args().Len() != 1 {
		return usage("%s: which run? (name one: the directory that iopath regress wrote)", c.FullName())
	}
	path := c.Args().First()
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = resultFile(path)
	}
	a, err := o.store.Add(ctx, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %d results of %s at %s, against %s, added to %s:%s\n",
		a.Name, a.Lines, cmp.Or(a.Machine, a.Print), a.Head, a.Base, o.store.Branch, a.File)
	return err
}

// read reads what -unit and -filter ask for.
func (o *historyOptions) read(ctx context.Context, c *cli.Command) (*history.History, error) {
	if c.Args().Present() {
		return nil, usage("%s takes no arguments, got %q", c.FullName(), c.Args().First())
	}
	units := strings.FieldsFunc(o.units, func(r rune) bool { return r == ',' || r == ' ' })
	return o.store.Read(ctx, history.Options{Units: units, Filter: o.filter})
}

// few is below which hardly any change can be told from chance.
const few = 20

func (o *historyOptions) check(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	if o.recent < 0 {
		return usage("-recent %d: want a number of runs", o.recent)
	}
	h, err := o.read(ctx, c)
	if err != nil {
		return err
	}
	changes := slices.DeleteFunc(h.Changes(), func(c history.Change) bool { return c.After.Date.Before(o.since.Time) })
	recent := 0
	for _, c := range changes {
		if o.isRecent(c) {
			recent++
		}
	}
	if o.json {
		err = o.writeJSON(stdout, h, changes, recent)
	} else {
		err = o.writeText(stdout, h, changes, recent)
	}
	switch {
	case err != nil:
		return err
	case recent > 0:
		return errNo
	case h.Longest() < history.MinRuns:
		return errInconclusive
	}
	return nil
}

// isRecent reports whether a change is one that a nightly job fails for.
func (o *historyOptions) isRecent(c history.Change) bool { return c.Worse && c.Age <= o.recent }

// summary says what was looked at.
func (o *historyOptions) summary(h *history.History) string {
	first, last := h.Span()
	return fmt.Sprintf("%s: %s of %s to %s; %d series of %s, each head ÷ pinned base",
		o.store.Branch, count(len(h.Runs), "run"), first.Format(time.DateOnly), last.Format(time.DateOnly), len(h.Series), o.units)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (o *historyOptions) writeText(w io.Writer, h *history.History, changes []history.Change, recent int) error {
	var b strings.Builder
	line := func(text string) {
		for _, l := range wrap(text, width(w)) {
			fmt.Fprintln(&b, l)
		}
	}
	line(o.summary(h))
	if len(changes) > 0 {
		b.WriteString("\n")
		writeChanges(&b, h, changes, width(w))
	}
	b.WriteString("\n")
	switch n := h.Longest(); {
	case n < history.MinRuns:
		line(fmt.Sprintf("No series has the %d runs that two segments need: the longest has %d (iopath history add adds one).", history.MinRuns, n))
	case len(changes) == 0:
		line("No change.")
	}
	if n := h.Longest(); n >= history.MinRuns && n < few {
		line(fmt.Sprintf("The longest series has %d runs; with fewer than %d, hardly any change can be told from chance.", n, few))
	}
	if len(changes) > 0 {
		line(fmt.Sprintf("%s, %d for the worse within the newest %s of its machine.", count(len(changes), "change"), recent, count(o.recent, "run")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeChanges writes the table: a line of figures, and the cell on it where there is
// room, else below.
func writeChanges(b *strings.Builder, h *history.History, changes []history.Change, width int) {
	several := func(of func(*history.Series) string) bool {
		return slices.ContainsFunc(h.Series, func(s *history.Series) bool { return of(s) != of(h.Series[0]) })
	}
	prints := several(func(s *history.Series) string { return s.Print })
	bases := several(func(s *history.Series) string { return s.Base })
	units := several(func(s *history.Series) string { return s.Unit })

	rows := [][]string{{"change", "ratio", "since", "runs", "p", "commits"}}
	names := []string{""}
	for _, c := range changes {
		rows = append(rows, []string{
			sizeText100(c.Size()), fmt.Sprintf("%.3f → %.3f", c.From, c.To), c.After.Date.Format(time.DateOnly),
			fmt.Sprint(c.Age), fmt.Sprintf("%.4f", c.P), commits(c),
		})
		name := "better"
		if c.Worse {
			name = "worse"
		}
		name = fmt.Sprintf("%-6s  %s", name, c.Series.Cell)
		if units {
			name += ", " + c.Series.Unit
		}
		if prints {
			name += ", on " + strings.TrimSpace(c.After.Machine+" "+c.Series.Print)
		}
		if bases {
			name += ", against " + c.Series.Base
		}
		if what := meanwhile(c); what != "" {
			name += "; " + what
		}
		names = append(names, name)
	}
	widths := make([]int, len(rows[0]))
	longest := 0
	for i, row := range rows {
		for k, cell := range row {
			widths[k] = max(widths[k], utf8.RuneCountInString(cell))
		}
		longest = max(longest, utf8.RuneCountInString(names[i]))
	}
	total := longest
	for _, n := range widths {
		total += n + 2
	}
	for i, row := range rows {
		text := ""
		for k, cell := range row {
			pad := strings.Repeat(" ", widths[k]-utf8.RuneCountInString(cell))
			if k == 2 || k == 5 { // words
				text += cell + pad + "  "
			} else {
				text += pad + cell + "  "
			}
		}
		if total <= width {
			fmt.Fprintln(b, strings.TrimRight(text+names[i], " "))
			continue
		}
		fmt.Fprintln(b, strings.TrimRight(text, " "))
		if names[i] == "" {
			continue
		}
		for k, l := range wrap(names[i], width-4) {
			if k == 0 {
				l = strings.Replace(l, " ", "  ", 1) // wrap takes one of the two out
			}
			fmt.Fprintln(b, "  "+strings.Repeat(" ", 2*min(k, 1))+l)
		}
	}
}

// sizeText100 writes a share as a signed percentage.
func sizeText100(v float64) string {
	if v >= 1 {
		return fmt.Sprintf("+%.0f %%", v*100)
	}
	return strings.Replace(fmt.Sprintf("%+.1f %%", v*100), "-", "−", 1)
}

// commits are those between which it happened, as git takes them.
func commits(c history.Change) string {
	if c.Before.Head == c.After.Head {
		return "at " + c.After.Head // it was not the code
	}
	return c.Before.Head + ".." + c.After.Head
}

// meanwhile is what else changed between the two runs.
func meanwhile(c history.Change) string {
	var all []string
	for _, f := range []struct{ what, before, after string }{{"kernel", c.Before.Kernel, c.After.Kernel}, {"Go", c.Before.Go, c.After.Go}} {
		if f.before != f.after {
			all = append(all, fmt.Sprintf("%s %s → %s", f.what, cmp.Or(f.before, "unknown"), cmp.Or(f.after, "unknown")))
		}
	}
	return strings.Join(all, ", ")
}

func (o *historyOptions) writeJSON(w io.Writer, h *history.History, changes []history.Change, recent int) error {
	type run struct {
		Run    string `json:"run"`
		Date   string `json:"date"`
		Commit string `json:"commit"`
		Kernel string `json:"kernel,omitempty"`
		Go     string `json:"go,omitempty"`
	}
	type change struct {
		Cell    string  `json:"cell"`
		Unit    string  `json:"unit"`
		Machine string  `json:"machine,omitempty"`
		Print   string  `json:"fingerprint"`
		Base    string  `json:"base"`
		From    float64 `json:"from"` // ratios head ÷ base
		To      float64 `json:"to"`
		Size    float64 `json:"change"` // as a share
		Worse   bool    `json:"worse"`
		Recent  bool    `json:"recent"` // and worse: the exit status is 1
		Runs    int     `json:"runs_since"`
		P       float64 `json:"p"`
		Before  run     `json:"before"` // the last run before
		After   run     `json:"after"`  // the first one after
	}
	about := func(r history.Run) run {
		return run{r.Name, r.Date.Format(time.RFC3339), r.Head, r.Kernel, r.Go}
	}
	all := []change{}
	for _, c := range changes {
		all = append(all, change{
			c.Series.Cell, c.Series.Unit, c.After.Machine, c.Series.Print, c.Series.Base,
			c.From, c.To, c.Size(), c.Worse, o.isRecent(c), c.Age, c.P, about(c.Before), about(c.After),
		})
	}
	verdict := "none"
	switch {
	case recent > 0:
		verdict = "regression"
	case h.Longest() < history.MinRuns:
		verdict = "inconclusive"
	}
	return writeJSON(w, struct {
		Branch  string   `json:"branch"`
		Runs    int      `json:"runs"`
		Series  int      `json:"series"`
		Longest int      `json:"longest"` // runs of the longest series
		Verdict string   `json:"verdict"`
		Changes []change `json:"changes"`
	}{o.store.Branch, len(h.Runs), len(h.Series), h.Longest(), verdict, all})
}

func (o *historyOptions) plot(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	if o.charts < 1 {
		return usage("-charts %d: want at least one", o.charts)
	}
	h, err := o.read(ctx, c)
	if err != nil {
		return err
	}
	paths, err := o.drawings(h).Draw(nil, o.out, strings.FieldsFunc(o.format, func(c rune) bool { return c == ',' || c == ' ' })...)
	for _, path := range paths {
		fmt.Fprintln(stdout, path)
	}
	return err
}

// maxOverview is the most series that one page has below one another.
const maxOverview = 40

// drawings are charts of the series that changed the most for the worse, and one of
// all of them; of the longest series where nothing changed.
func (o *historyOptions) drawings(h *history.History) (all plots.Drawings) {
	bySeries := map[*history.Series][]history.Change{}
	var order []*history.Series
	for _, c := range h.Changes() {
		if bySeries[c.Series] == nil {
			order = append(order, c.Series)
		}
		bySeries[c.Series] = append(bySeries[c.Series], c)
	}
	if len(order) == 0 {
		order = append(order, slices.MaxFunc(h.Series, func(a, b *history.Series) int { return cmp.Compare(len(a.Points), len(b.Points)) }))
	}
	overview := plots.Timelines{
		Headline: plots.Headline{Name: "history-overview", Title: "What changed against the pinned base, and when?"},
		Note:     fmt.Sprintf("Of %d series, %d changed.", len(h.Series), len(bySeries)),
	}
	if len(h.Series) == 1 {
		overview.Note = ""
	}
	if len(order) > maxOverview {
		overview.Note += fmt.Sprintf(" The %d that became worse the most are drawn.", maxOverview)
	}
	whats, sources := map[string]bool{}, []string{}
	for i, s := range order {
		series := timelineSeries(h, s, bySeries[s])
		source := sourceOf(h, s)
		if i < maxOverview {
			overview.Series = append(overview.Series, series)
			whats[whatOf(s.Unit)] = true
			if !slices.Contains(sources, source) {
				sources = append(sources, source)
			}
		}
		if i < o.charts {
			all = append(all, plots.Timeline{
				Headline: plots.Headline{Name: fmt.Sprintf("history-%02d-%s", i+1, slug(s.Cell+"-"+s.Unit)), Title: title(s, bySeries[s])},
				What:     whatOf(s.Unit), Series: series, Note: series.Name, Source: source,
			})
		}
	}
	overview.What = strings.Join(slices.Sorted(func(yield func(string) bool) {
		for what := range whats {
			if !yield(what) {
				return
			}
		}
	}), ", ")
	overview.Source = strings.Join(sources[:min(len(sources), 3)], "\n")
	if n := len(sources) - 3; n > 0 {
		overview.Source += fmt.Sprintf("\nand %d more machines or bases", n)
	}
	return append(all, overview)
}

// title is the chart's question, with the answer.
func title(s *history.Series, changes []history.Change) string {
	name, _, _ := strings.Cut(s.Cell, "/")
	if len(changes) == 0 {
		return fmt.Sprintf("%s against the pinned base: no change", name)
	}
	return fmt.Sprintf("%s against the pinned base: %s", name, count(len(changes), "change"))
}

func timelineSeries(h *history.History, s *history.Series, changes []history.Change) plots.TimelineSeries {
	t := plots.TimelineSeries{Name: s.Cell}
	if s.Unit != "sec/op" {
		t.Name += ", " + s.Unit
	}
	for _, p := range s.Points {
		r := h.Runs[p.Run]
		t.Points = append(t.Points, plots.TimelinePoint{At: r.Date, Ratio: p.Ratio, N: p.N, Commit: r.Head})
	}
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b history.Change) int { return cmp.Compare(a.At, b.At) })
	for _, c := range changes {
		t.Changes = append(t.Changes, plots.TimelineChange{First: c.At, Label: c.After.Head + " " + sizeText100(c.Size()), Worse: c.Worse, P: c.P})
	}
	return t
}

// sourceOf says where the figures of a series come from.
func sourceOf(h *history.History, s *history.Series) string {
	first, last := h.Runs[s.Points[0].Run], h.Runs[s.Points[len(s.Points)-1].Run]
	facts := []string{last.Machine, last.CPU, "fingerprint " + s.Print, "pinned base " + s.Base, first.Date.Format(time.DateOnly) + " to " + last.Date.Format(time.DateOnly)}
	return strings.Join(slices.DeleteFunc(facts, func(f string) bool { return f == "" }), " · ")
}

// whatOf is what a unit is of.
func whatOf(unit string) string {
	switch unit {
	case "sec/op":
		return "time"
	case "cpu-sec/op":
		return "CPU time"
	}
	return unit
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// slug makes a file's name of a cell's.
func slug(cell string) string {
	s := strings.ToLower(strings.Trim(notInNames.ReplaceAllString(cell, "-"), "-."))
	return s[:min(len(s), 100)]
}
