package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A fake is a made-up machine: files by their paths.
type fake map[string]string

// files are what the kernel puts into a new group.
var files = map[int]fake{
	2: {"memory.max": "max", "memory.swap.max": "max", "memory.swap.current": "12288\n", "memory.current": "16384\n", "cgroup.procs": "",
		"memory.stat": "anon 4096\nfile 8192\npgscan 7\npgsteal 5\nworkingset_refault_file 3\npswpin 2\n"},
	1: {"memory.limit_in_bytes": "-1", "memory.memsw.limit_in_bytes": "-1", "memory.usage_in_bytes": "16384\n", "cgroup.procs": "",
		"memory.stat": "cache 8192\nrss 4096\nswap 12288\nworkingset_refault_file 3\n"},
}

func (f fake) write(t *testing.T, dir string) {
	t.Helper()
	for path, text := range f {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tree makes the machine, whose new groups have the files of that version.
func (f fake) tree(t *testing.T, version int) tree {
	t.Helper()
	root := t.TempDir()
	f.write(t, root)
	return tree{
		root: root,
		mkdir: func(path string) error {
			if err := os.Mkdir(path, 0o755); err != nil {
				return err
			}
			files[version].write(t, path)
			return nil
		},
		rmdir: os.RemoveAll,
	}
}

const (
	v2Mount = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	v1Mount = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	hybrid  = v1Mount + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	vmstat  = "pgscan_direct 0\npgscan_anon 10\npgscan_file 100\npgsteal_anon 1\npgsteal_file 50\npswpin 9\n"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		name    string
		machine fake
		version int
		parent  string // of the group
		want    string // what is written, in order
		stat    Stat
	}{
		{
			name: "v2, a leaf with processes below a slice that hands memory down", version: 2, parent: "/sys/fs/cgroup/user.slice",
			machine: fake{
				"proc/self/cgroup": "0::/user.slice/session-1.scope\n", "proc/self/mountinfo": v2Mount, "proc/vmstat": vmstat,
				"sys/fs/cgroup/cgroup.controllers":                            "cpu memory\n",
				"sys/fs/cgroup/user.slice/cgroup.subtree_control":             "memory pids\n",
				"sys/fs/cgroup/user.slice/session-1.scope/memory.current":     "0",
				"sys/fs/cgroup/user.slice/session-1.scope/cgroup.controllers": "memory",
			},
			want: "memory.max=1000 memory.swap.max=500",
			stat: Stat{Charged: 16384, Anon: 4096, File: 8192, Swap: 12288},
		},
		{
			name: "v2, seen from inside a namespace", version: 2, parent: "/sys/fs/cgroup",
			machine: fake{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mount, "proc/vmstat": vmstat,
				"sys/fs/cgroup/cgroup.controllers":     "memory\n",
				"sys/fs/cgroup/cgroup.subtree_control": "\n",
			},
			want: "memory.max=1000 memory.swap.max=500",
			stat: Stat{Charged: 16384, Anon: 4096, File: 8192, Swap: 12288},
		},
		{
			name: "v1", version: 1, parent: "/sys/fs/cgroup/memory/a/b",
			machine: fake{
				"proc/self/cgroup": "8:pids:/\n4:memory:/a/b\n", "proc/self/mountinfo": v1Mount, "proc/vmstat": vmstat,
				"sys/fs/cgroup/memory/a/b/tasks": "",
			},
			want: "memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=1500",
			stat: Stat{Charged: 16384, Anon: 4096, File: 8192, Swap: 12288, MachineWide: true},
		},
		{
			name: "hybrid: version 1 has the memory controller", version: 1, parent: "/sys/fs/cgroup/memory",
			machine: fake{
				"proc/self/cgroup": "0::/init\n4:cpu,memory:/outside\n", "proc/vmstat": vmstat,
				"proc/self/mountinfo":                      strings.Replace(hybrid, "0:32 / ", "0:32 /inside ", 1),
				"sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n",
				"sys/fs/cgroup/memory/tasks":               "",
			},
			want: "memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=1500",
			stat: Stat{Charged: 16384, Anon: 4096, File: 8192, Swap: 12288, MachineWide: true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := c.machine.tree(t, c.version)
			g, err := tr.newGroup(Limit{Memory: 1000, Swap: 500})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := g.String(), fmt.Sprintf("v%d %s%s", c.version, tr.root, c.parent); got != want {
				t.Errorf("the group is in %s, want %s", got, want)
			}
			for _, assignment := range strings.Fields(c.want) {
				file, want, _ := strings.Cut(assignment, "=")
				if got := content(t, filepath.Join(g.dir, file)); !strings.HasPrefix(got, want) {
					t.Errorf("%s = %q, want %s", file, got, want)
				}
			}
			if err := g.Add(4242); err != nil {
				t.Error(err)
			}
			if got := content(t, filepath.Join(g.dir, "cgroup.procs")); got != "4242" {
				t.Errorf("cgroup.procs = %q, want 4242", got)
			}
			os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), nil, 0o644) // there is no such process to end
			if got, err := g.Stat(); err != nil || got != c.stat {
				t.Errorf("Stat = %+v, %v, want %+v", got, err, c.stat)
			}
			if err := g.Remove(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(g.dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after Remove the group is there: %v", err)
			}
			control := filepath.Join(tr.root, c.parent, "cgroup.subtree_control")
			if text, err := os.ReadFile(control); err == nil && strings.HasPrefix(string(text), "+") {
				t.Errorf("after Remove subtree_control is %q, want what was switched on switched off", text)
			}
		})
	}
}

