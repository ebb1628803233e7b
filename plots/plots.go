// Package plots draws result lines as charts.
//
// It takes what internal/summary read, from any file in the Go benchmark
// format, and knows nothing of how the lines came to be. A chart is declared,
// not programmed, as one of these drawings:
//
//   - A [Chart] has a line for each series over an ordered x axis: the keys of
//     x and series, a unit, a filter, what bounds it from above and below. With
//     one x it has a row for each series instead. It draws quantiles of a time
//     (Across) and ratios of paired measurements (Ratio) as well.
//   - [Bars] has a row for each series, of parts that add up.
//   - A [Versus] has a row for each series, in two states on one axis.
//   - A [Stack] has several quantities one below the other over one x axis.
//   - [Winners] has a field for each workload, with the series that wins there.
//   - [Effects] has a row for each comparison of two commits.
//   - [Power] has a line for each rule of comparing, by how often it finds a slowdown.
//   - A [Price] has a point for each sync policy: how fast it is, and what of it is lost.
//   - [Kept] has a row for each sync policy: what is intact, torn and lost.
//   - An [Age] has a line for each writer: what would be lost so long after it began.
//   - A [Timeline] has one series over time with its changes, [Timelines] many.
//
// Those from [Effects] on are given their figures, and take nothing from results.
//
// [Spine] lists the suite's own, and [Trends] and [Ratios] those of several runs. Each point is a median with its 95 % interval
// over the raw measurements, which stay visible. What was not measured is not
// drawn, and a chart for which nothing was is not drawn at all.
//
// The same input gives the same bytes, in every format. A series keeps its
// colour, shape and dash in every chart of a file, and from file to file too:
// well-known names always, others unless two names of one file want the same.
//
// Limits: names longer than maxName characters are shortened in their middle.
package plots

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"iopath/internal/atomicfile"
	"iopath/internal/summary"
)

// A Drawing is a chart that is declared.
type Drawing interface {
	About() Headline
	// sheet takes the drawing's figures from the results. The error is
	// ErrNoData where it finds none.
	sheet(*summary.Results) (*sheet, error)
}

// A Headline is what every drawing says of itself.
type Headline struct {
	Name    string // of the file, without its extension
	Title   string // the question that the chart answers
	Section string // heading that a report puts it under
	Lead    bool   // it answers the section's question, and the others explain it
}

// About implements that much of [Drawing] for the types that have a Headline.
func (h Headline) About() Headline { return h }

// Drawings are drawn together.
type Drawings []Drawing

// ErrNoData marks the error of a chart for which nothing was measured. It is
// a summary.ErrInput too.
var ErrNoData = errors.New("nothing to plot")

// Formats are the file formats that Draw writes: those that it writes unless
// others are asked for, and the others. The last is the table of the points.
func Formats() (usual, others []string) {
	return []string{"svg", "png"}, []string{"pdf", "csv"}
}

// Draw draws those for which there is data into outDir, as Name.FORMAT for each
// format, and returns the paths of the files in the order of the drawings. It
// makes outDir if need be; a file appears whole or not at all. The results may be nil
// where no drawing takes anything from them.
//
// The error is ErrNoData where none has data, and summary.ErrInput for a filter,
// key or format that is none.
func (ds Drawings) Draw(results *summary.Results, outDir string, formats ...string) ([]string, error) {
	usual, others := Formats()
	if len(formats) == 0 {
		formats = usual
	}
	for _, f := range formats {
		if all := slices.Concat(usual, others); !slices.Contains(all, f) {
			return nil, summary.Errorf("draw charts: unknown format %q (take %s)", f, strings.Join(all, ", "))
		}
	}
	if results == nil { // some drawings need none
		results = &summary.Results{}
	}
	if len(ds) == 1 { // its own error says more
		if _, err := ds[0].sheet(results); err != nil {
			return nil, err
		}
	}
	// Each drawing on its own: none shares anything with another but the results,
	// which nothing changes.
	paths, errs := make([][]string, len(ds)), make([]error, len(ds))
	var wait sync.WaitGroup
	tickets := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, d := range ds {
		wait.Add(1)
		tickets <- struct{}{}
		go func() {
			defer func() { <-tickets; wait.Done() }()
			paths[i], errs[i] = drawOne(d, results, outDir, formats)
		}()
	}
	wait.Wait()
	all := slices.Concat(paths...)
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch n := len(errs) - 1; {
	case n == 0:
		return all, errs[0]
	case n > 0: // most likely the same
		return all, fmt.Errorf("%w; and %d more charts are not drawn", errs[0], n)
	}
	if len(all) == 0 {
		own := func(d Drawing) bool {
			switch d.(type) {
			case Effects, Power, Price, Kept, Age:
				return false
			}
			return true
		}
		if !slices.ContainsFunc(ds, own) {
			return nil, noData("draw charts: no comparison has anything to draw")
		}
		if c, ok := ds[0].(Chart); ok && c.ratioKey() == ".file" {
			return nil, noData("draw charts: the two runs have no cell in common (name runs of the same workloads)")
		}
		return nil, noData("draw charts: no result is of a benchmark of the suite (draw a chart of your own: iopath plot -x KEY -series KEY -unit UNIT)")
	}
	return all, nil
}

// drawOne draws one of many: that it has no data is no error.
func drawOne(d Drawing, results *summary.Results, outDir string, formats []string) (paths []string, err error) {
	name := d.About().Name
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return nil, summary.Errorf("draw chart: %q is no name for a file (take letters, digits, - and _)", name)
	}
	s, err := d.sheet(results)
	if errors.Is(err, ErrNoData) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		return nil, fmt.Errorf("draw %s: %w (choose a directory that can be written)", name, err)
	}
	for _, f := range formats {
		path := filepath.Join(outDir, name+"."+f)
		content := s.render(f)
		err := atomicfile.WriteFile(path, func(w io.Writer) error {
			_, err := content.WriteTo(w)
			return err
		})
		if err != nil {
			return paths, fmt.Errorf("draw %s: %w", name, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// noDataError is both ErrNoData and summary.ErrInput.
type noDataError struct{ error }

func (noDataError) Is(target error) bool { return target == ErrNoData || target == summary.ErrInput }

func noData(format string, args ...any) error {
	return noDataError{fmt.Errorf(format, args...)}
}
