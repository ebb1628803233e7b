package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/internal/atomicfile"
	"iopath/internal/host"
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
			"they model and prove first that they see a loss; they want root.\n\n" +
			"   iopath crash explain mmap.shared/none    one crash, step by step\n\n" +
			"Each cycle is a line of JSON in the run's crash.json, with its seed. What is\n" +
			"mounted, attached or started is gone after any exit.",
		Flags:    flags(o.register),
		Commands: []*cli.Command{explainCommand(stdout)},
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
	case strings.HasPrefix(method, "mmap") && (policy == "none" || policy == "store"):
		return "sparse"
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
				all = append(all, crash.Experiment{Dir: o.dir, Method: m.Name, Policy: p, Layout: l, Size: crashSize, Kernel: o.kernel})
			}
		}
	}
	if len(all) == 0 {
		return nil, usage("no method has these policies (see iopath crash -h)")
	}
	return all, nil
}

const (
	crashSize   = 64 << 20               // bytes of records, at most
	processTime = 60 * time.Millisecond  // from the first record to a fault of the process
	machineTime = 300 * time.Millisecond // to one of the machine
	fullFactor  = 5                      // how many times the cycles of the usual set
)

func (o *crashOptions) do(ctx context.Context, stdout, stderr io.Writer) error {
	if o.dir == "" {
		var err error
		if o.dir, err = bench.DefaultDir(); err != nil {
			return err
		}
	}
	all, err := o.experiments()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return usage("make the directory of the files: %w (choose another place with -dir)", err)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.full {
		o.cycles *= fullFactor
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
	run := crashRun{o: o, stderr: stderr, log: bufio.NewWriter(log), seed: o.seed, absent: map[string]string{}}
	err = run.all(ctx, all)
	if flushed := run.log.Flush(); err == nil {
		err = flushed
	}
	if len(run.cycles) == 0 {
		o.place.discard(dir)
		if ctx.Err() != nil {
			return fmt.Errorf("%w: nothing was measured, nothing is kept", errInterrupted)
		}
		return err
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; %s are kept in %s", err, plural(len(run.cycles), "cycle"), dir)
	}
	t := run.table()
	if err := atomicfile.WriteFile(filepath.Join(dir, "README.md"), t.markdown); err != nil {
		return err
	}
	if o.json {
		err = writeJSON(stdout, t)
	} else {
		err = t.text(stdout)
	}
	fmt.Fprintf(stderr, "table and cycles: %s\n", dir)
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
	o      *crashOptions
	stderr io.Writer
	log    *bufio.Writer
	seed   uint64
	cycles []crash.Cycle
	absent map[string]string // why a column, a method or a fault is not measured
}

func (r *crashRun) keep(cycles ...crash.Cycle) error {
	r.cycles = append(r.cycles, cycles...)
	for _, c := range cycles {
		line, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if _, err := r.log.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return r.log.Flush()
}

// skip notes what cannot be had here, once.
func (r *crashRun) skip(what string, err error) {
	why := strings.TrimPrefix(err.Error(), errors.ErrUnsupported.Error()+": ")
	if _, known := r.absent[what]; !known {
		r.absent[what] = why
		fmt.Fprintf(r.stderr, "skipped: %s: %s\n", what, why)
	}
}

func (r *crashRun) all(ctx context.Context, all []crash.Experiment) error {
	began := time.Now()
	for i, e := range all {
		if err := r.processes(ctx, e); err != nil {
			return err
		}
		if i%5 == 4 || i == len(all)-1 {
			fmt.Fprintf(r.stderr, "faults of the process: %d of %d methods and policies, %v\n", i+1, len(all), time.Since(began).Round(time.Second))
		}
	}
	// Of backends that lose the same, the first that can be had, unless others are asked
	// for; and what none of them can have, by one that can.
	had := map[string]bool{}
	for _, b := range crash.Backends {
		if len(r.o.machines) > 0 && !slices.Contains(r.o.machines, b.Name) {
			continue
		}
		ours := slices.DeleteFunc(slices.Clone(all), func(e crash.Experiment) bool {
			m, _ := crash.MethodNamed(e.Method)
			return m.DAX != b.DAX && (m.DAX || had[b.Loses] && len(r.o.machines) == 0 && !r.o.full)
		})
		if len(ours) == 0 {
			continue
		}
		can, err := r.machines(ctx, b, ours)
		if err != nil {
			return err
		}
		had[b.Loses] = had[b.Loses] || can
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
					r.skip(e.Method, err)
					return nil
				}
				r.skip("fault "+f.Name, err)
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

// machines loses machines by the backend, if that can be had here.
func (r *crashRun) machines(ctx context.Context, b crash.Backend, all []crash.Experiment) (can bool, err error) {
	began := time.Now()
	fmt.Fprintf(r.stderr, "%s: %s\n", b.Name, b.Models)
	if err := b.SelfCheck(ctx, r.o.dir, r.seed, r.o.kernel); errors.Is(err, errors.ErrUnsupported) {
		r.skip(b.Name, err)
		return false, nil
	} else if err != nil {
		return false, err
	}
	runs := r.o.runs
	if runs == 0 {
		if runs = b.Runs; r.o.full {
			runs *= fullFactor
		}
	}
	for i, e := range all {
		e.Time = machineTime
		for _, fs := range r.o.filesystems {
			if !slices.Contains(b.Filesystems, fs) {
				r.skip(b.Name+" on "+fs, errors.New("the filesystem has no such call"))
				continue
			}
			for range runs {
				e.Seed = r.seed
				r.seed++
				cycles, err := b.Machine(ctx, e, fs)
				if errors.Is(err, errors.ErrUnsupported) {
					r.skip(e.Method+" by "+b.Name+" on "+fs, err)
					break
				}
				if err != nil {
					return true, fmt.Errorf("%s on %s of %s/%s, %s, seed %d: %w", b.Name, fs, e.Method, e.Policy, e.Layout, e.Seed, err)
				}
				if err := r.keep(cycles...); err != nil {
					return true, err
				}
			}
		}
		if i%5 == 4 || i == len(all)-1 {
			fmt.Fprintf(r.stderr, "%s: %d of %d methods and policies, %v\n", b.Name, i+1, len(all), time.Since(began).Round(time.Second))
		}
	}
	return true, nil
}

// A crashTable is what a run is told as.
type crashTable struct {
	Seed    uint64            `json:"seed"`
	Rows    []*crash.Row      `json:"rows"`
	Models  map[string]string `json:"models"`
	Absent  map[string]string `json:"not_measured,omitempty"`
	Strays  []string          `json:"stray_stores_and_cuts,omitempty"`
	Machine string            `json:"machine"`
	Costs   string            `json:"costs,omitempty"` // where the writers were that costs are of
	// By backend and filesystem.
	Promises []crash.Promise `json:"promises,omitempty"`
}

func (r *crashRun) table() crashTable {
	t := crashTable{Seed: r.o.seed, Rows: crash.Rows(r.cycles), Promises: crash.PromisesKept(r.cycles), Absent: r.absent, Models: map[string]string{}, Machine: host.MachineName(r.o.place.machine)}
	for _, b := range crash.Backends {
		t.Models[b.Name] = b.Models
	}
	if i := slices.IndexFunc(r.cycles, func(c crash.Cycle) bool { return c.Backend == crash.ByProcess }); i >= 0 {
		t.Costs = "this machine's " + r.cycles[i].Filesystem
	}
	strays, reached, cut, died := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range r.cycles {
		if c.Fault == "truncate" {
			cut[c.Method]++
			if !c.StillWriting {
				died[c.Method]++
			}
		}
		if c.StrayStore {
			strays[c.Method]++
			if c.Corrupted {
				reached[c.Method]++
			}
		}
	}
	for _, m := range crash.Methods {
		var said []string
		if n := strays[m.Name]; n > 0 {
			said = append(said, fmt.Sprintf("%d of %d stray stores into its memory are in the file", reached[m.Name], n))
		}
		if n := cut[m.Name]; n > 0 {
			said = append(said, fmt.Sprintf("%d of %d died of SIGBUS when the file was cut", died[m.Name], n))
		}
		if len(said) > 0 {
			t.Strays = append(t.Strays, m.Name+": "+strings.Join(said, "; ")+".")
		}
	}
	return t
}

// backends are those that lost something, in the order of the columns.
func (t crashTable) backends() (names []string) {
	known := []string{crash.ByProcess}
	for _, loses := range []string{"kernel", "power"} {
		for _, b := range crash.Backends {
			if b.Loses == loses {
				known = append(known, b.Name)
			}
		}
	}
	for _, name := range known {
		if slices.ContainsFunc(t.Rows, func(r *crash.Row) bool { return r.Loss[name].Cycles > 0 }) {
			names = append(names, name)
		}
	}
	return names
}

// several tells whether rows differ by the filesystem.
func (t crashTable) several() bool {
	return slices.ContainsFunc(t.Rows, func(r *crash.Row) bool {
		return r.Filesystem != t.Rows[0].Filesystem && r.Filesystem != "" && t.Rows[0].Filesystem != ""
	})
}

func (t crashTable) head() []string {
	head := []string{"method/policy", "layout"}
	if t.several() {
		head = append(head, "fs")
	}
	for _, name := range t.backends() {
		if b, is := crash.BackendNamed(name); is {
			head = append(head, b.Loses+": "+name)
		} else {
			head = append(head, "process: fault")
		}
	}
	return append(head, "rec/s", "p50", "p99", "B/B")
}

func (t crashTable) cells(r *crash.Row) []string {
	cells := []string{r.Method + "/" + r.Policy, r.Layout}
	if t.several() {
		cells = append(cells, r.Filesystem)
	}
	for _, name := range t.backends() {
		cells = append(cells, r.Loss[name].String())
	}
	per := ""
	if r.PerByte > 0 {
		per = short(r.PerByte)
	}
	return append(cells, short(r.Rate), duration(r.P50), duration(r.P99), per)
}

// short is a number of three digits at most.
func short(v float64) string {
	switch {
	case v >= 999500:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 999.5:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}

// duration has three digits.
func duration(seconds float64) string {
	d := time.Duration(seconds * 1e9)
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func (t crashTable) text(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// What is lost, and below it how.
	var lost, how []string
	for _, name := range t.head() {
		above, below, is := strings.Cut(name, ": ")
		if !is {
			above, below = "", name
		}
		lost, how = append(lost, above), append(how, below)
	}
	fmt.Fprintf(tab, "%s\n%s\n", strings.Join(lost, "\t"), strings.Join(how, "\t"))
	for _, r := range t.Rows {
		fmt.Fprintln(tab, strings.Join(t.cells(r), "\t"))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, line := range t.notes() {
		if _, err := fmt.Fprintf(w, "\n%s", line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (t crashTable) notes() []string {
	notes := []string{
		"Losses: the share of acknowledged records that are gone or torn: mean ≤ worst of n cycles; † some are torn.",
		"0 of n: the share of cycles that lose one is under 3/n, at 95 %. Each image of a power cut is a cycle.",
		"rec/s: acknowledged. p50, p99: until a record is acknowledged, of those acknowledged together the first.\n  Of the writer on " + cmp.Or(t.Costs, "the machine that was lost") + "; on DAX: on the machine that was lost.\n  B/B: bytes to the disk for each acknowledged byte, by voldisk.",
	}
	used := t.backends()
	for _, b := range crash.Backends {
		if why, absent := t.Absent[b.Name]; absent {
			notes = append(notes, fmt.Sprintf("Not measured: %s, by %s (%s)", b.Models, b.Name, why))
		} else if slices.Contains(used, b.Name) {
			notes = append(notes, fmt.Sprintf("By %s: %s.", b.Name, b.Models))
		}
	}
	var others []string
	for what, why := range t.Absent {
		if _, is := crash.BackendNamed(what); !is {
			others = append(others, fmt.Sprintf("Not measured: %s (%s)", what, why))
		}
	}
	slices.Sort(others)
	for _, p := range t.Promises {
		notes = append(notes, fmt.Sprintf("%s on %s: of policies that promise it, %d of %d cycles lost a record; of the others, %d of %d.",
			p.Backend, p.Filesystem, p.Broken, p.Promised, p.LossyOthers, p.Unpromised))
	}
	return append(append(notes, others...), t.Strays...)
}

func (t crashTable) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# What survives a crash on %s\n\n| %s |\n|%s\n", t.Machine, strings.Join(t.head(), " | "), strings.Repeat("---|", len(t.head())))
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(t.cells(r), " | "))
	}
	b.WriteByte('\n')
	for _, line := range t.notes() {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	fmt.Fprintf(&b, "\nSeed %d; each cycle, with its own, in crash.json.\n", t.Seed)
	_, err := io.WriteString(w, b.String())
	return err
}

// explainCommand shows one crash step by step.
func explainCommand(stdout io.Writer) *cli.Command {
	var dir string
	return &cli.Command{
		Name:      "explain",
		Usage:     "show one crash step by step: what was written, what was dirty, what came back",
		ArgsUsage: "METHOD/POLICY",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&dir, "dir", "", "`directory` for the file (default: .iopath beside go.mod)")
		}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return usage("iopath crash explain: %d arguments, want one (name it as mmap.shared/none)", c.Args().Len())
			}
			m, p, err := crash.ParseCell(c.Args().First())
			if err != nil {
				return usage("iopath crash explain: %w (name it as mmap.shared/none)", err)
			}
			if dir == "" {
				if dir, err = bench.DefaultDir(); err != nil {
					return err
				}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return usage("make the directory of the file: %w (choose another place with -dir)", err)
			}
			return explain(ctx, stdout, dir, m, p)
		},
	}
}

func explain(ctx context.Context, w io.Writer, dir string, m crash.Method, p crash.Policy) error {
	e := crash.Experiment{Dir: dir, Method: m.Name, Policy: p.Name, Layout: usualLayout(m.Name, p.Name), Size: crashSize, Seed: rand.Uint64()}
	fmt.Fprintf(w, "A writer appends records of %d bytes by %s; it syncs by: %s.\n", crash.RecordSize, m.Doc, p.Doc)
	for _, l := range crash.Layouts {
		if l.Name == e.Layout {
			fmt.Fprintf(w, "The file is %s.\n", l.Doc)
		}
	}
	e.Time = processTime
	c, err := e.Process(ctx, "sigkill")
	if m.DAX && errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintf(w, "\nKilling its process: not measured: %s\n", strings.TrimPrefix(err.Error(), errors.ErrUnsupported.Error()+": "))
	} else if err != nil {
		return fmt.Errorf("kill the writer: %w", err)
	} else {
		tellCycle(w, "Its process is killed (SIGKILL). The page cache is the kernel's, and lives on.", c)
	}
	for _, b := range crash.Backends {
		if m.DAX && !b.DAX {
			continue
		}
		e.Time, e.Seed = machineTime, e.Seed+1
		cycles, err := b.Machine(ctx, e, "ext4")
		if errors.Is(err, errors.ErrUnsupported) {
			fmt.Fprintf(w, "\n%s (%s): not measured: %s\n", b.Models, b.Name, strings.TrimPrefix(err.Error(), errors.ErrUnsupported.Error()+": "))
			continue
		}
		if err != nil {
			return fmt.Errorf("lose the machine by %s: %w", b.Name, err)
		}
		if len(cycles) == 1 {
			tellCycle(w, fmt.Sprintf("The machine is lost (%s). %s.", b.Name, strings.ToUpper(b.Models[:1])+b.Models[1:]), cycles[0])
			continue
		}
		fmt.Fprintf(w, "\nThe power is cut (%s). %s.\n", b.Name, strings.ToUpper(b.Models[:1])+b.Models[1:])
		tellBefore(w, cycles[0])
		for _, c := range cycles {
			fmt.Fprintf(w, "  came back     %s; the disk had written %s of what it had in its cache\n", cameBack(c), kept(c.Kept))
		}
	}
	return nil
}

func tellCycle(w io.Writer, head string, c crash.Cycle) {
	fmt.Fprintf(w, "\n%s\n", head)
	tellBefore(w, c)
	fmt.Fprintf(w, "  came back     %s\n", cameBack(c))
	if n := c.Unacknowledged + c.TornInFlight; n > 0 {
		fmt.Fprintf(w, "  in flight     %s not acknowledged, %d of them torn\n", plural(int(n), "record"), c.TornInFlight)
	}
}

func tellBefore(w io.Writer, c crash.Cycle) {
	fmt.Fprintf(w, "  acknowledged  %d records, %s a second; each took %s (p50), %s (p99)\n", c.Acknowledged, short(c.Rate), duration(c.P50), duration(c.P99))
	if c.Dirty >= 0 {
		fmt.Fprintf(w, "  dirty         %d pages of the file were in memory alone\n", c.Dirty)
	}
}

func cameBack(c crash.Cycle) string {
	return fmt.Sprintf("%d intact, %d lost, %d torn, %d holes", c.Intact, c.Lost, c.Torn, c.Holes)
}

func kept(share float64) string {
	switch share {
	case 0:
		return "none"
	case 1:
		return "all"
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}
