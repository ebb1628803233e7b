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
	"strings"

	"github.com/urfave/cli/v3"

	"iopath/internal/advice"
	"iopath/internal/report"
	"iopath/internal/summary"
	"iopath/plots"
)

// The files of a report.
const (
	readmeFile = "README.md"
	pageFile   = "report.html"
)

func reportCommand(stdout io.Writer) *cli.Command {
	var out string
	return &cli.Command{
		Name:      "report",
		Usage:     "write a run's README.md and report.html: findings, advice, charts, tables",
		ArgsUsage: "RUN or FILE...",
		Description: "Draws the charts of a run anew and writes two reports beside them. README.md is for\n" +
			"a forge. report.html is one file that needs no other and no network, with all cells\n" +
			"in one table to sort and filter; its address keeps the view, to be shared:\n\n" +
			"   report.html#method=mmap&sort=-B/s\n\n" +
			"Any file in the Go benchmark format will do, also one that this suite never made.",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&out, "out", "", "`directory` for the report and its charts (default: the run's)")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			files, err := resultFiles(c)
			if err != nil {
				return err
			}
			results, err := readResults(c)
			if err != nil {
				return err
			}
			dir, err := reportDir(out, c.Args().Slice())
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
			if err := report.WriteFile(page, r.HTML); err != nil {
				return err
			}
			readme := filepath.Join(dir, readmeFile)
			if !ofExperiment(dir) {
				r.Page = pageFile
				if err := report.WriteFile(readme, r.Markdown); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(stdout, "%s\n%s\n", readme, page)
			return err
		},
	}
}

// reportDir is where a report of the arguments goes: out, or the one run that is
// named. It exists when there is no error, and has no README of another's.
func reportDir(out string, args []string) (string, error) {
	if st, err := os.Stat(args[0]); out == "" && len(args) == 1 && err == nil && st.IsDir() {
		out = args[0]
	}
	if out == "" {
		return "", usage("iopath report %s: where to? (name a directory by -out)", strings.Join(args, " "))
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", usage("make the report's directory: %w (choose another one by -out)", err)
	}
	readme := filepath.Join(out, readmeFile)
	text, err := os.ReadFile(readme)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", usage("write %s: %w (choose another directory by -out)", readme, err)
	case !bytes.Contains(text, []byte("Made by `iopath")):
		return "", usage("write %s: it is there, and iopath did not make it (choose another directory by -out)", readme)
	}
	return out, nil
}

// ofExperiment reports whether a run's README.md is that of iopath larger or iopath
// pressure: it stays, as it says what the results by themselves do not.
func ofExperiment(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, readmeFile))
	return err == nil && (bytes.Contains(text, []byte("Made by `iopath larger`")) || bytes.Contains(text, []byte("Made by `iopath pressure`")))
}

// writeReport writes the README.md of a run, with the charts that were drawn of it.
func writeReport(dir string, results *summary.Results, charts []string) error {
	if ofExperiment(dir) {
		return nil
	}
	r, err := newReport(dir, []string{resultFile(dir)}, results, charts)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, pageFile)); err == nil {
		r.Page = pageFile
	}
	return report.WriteFile(filepath.Join(dir, readmeFile), r.Markdown)
}

// newReport puts together what is to be said of results: what they advise, and the
// charts at the paths.
func newReport(dir string, files []string, results *summary.Results, charts []string) (*report.Report, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r, err := report.New(filepath.Base(dir), results)
	if err != nil {
		return nil, err
	}
	if len(files) == 1 {
		if file, err := filepath.Abs(files[0]); err == nil && filepath.Dir(file) == dir {
			r.Source = filepath.Base(file)
		}
	}
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
