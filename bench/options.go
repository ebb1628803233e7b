package bench

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/units"

	"iopath/internal/host"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// Options choose the cells and where their files are. The zero value of a
// dimension stands for the profile's choice.
type Options struct {
	Profile    string   // see Profiles
	Workloads  []string // see Workloads
	Methods    []string // by their registered names
	Patterns   []string // see Patterns
	Caches     []string // see Caches
	Transports []string // see peer.Transports
	Consumers  []string // see Consumers
	Syncs      []string // of a Write: see iomethod.Syncs
	Threads    []int    // of a Parallel: how many workers
	Blocks     []int    // bytes
	Size       int64    // bytes of the data files; 0: chosen by DefaultSizes
	Dir        string   // of the data files; empty: .iopath beside go.mod
	File       string   // a file of the user's own in place of the data files
	Counter    string   // see Counters
	Rate       float64  // blocks a second that the latency pass asks for; 0: each after the one before
}

// Workloads names what can be measured.
var Workloads = func() (names []string) {
	for _, w := range matrix {
		names = append(names, w.name)
	}
	return names
}()

// appending is the pattern of a Write that extends an empty file.
const appending = "append"

// Patterns names the orders of the blocks.
var Patterns = append(slices.Clone(workloads.Patterns), appending)

// Consumers names what is done with the bytes: by a program, then by a receiver
// alone.
var Consumers = append(slices.Clone(workloads.Consumers), peer.Sinks...)

// Caches names the states of the page cache that a cell can start from.
var Caches = []string{"warm", "cold"}

// Counters names the ways to count system calls. With auto, the kernel's
// tracepoints where they may be used, else a traced child process.
var Counters = []string{"auto", "tracepoint", "ptrace", "none"}

// A Profile is a choice of cells, and of the effort that iopath bench spends.
type Profile struct {
	Name, Doc string
	// Cells is the choice; what it leaves open is every value there is. Picks
	// narrows it for single workloads.
	Cells Options
	Picks map[string]Options
	// BenchTime is how long each cell is timed in a round, in the syntax of
	// go test -benchtime.
	BenchTime string
	// Rounds is how many rounds there are at most, Time when none starts any more.
	Rounds int
	Time   time.Duration
}

// The blocks of a profile that has few.
var fewBlocks = []int{4 << 10, 64 << 10, 1 << 20}

// standardPicks are the methods that most programs choose between.
var standardPicks = map[string]Options{
	"read":     {Methods: []string{"read", "pread", "mmap", "os.File", "null"}, Patterns: []string{"seq", "rand", "sparse"}},
	"write":    {Methods: []string{"write", "mmap", "null"}, Patterns: []string{appending, "rand"}, Syncs: []string{"none", "end"}, Blocks: []int{64 << 10}},
	"send":     {Methods: []string{"read+write", "mmap+write", "sendfile", "splice", "io.Copy", "null"}, Transports: []string{"tcp", "unix"}},
	"receive":  {Methods: []string{"read+write", "splice", "mmap"}, Transports: []string{"tcp"}, Blocks: []int{64 << 10}},
	"relay":    {Methods: []string{"read+write", "splice"}, Transports: []string{"tcp"}, Blocks: []int{64 << 10}},
	"copy":     {Methods: []string{"read+write", "mmap+mmap", "sendfile", "copy_file_range"}, Caches: []string{"warm"}, Blocks: []int{64 << 10}},
	"channel":  {Methods: []string{"ring.memfd", "pipe", "unix"}, Blocks: []int{64 << 10}},
	"map":      {Methods: []string{"map+shared", "map+private", "map+anon", "heap"}},
	"open":     {Methods: []string{"read", "mmap"}},
	"parallel": {Methods: []string{"mmap", "pread"}, Patterns: []string{"rand"}, Caches: []string{"warm"}, Blocks: []int{4 << 10}},
}

// Profiles are the ready choices, the default one first.
var Profiles = []Profile{
	{
		Name:      "standard",
		Doc:       "what make bench runs: reads and sends by the common methods, warm and cold; under 5 minutes",
		Cells:     Options{Workloads: []string{"read", "send"}, Consumers: []string{"sum"}, Blocks: fewBlocks},
		Picks:     standardPicks,
		BenchTime: "100ms", Rounds: 10, Time: 270 * time.Second,
	},
	{
		Name: "quick",
		Doc:  "warm cells, TCP alone; under 1 minute",
		Cells: Options{
			Workloads: []string{"read", "send"},
			Caches:    []string{"warm"}, Transports: []string{"tcp"},
			Consumers: []string{"sum"}, Blocks: fewBlocks,
		},
		Picks:     standardPicks,
		BenchTime: "100ms", Rounds: 6, Time: 40 * time.Second,
	},
	{
		Name: "paths",
		Doc:  "every method in every role, at one block and in one order; half an hour or so",
		Cells: Options{
			Patterns: []string{"rand"}, Consumers: []string{"sum"}, Blocks: []int{64 << 10},
		},
		Picks: map[string]Options{
			"write":    {Patterns: []string{appending}},
			"parallel": {Methods: []string{"mmap", "pread", "ReadAt"}},
		},
		BenchTime: "100ms", Rounds: 6,
	},
	{
		Name:      "full",
		Doc:       "everything, with blocks from 4 KiB to 4 MiB; a day or so",
		Cells:     Options{Blocks: []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}},
		BenchTime: "100ms", Rounds: 6,
	},
}

