package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"iopath/internal/host"
	"iopath/internal/summary"
)

// A runPlace says where a run lands: RESULTS/MACHINE/RUN.
type runPlace struct{ machine, run, results string }

func (p *runPlace) register(fs *flag.FlagSet) {
	fs.StringVar(&p.results, "results", "results", "`directory` that runs land in, as MACHINE/RUN")
	fs.StringVar(&p.machine, "machine", "", "`name` of this machine in the results (default: the host's)")
	fs.StringVar(&p.run, "run", "", "`name` of the run (default: date, time and kind)")
}

// resultFile is where a run's directory keeps its results.
func resultFile(run string) string { return filepath.Join(run, summary.ResultFile) }

// create makes the run's directory, which must be new, and its result file. kind ends
// the name of a run that the user has given none.
func (p *runPlace) create(kind string) (dir string, out *os.File, err error) {
	run := p.run
	if run == "" {
		run = time.Now().Format("2006-01-02T15-04-05") + "-" + kind
	}
	machine := host.MachineName(p.machine)
	if run != filepath.Base(run) || run == "." || run == ".." || machine == "" {
		return "", nil, usage("-run %q, -machine %q: not a name (take letters, digits, - and _)", run, p.machine)
	}
	dir = filepath.Join(p.results, machine, run)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", nil, usage("make the run's directory: %w (choose another place with -results)", err)
	}
	err = os.Mkdir(dir, 0o755)
	for again := 2; errors.Is(err, fs.ErrExist) && p.run == ""; again++ {
		// Another run began in the same second.
		dir = filepath.Join(p.results, machine, fmt.Sprintf("%s-%d", run, again))
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return "", nil, usage("run %s exists (choose another name with -run)", dir)
	} else if err != nil {
		return "", nil, usage("make the run's directory: %w (choose another place with -results)", err)
	}
	out, err = os.OpenFile(resultFile(dir), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		os.Remove(dir)
		return "", nil, usage("make the result file: %w (choose another place with -results)", err)
	}
	return dir, out, nil
}

// discard removes a run that has nothing, and the directories around it where they are
// empty then.
func (p *runPlace) discard(dir string) {
	os.RemoveAll(dir)
	os.Remove(filepath.Dir(dir))
	os.Remove(p.results)
}
