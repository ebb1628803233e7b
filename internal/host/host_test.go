package host

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestParseMount(t *testing.T) {
	for _, test := range []struct {
		line string
		want mount
		ok   bool
	}{
		{"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
			mount{27, 254, 0, "/", "/", "ext4", "rw,relatime,rw,discard"}, true},
		{"36 35 98:10 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw",
			mount{36, 98, 10, "/mnt1", "/mnt 2", "ext3", "rw,noatime,rw"}, true},
		{"66 43 0:41 / /t rw - tmpfs  rw,size=1k", // the source is empty
			mount{66, 0, 41, "/", "/t", "tmpfs", "rw,rw,size=1k"}, true},
		{"66 43 0:41 / /t rw tmpfs none rw", mount{}, false},
		{"66 43 41 / /t rw - tmpfs none rw", mount{}, false},
		{"", mount{}, false},
	} {
		got, ok := parseMount(test.line)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("parseMount(%q) = %+v, %v, want %+v, %v", test.line, got, ok, test.want, test.ok)
		}
	}
}

func TestMount(t *testing.T) {
	s := system{root: tree(`proc/self/mountinfo: 1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /data rw - xfs b rw\n3 1 8:3 / /data rw - ext2 c rw\n4 1 8:4 / /data/in rw - tmpfs d rw`)}
	for _, test := range []struct {
		path string
		id   int
		want int
	}{
		{"/data/x", 2, 2}, // the id decides
		{"/data/x", 0, 3}, // the upper of two on one point
		{"/data/in", 0, 4},
		{"/data/inner", 0, 3},
		{"/database", 0, 1},
		{"/", 99, 1},
	} {
		if got, _ := s.mount(test.path, test.id); got.id != test.want {
			t.Errorf("mount(%s, %d) = %d, want %d", test.path, test.id, got.id, test.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, test := range []struct {
		n            int64
		exact, round string
	}{
		{0, "0B", "0B"},
		{1000, "1000B", "1000B"},
		{4096, "4KiB", "4KiB"},
		{4224 << 10, "4224KiB", "4.1MiB"},
		{8 << 20, "8MiB", "8MiB"},
		{24684084 << 10, "24684084KiB", "23.5GiB"},
		{1<<40 - 1, "1099511627775B", "1TiB"},
		{1<<63 - 1, "9223372036854775807B", "8EiB"},
	} {
		if got := exactSize(test.n); got != test.exact {
			t.Errorf("exactSize(%d) = %s, want %s", test.n, got, test.exact)
		}
		if got := roundSize(test.n); got != test.round {
			t.Errorf("roundSize(%d) = %s, want %s", test.n, got, test.round)
		}
	}
	for _, test := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"32768K", 32 << 20, true},
		{"1M", 1 << 20, true},
		{"512", 512, true},
		{"0K", 0, true},
		{"8589934591G", 8589934591 << 30, true},
		{"8589934592G", 0, false},
		{"18014398509481984K", 0, false},
		{"", 0, false}, {"K", 0, false}, {"-1K", 0, false}, {"1 K", 0, false}, {"1KiB", 0, false},
	} {
		got, ok := parseSize(test.text)
		if got != test.want || ok != test.ok {
			t.Errorf("parseSize(%q) = %d, %v, want %d, %v", test.text, got, ok, test.want, test.ok)
		}
	}
}

func TestList(t *testing.T) {
	for _, test := range []struct {
		text string
		want []int
		ok   bool
	}{
		{"0", []int{0}, true},
		{"0-3,8", []int{0, 1, 2, 3, 8}, true},
		{"", nil, false}, {"3-1", nil, false}, {"a", nil, false}, {"0-99999999", nil, false},
		{"0-65535,0", nil, false},
	} {
		got, ok := parseList(test.text)
		if !slices.Equal(got, test.want) || ok != test.ok {
			t.Errorf("parseList(%q) = %v, %v, want %v, %v", test.text, got, ok, test.want, test.ok)
		}
		if back := formatList(got); ok && back != test.text {
			t.Errorf("formatList(%v) = %q, want %q", got, back, test.text)
		}
	}
}

func TestWriteConfig(t *testing.T) {
	for _, test := range []struct {
		name  string
		facts []Fact
		want  string
		fails bool
	}{
		{"lines in order", []Fact{{"go", "go1.26"}, {"page-size", "4KiB"}, {"cpu", "a  b"}}, "go: go1.26\npage-size: 4KiB\ncpu: a  b\n", false},
		{"unknown", []Fact{{"llc", ""}}, "", false},
		{"capital", []Fact{{"go", "go1.26"}, {"LLC", "1"}}, "", true},
		{"digit first", []Fact{{"3d", "1"}}, "", true},
		{"no key", []Fact{{"", "1"}}, "", true},
		{"two lines", []Fact{{"go", "a\nb"}}, "", true},
		{"blanks at the end", []Fact{{"go", "a "}}, "", true},
	} {
		var b strings.Builder
		err := WriteConfig(&b, test.facts)
		if b.String() != test.want || (err != nil) != test.fails {
			t.Errorf("%s: WriteConfig = %q, %v, want %q, failure %v", test.name, b.String(), err, test.want, test.fails)
		}
	}
}

func TestMachineName(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"epyc-2core_vm.1", "epyc-2core_vm.1"},
		{"my machine/2", "my-machine-2"},
		{"../../etc", "etc"},
		{"Jo's Rechner (größer)", "Jo-s-Rechner--gr--er"},
		{"..", ""},
		{strings.Repeat("x", 99), strings.Repeat("x", 64)},
	} {
		if got := MachineName(test.name); got != test.want {
			t.Errorf("MachineName(%q) = %q, want %q", test.name, got, test.want)
		}
	}
	if name, err := os.Hostname(); err == nil && MachineName("") != MachineName(name) {
		t.Errorf("MachineName(\"\") = %q, want %q, as for the host name", MachineName(""), MachineName(name))
	}
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := git(dir, args...)
		if err != nil {
			t.Skipf("git %v: %v", args, err)
		}
		return out
	}
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return filepath.Dir(name)
	}
	run("init", "-q")
	if got := commit(dir); got != "" {
		t.Errorf("without a commit: commit = %q, want none", got)
	}
	write("go.mod", "module a\n")
	run("add", ".")
	run("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "a")
	head := run("rev-parse", "--short=12", "HEAD")

	check := func(name, dir, want string) {
		t.Helper()
		if got := commit(dir); got != want {
			t.Errorf("%s: commit = %q, want %q", name, got, want)
		}
	}
	check("clean", dir, head)
	check("untracked directory of the module", write("sub/a.go", "package a\n"), head)
	check("another module unpacked inside", write("other/go.mod", "module b\n"), "")
	check("changed", write("go.mod", "module c\n"), head+"-dirty")
	check("missing", filepath.Join(dir, "missing"), "")
	t.Setenv("GIT_DIR", filepath.Join(dir, "elsewhere"))
	check("in a hook of another repository", dir, head+"-dirty")
}

