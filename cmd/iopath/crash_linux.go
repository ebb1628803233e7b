package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/internal/host"
	"iopath/workloads/claims"
	"iopath/workloads/crash"
)

// crashOptions are the flags of iopath crash.
type crashOptions struct {
	place                                        runPlace
	dir                                          string
	methods, policies, layouts, faults, machines listValue
	filesystems                                  listValue
	cycles, runs                                 int
	seed                                         uint64
	kernel                                       string
	age                                          time.Duration
	full, json                                   bool
}

// A listValue is a flag of values separated by commas.
type listValue []string

func (l *listValue) String() string { return strings.Join(*l, ",") }
func (l *listValue) Get() any       { return []string(*l) }
func (l *listValue) Set(v string) error {
	*l = strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' })
	return nil
}

func (o *crashOptions) register(fs *flag.FlagSet) {
	var methods, policies, layouts, faults, machines []string
	for _, m := range crash.Methods {
		methods = append(methods, m.Name)
	}
	for _, p := range crash.Policies {
		policies = append(policies, p.Name)
	}
	for _, l := range crash.Layouts {
		layouts = append(layouts, l.Name)
	}
	for _, f := range crash.Faults {
		faults = append(faults, f.Name)
	}
	for _, b := range crash.Backends {
		machines = append(machines, b.Name)
	}
	fs.Var(&o.methods, "methods", "`methods` of writing: "+strings.Join(methods, ","))
	fs.Var(&o.policies, "policies", "sync `policies`: "+strings.Join(policies, ","))
	fs.Var(&o.layouts, "layouts", "`layouts` of the file: "+strings.Join(layouts, ",")+" (default: the one that each is mostly used with)")
	fs.Var(&o.faults, "faults", "`faults` of the process: "+strings.Join(faults, ",")+"; none: none of them")
	fs.Var(&o.machines, "backend", "`ways` to lose a machine: "+strings.Join(machines, ",")+"; none: none of them (default: the first that can be had here to lose its power, and its kernel)")
	fs.Var(&o.filesystems, "fs", "`filesystems` of the machine: ext4,xfs,btrfs (default: ext4)")
	fs.IntVar(&o.cycles, "cycles", 4, "so many `cycles` of each fault of the process")
	fs.IntVar(&o.runs, "runs", 0, "so many `runs` of each way to lose a machine (default: as many as take a minute or two)")
	fs.StringVar(&o.dir, "dir", "", "`directory` for the files (default: .iopath beside go.mod)")
	fs.Uint64Var(&o.seed, "seed", 0, "`seed` of the first cycle, the next has the next one (default: drawn, and recorded)")
	fs.StringVar(&o.kernel, "kernel", "", "`kernel` for backend qemu, its modules in lib/modules beside boot, where it is (default: the newest in /boot)")
	fs.DurationVar(&o.age, "age", 0, "also lose a slow writer's power each second for so `long`: loss by age (75s shows the kernel's 30 s twice)")
	fs.BoolVar(&o.full, "full", false, "all layouts, filesystems and ways to lose a machine, and five times the cycles: hours")
	fs.BoolVar(&o.json, "json", false, "print the table as JSON")
	o.place.register(fs)
}

func crashCommand(stdout, stderr io.Writer) *cli.Command {
	var o crashOptions
	return &cli.Command{
		Name:  "crash",
		Usage: "lose processes and machines while they write, and count what is left",
		Description: "A writer appends records, by a method and a sync policy, and acknowledges\n" +
			"each when the policy calls it safe. Then its process is lost, or the machine:\n" +
			"what was acknowledged and is not there is counted, lost or torn, with what\n" +
			"the policy costs beside it. Machines are lost by backends, which say what\n" +
			"they model and prove first that they see a loss: voldisk and shutdown want\n" +
			"root, uml (user-mode-linux) and qemu want nothing.\n\n" +
			"   iopath crash explain mmap.shared/none    one crash, step by step\n\n" +
			"Each cycle is a line of JSON in the run's crash.json, with its seed; one is\n" +
			"made again by -seed with what else it says. What is mounted, attached or\n" +
			"started is gone after any exit.",
		Flags:    flags(o.register),
		Commands: []*cli.Command{explainCommand(stdout), crashShowCommand(stdout)},
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath crash takes no arguments, got %q (iopath crash explain METHOD/POLICY)", c.Args().First())
			}
			return o.do(ctx, stdout, stderr)
		},
	}
}

