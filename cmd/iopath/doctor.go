package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/internal/cgroup"
	"iopath/internal/counters"
	"iopath/internal/device"
	"iopath/internal/host"
	"iopath/internal/pagecache"
	"iopath/internal/peer"
)

// A finding is one thing that bears on what this machine lets us measure.
type finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	State  string `json:"state"`
	Remedy string `json:"remedy,omitempty"` // where it is not OK
}

func doctorCommand(stdout io.Writer) *cli.Command {
	var (
		dir    string
		asJSON bool
	)
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what this machine lets us measure, and what to do about the rest",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&dir, "dir", "", "`directory` of the data files (default: .iopath beside go.mod)")
			fs.BoolVar(&asJSON, "json", false, "print JSON")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath doctor takes no arguments, got %q", c.Args().First())
			}
			if dir == "" {
				var err error
				if dir, err = bench.DefaultDir(); err != nil {
					return err
				}
			}
			findings := examine(dir)
			if asJSON {
				return writeJSON(stdout, findings)
			}
			for _, f := range findings {
				mark := "ok  "
				if !f.OK {
					mark = "lack"
				}
				columns := min(width(stdout), 120) - 34
				text := wrap(f.State, columns)
				if f.Remedy != "" {
					text = append(text, wrap("→ "+f.Remedy, columns)...)
				}
				for i, line := range text {
					if i == 0 {
						fmt.Fprintf(stdout, "%s  %-27s %s\n", mark, f.What, line)
					} else {
						fmt.Fprintf(stdout, "%33s %s\n", "", line)
					}
				}
			}
			return nil
		},
	}
}

// examine looks at the machine, and at the place of the data files.
func examine(dir string) []finding {
	all := []finding{
		examineCounter(),
		examineHardware(),
		examineDeviceBytes(dir),
		examineShootdowns(),
		examineCold(dir),
		examineResidency(),
		examineSpace(dir),
		examineLLC(),
		examineCPUs(),
		examineGovernor(dir),
		examineNoise(),
		examineLimits(),
	}
	all = append(all, examineCrash()...)
	lacks := bench.Lacks(dir, "")
	for _, name := range slices.Sorted(maps.Keys(lacks)) {
		all = append(all, finding{What: "method " + name, State: lacks[name].Error(), Remedy: "its cells are skipped"})
	}
	for _, transport := range peer.Transports {
		if err := peer.Available(transport); err != nil {
			all = append(all, finding{What: "transport " + transport, State: err.Error(), Remedy: "its cells are skipped"})
		}
	}
	for _, tool := range []struct{ name, what, remedy string }{
		{"cc", "race detector", "install a C compiler: make test then runs with -race"},
		{"strace", "second opinion", "install strace: make test then checks counts against it"},
		{"shellcheck", "shell scripts", "install shellcheck: make test then checks scripts/"},
		{"fio", "peer of reads", "install fio: make crosscheck then compares with it"},
		{"iperf3", "peer of sends", "install iperf3: make crosscheck then compares with it"},
	} {
		f := finding{What: tool.what, OK: true}
		if path, err := exec.LookPath(tool.name); err != nil {
			f.OK, f.State, f.Remedy = false, tool.name+" is not installed", tool.remedy
		} else {
			f.State = path
		}
		all = append(all, f)
	}
	return all
}

func examineCounter() finding {
	f := finding{What: "system calls", OK: true, State: "counted by the kernel's tracepoints"}
	c, err := counters.OpenTracepoint()
	if err == nil {
		c.Close()
		return f
	}
	traceErr := counters.ProbeTrace()
	if traceErr == nil {
		f.State = "counted by a traced child, in the first round: 20 µs a call (as root: by the kernel's tracepoints, in every round)"
		return f
	}
	return finding{What: f.What, State: err.Error() + "; " + traceErr.Error(), Remedy: "until then there is no syscalls/op"}
}

// examineDeviceBytes tries a file of its own where the data files are to go.
func examineDeviceBytes(dir string) finding {
	f := finding{What: "device bytes"}
	if err := tryDeviceBytes(dir); err != nil {
		f.State, f.Remedy = err.Error(), "until then there is no device-B/op, and no Device cell to hold cold ones against"
		return f
	}
	f.OK, f.State = true, "/proc/thread-self/io tells them for each thread"
	return f
}

func tryDeviceBytes(dir string) error {
	for parent := filepath.Dir(dir); ; dir, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || parent == dir {
			break
		}
	}
	file, err := os.CreateTemp(dir, ".iopath-doctor-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := file.Write(make([]byte, 64<<10)); err != nil {
		return err
	}
	return device.Tells(file)
}