// ProfileNamed returns the profile of that name, or the default one for "".
func ProfileNamed(name string) (Profile, error) {
	for _, p := range Profiles {
		if p.Name == cmp.Or(name, Profiles[0].Name) {
			return p, nil
		}
	}
	var known []string
	for _, p := range Profiles {
		known = append(known, p.Name)
	}
	return Profile{}, usage("-profile %q is unknown (known: %s)", name, strings.Join(known, ", "))
}

// ErrUsage is matched by errors that are the user's to mend: a flag, a file, a
// place. Nothing was measured, and nothing was left behind.
var ErrUsage = errors.New("wrong use")

func usage(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e *usageError) Is(target error) bool { return target == ErrUsage }
func (e *usageError) Unwrap() error        { return e.error }

// Register declares the flags that fill the options.
func (o *Options) Register(fs *flag.FlagSet) {
	fs.StringVar(&o.Profile, "profile", Profiles[0].Name, profileUsage())
	list := func(p *[]string, name, what string) {
		fs.Var((*listFlag)(p), name, what+", separated by commas")
	}
	list(&o.Workloads, "workloads", "`workloads`: "+strings.Join(Workloads, ","))
	list(&o.Methods, "methods", "`methods` by name: see iopath methods")
	list(&o.Patterns, "patterns", "`patterns`, the orders of the blocks (sparse: cold reads alone; append: writes): "+strings.Join(Patterns, ","))
	list(&o.Caches, "cache", "page cache `states`: "+strings.Join(Caches, ","))
	list(&o.Transports, "transports", "`sockets` of a send: "+strings.Join(peer.Transports, ","))
	list(&o.Consumers, "consume", "what the reader, or the receiver of a send, does with the bytes, `consumers` (the last: a receiver alone): "+strings.Join(Consumers, ","))
	list(&o.Syncs, "sync", "how durable a write is made, `policies`: "+strings.Join(syncs(), ","))
	fs.Var((*numbersFlag)(&o.Threads), "workers", "how many workers read in parallel, `numbers` (default: 1, 2, 4 and so on to twice the CPUs)")
	fs.Var((*blocksFlag)(&o.Blocks), "blocks", "bytes of one call, `sizes` such as 4KiB,64KiB, separated by commas")
	fs.Float64Var(&o.Rate, "rate", 0, "time blocks that are due at this `rate` a second, each from when it was due (default: each after the one before)")
	o.RegisterPlaces(fs)
}

// RegisterPlaces declares those of the flags that say where the files are and how
// calls are counted.
func (o *Options) RegisterPlaces(fs *flag.FlagSet) {
	fs.Var((*SizeFlag)(&o.Size), "size", "`bytes` of the data files, such as 256MiB (default: beyond the last-level cache, within an eighth of memory)")
	fs.StringVar(&o.Dir, "dir", "", "`directory` of the data files (default: .iopath beside go.mod)")
	fs.StringVar(&o.File, "file", "", "read this `file` instead of data files; it is never changed")
	fs.StringVar(&o.Counter, "counter", "auto", "`way` to count system calls: "+strings.Join(Counters, ", "))
}

func profileUsage() string {
	lines := []string{"`name` of a ready choice:"}
	for _, p := range Profiles {
		lines = append(lines, fmt.Sprintf("%s (%s)", p.Name, p.Doc))
	}
	return strings.Join(lines, "\n")
}

type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }
func (l *listFlag) Get() any       { return []string(*l) }
func (l *listFlag) Set(v string) error {
	*l = strings.Split(v, ",")
	return nil
}

// A SizeFlag is a flag's number of bytes, written such as 64KiB.
type SizeFlag int64

func (s *SizeFlag) String() string {
	if *s == 0 {
		return ""
	}
	return units.Base2Bytes(*s).String()
}
func (s *SizeFlag) Get() any { return int64(*s) }
func (s *SizeFlag) Set(v string) error {
	n, err := parseSize(v)
	*s = SizeFlag(n)
	return err
}

type blocksFlag []int