// usualLayout is the layout that a method is mostly used with.
func usualLayout(method, policy string) string {
	switch {
	case strings.HasPrefix(method, "mmap.dax"), method == "mmap.sync":
		return "sparse" // a block that is new is what MAP_SYNC is for
	case strings.HasPrefix(method, "mmap"), method == "odirect", policy == "range":
		return "prealloc"
	}
	return "append"
}

// experiments are the rows that the flags ask for.
func (o *crashOptions) experiments() (all []crash.Experiment, err error) {
	for _, check := range []struct {
		flag    string
		chosen  []string
		allowed func(string) bool
	}{
		{"-methods", o.methods, func(v string) bool { _, ok := crash.MethodNamed(v); return ok }},
		{"-policies", o.policies, func(v string) bool { _, ok := crash.PolicyNamed(v); return ok }},
		{"-layouts", o.layouts, func(v string) bool {
			return slices.ContainsFunc(crash.Layouts, func(l crash.Layout) bool { return l.Name == v })
		}},
		{"-faults", o.faults, func(v string) bool {
			return v == "none" || slices.ContainsFunc(crash.Faults, func(f crash.Fault) bool { return f.Name == v })
		}},
		{"-backend", o.machines, func(v string) bool { _, ok := crash.BackendNamed(v); return ok || v == "none" }},
		{"-fs", o.filesystems, func(v string) bool { return slices.Contains([]string{"ext4", "xfs", "btrfs"}, v) }},
	} {
		for _, v := range check.chosen {
			if !check.allowed(v) {
				return nil, usage("%s: %q is unknown (see iopath crash -h)", check.flag, v)
			}
		}
	}
	if o.cycles < 1 || o.runs < 0 {
		return nil, usage("-cycles %d, -runs %d: want one or more", o.cycles, o.runs)
	}
	if o.kernel != "" {
		f, err := os.Open(o.kernel)
		if err != nil {
			return nil, usage("-kernel: %w", err)
		}
		f.Close()
	}
	if o.age < 0 || o.age > ageSize/crash.RecordSize/agePace*time.Second {
		return nil, usage("-age %v: want up to %v, when the file is full", o.age, ageSize/crash.RecordSize/agePace*time.Second)
	}
	for _, m := range crash.Methods {
		if len(o.methods) > 0 && !slices.Contains(o.methods, m.Name) {
			continue
		}
		for _, p := range m.Policies {
			if len(o.policies) > 0 && !slices.Contains(o.policies, p) {
				continue
			}
			layouts := []string(o.layouts)
			if len(layouts) == 0 {
				layouts = []string{usualLayout(m.Name, p)}
			}
			if o.full && len(o.layouts) == 0 {
				layouts = nil
				for _, l := range crash.Layouts {
					layouts = append(layouts, l.Name)
				}
			}
			for _, l := range layouts {
				all = append(all, crash.Experiment{Method: m.Name, Policy: p, Layout: l, Size: crashSize, Kernel: o.kernel})
			}
		}
	}
	if len(all) == 0 {
		return nil, usage("no method has these policies (see iopath crash -h)")
	}
	return all, nil
}

const (
	crashSize    = 32 << 20               // bytes of records, at most
	ageSize      = 64 << 20               // of a writer that goes on for minutes
	processTime  = 60 * time.Millisecond  // from the first record to a fault of the process
	machineTime  = 300 * time.Millisecond // to one of the machine
	mostTogether = 8                      // machines of a gigabyte
	daxFactor    = 3                      // how many times the cycles on DAX, of methods that no other machine can have
	fullFactor   = 5                      // how many times the cycles of the usual set
	fullAge      = 75 * time.Second       // twice dirty_expire, and some
	agePace      = 500                    // records a second
	ageEvery     = time.Second            // a cut
)

// crashScratch makes the directory for the files of a run.
func crashScratch(dir string) (scratch string, remove func() error, err error) {
	if err = os.MkdirAll(dir, 0o755); err == nil {
		scratch, remove, err = crash.Scratch(dir)
	}
	if err != nil {
		return "", nil, usage("make the directory of the files: %w (choose another place with -dir)", err)
	}
	return scratch, remove, nil
}