func TestStatCountsFromTheBeginning(t *testing.T) {
	machine := fake{"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1Mount, "proc/vmstat": vmstat, "sys/fs/cgroup/memory/tasks": ""}
	tr := machine.tree(t, 1)
	g, err := tr.newGroup(Limit{Memory: 1000, Swap: Unlimited})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(g.dir, "memory.memsw.limit_in_bytes")); got != "-1" {
		t.Errorf("an unlimited swap is limited: %q", got)
	}
	fake{"proc/vmstat": strings.NewReplacer("pgscan_file 100", "pgscan_file 140", "pgsteal_anon 1", "pgsteal_anon 3", "pswpin 9", "pswpin 10").Replace(vmstat)}.write(t, tr.root)
	want := Stat{Charged: 16384, Anon: 4096, File: 8192, Swap: 12288, Scanned: 40, Stolen: 2, SwapIns: 1, MachineWide: true}
	if got, err := g.Stat(); err != nil || got != want {
		t.Errorf("Stat = %+v, %v, want %+v", got, err, want)
	}
}

func TestSweepTakesOnlyWhatTheDeadLeft(t *testing.T) {
	machine := fake{"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1Mount, "proc/vmstat": vmstat, "sys/fs/cgroup/memory/tasks": ""}
	tr := machine.tree(t, 1)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Skip(err)
	}
	stays := []string{"other-1", "iopath-x", fmt.Sprintf("iopath-%d-99", os.Getpid())}
	goes := fmt.Sprintf("iopath-%d-1", dead.Process.Pid)
	for _, name := range append(stays, goes) {
		if err := os.Mkdir(filepath.Join(tr.root, "sys/fs/cgroup/memory", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tr.newGroup(Limit{Memory: 1}); err != nil {
		t.Fatal(err)
	}
	for _, name := range stays {
		if _, err := os.Stat(filepath.Join(tr.root, "sys/fs/cgroup/memory", name)); err != nil {
			t.Errorf("%s was removed: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(tr.root, "sys/fs/cgroup/memory", goes)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s stayed, whose process is gone: %v", goes, err)
	}
}

func TestUnsupported(t *testing.T) {
	for _, c := range []struct {
		name    string
		machine fake
		mkdir   error
		remedy  string
	}{
		{"no hierarchy", fake{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": ""}, nil, "mount"},
		{"not handed down", fake{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mount, "sys/fs/cgroup/cgroup.controllers": "cpu"}, nil, "mount"},
		{"forbidden", fake{"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1Mount}, fs.ErrPermission, "run as root"},
		{"read-only", fake{"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1Mount}, unix.EROFS, "run as root"},
	} {
		tr := c.machine.tree(t, 1)
		tr.mkdir = func(string) error { return c.mkdir }
		_, err := tr.newGroup(Limit{Memory: 1})
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), c.remedy) {
			t.Errorf("%s: newGroup = %v, want an error that matches ErrUnsupported and says %q", c.name, err, c.remedy)
		}
	}
	if _, err := New(Limit{}); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New(no limit) = %v, want an error of its own", err)
	}
}

// hungryEnv makes the test binary take memory, once it may.
const hungryEnv = "IOPATH_TEST_HUNGRY"

func TestMain(m *testing.M) {
	if os.Getenv(hungryEnv) != "" {
		os.Stdin.Read(make([]byte, 1))
		// Outside of Go's heap, for which the race detector takes memory as well.
		mem, err := unix.Mmap(-1, 0, 128<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			fmt.Println(err)
			return
		}
		for i := 0; i < len(mem); i += 4096 {
			mem[i] = 1
		}
		fmt.Println("survived")
		return
	}
	os.Exit(m.Run())
}

// hungry runs a process that wants 128 MiB, in the group, and returns what it says.
func hungry(t *testing.T, g *Group) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hungryEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	in.Close()
	cmd.Wait()
	return strings.TrimSpace(out.String())
}

func TestTheLimitHolds(t *testing.T) {
	for _, c := range []struct {
		memory int64
		want   string
	}{{64 << 20, ""}, {256 << 20, "survived"}} {
		g, err := New(Limit{Memory: c.memory})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := hungry(t, g); got != c.want {
			t.Errorf("with %d bytes, a process that takes 128 MiB said %q, want %q", c.memory, got, c.want)
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
}

func TestRemoveEndsWhatIsInTheGroup(t *testing.T) {
	g, err := New(Limit{Memory: 64 << 20})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- cmd.Wait() }()
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("sleep slept through")
	}
	if _, err := os.Stat(g.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the group is there after Remove: %v", err)
	}
}

func TestProbe(t *testing.T) {
	if err := Probe(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Probe = %v, want nil or an error that matches ErrUnsupported", err)
	}
}
