package bench

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/units"

	"iopath/internal/host"
)

// Pressure is an experiment that answers: what does a hungry neighbour leave of a
// file that is mapped for reading, and of a copy of it on the heap? One process holds
// the file, another takes more and more anonymous memory and stays, in a control
// group whose limit they share. Clean pages of a mapping are dropped, and read from
// the file again when they are wanted. A heap has nothing behind it but swap: its
// pages are written there first, and read from there. Without swap they stay, and
// the kernel kills somebody.
type Pressure struct {
	Size  int64  // bytes of the file
	Limit int64  // bytes of memory that the two share
	Swap  int64  // bytes of swap that they may use; 0: none
	Steps int    // by which the neighbour grows, from nothing to the limit
	Dir   string // of the file, and of the swap; empty: .iopath beside go.mod
}

// PressureMethods are the ways to hold the file.
var PressureMethods = []string{"mapping", "heap"}

// Register declares the experiment's flags, with their defaults.
func (p *Pressure) Register(fs *flag.FlagSet) {
	*p = Pressure{Size: 256 << 20, Limit: 512 << 20, Swap: 512 << 20}
	fs.Var((*SizeFlag)(&p.Size), "size", "`size` of the file")
	fs.Var((*SizeFlag)(&p.Limit), "limit", "`size` of the memory that the two processes share")
	fs.Var((*swapFlag)(&p.Swap), "swap", "`size` of the swap that they may use; where the machine has less, a file is made for the run; 0: none")
	fs.IntVar(&p.Steps, "steps", 8, "by how many `steps` the neighbour grows to the limit")
	fs.StringVar(&p.Dir, "dir", "", "`directory` of the file and the swap (default: .iopath beside go.mod)")
}

// A swapFlag is a size that may be nothing.
type swapFlag int64

func (s *swapFlag) String() string { return units.Base2Bytes(*s).String() }
func (s *swapFlag) Get() any       { return int64(*s) }
func (s *swapFlag) Set(v string) error {
	if v == "0" {
		*s = 0
		return nil
	}
	return (*SizeFlag)(s).Set(v)
}

// Check returns the error of options that cannot be run anywhere.
func (p Pressure) Check() error {
	_, err := p.resolve()
	return err
}

func (p Pressure) resolve() (Pressure, error) {
	switch {
	case p.Steps < 1 || p.Steps > 1000:
		return p, usage("-steps %d: not from 1 to 1000", p.Steps)
	case p.Limit < 2*leastLimit:
		return p, usage("-limit %v: two processes cannot do with less than %v", units.Base2Bytes(p.Limit), units.Base2Bytes(2*leastLimit))
	case p.Size%touched != 0 || p.Size > p.Limit*3/4:
		return p, usage("-size %v: not a multiple of 4KiB that leaves a quarter of the limit of %v", units.Base2Bytes(p.Size), units.Base2Bytes(p.Limit))
	case p.Swap != 0 && p.Swap < 1<<20:
		return p, usage("-swap %v: not 0, and less than 1MiB", units.Base2Bytes(p.Swap))
	}
	if p.Dir == "" {
		dir, err := DefaultDir()
		if err != nil {
			return p, err
		}
		p.Dir = dir
	}
	return p, nil
}

// A Step is one state of the neighbour, and what it has done to who holds the file.
type Step struct {
	Method    string
	Neighbour int64 // bytes that it has taken
	// Killed is who was killed by the kernel for want of memory when the neighbour
	// was to take so much: "neighbour" or "holder". There is nothing else then.
	Killed string

	Resident, Swapped           int64 // bytes of the holder's copy
	GroupAnon, GroupFile, InUse int64 // bytes of the group: anonymous, page cache, swap

	Took         time.Duration // to read all of it again
	Minor, Major int64         // page faults of that
	Device       int64         // bytes from the device, swap included
	SwapIn       int64         // bytes of them that came from swap
}

// PressureUnits are the units of the steps, with their metadata.
var PressureUnits = []string{
	"ns/op better=lower",
	"MB/s better=higher",
	"minflt/op better=lower",
	"majflt/op better=lower",
	"device-B/op better=lower",
	"swapin-B/op better=lower",
	"resident-B better=higher",
	"swapped-B better=lower",
	"group-anon-B assume=nothing",
	"group-file-B assume=nothing",
	"group-swap-B assume=nothing",
}

// name is the step's name in results.
func (p Pressure) name(s Step) string {
	return fmt.Sprintf("Pressure/size=%v/limit=%v/swap=%v/neighbour=%v/method=%s",
		units.Base2Bytes(p.Size), units.Base2Bytes(p.Limit), units.Base2Bytes(p.Swap), units.Base2Bytes(s.Neighbour), s.Method)
}

// line is the step as a result: one op is reading all of the file again.
func (p Pressure) line(s Step) string {
	if s.Killed != "" {
		return fmt.Sprintf("# note: Benchmark%s: the kernel killed the %s for want of memory", p.name(s), s.Killed)
	}
	return fmt.Sprintf("Benchmark%s\t1\t%d ns/op\t%.3f MB/s\t%d minflt/op\t%d majflt/op\t%d device-B/op\t%d swapin-B/op\t%d resident-B\t%d swapped-B\t%d group-anon-B\t%d group-file-B\t%d group-swap-B",
		p.name(s), s.Took.Nanoseconds(), perSecond(p.Size, s.Took)/1e6, s.Minor, s.Major, s.Device, s.SwapIn,
		s.Resident, s.Swapped, s.GroupAnon, s.GroupFile, s.InUse)
}

func (p Pressure) writeHeader(w io.Writer, group string, o host.Options) error {
	facts := append(host.Facts(p.Dir, o), host.Fact{Key: "memory-limit", Value: units.Base2Bytes(p.Limit).String()}, host.Fact{Key: "cgroup", Value: group})
	return writeHead(w, facts, PressureUnits)
}

// Verdict says what became of each way to hold the file, from the neighbour's first
// step to its last.
func (p Pressure) Verdict(steps []Step) []string {
	mib := func(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
	var lines []string
	for _, method := range PressureMethods {
		var first, last *Step
		killed := ""
		for i := range steps {
			switch s := &steps[i]; {
			case s.Method != method:
			case s.Killed != "":
				killed = fmt.Sprintf("; at %s the kernel killed the %s", mib(s.Neighbour), s.Killed)
			default:
				if first == nil {
					first = s
				}
				last = s
			}
		}
		if last == nil {
			continue
		}
		lines = append(lines, strings.Join([]string{
			fmt.Sprintf("%s: beside a neighbour of %s, %s of %s are resident and %s in swap", method, mib(last.Neighbour), mib(last.Resident), mib(p.Size), mib(last.Swapped)),
			fmt.Sprintf("reading all again takes %v (alone: %v), with %d major faults and %s from the device, %s of them from swap",
				last.Took.Round(time.Millisecond), first.Took.Round(time.Millisecond), last.Major, mib(last.Device), mib(last.SwapIn)) + killed,
		}, "; "))
	}
	return lines
}