func (o *crashOptions) do(ctx context.Context, stdout, stderr io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = bench.DefaultDir(); err != nil {
			return err
		}
	}
	all, err := o.experiments()
	if err != nil {
		return err
	}
	scratch, remove, err := crashScratch(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	for i := range all {
		all[i].Dir = scratch
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.full {
		o.cycles *= fullFactor
		if o.age == 0 {
			o.age = fullAge
		}
		if len(o.filesystems) == 0 {
			o.filesystems = listValue{"ext4", "xfs", "btrfs"}
		}
	}
	if len(o.filesystems) == 0 {
		o.filesystems = listValue{"ext4"}
	}
	dir, out, err := o.place.create("crash")
	if err != nil {
		return err
	}
	out.Close()
	os.Remove(out.Name()) // what is kept is no run of benchmarks
	log, err := os.Create(filepath.Join(dir, "crash.json"))
	if err != nil {
		return usage("make the file of the cycles: %w", err)
	}
	defer log.Close()
	run := crashRun{o: o, stderr: stderr, log: json.NewEncoder(log), seed: o.seed, crashRecord: crashRecord{absent: map[string]string{}}}
	run.head = crashHead{Seed: o.seed, Machine: host.MachineName(o.place.machine), Began: time.Now().UTC().Truncate(time.Second), Facts: host.Facts(o.dir, host.Options{Machine: o.place.machine}), DirtyExpire: dirtyExpire()}
	if err := run.log.Encode(crashLine{Run: &run.head}); err != nil {
		return err
	}
	err = run.all(ctx, all)
	if len(run.cycles) == 0 {
		o.place.discard(dir)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: nothing was measured, nothing is kept", errInterrupted)
		case err == nil:
			fmt.Fprintln(stderr, "nothing of what was asked for can be measured here")
			return errInconclusive
		}
		return err
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; %s are kept in %s", err, plural(len(run.cycles), "cycle"), dir)
	}
	t, err := run.show(dir, []string{"svg", "png"})
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(stdout, t)
	} else {
		err = t.text(stdout, width(stdout))
	}
	fmt.Fprintf(stderr, "table, charts and cycles: %s\n", dir)
	if err == nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %s are kept in %s", errInterrupted, plural(len(run.cycles), "cycle"), dir)
	}
	if err == nil && slices.ContainsFunc(t.Promises, func(p crash.Promise) bool { return p.Broken > 0 }) {
		// The defect is ours until it is found to be the kernel's.
		return errNo
	}
	return err
}

// A crashRun is a set of cycles under way.
type crashRun struct {
	crashRecord
	o      *crashOptions
	stderr io.Writer
	log    *json.Encoder
	steps  *steps
	seed   uint64
}

func (r *crashRun) keep(cycles ...crash.Cycle) error {
	r.cycles = append(r.cycles, cycles...)
	for _, c := range cycles {
		if err := r.log.Encode(c); err != nil {
			return fmt.Errorf("keep a cycle: %w", err)
		}
	}
	return nil
}

// whyNot is the reason in an error of what cannot be had.
func whyNot(err error) string {
	return strings.ReplaceAll(err.Error(), errors.ErrUnsupported.Error()+": ", "")
}

// skip notes what cannot be had here, once.
func (r *crashRun) skip(what string, err error) error {
	why := whyNot(err)
	if _, known := r.absent[what]; known {
		return nil
	}
	r.absent[what] = why
	if r.steps != nil {
		r.steps.end()
	}
	fmt.Fprintf(r.stderr, "skipped: %s: %s\n", what, why)
	return r.log.Encode(crashLine{Skipped: what, Why: why})
}

