package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v3"
	"golang.org/x/perf/benchunit"

	"iopath/bench"
	"iopath/internal/cgroup"
	"iopath/internal/host"
	"iopath/internal/summary"
	"iopath/internal/trial"
	"iopath/workloads/claims"
)

// claimsOptions are the flags of iopath claims.
type claimsOptions struct {
	dir                  string
	list, markdown, json bool
}

func claimsCommand(stdout, stderr io.Writer) *cli.Command {
	var o claimsOptions
	return &cli.Command{
		Name:      "claims",
		Usage:     "put what is said of mmap to the test, each claim by an experiment",
		ArgsUsage: "[NUMBER or NAME...]",
		Description: "Each claim of the article and of common lore is tried here and now: it holds,\n" +
			"fails, or depends, with the figures that say so. What cannot be tried is\n" +
			"skipped, with the reason; root can try more. One of them waits until the\n" +
			"kernel writes dirty pages by itself, half a minute or so.\n\n" +
			"Exit status 1: an experiment broke; 3: none could be made.",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&o.dir, "dir", "", "`directory` for the experiments' files (default: .iopath beside go.mod)")
			fs.BoolVar(&o.list, "list", false, "list the claims, and try none")
			fs.BoolVar(&o.markdown, "markdown", false, "print Markdown")
			fs.BoolVar(&o.json, "json", false, "print JSON")
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			wanted, err := claims.Lookup(c.Args().Slice())
			if err != nil {
				return usage("%w", err)
			}
			if o.json && o.markdown {
				return usage("-json and -markdown: want one of them")
			}
			if o.list && o.json {
				var list []tried
				for _, c := range wanted {
					list = append(list, tried{Number: c.Number, Name: c.Name, Claim: c.Text})
				}
				return writeJSON(stdout, list)
			}
			if o.list {
				for _, c := range wanted {
					fmt.Fprintf(stdout, "%2d  %-12s  %s\n", c.Number, c.Name, hanging(c.Text, width(stdout), 18))
				}
				return nil
			}
			return o.do(ctx, wanted, stdout, stderr)
		},
	}
}

// A tried claim.
type tried struct {
	Number  int    `json:"number"`
	Name    string `json:"name"`
	Claim   string `json:"claim"`
	Skipped string `json:"skipped,omitempty"`
	Broken  string `json:"broken,omitempty"`
	claims.Finding
	Seconds float64 `json:"seconds"`
}

