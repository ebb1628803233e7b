package bench

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/units"

	"iopath/internal/host"
	"iopath/internal/peer"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64 // 0: refused
	}{
		{"1", 1},
		{"4096", 4096},
		{"512B", 512},
		{"4KiB", 4 << 10},
		{"4KB", 4 << 10},
		{"64KiB", 64 << 10},
		{"1MiB", 1 << 20},
		{"1MiB512KiB", 1<<20 + 512<<10},
		{"1.5MiB", 3 << 19},
		{"2GiB", 2 << 30},
		{"1TiB", 1 << 40},
		{"", 0},
		{" ", 0},
		{"0", 0},
		{"0KiB", 0},
		{"-1", 0},
		{"-4KiB", 0},
		{"four", 0},
		{"4 KiB", 0},
		{"4XiB", 0},
		{"KiB", 0},
		{"0x10", 0},
		{"1e3", 0},
		{"9999999999999999999", 0},
		{"8EiB", 0},
		{"16EiB", 0},
		{"20000000TiB", 0},
		{"NaN", 0},
		{"Inf", 0},
	} {
		got, err := parseSize(c.in)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("parseSize(%q) = %d, %v, want %d", c.in, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), `"`+c.in+`"`) {
			t.Errorf("parseSize(%q) = %q, want what was given in it", c.in, err)
		}
	}
}

// What is a size is above zero, and is read again from how it is written.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1", "4KiB", "1MiB512KiB", "1.5GiB", "-4KiB", "0", "16EiB", "9223372036854775807", "1e3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		if err != nil {
			if n != 0 {
				t.Errorf("parseSize(%q) = %d, %v, want 0 with an error", s, n, err)
			}
			return
		}
		if n <= 0 {
			t.Fatalf("parseSize(%q) = %d, want an error or more than 0", s, n)
		}
		written := units.Base2Bytes(n).String()
		if again, err := parseSize(written); err != nil || again != n {
			t.Errorf("parseSize(%q) = %d, written %q, read again %d, %v", s, n, written, again, err)
		}
	})
}

func parse(args ...string) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Register(fs)
	return o, fs.Parse(args)
}

func TestFlags(t *testing.T) {
	got, err := parse("-profile=quick", "-workloads=read", "-methods=mmap,read", "-patterns=seq,rand", "-cache=cold",
		"-transports=unix", "-consume=touch,copy", "-blocks=4KiB,1MiB,100", "-size=1GiB", "-dir=/data", "-file=/f", "-counter=none")
	want := Options{Profile: "quick", Workloads: []string{"read"}, Methods: []string{"mmap", "read"}, Patterns: []string{"seq", "rand"},
		Caches: []string{"cold"}, Transports: []string{"unix"}, Consumers: []string{"touch", "copy"}, Blocks: []int{4096, 1 << 20, 100},
		Size: 1 << 30, Dir: "/data", File: "/f", Counter: "none"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("flags = %+v, %v, want %+v", got, err, want)
	}
	if got, err := parse(); err != nil || !reflect.DeepEqual(got, Options{Profile: "standard", Counter: "auto"}) {
		t.Errorf("no flags = %+v, %v, want the standard profile and nothing else", got, err)
	}
	for _, arg := range []string{"-blocks=", "-blocks=0", "-blocks=-4KiB", "-blocks=4KiB,", "-blocks=2GiB", "-blocks=4KiB;8KiB", "-size=", "-size=0", "-size=-1", "-size=large"} {
		if o, err := parse(arg); err == nil {
			t.Errorf("%s = %+v, want an error", arg, o)
		}
	}
	// As -h shows the values that were given.
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	o := Options{}
	o.Register(fs)
	for name, value := range map[string]string{"blocks": "4KiB,1MiB", "size": "1GiB", "methods": "read,mmap"} {
		if err := fs.Set(name, value); err != nil || fs.Lookup(name).Value.String() != value {
			t.Errorf("-%s=%s is shown as %q (%v)", name, value, fs.Lookup(name).Value, err)
		}
	}
}