func examineHardware() finding {
	f := finding{What: "hardware counters", OK: true}
	scope, names, err := counters.ProbeHardware()
	if len(names) > 0 {
		f.State = strings.Join(names, ", ") + ", of " + scope
	}
	if err != nil {
		f.OK = false
		f.State = strings.TrimPrefix(f.State+"; "+err.Error(), "; ")
		f.Remedy = "their columns are absent"
	}
	return f
}

func examineShootdowns() finding {
	f := finding{What: "TLB shootdowns", OK: true, State: "counted by tracepoint tlb:tlb_flush"}
	if err := counters.ProbeShootdowns(); err != nil {
		f.OK, f.State, f.Remedy = false, err.Error(), "until then there is no tlb-shootdowns/op"
	}
	return f
}

func examineNoise() finding {
	f := finding{What: "noise"}
	before := host.ReadNoise()
	time.Sleep(50 * time.Millisecond)
	f.State = before.Until(host.ReadNoise()).String() + " just now"
	f.OK = strings.Contains(f.State, "psi")
	if !f.OK {
		f.Remedy = "boot with psi=1: the run then says how long tasks waited for CPU, disk and memory"
	}
	return f
}

func examineCold(dir string) finding {
	f := finding{What: "cold cells"}
	fs, err := host.Filesystem(dir)
	tmpfs, tmpErr := host.IsTmpfs(dir)
	switch {
	case err != nil || tmpErr != nil:
		f.State, f.Remedy = cmp.Or(err, tmpErr).Error(), "choose another place with -dir"
	case tmpfs:
		f.State, f.Remedy = fmt.Sprintf("%s is on %s, which has no device to be cold on", dir, fs), "choose a disk with -dir"
	default:
		f.OK, f.State = true, fmt.Sprintf("data files go to %s, on %s", dir, fs)
	}
	return f
}

func examineResidency() finding {
	f := finding{What: "residency"}
	file, err := os.CreateTemp("", "iopath-doctor-*")
	if err != nil {
		f.State, f.Remedy = err.Error(), "set TMPDIR to a place that you may write"
		return f
	}
	defer os.Remove(file.Name())
	defer file.Close()
	r, err := pagecache.Resident(file)
	if err != nil {
		f.State, f.Remedy = err.Error(), "without it no cell counts as warm or cold"
		return f
	}
	f.OK, f.State = true, "proven by "+r.Source
	return f
}

func examineSpace(dir string) finding {
	warm, cold := bench.DefaultSizes()
	f := finding{What: "disk space"}
	free, err := host.FreeSpace(dir)
	if err != nil {
		f.State, f.Remedy = err.Error(), "choose another place with -dir"
		return f
	}
	f.OK = free >= warm+cold
	f.State = fmt.Sprintf("%s free, the data files need %s", units.Base2Bytes(free).Round(1), units.Base2Bytes(warm+cold))
	if !f.OK {
		f.Remedy = "take a smaller -size, or another place with -dir"
	}
	return f
}

func examineLLC() finding {
	warm, _ := bench.DefaultSizes()
	llc, ok := host.LLC()
	if !ok {
		return finding{What: "last-level cache", State: "its size cannot be told", Remedy: "make sure with -size that the file is larger than it"}
	}
	f := finding{What: "last-level cache", OK: warm > llc,
		State: fmt.Sprintf("%s; a warm file has %s, %.2g times as much", units.Base2Bytes(llc), units.Base2Bytes(warm), float64(warm)/float64(llc))}
	if !f.OK {
		f.Remedy = "there is too little memory for a file beyond the cache: warm figures are the cache's, not memory's"
	}
	return f
}

func examineCPUs() finding {
	cpus, err := host.AllowedCPUs()
	if err != nil {
		return finding{What: "two CPUs", State: err.Error(), Remedy: "nothing is pinned"}
	}
	f := finding{What: "two CPUs", OK: len(cpus) > 1, State: fmt.Sprintf("we may run on %s", strings.Trim(fmt.Sprint(cpus), "[]"))}
	if !f.OK {
		f.Remedy = "sender and receiver share one CPU: their throughput is that of both in turn"
	}
	return f
}

func examineGovernor(dir string) finding {
	for _, fact := range host.Facts(dir, host.Options{}) {
		if fact.Key == "governor" && (strings.HasPrefix(fact.Value, "powersave") || strings.HasPrefix(fact.Value, "ondemand") || strings.HasPrefix(fact.Value, "schedutil")) {
			return finding{What: "clock", State: "governor " + fact.Value, Remedy: "set it to performance: cpupower frequency-set -g performance"}
		}
	}
	return finding{What: "clock", OK: true, State: "no governor slows it down"}
}

func examineLimits() finding {
	f := finding{What: "memory limits", OK: true, State: "cgroups can be made: iopath larger and iopath pressure work"}
	if err := cgroup.Probe(); err != nil {
		f = finding{What: "memory limits", State: err.Error(), Remedy: "iopath larger and iopath pressure are left out"}
	}
	return f
}
