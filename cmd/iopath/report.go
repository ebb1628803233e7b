package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"iopath/internal/advice"
	"iopath/internal/atomicfile"
	"iopath/internal/report"
	"iopath/internal/suite"
	"iopath/internal/summary"
	"iopath/plots"
)

// The files of a report.
const (
	readmeFile = "README.md"
	pageFile   = "report.html"
)

// reportOptions are the flags of iopath report.
type reportOptions struct{ out string }

func (o *reportOptions) register(fs *flag.FlagSet) {
	fs.StringVar(&o.out, "out", "", "`directory` for the report and its charts (default: the run's)")
}

func reportCommand(stdout io.Writer) *cli.Command {
	var o reportOptions
	return &cli.Command{
		Name:      "report",
		Usage:     "write README.md and report.html of a run, findings first",
		ArgsUsage: "RUN or FILE...",
		Description: "Draws the charts of a run anew and writes two reports beside them. README.md\n" +
			"is for a forge. report.html is one file that needs no other and no network,\n" +
			"with all cells in one table to sort and filter; its address keeps the view,\n" +
			"to be shared:\n\n" +
			"   report.html#method=mmap&sort=-B/s\n\n" +
			"Any file in the Go benchmark format will do, also one that this suite never\n" +
			"made.",
		Flags:  flags(o.register),
		Action: func(_ context.Context, c *cli.Command) error { return o.do(c, stdout) },
	}
}

func (o *reportOptions) do(c *cli.Command, stdout io.Writer) error {
	files, err := resultFiles(c)
	if err != nil {
		return err
	}
	results, err := readResults(c)
	if err != nil {
		return err
	}
	dir, err := reportDir(o.out, c.Args().Slice(), files)
	if err != nil {
		return err
	}
	charts, err := plots.Spine().Draw(results, dir, "svg", "png")
	if err != nil && !errors.Is(err, plots.ErrNoData) {
		return err
	}
	r, err := newReport(dir, files, results, charts)
	if err != nil {
		return err
	}
	page := filepath.Join(dir, pageFile)
	if err := atomicfile.WriteFile(page, r.HTML); err != nil {
		return err
	}
	if !keepsReadme(dir, results) {
		r.Page = pageFile
		readme := filepath.Join(dir, readmeFile)
		if err := atomicfile.WriteFile(readme, r.Markdown); err != nil {
			return err
		}
		fmt.Fprintln(stdout, readme)
	}
	_, err = fmt.Fprintln(stdout, page)
	return err
}

// reportDir is where a report of the arguments goes: out, or the one run that is
// named. It exists when there is no error, and holds no other run and no README of
// another's.
func reportDir(out string, args, files []string) (string, error) {
	if st, err := os.Stat(args[0]); out == "" && len(args) == 1 && err == nil && st.IsDir() {
		out = args[0]
	}
	if out == "" {
		return "", usage("iopath report %s: where to? (name a directory by -out)", strings.Join(args, " "))
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", usage("make the report's directory: %w (choose another one by -out)", err)
	}
	if run, err := os.Stat(resultFile(out)); err == nil && !slices.ContainsFunc(files, func(file string) bool {
		st, err := os.Stat(file)
		return err == nil && os.SameFile(st, run)
	}) {
		return "", usage("write a report into %s: it is the directory of another run (choose another one by -out)", out)
	}
	return out, checkReadme(out)
}

// checkReadme returns an error where the directory has a README.md that is not
// iopath's to write over.
func checkReadme(dir string) error {
	readme := filepath.Join(dir, readmeFile)
	text, err := os.ReadFile(readme)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return usage("write %s: %w (choose another directory by -out)", readme, err)
	case !bytes.Contains(text, []byte("Made by `iopath")):
		return usage("write %s: it is there, and iopath did not make it (choose another directory by -out)", readme)
	}
	return nil
}

// keepsReadme reports whether the README.md of a run's directory stays as it is: that
// of an experiment says what the results by themselves do not.
func keepsReadme(dir string, results *summary.Results) bool {
	for _, file := range []string{resultFile(dir), filepath.Join(dir, readmeFile)} {
		if _, err := os.Stat(file); err != nil {
			return false
		}
	}
	cells, err := results.Cells("*")
	return err == nil && !slices.ContainsFunc(cells, func(c *summary.Cell) bool { return !suite.IsMoment(c.Key(".name")) })
}

// writeReport writes the README.md of a run, with the charts that were drawn of it.
func writeReport(dir string, results *summary.Results, charts []string) error {
	if keepsReadme(dir, results) {
		return nil
	}
	r, err := newReport(dir, []string{resultFile(dir)}, results, charts)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, pageFile)); err == nil {
		r.Page = pageFile
	}
	return atomicfile.WriteFile(filepath.Join(dir, readmeFile), r.Markdown)
}

// newReport puts together what is to be said of results: what they advise, and the
// charts at the paths.
func newReport(dir string, files []string, results *summary.Results, charts []string) (*report.Report, error) {
	runs, sources, err := origin(dir, files)
	if err != nil {
		return nil, err
	}
	r, err := report.New(strings.Join(runs, " and "), results)
	if err != nil {
		return nil, err
	}
	r.Sources = sources
	drawn := map[string]string{}
	for _, path := range charts {
		if name, isSVG := strings.CutSuffix(filepath.Base(path), ".svg"); isSVG {
			drawn[name] = path
		}
	}
	for _, d := range plots.Spine() {
		about := d.About()
		if path, ok := drawn[about.Name]; ok {
			r.Charts = append(r.Charts, report.Chart{Name: about.Name, Title: about.Title, Section: about.Section, Lead: about.Lead, SVG: path})
		}
	}
	advised, err := advice.Of(results)
	if errors.Is(err, summary.ErrInput) {
		return r, nil // a file without methods has nothing to advise
	}
	if err != nil {
		return nil, err
	}
	r.Findings, r.AdviceNotes = advice.Findings(advised), advice.Notes(results, advised)
	if !advice.Told(advised) {
		return r, nil // the notes say why, and rows without a verdict would say no more
	}
	for _, a := range advised {
		row := a.Row()
		r.Advice = append(r.Advice, report.Advice{Section: a.Section, Workload: row.Workload, Best: row.Best, Compared: row.Compared, Why: row.Why})
	}
	return r, nil
}

// origin tells where the results of a report into a directory come from: what their
// runs are called, and the files.
func origin(dir string, files []string) (runs []string, sources []report.Source, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, nil, err
		}
		runs = append(runs, summary.RunName(path))
		source := report.Source{Name: file}
		if filepath.Dir(path) == dir {
			source = report.Source{Name: filepath.Base(path), Beside: true}
		}
		sources = append(sources, source)
	}
	return runs, sources, nil
}

// plain are the words that a shell takes as they are.
var plain = regexp.MustCompile(`^[-+\w./:,=@%]+$`)

// commandLine writes the words of a command as a shell would have to be given them,
// on one line.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; !plain.MatchString(w) {
			quoted[i] = "'" + strings.NewReplacer("'", `'\''`, "\n", `'$'\n''`).Replace(w) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