func TestResolveFillsIn(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		in        Options
		workloads []string
		caches    []string
	}{
		{Options{}, []string{"read", "send"}, Caches},
		{Options{Profile: "quick"}, []string{"read", "send"}, []string{"warm"}},
		{Options{Profile: "paths"}, Workloads, Caches},
		{Options{Profile: "full", Caches: []string{"cold"}, Workloads: []string{"send"}}, []string{"send"}, []string{"cold"}},
	} {
		c.in.Dir = dir
		got, err := c.in.resolve()
		if err != nil || !slices.Equal(got.Workloads, c.workloads) || !slices.Equal(got.Caches, c.caches) || got.Dir != dir {
			t.Errorf("resolve(%+v) = %+v, %v, want workloads %v, caches %v", c.in, got, err, c.workloads, c.caches)
		}
	}
	got, err := Options{}.resolve()
	if err != nil || filepath.Base(got.Dir) != dataDir {
		t.Errorf("default directory = %q, %v, want %s beside go.mod", got.Dir, err, dataDir)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(got.Dir), "go.mod")); err != nil {
		t.Errorf("default directory %q is not beside go.mod: %v", got.Dir, err)
	}
}

// What is given goes before what the profile picks for the workload, that before what
// it has for all, and that before everything.
func TestOf(t *testing.T) {
	few := []int{4 << 10, 64 << 10, 1 << 20}
	for _, c := range []struct {
		in       Options
		workload string
		want     Options
	}{
		{Options{}, "read", Options{Methods: []string{"read", "pread", "mmap", "os.File", "null"}, Patterns: []string{"seq", "rand", "sparse"},
			Consumers: []string{"sum"}, Blocks: few, Syncs: syncs(), Caches: Caches, Transports: peer.Transports, Threads: DefaultThreads()}},
		{Options{Methods: []string{"mmap"}, Patterns: []string{"zipf"}, Blocks: []int{7}}, "read", Options{Methods: []string{"mmap"}, Patterns: []string{"zipf"},
			Consumers: []string{"sum"}, Blocks: []int{7}, Syncs: syncs(), Caches: Caches, Transports: peer.Transports, Threads: DefaultThreads()}},
		{Options{Profile: "full", Syncs: []string{"end"}}, "write", Options{Profile: "full", Methods: methodNames(), Patterns: Patterns,
			Consumers: Consumers, Blocks: []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}, Syncs: []string{"end"}, Caches: Caches, Transports: peer.Transports, Threads: DefaultThreads()}},
		{Options{Profile: "quick", Threads: []int{3}}, "map", Options{Profile: "quick", Methods: []string{"map+shared", "map+private", "map+anon", "heap"}, Patterns: Patterns,
			Consumers: []string{"sum"}, Syncs: syncs(), Caches: []string{"warm"}, Transports: []string{"tcp"}, Threads: []int{3}}},
	} {
		if got := c.in.of(c.workload); !reflect.DeepEqual(got, c.want) {
			t.Errorf("of(%q) of %+v = %+v, want %+v", c.workload, c.in, got, c.want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, small := write("empty", 0), write("small", 4095)
	unreadable := write("unreadable", 1<<20)
	if err := os.Chmod(unreadable, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
		want string // part of the error
	}{
		{"profile", Options{Profile: "hasty"}, `-profile "hasty" is unknown (known: standard, quick, paths, full`},
		{"workload", Options{Workloads: []string{"cook"}}, `-workloads: "cook" is unknown (known: read, write, send`},
		{"method", Options{Methods: []string{"pread", "teleport"}}, `-methods: "teleport" is unknown (known: `},
		{"no method", Options{Methods: []string{""}}, `-methods: "" is unknown`},
		{"pattern", Options{Patterns: []string{"zigzag"}}, `-patterns: "zigzag" is unknown`},
		{"cache", Options{Caches: []string{"tepid"}}, `-cache: "tepid" is unknown (known: warm, cold`},
		{"transport", Options{Transports: []string{"pigeon"}}, `-transports: "pigeon" is unknown`},
		{"consumer", Options{Consumers: []string{"taste"}}, `-consume: "taste" is unknown`},
		{"counter", Options{Counter: "fingers"}, `-counter: "fingers" is unknown`},
		{"size below a block", Options{Size: 4096, Blocks: []int{8192}}, "a file of 4KiB is smaller than a block of 8KiB"},
		{"size below the profile's blocks", Options{Size: 4096}, "smaller than a block of 64KiB"},
		{"missing file", Options{File: filepath.Join(dir, "missing")}, "no such file"},
		{"directory", Options{File: dir}, "is not a regular file"},
		{"device", Options{File: os.DevNull}, "is not a regular file"},
		{"empty file", Options{File: empty}, "is empty"},
		{"file below a block", Options{File: small, Blocks: []int{4096}}, "smaller than a block of 4KiB"},
		{"file and size", Options{File: small, Size: 10}, "leave out -size and -dir"},
		{"file and directory", Options{File: small, Dir: dir}, "leave out -size and -dir"},
		{"unreadable file", Options{File: unreadable}, "permission denied"},
	} {
		if c.name == "unreadable file" && os.Geteuid() == 0 {
			t.Logf("%s: left out: root may read any file", c.name)
			continue
		}
		if c.o.Dir == "" && c.o.File == "" {
			c.o.Dir = dir
		}
		_, err := c.o.resolve()
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: resolve = %v, want ErrUsage in one line with %q", c.name, err, c.want)
		}
		// And so says a session, which leaves nothing behind.
		if s, err := Open(t.Context(), c.o); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: Open = %v, %v, want ErrUsage", c.name, s, err)
		}
	}
	for _, o := range []Options{
		{Dir: small, Size: 1 << 20}, // a file in the directory's place
		{Dir: filepath.Join(dir, "new"), Size: 1 << 60},
	} {
		if s, err := Open(t.Context(), o); !errors.Is(err, ErrUsage) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%+v) = %v, %v, want ErrUsage in one line", o, s, err)
		}
	}
}