func (b *blocksFlag) String() string {
	var sizes []string
	for _, n := range *b {
		sizes = append(sizes, units.Base2Bytes(n).String())
	}
	return strings.Join(sizes, ",")
}
func (b *blocksFlag) Get() any { return []int(*b) }
func (b *blocksFlag) Set(v string) error {
	*b = nil
	for _, s := range strings.Split(v, ",") {
		n, err := parseSize(s)
		if err != nil {
			return err
		}
		if n > MaxBlock {
			return fmt.Errorf("a block of %s is more than %s", s, units.Base2Bytes(MaxBlock))
		}
		*b = append(*b, int(n))
	}
	return nil
}

type numbersFlag []int

func (l *numbersFlag) String() string {
	var s []string
	for _, n := range *l {
		s = append(s, strconv.Itoa(n))
	}
	return strings.Join(s, ",")
}
func (l *numbersFlag) Get() any { return []int(*l) }
func (l *numbersFlag) Set(v string) error {
	*l = nil
	for _, s := range strings.Split(v, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxThreads {
			return fmt.Errorf("%q is not a number from 1 to %d", s, maxThreads)
		}
		*l = append(*l, n)
	}
	return nil
}

// maxThreads is how many workers there may be.
const maxThreads = 1024

// syncs are the policies' names.
func syncs() (names []string) {
	for _, sync := range iomethod.Syncs {
		names = append(names, string(sync))
	}
	return names
}

// MaxBlock is the largest block in bytes: Linux moves at most 2 GiB less a page
// in one call, and the buffers are to fit into memory.
const MaxBlock = 1 << 30

// MaxRate is the highest rate of an open loop: beyond it the clock takes longer
// than there is between two blocks.
const MaxRate = 1e7

// parseSize reads a number of bytes above zero, such as 64KiB or 1000.
func parseSize(s string) (int64, error) {
	n, err := units.ParseBase2Bytes(s)
	if err != nil {
		// A bare number is a number of bytes; the library wants a unit.
		n, err = units.ParseBase2Bytes(s + "B")
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a size (write 4096, 4KiB, 1MiB, 1GiB)", s)
	}
	if n <= 0 {
		return 0, fmt.Errorf("%q is not above zero bytes", s)
	}
	return int64(n), nil
}

// narrowed returns the options for one cell: what the name leaves open is the
// usual.
func (o Options) narrowed(c Cell) Options {
	one := func(list *[]string, value string) {
		if value != "" {
			*list = []string{value}
		}
	}
	one(&o.Methods, c.Method)
	one(&o.Patterns, c.Pattern)
	one(&o.Caches, c.Cache)
	one(&o.Transports, c.Transport)
	one(&o.Consumers, c.Consume)
	if c.Consume == "" {
		o.Consumers = []string{usualConsumer}
	}
	one(&o.Syncs, c.Sync)
	if c.Workers != 0 {
		o.Threads = []int{c.Workers}
	}
	if w, ok := workloadOf(c.Benchmark); ok {
		o.Workloads = []string{w.name}
	} else if c.Benchmark == "Device" {
		o.Caches = []string{"cold"}
	}
	if c.Size != 0 && o.File == "" && c.Benchmark != "Open" {
		o.Size = c.Size
	}
	o.Blocks = []int{64 << 10}
	if c.Block != 0 {
		o.Blocks = []int{c.Block}
	}
	return o
}

// Check returns the error that [Open] would return without having made anything.
func (o Options) Check() error {
	_, err := o.resolve()
	return err
}

// resolve checks the options and fills in what concerns all workloads.
func (o Options) resolve() (Options, error) {
	p, err := ProfileNamed(o.Profile)
	if err != nil {
		return o, err
	}
	o.Profile = p.Name
	for _, dim := range []struct {
		flag            string
		chosen, allowed []string
	}{
		{"-workloads", o.Workloads, Workloads},
		{"-methods", o.Methods, methodNames()},
		{"-patterns", o.Patterns, Patterns},
		{"-cache", o.Caches, Caches},
		{"-transports", o.Transports, peer.Transports},
		{"-consume", o.Consumers, Consumers},
		{"-sync", o.Syncs, syncs()},
	} {
		for _, v := range dim.chosen {
			if !slices.Contains(dim.allowed, v) {
				return o, usage("%s: %q is unknown (known: %s)", dim.flag, v, strings.Join(dim.allowed, ", "))
			}
		}
	}
	if !slices.Contains(Counters, cmp.Or(o.Counter, "auto")) {
		return o, usage("-counter: %q is unknown (known: %s)", o.Counter, strings.Join(Counters, ", "))
	}
	if o.Rate != 0 && !(o.Rate >= 1 && o.Rate <= MaxRate) { // NaN too
		return o, usage("-rate %v: not a number of blocks a second from 1 to %g", o.Rate, float64(MaxRate))
	}
	if o.Workloads == nil {
		o.Workloads = p.Cells.Workloads
	}
	if o.Workloads == nil {
		o.Workloads = Workloads
	}
	// The files of all workloads, and the largest block of them.
	var caches []string
	var blocks []int
	for _, name := range o.Workloads {
		one := o.of(name)
		caches, blocks = append(caches, one.Caches...), append(blocks, one.Blocks...)
	}
	o.Caches = slices.DeleteFunc(slices.Clone(Caches), func(cache string) bool { return !slices.Contains(caches, cache) })
	if o.File != "" {
		return o, o.checkFile(blocks)
	}
	if o.Dir == "" {
		if o.Dir, err = DefaultDir(); err != nil {
			return o, err
		}
	}
	return o, o.checkSize(blocks)
}

