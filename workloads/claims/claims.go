// Package claims puts what is said of mmap to the test: each claim is an experiment
// that measures, and returns a verdict with its evidence.
//
// The claims are those of the article that this project grew out of ("What happens to
// mmap-mapped files when a program crashes?") and of common lore. A claim holds, fails,
// or depends, and Finding.Because says on what. The contract:
//
//  1. A verdict is of this machine and this kernel, at this time. Every figure that it
//     rests on is in its evidence.
//  2. What cannot be tried here is skipped with the reason: the error of Claim.Run then
//     matches errors.ErrUnsupported. Any other error is a defect, of ours or of the
//     machine, and no verdict.
//  3. Experiments that end in a signal run in a child process, which is this program
//     again (see Child).
//  4. Files are made in a directory of the Lab's own, which Close removes, and where
//     this process is killed, another one that waits for that (see startGuard).
//
// The experiments run one at a time. Those about speed need others to measure (Lab.Bench);
// the package itself times only what nobody else measures.
package claims

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"iopath/internal/verdict"
)

// A Verdict is what an experiment came to.
type Verdict string

const (
	Holds   Verdict = "holds"
	Fails   Verdict = "fails"
	Depends Verdict = "depends"
)

// Evidence is one figure that a verdict rests on.
type Evidence struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // s, B, faults, pages, calls, ratio, %, or YesNo; "" for a bare number
	Note  string  `json:"note,omitempty"`
}

// YesNo is the unit of what is so or not: 1 or 0.
const YesNo = "yes/no"

// NotTried is the unit of what could not be tried; the note says why.
const NotTried = "not tried"

// A Finding is a verdict with its reasons.
type Finding struct {
	Verdict  Verdict    `json:"verdict"`
	Because  string     `json:"because"` // one sentence
	Evidence []Evidence `json:"evidence"`
}

// see adds a figure.
func (f *Finding) see(what string, value float64, unit string) {
	f.Evidence = append(f.Evidence, Evidence{What: what, Value: value, Unit: unit})
}

// is adds what is so or not.
func (f *Finding) is(what string, so bool) bool {
	v := 0.0
	if so {
		v = 1
	}
	f.see(what, v, YesNo)
	return so
}

// untried adds what could not be tried.
func (f *Finding) untried(what, why string) {
	f.Evidence = append(f.Evidence, Evidence{What: what, Unit: NotTried, Note: why})
}

// seeRatio adds a ratio with its interval.
func (f *Finding) seeRatio(what string, r verdict.Ratio) {
	f.Evidence = append(f.Evidence, Evidence{What: what, Value: r.Value, Unit: "ratio", Note: strings.TrimSpace(r.Bounds() + fmt.Sprintf(" n=%d", r.N))})
}

// A Claim is a sentence that can be true or false here.
type Claim struct {
	Number int
	Name   string // of the experiment, in one word or two
	Text   string // as people say it
	Run    func(context.Context, *Lab) (Finding, error)
}

// All lists the claims in their order.
func All() []Claim { return all }

// Lookup returns the claims of these numbers or names, in their order; all for none.
func Lookup(wanted []string) ([]Claim, error) {
	if len(wanted) == 0 {
		return all, nil
	}
	var found []Claim
	known := map[string]bool{}
	for _, c := range all {
		asked := false
		for _, w := range wanted {
			if w == c.Name || w == fmt.Sprint(c.Number) {
				asked, known[w] = true, true
			}
		}
		if asked {
			found = append(found, c)
		}
	}
	for _, w := range wanted {
		if !known[w] {
			return nil, fmt.Errorf("claim %q is unknown (there are 1 to %d; see iopath claims -list)", w, len(all))
		}
	}
	return found, nil
}

// Series are the measurements of a cell by unit, the k-th of round k.
type Series map[string][]float64

// A Bench measures cells of the suite by their names, round by round.
type Bench interface {
	// Cells measures each cell once a round, with its system calls counted. The error
	// matches errors.ErrUnsupported where a cell cannot be measured here.
	Cells(ctx context.Context, rounds int, names ...string) (map[string]Series, error)
	// Crossover returns the sizes in bytes of files between which mapping one begins
	// to be faster than reading it; 0: there is none that is certain.
	Crossover(ctx context.Context) (above, upTo int64, err error)
	// Pressure holds a file of HeldSize bytes, as a "mapping" and as a copy on the
	// "heap", in a control group beside a neighbour that takes as much memory as there
	// is. Its files are in dir. The error matches errors.ErrUnsupported where there can
	// be no group, or no swap and swap is wanted.
	Pressure(ctx context.Context, dir string, swap bool) ([]Held, error)
	// KernelLoss loses a kernel under a writer that does not sync its stores to a shared
	// mapping, and one that syncs each. The error matches errors.ErrUnsupported where no
	// kernel can be lost.
	KernelLoss(ctx context.Context) (KernelLoss, error)
}

// A KernelLoss is what was lost of records that were stored, and synced or not.
type KernelLoss struct {
	By                     string // the way to lose a kernel
	Unsynced, UnsyncedLost uint64
	Synced, SyncedLost     uint64
}

// HeldSize is the bytes of the file that Bench.Pressure holds.
const HeldSize = 64 << 20

// Held is what became of a file that was held under pressure. Sizes are in bytes.
type Held struct {
	How               string // "mapping" or "heap"
	Neighbour         int64  // what the neighbour has taken
	Resident, Swapped int64  // of what is held
	Device            int64  // read from the device to read all of it again
	Killed            string // "holder" or "neighbour", by the kernel; nothing else is known then
}

// A Lab is where the experiments run.
type Lab struct {
	Bench Bench // nil: what needs it is skipped
	dir   string
	guard io.Closer
}

// NewLab makes the experiments' directory below dir.
func NewLab(dir string) (*Lab, error) {
	place, err := os.MkdirTemp(dir, labPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the experiments: %w (choose another place with -dir)", err)
	}
	l := &Lab{dir: place}
	// What /proc/self/maps calls the files.
	if l.dir, err = filepath.Abs(place); err == nil {
		if l.dir, err = filepath.EvalSymlinks(l.dir); err == nil {
			l.guard, err = startGuard(l.dir)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a directory for the experiments: %w", err), os.RemoveAll(place))
	}
	return l, nil
}

// Close removes what the experiments made.
func (l *Lab) Close() error { return errors.Join(os.RemoveAll(l.dir), l.guard.Close()) }

// labPrefix begins the name of a Lab's directory.
const labPrefix = "claims-"

// errNoBench skips what others have to measure.
var errNoBench = unsupported("nothing measures cells here")

// unsupported is the error of an experiment that cannot be made here.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errors.ErrUnsupported, fmt.Errorf(format, args...))
}

// Why is what an ErrUnsupported says beyond that.
func Why(err error) string {
	return strings.TrimPrefix(err.Error(), errors.ErrUnsupported.Error()+": ")
}