func (r *crashRun) all(ctx context.Context, all []crash.Experiment) error {
	if !slices.Contains(r.o.faults, "none") {
		r.steps = newSteps(r.stderr, len(all))
		for _, e := range all {
			if err := r.processes(ctx, e); err != nil {
				r.steps.end()
				return err
			}
			r.steps.step(1, "faults of the process")
		}
		r.steps.end()
	}
	// Of backends that lose the same, the first that can be had, unless others are asked
	// for; and what none of them can have, by one that can.
	had, dax, aged := map[string]bool{}, false, false
	for _, b := range crash.Backends {
		if len(r.o.machines) > 0 && !slices.Contains(r.o.machines, b.Name) {
			continue
		}
		ours := slices.DeleteFunc(slices.Clone(all), func(e crash.Experiment) bool {
			m, _ := crash.MethodNamed(e.Method)
			return m.DAX && !b.DAX || !m.DAX && had[b.Loses] && len(r.o.machines) == 0 && !r.o.full
		})
		if len(ours) == 0 {
			continue
		}
		can, err := r.machines(ctx, b, ours)
		if err != nil {
			return err
		}
		had[b.Loses] = had[b.Loses] || can
		dax = dax || b.DAX
		if can && b.Loses == "power" && r.o.age > 0 {
			if err := r.ages(ctx, b, ours); err != nil {
				return err
			}
			aged = true
		}
	}
	if r.o.age > 0 && !aged {
		if err := r.skip("loss by age", errors.New("backend voldisk alone can tell")); err != nil {
			return err
		}
	}
	if lacking := slices.ContainsFunc(all, func(e crash.Experiment) bool { m, _ := crash.MethodNamed(e.Method); return m.DAX }); lacking && !dax {
		return r.skip("methods on DAX, by a lost machine", errors.New("backend qemu alone has it"))
	}
	return nil
}

// ages cuts the power of writers again and again: of those that are asked for, or else of
// some that tell.
func (r *crashRun) ages(ctx context.Context, b crash.Backend, all []crash.Experiment) error {
	usual := []string{"mmap.shared/none", "write/none", "write/64"}
	all = slices.DeleteFunc(slices.Clone(all), func(e crash.Experiment) bool {
		return len(r.o.methods)+len(r.o.policies) == 0 && !slices.Contains(usual, e.Method+"/"+e.Policy) ||
			len(r.o.layouts) == 0 && e.Layout != usualLayout(e.Method, e.Policy)
	})
	r.steps = newSteps(r.stderr, len(all))
	defer r.steps.end()
	fs := r.o.filesystems[0]
	for _, e := range all {
		cell := e.Method + "/" + e.Policy
		r.steps.begin(fmt.Sprintf("%s: the power of %s is cut each second for %v", b.Name, cell, r.o.age))
		e.Time, e.Pace, e.Seed, e.Size = r.o.age, agePace, r.seed, ageSize
		r.seed++
		cycles, err := b.Ages(ctx, e, fs, ageEvery)
		if kept := r.keep(cycles...); err == nil {
			err = kept
		}
		if err != nil {
			return fmt.Errorf("%s on %s of %s by age, seed %d: %w", b.Name, fs, cell, e.Seed, err)
		}
		r.steps.step(1, "")
	}
	return nil
}