func (o *claimsOptions) do(ctx context.Context, wanted []claims.Claim, stdout, stderr io.Writer) (err error) {
	dir := o.dir
	if dir == "" {
		if dir, err = bench.DefaultDir(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usage("make the directory of the experiments: %w (choose another place with -dir)", err)
	}
	lab, err := claims.NewLab(dir)
	if err != nil {
		return usage("%w", err)
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	lab.Bench = cells{dir}
	var all []tried
	var interrupted error
	steps := newSteps(stderr, len(wanted))
	for _, c := range wanted {
		steps.begin(c.Text)
		began := time.Now()
		f, err := c.Run(ctx, lab)
		t := tried{Number: c.Number, Name: c.Name, Claim: c.Text, Finding: f, Seconds: time.Since(began).Seconds()}
		if ctx.Err() != nil {
			interrupted = fmt.Errorf("%w at claim %d", errInterrupted, c.Number)
			break
		}
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			t.Skipped, t.Finding = claims.Why(err), claims.Finding{}
		case err != nil:
			t.Broken, t.Finding = err.Error(), claims.Finding{}
		}
		all = append(all, t)
		steps.step(1, "")
	}
	steps.end()
	switch {
	case len(all) == 0 && interrupted != nil:
	case o.json:
		err = writeJSON(stdout, all)
	case o.markdown:
		err = claimsMarkdown(stdout, all)
	default:
		err = claimsText(stdout, all, width(stdout))
	}
	if err != nil {
		return err
	}
	if interrupted != nil {
		return interrupted
	}
	broken := false
	for _, t := range all {
		if t.Broken != "" {
			broken = true
			fmt.Fprintf(stderr, "iopath: claim %d: %s\n", t.Number, strings.ReplaceAll(t.Broken, "\n", "; "))
		}
	}
	if broken {
		return errNo
	}
	if !slices.ContainsFunc(all, func(t tried) bool { return t.Verdict != "" }) {
		return errInconclusive
	}
	return nil
}

// answer is a claim's verdict, or why there is none.
func (t tried) answer() (verdict, because string) {
	switch {
	case t.Skipped != "":
		return "skipped", t.Skipped
	case t.Broken != "":
		return "broken", t.Broken
	}
	return string(t.Verdict), t.Because
}

// figure writes evidence as a reader wants it.
func figure(e claims.Evidence) string {
	s := ""
	switch e.Unit {
	case claims.YesNo:
		if s = "no"; e.Value != 0 {
			s = "yes"
		}
	case claims.NotTried:
		return claims.NotTried + ": " + e.Note
	case "s":
		s = benchunit.Scale(e.Value, benchunit.ClassOf("sec")) + "s"
	case "B":
		if n := int64(e.Value); float64(n) == e.Value && (n < 1<<10 || n < 1<<20 && n%(1<<10) == 0 || n%(1<<20) == 0) {
			s = sizeText(n)
		} else {
			s = benchunit.Scale(e.Value, benchunit.ClassOf("B")) + "B"
		}
	case "ratio":
		s = fmt.Sprintf("%.2f", e.Value)
	case "%":
		s = fmt.Sprintf("%.1f %%", e.Value)
	default:
		digits := 1
		if e.Value == math.Trunc(e.Value) {
			digits = 0
		}
		s = strconv.FormatFloat(e.Value, 'f', digits, 64)
		if unit := e.Unit; e.Value == 1 {
			s += " " + strings.TrimSuffix(unit, "s")
		} else {
			s += " " + unit
		}
	}
	return strings.TrimSpace(s + " " + e.Note)
}

// figureColumns are at most those of a figure; one that is longer has its lines.
const figureColumns = 24

func claimsText(w io.Writer, all []tried, columns int) error {
	var b strings.Builder
	for _, t := range all {
		verdict, because := t.answer()
		fmt.Fprintf(&b, "%2d. %s\n", t.Number, hanging(t.Claim, columns, 4))
		fmt.Fprintf(&b, "    %s\n", hanging(strings.ToUpper(verdict)+": "+because, columns, 6))
		most := 0
		for _, e := range t.Evidence {
			if n := utf8.RuneCountInString(figure(e)); n <= figureColumns {
				most = max(most, n)
			}
		}
		for _, e := range t.Evidence {
			if f := figure(e); utf8.RuneCountInString(f) <= figureColumns {
				fmt.Fprintf(&b, "      %*s  %s\n", most, f, hanging(e.What, columns, 6+most+2))
			} else {
				fmt.Fprintf(&b, "      %*s  %s\n", most, "", hanging(e.What+": "+f, columns, 6+most+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// hanging breaks a text for a line that is indented by so many columns.
func hanging(s string, columns, indent int) string {
	return strings.Join(wrap(s, max(columns-indent, 20)), "\n"+strings.Repeat(" ", indent))
}

func claimsMarkdown(w io.Writer, all []tried) error {
	var b strings.Builder
	b.WriteString("| | claim | verdict | because |\n|---:|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	for _, t := range all {
		verdict, because := t.answer()
		fmt.Fprintf(&b, "| %d | %s | **%s** | %s |\n", t.Number, cell.Replace(t.Claim), verdict, cell.Replace(because))
	}
	b.WriteString("\n<details><summary>The evidence</summary>\n\n| | what | figure |\n|---:|---|---:|\n")
	for _, t := range all {
		for _, e := range t.Evidence {
			fmt.Fprintf(&b, "| %d | %s | %s |\n", t.Number, cell.Replace(e.What), cell.Replace(figure(e)))
		}
	}
	b.WriteString("\n</details>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// cells measures cells of the suite for the claims, in fresh processes, as iopath bench
// does.
type cells struct{ dir string }

func (m cells) KernelLoss(ctx context.Context) (claims.KernelLoss, error) {
	return kernelLoss(ctx, m.dir)
}

func (m cells) Cells(ctx context.Context, rounds int, names ...string) (map[string]claims.Series, error) {
	r := bench.Round{BenchTime: "100ms", CountAll: true, Options: bench.Options{Caches: []string{"warm"}, Dir: m.dir}}
	asked := map[string]string{} // by the names that results have
	for _, name := range names {
		c, err := bench.ParseCell(name)
		if err != nil {
			return nil, err
		}
		if c.Consume == "" && (c.Benchmark == "Read" || c.Benchmark == "Send") {
			c.Consume = "sum"
		}
		if w := strings.ToLower(c.Benchmark); !slices.Contains(r.Options.Workloads, w) {
			r.Options.Workloads = append(r.Options.Workloads, w)
		}
		r.Options.Size = max(r.Options.Size, c.Size)
		r.Cells = append(r.Cells, c)
		asked[c.Name()] = name
	}
	// The processes are killed when the thread that started them ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var printed bytes.Buffer
	for range rounds {
		rand.Shuffle(len(r.Cells), func(i, j int) { r.Cells[i], r.Cells[j] = r.Cells[j], r.Cells[i] })
		cmd, err := roundProcess(r)
		if err != nil {
			return nil, err
		}
		if err := trial.Process(ctx, cmd, &printed); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	results, err := summary.Read(summary.Input{Name: "the cells of this claim", Reader: &printed})
	if err != nil {
		return nil, err
	}
	if len(results.Skipped) > 0 {
		return nil, fmt.Errorf("%w: %s", errors.ErrUnsupported, results.Skipped[0])
	}
	all, err := results.Cells("*")
	if err != nil {
		return nil, err
	}
	found := map[string]claims.Series{}
	for _, c := range all {
		name := asked[strings.TrimSuffix(c.Name, "-"+c.Key("/gomaxprocs"))]
		s := claims.Series{}
		for _, unit := range c.Units {
			s[unit] = c.Values(unit)
		}
		found[name] = s
	}
	for _, name := range names {
		if found[name] == nil {
			why := "it printed nothing"
			if len(results.Failed) > 0 {
				why = results.Failed[0]
			}
			return nil, fmt.Errorf("measure %s: %s", name, why)
		}
	}
	return found, nil
}

// Pressure does as iopath pressure, smaller.
func (m cells) Pressure(ctx context.Context, dir string, swap bool) ([]claims.Held, error) {
	p := bench.Pressure{Size: claims.HeldSize, Limit: 2 * claims.HeldSize, Steps: 3, Dir: dir}
	if swap {
		p.Swap = 2 * claims.HeldSize
	}
	if err := cgroup.Probe(); err != nil {
		return nil, err
	}
	steps, err := p.Run(ctx, io.Discard, host.Options{}, func(string) {})
	if err == nil {
		err = context.Cause(ctx)
	}
	var held []claims.Held
	for _, s := range steps {
		held = append(held, claims.Held{How: s.Method, Neighbour: s.Neighbour, Resident: s.Resident, Swapped: s.Swapped, Device: s.Device, Killed: s.Killed})
	}
	return held, err
}

// Crossover searches as iopath crossover does, with fewer pairs.
func (m cells) Crossover(ctx context.Context) (above, upTo int64, err error) {
	o := crossoverOptions{a: "read", b: "mmap", pairs: 15}
	o.Dir = m.dir
	contest, err := bench.OpenContest(ctx, o.Options, o.a, o.b)
	if err != nil {
		return 0, 0, err
	}
	defer contest.Close()
	c, err := findCrossover(4<<10, 16<<20, int64(host.PageSize()), func(size int64) (contestAt, error) {
		return o.try(ctx, contest, size, io.Discard)
	})
	return c.above, c.upTo, err
}

// MarshalJSON leaves the finding out where there is none.
func (t tried) MarshalJSON() ([]byte, error) {
	type plain tried
	if t.Verdict != "" {
		return json.Marshal(plain(t))
	}
	return json.Marshal(struct {
		Number  int     `json:"number"`
		Name    string  `json:"name"`
		Claim   string  `json:"claim"`
		Skipped string  `json:"skipped,omitempty"`
		Broken  string  `json:"broken,omitempty"`
		Seconds float64 `json:"seconds"`
	}{t.Number, t.Name, t.Claim, t.Skipped, t.Broken, t.Seconds})
}