func TestProfiles(t *testing.T) {
	var names []string
	for _, p := range Profiles {
		names = append(names, p.Name)
		for workload, pick := range p.Picks {
			if !slices.Contains(Workloads, workload) {
				t.Errorf("profile %q picks for %q, which is no workload", p.Name, workload)
			}
			pick.Profile, pick.Dir, pick.Workloads = p.Name, t.TempDir(), []string{workload}
			if _, err := pick.resolve(); err != nil {
				t.Errorf("profile %q, %s: %v", p.Name, workload, err)
			}
		}
		if p.Doc == "" || p.BenchTime == "" || p.Rounds < 6 {
			// Below 6 samples a median has no interval at 95 %.
			t.Errorf("profile %q: doc %q, benchtime %q, %d rounds; want all, and at least 6 rounds", p.Name, p.Doc, p.BenchTime, p.Rounds)
		}
		o := p.Cells
		o.Profile, o.Dir = p.Name, t.TempDir()
		if _, err := o.resolve(); err != nil {
			t.Errorf("profile %q: %v", p.Name, err)
		}
		if got, err := ProfileNamed(p.Name); err != nil || got.Name != p.Name {
			t.Errorf("ProfileNamed(%q) = %q, %v", p.Name, got.Name, err)
		}
	}
	for _, want := range []string{"standard", "quick", "paths", "full"} {
		if !slices.Contains(names, want) {
			t.Errorf("profiles = %q, want %q among them", names, want)
		}
	}
	if got, err := ProfileNamed(""); err != nil || got.Name != "standard" {
		t.Errorf(`ProfileNamed("") = %q, %v, want the standard one`, got.Name, err)
	}
}

func TestDefaultSizes(t *testing.T) {
	warm, cold := DefaultSizes()
	if warm <= 0 || cold <= 0 || cold > warm || warm&(warm-1) != 0 {
		t.Errorf("DefaultSizes() = %d, %d, want a power of two, and a cold file no larger", warm, cold)
	}
	if mem, ok := host.Memory(); ok && warm > mem/4 && warm > 1<<20 {
		t.Errorf("the warm file has %d bytes, want at most a quarter of the memory of %d", warm, mem)
	}
	llc, ok := host.LLC()
	if mem, known := host.Memory(); ok && known && warm <= llc && warm*2 <= mem/8 {
		t.Errorf("the warm file has %d bytes, want more than the last-level cache of %d", warm, llc)
	}
	for _, block := range []int64{4 << 10, 64 << 10, 1 << 20} {
		if cold < block {
			t.Errorf("the cold file has %d bytes, want at least the standard block of %d", cold, block)
		}
	}
}