// of returns the options of one workload: what was given, else what the profile
// picks for it, else what the profile has for all, else everything. The profile is
// known.
func (o Options) of(workload string) Options {
	p, _ := ProfileNamed(o.Profile)
	pick := p.Picks[workload]
	o.Methods = first(o.Methods, pick.Methods, p.Cells.Methods, methodNames())
	o.Patterns = first(o.Patterns, pick.Patterns, p.Cells.Patterns, Patterns)
	o.Caches = first(o.Caches, pick.Caches, p.Cells.Caches, Caches)
	o.Transports = first(o.Transports, pick.Transports, p.Cells.Transports, peer.Transports)
	o.Consumers = first(o.Consumers, pick.Consumers, p.Cells.Consumers, Consumers)
	o.Syncs = first(o.Syncs, pick.Syncs, p.Cells.Syncs, syncs())
	o.Threads = first(o.Threads, pick.Threads, p.Cells.Threads, DefaultThreads())
	if o.Blocks = first(o.Blocks, pick.Blocks, p.Cells.Blocks); workload == "map" || workload == "open" {
		o.Blocks = nil // their jobs take a size whole
	}
	return o
}

// first returns the first list that is not left open.
func first[T any](lists ...[]T) []T {
	for _, list := range lists {
		if list != nil {
			return list
		}
	}
	return nil
}

func methodNames() (names []string) {
	for _, m := range iomethod.All() {
		names = append(names, m.Name)
	}
	return names
}

func (o *Options) checkFile(blocks []int) error {
	if o.Size != 0 || o.Dir != "" {
		return usage("-file stands for the data files: leave out -size and -dir")
	}
	st, err := os.Stat(o.File) // and not Open, which waits for a FIFO's writer
	if err != nil {
		return usage("-file: %w (name a file that you may read)", err)
	}
	if !st.Mode().IsRegular() {
		return usage("-file %s is not a regular file: %s (name a file)", o.File, st.Mode())
	}
	f, err := os.Open(o.File)
	if err != nil {
		return usage("-file: %w (name a file that you may read)", err)
	}
	f.Close()
	o.Size = st.Size()
	if o.Size == 0 {
		return usage("-file %s is empty (name a file of at least one block)", o.File)
	}
	return o.checkSize(blocks)
}

// checkSize refuses a file smaller than a block: such a cell would measure
// another block than it says.
func (o *Options) checkSize(blocks []int) error {
	for _, block := range blocks {
		if o.Size != 0 && o.Size < int64(block) {
			return usage("a file of %s is smaller than a block of %s (take smaller -blocks or a larger file)",
				units.Base2Bytes(o.Size), units.Base2Bytes(block))
		}
	}
	return nil
}

// dataDir is the name of the directory of the data files.
const dataDir = ".iopath"

// DefaultDir is where data files go: beside the go.mod of the module that the
// benchmarks run in, or in the working directory where there is none.
func DefaultDir() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, dataDir), nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return filepath.Join(wd, dataDir), nil
		}
	}
}

// coldSize is the size of the cold cells' file where the user names none. What
// a cold cell reads comes from the device, which no cache of the CPU hides, so
// that it need not be larger than one.
const coldSize = 64 << 20

// DefaultSizes returns the bytes of the data files for warm and cold cells. The
// warm one is the next power of two beyond one and a half times the last-level
// cache, and at least 128 MiB, but at most an eighth of memory: the ceiling is
// measured over as much again, and the cold file is there too.
func DefaultSizes() (warm, cold int64) {
	warm = 128 << 20
	if llc, ok := host.LLC(); ok {
		for warm < llc*3/2 {
			warm *= 2
		}
	}
	if mem, ok := host.Memory(); ok {
		for warm > mem/8 && warm > 1<<20 {
			warm /= 2
		}
	}
	return warm, min(warm, coldSize)
}
