// Package plots draws result lines as charts.
//
// It takes what internal/summary read, from any file in the Go benchmark
// format, and knows nothing of how the lines came to be. A Chart is declared
// by a name, a question, a filter, the keys of its x axis and its series, a
// unit, and what bounds it from above and below; Spine lists the suite's own.
// Each point is a median with its 95 % interval over the raw measurements,
// which stay visible. What was not measured is not drawn, and a chart for which
// nothing was is not drawn at all.
//
// The same input gives the same bytes, as SVG and as PNG. A series keeps its
// colour, shape and dash in every chart of a file, and from file to file too:
// well-known names always, others unless two names of one file want the same.
//
// Limits: one panel a chart, lines over an ordered x axis; names longer than
// maxName characters are shortened in their middle.
package plots

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"iopath/internal/summary"
)

// A Chart is declared, not programmed.
type Chart struct {
	Name    string   // of the file, without its extension
	Title   string   // the question that the chart answers
	Filter  string   // benchproc filter of the cells to draw, "" for all
	X       string   // key of the x axis, such as /block
	Order   []string // of the x values, where they are words with an order; others come behind
	Series  string   // key that tells the lines apart, such as /method
	Unit    string   // as in the file (ns/op, MB/s, syscalls/op) or tidied (sec/op, B/s); X/GiB is computed from X/op
	Y       string   // what the y axis shows, without its unit; "" for the name of Unit
	Log     bool     // y in decades, with a place for zero; else linear from zero
	Section string   // heading that a report puts the chart under

	Ceiling      string   // filter of cells that bound the others from above, "" for none
	CeilingLabel string   // what they are the ceiling of: memory, socket, device
	CeilingBy    []string // keys, beside X, in which a cell and its ceiling agree; a line for each set of values
	CeilingFlat  bool     // whether the highest of them bounds all, whatever its X
	Floors       []Floor
}

// A Floor is a horizontal line: the least of one unit among the cells that a
// filter keeps. It is drawn where it is near the figures.
type Floor struct {
	Filter, Unit string
	Label        string
}

// ErrNoData marks the error of a chart for which nothing was measured. It is
// a summary.ErrInput too.
var ErrNoData = errors.New("nothing to plot")

// Formats are the file formats that Draw writes.
func Formats() []string { return []string{"svg", "png"} }

// Draw draws those charts of the Spine for which there is data into outDir,
// which it makes if need be, and returns the paths of the files. Without
// formats it writes them all. Where no chart has data the error is ErrNoData.
func Draw(results *summary.Results, outDir string, formats ...string) ([]string, error) {
	var paths []string
	for _, c := range Spine() {
		p, err := c.Draw(results, outDir, formats...)
		if errors.Is(err, ErrNoData) {
			continue
		}
		paths = append(paths, p...)
		if err != nil {
			return paths, err
		}
	}
	if len(paths) == 0 {
		return nil, noData("draw charts: no result is of a benchmark of the suite (draw a chart of your own: iopath plot -x KEY -series KEY -unit UNIT)")
	}
	return paths, nil
}

// Draw draws one chart as outDir/Name.FORMAT for each format, all of them if
// none is given, and returns the paths. A file appears whole or not at all.
// The error is ErrNoData where the filter or the unit leaves nothing, and
// summary.ErrInput for a filter, key or format that is none.
func (c Chart) Draw(results *summary.Results, outDir string, formats ...string) ([]string, error) {
	if len(formats) == 0 {
		formats = Formats()
	}
	for _, f := range formats {
		if !slices.Contains(Formats(), f) {
			return nil, summary.Errorf("draw %s: unknown format %q (take svg or png)", c.Name, f)
		}
	}
	if c.Name == "" || c.Name != filepath.Base(c.Name) || c.Name == "." || c.Name == ".." {
		return nil, summary.Errorf("draw chart: %q is no name for a file (take letters, digits, - and _)", c.Name)
	}
	d, err := c.collect(results)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		return nil, fmt.Errorf("draw %s: %w (choose a directory that can be written)", c.Name, err)
	}
	var paths []string
	for _, f := range formats {
		path := filepath.Join(outDir, c.Name+"."+f)
		if err := writeFile(path, d.render(f)); err != nil {
			return paths, fmt.Errorf("draw %s: %w", path, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// writeFile replaces path at once: a reader sees the old file or the new one.
func writeFile(path string, content io.WriterTo) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := content.WriteTo(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// noDataError is both ErrNoData and summary.ErrInput.
type noDataError struct{ error }

func (noDataError) Is(target error) bool { return target == ErrNoData || target == summary.ErrInput }

func noData(format string, args ...any) error {
	return noDataError{fmt.Errorf(format, args...)}
}