func (r *crashRun) processes(ctx context.Context, e crash.Experiment) error {
	e.Time = processTime
	for _, f := range crash.Faults {
		if len(r.o.faults) > 0 && !slices.Contains(r.o.faults, f.Name) {
			continue
		}
		cycles := r.o.cycles
		if f.Name == "wild" || f.Name == "truncate" {
			cycles = (cycles + 1) / 2 // in no column
		}
		for range cycles {
			e.Seed = r.seed
			r.seed++
			c, err := e.Process(ctx, f.Name)
			if errors.Is(err, errors.ErrUnsupported) {
				if m, _ := crash.MethodNamed(e.Method); f.Name != "oom" || m.DAX {
					return r.skip(e.Method, err)
				}
				if err := r.skip("fault "+f.Name, err); err != nil {
					return err
				}
				break
			}
			if err != nil {
				return fmt.Errorf("%s of %s/%s, %s, seed %d: %w", f.Name, e.Method, e.Policy, e.Layout, e.Seed, err)
			}
			c.Filesystem, _ = host.Filesystem(r.o.dir)
			if err := r.keep(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// examineCrash tells which ways to lose a machine seem to be had.
func examineCrash() (all []finding) {
	for _, b := range crash.Backends {
		f := finding{What: "crash backend " + b.Name, OK: true, State: b.Models}
		if err := b.Lacks(); err != nil {
			f.OK, f.State, f.Remedy = false, whyNot(err), "iopath crash has another one, or says what it did not measure"
		}
		all = append(all, f)
	}
	return all
}

// kernelLoss loses two kernels by the first backend that can be had here.
func kernelLoss(ctx context.Context, dir string) (l claims.KernelLoss, err error) {
	scratch, remove, err := crashScratch(dir)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	err = errors.ErrUnsupported
	for _, b := range crash.Backends {
		if b.Loses != "kernel" {
			continue
		}
		if err = b.SelfCheck(ctx, scratch, "ext4", false, rand.Uint64(), ""); errors.Is(err, errors.ErrUnsupported) {
			continue
		} else if err != nil {
			return l, err
		}
		l.By = b.Name
		for _, policy := range []string{"none", "each"} {
			e := crash.Experiment{Dir: scratch, Method: "mmap.shared", Policy: policy, Layout: usualLayout("mmap.shared", policy), Size: crashSize, Time: machineTime, Seed: rand.Uint64()}
			cycles, err := b.Machine(ctx, e, "ext4")
			if err != nil {
				return l, err
			}
			for _, c := range cycles {
				if policy == "none" {
					l.Unsynced, l.UnsyncedLost = l.Unsynced+c.Acknowledged, l.UnsyncedLost+c.LostOrTorn()
				} else {
					l.Synced, l.SyncedLost = l.Synced+c.Acknowledged, l.SyncedLost+c.LostOrTorn()
				}
			}
		}
		return l, nil
	}
	return l, err
}

// A crashJob is a machine to be lost, and what came of it.
type crashJob struct {
	crash.Experiment
	fs     string
	cycles []crash.Cycle
	err    error
}

// machines loses machines by the backend, if that can be had here.
func (r *crashRun) machines(ctx context.Context, b crash.Backend, all []crash.Experiment) (can bool, err error) {
	fmt.Fprintf(r.stderr, "%s: %s\n", b.Name, b.Models)
	runs := r.o.runs
	if runs == 0 {
		if runs = b.Runs; r.o.full {
			runs *= fullFactor
		}
	}
	var jobs []*crashJob
	for _, fs := range r.o.filesystems {
		if !slices.Contains(b.Filesystems, fs) {
			if err := r.skip(b.Name+" on "+fs, errors.New("the filesystem has no such call")); err != nil {
				return true, err
			}
			continue
		}
		checked := map[bool]bool{} // by DAX: whether it can be had
		for _, e := range all {
			e.Time = machineTime
			n := runs
			m, _ := crash.MethodNamed(e.Method)
			if m.DAX {
				n *= daxFactor
			}
			if _, known := checked[m.DAX]; !known {
				what := b.Name
				if m.DAX {
					what += " with DAX"
				}
				if len(r.o.filesystems) > 1 {
					what += " on " + fs
				}
				err := b.SelfCheck(ctx, e.Dir, fs, m.DAX, r.seed, r.o.kernel)
				if err != nil && !errors.Is(err, errors.ErrUnsupported) {
					return false, err
				}
				if checked[m.DAX] = err == nil; err != nil {
					if err := r.skip(what, err); err != nil {
						return false, err
					}
				}
			}
			if !checked[m.DAX] {
				continue
			}
			for range n {
				e.Seed = r.seed
				r.seed++
				jobs = append(jobs, &crashJob{Experiment: e, fs: fs})
			}
		}
	}
	if len(jobs) == 0 {
		return false, nil
	}
	r.steps = newSteps(r.stderr, len(jobs))
	defer r.steps.end()
	// What shares a kernel is lost alone: what else flushes would save it.
	together := 1
	if b.Apart {
		together = min(runtime.NumCPU(), mostTogether)
	}
	for batch := range slices.Chunk(jobs, together) {
		var wg sync.WaitGroup
		for _, j := range batch {
			wg.Go(func() { j.cycles, j.err = b.Machine(ctx, j.Experiment, j.fs) })
		}
		wg.Wait()
		for _, j := range batch {
			if err := r.keep(j.cycles...); err != nil {
				return true, err
			}
		}
		for _, j := range batch {
			if errors.Is(j.err, errors.ErrUnsupported) {
				if err := r.skip(j.Method+" by "+b.Name+" on "+j.fs, j.err); err != nil {
					return true, err
				}
			} else if j.err != nil {
				return true, fmt.Errorf("%s on %s of %s/%s, %s, seed %d: %w", b.Name, j.fs, j.Method, j.Policy, j.Layout, j.Seed, j.err)
			}
		}
		r.steps.step(len(batch), b.Name)
	}
	return true, nil
}