func TestStamp(t *testing.T) {
	for _, test := range []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, ""},
		{[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, ""},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "false"}}, "0123456789ab"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}, "0123456789ab-dirty"},
	} {
		if got := stamp(test.settings); got != test.want {
			t.Errorf("stamp(%v) = %q, want %q", test.settings, got, test.want)
		}
	}
}

// TestThisMachine checks what must hold on any machine.
func TestThisMachine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	facts := append(TestHeader("iopath/bench"), Facts(dir, Options{Machine: "m"})...)
	var b strings.Builder
	if err := WriteConfig(&b, facts); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
	seen := map[string]bool{}
	for _, f := range facts {
		if f.Value == "" || seen[f.Key] {
			t.Errorf("fact %q = %q: empty, or a second one", f.Key, f.Value)
		}
		seen[f.Key] = true
	}
	for _, key := range []string{"goos", "goarch", "pkg", "machine", "go", "cpus", "page-size"} {
		if !seen[key] {
			t.Errorf("no fact %s", key)
		}
	}
	if again := Facts(dir, Options{Machine: "m"}); !slices.Equal(again, facts[len(facts)-len(again):]) {
		t.Errorf("Facts = %v, want what it was before, %v", again, facts)
	}

	_, errFS := Filesystem(dir)
	_, errTmp := IsTmpfs(dir)
	free, errFree := FreeSpace(dir)
	cpus, errCPU := AllowedCPUs()
	if runtime.GOOS != "linux" {
		for _, err := range []error{errFS, errTmp, errFree, errCPU} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("error = %v, want errors.ErrUnsupported", err)
			}
		}
		return
	}
	if err := errors.Join(errFS, errTmp, errFree, errCPU); err != nil {
		t.Error(err)
	}
	if free < 0 || len(cpus) == 0 || !slices.IsSorted(cpus) {
		t.Errorf("FreeSpace = %d, AllowedCPUs = %v", free, cpus)
	}
	if tmp, err := IsTmpfs("/dev/shm"); err == nil && !tmp {
		if fstype, _ := Filesystem("/dev/shm"); fstype == "tmpfs" {
			t.Error("IsTmpfs(/dev/shm) = false, want true")
		}
	}
	if n, ok := Memory(); !ok || n < 1<<20 {
		t.Errorf("Memory = %d, %v, want more", n, ok)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add("36 35 98:0 /m\\0401 /m2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue", "/m2/x")
	f.Fuzz(func(t *testing.T, text, path string) {
		s := system{root: tree("")}
		m, ok := parseMount(text)
		if ok && (!strings.HasPrefix(m.point, "/") || m.fstype == "") {
			t.Errorf("parseMount(%q) = %+v", text, m)
		}
		_ = m.String()
		_ = s.device(m)
		_ = within(path, m.point)
	})
}

func FuzzCPUInfo(f *testing.F) {
	f.Add("processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2596.140\nflags\t\t: fpu hypervisor\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := system{root: tree("proc/cpuinfo: " + strings.ReplaceAll(text, "\n", `\n`)), arch: "riscv64"}
		var l facts
		l.add("cpu", s.cpuName())
		l.add("virt", s.virt())
		if err := WriteConfig(&strings.Builder{}, l); err != nil {
			t.Error(err)
		}
	})
}

func FuzzSize(f *testing.F) {
	f.Add("32768K")
	f.Add("0-3,8")
	f.Fuzz(func(t *testing.T, text string) {
		if n, ok := parseSize(text); ok && n < 0 {
			t.Errorf("parseSize(%q) = %d, want no less than 0", text, n)
		}
		if ids, ok := parseList(text); ok && len(ids) > maxCPUs {
			t.Errorf("parseList(%q): %d ids, want at most %d", text, len(ids), maxCPUs)
		}
	})
}
