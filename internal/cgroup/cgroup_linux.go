package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Group is a control group that [New] made. It is safe for concurrent use.
type Group struct {
	tree    tree
	version int    // of the interface
	dir     string // its directory
	enabled string // the parent where the controller was switched on for it; "" where it was on
	before  Stat   // what the machine's counters were
}

// A tree is the file system that the kernel shows its control groups in. Tests
// bring their own.
type tree struct {
	root         string // "" for the machine's own
	mkdir, rmdir func(path string) error
}

var machine = tree{
	mkdir: func(path string) error { return os.Mkdir(path, 0o755) },
	rmdir: unix.Rmdir,
}

// prefix begins the name of each group; the process that made it and a number
// follow.
const prefix = "iopath-"

var made atomic.Int64

// Probe makes a group and removes it again: nil where that works, an error matching
// errors.ErrUnsupported, with the remedy, where it does not.
func Probe() error {
	g, err := New(Limit{Memory: 64 << 20, Swap: Unlimited})
	if err != nil {
		return err
	}
	return g.Remove()
}

// New makes a group without processes. An error matches errors.ErrUnsupported where
// the machine has no group to be had, or the user may not make one; the caller calls
// [Group.Remove] on every way out.
func New(limit Limit) (*Group, error) { return machine.newGroup(limit) }

func (t tree) newGroup(limit Limit) (*Group, error) {
	if limit.Memory <= 0 || limit.Swap < Unlimited {
		return nil, fmt.Errorf("make a control group: a limit of %d bytes and %d of swap is none", limit.Memory, limit.Swap)
	}
	places, version, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	var refused []error
	for _, parent := range places {
		g, err := t.newIn(parent, version, limit)
		if err == nil {
			return g, nil
		}
		refused = append(refused, err)
	}
	if err := refused[0]; !forbidden(err) {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	return nil, fmt.Errorf("make a control group: %w: %w (run as root, or in a group of your own: systemd-run --user --scope -p Delegate=yes)",
		refused[0], errors.ErrUnsupported)
}

// forbidden reports whether the error says that groups are made by others, or not
// there.
func forbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EBUSY) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP)
}

// newIn makes a group in that parent.
func (t tree) newIn(parent string, version int, limit Limit) (*Group, error) {
	g := &Group{tree: t, version: version}
	if version == 2 {
		// Children have the controllers that their parent hands down.
		handed, err := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Fields(string(handed)), "memory") {
			if err := set(parent, "cgroup.subtree_control", "+memory"); err != nil {
				return nil, err
			}
			g.enabled = parent
		}
	}
	t.sweep(parent)
	g.dir = filepath.Join(parent, fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), made.Add(1)))
	err := t.mkdir(g.dir)
	if err != nil {
		g.dir = ""
	} else if err = errors.Join(g.limit(limit), g.holds(limit.Memory)); err == nil {
		g.before, err = g.read()
	}
	if err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// sweep removes the groups of processes that are gone. One that is not empty, since
// its process is of another PID namespace than ours, the kernel does not remove.
func (t tree) sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		name, ours := strings.CutPrefix(e.Name(), prefix)
		digits, _, _ := strings.Cut(name, "-")
		pid, err := strconv.Atoi(digits)
		if ours && err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			t.rmdir(filepath.Join(parent, e.Name()))
		}
	}
}

// holds checks that none of the groups above has a lower limit, which would be the one
// that is met.
func (g *Group) holds(memory int64) error {
	lowest := int64(math.MaxInt64)
	if g.version == 2 {
		for dir := filepath.Dir(g.dir); ; dir = filepath.Dir(dir) {
			text, err := os.ReadFile(filepath.Join(dir, "memory.max"))
			if err != nil {
				break // the root has none
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				lowest = min(lowest, n)
			}
		}
	} else if stat, err := os.ReadFile(filepath.Join(g.dir, "memory.stat")); err == nil {
		for line := range strings.Lines(string(stat)) {
			if digits, ok := strings.CutPrefix(strings.TrimSpace(line), "hierarchical_memory_limit "); ok {
				if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
					lowest = n
				}
			}
		}
	}
	if lowest < memory {
		return fmt.Errorf("limit the memory to %d bytes: the group that we are in has %d (take a smaller -limit)", memory, lowest)
	}
	return nil
}

func (g *Group) limit(l Limit) error {
	if g.version == 2 {
		swap := "max"
		if l.Swap != Unlimited {
			swap = strconv.FormatInt(l.Swap, 10)
		}
		return errors.Join(
			set(g.dir, "memory.max", strconv.FormatInt(l.Memory, 10)),
			ifThere(set(g.dir, "memory.swap.max", swap))) // a kernel without swap has none
	}
	err := set(g.dir, "memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10))
	if err != nil || l.Swap == Unlimited {
		return err
	}
	err = set(g.dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(l.Memory+l.Swap, 10))
	if errors.Is(err, fs.ErrNotExist) && l.Swap == 0 {
		return set(g.dir, "memory.swappiness", "0") // a kernel that does not account swap
	}
	return ifThere(err)
}

// Add moves a process in, with all of its threads. What it had before stays charged
// to the group that it came from.
func (g *Group) Add(pid int) error {
	if err := set(g.dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("move process %d into the control group: %w", pid, err)
	}
	return nil
}

// Stat reads the group's statistics.
func (g *Group) Stat() (Stat, error) {
	s, err := g.read()
	if err != nil {
		return s, err
	}
	s.Scanned -= g.before.Scanned
	s.Stolen -= g.before.Stolen
	s.Refaults -= g.before.Refaults
	s.SwapIns -= g.before.SwapIns
	return s, nil
}

func (g *Group) read() (Stat, error) {
	m, err := table(filepath.Join(g.dir, "memory.stat"))
	if err != nil {
		return Stat{}, fmt.Errorf("read the control group's statistics: %w", err)
	}
	all, err := table(g.tree.root + "/proc/vmstat")
	if err != nil {
		return Stat{}, fmt.Errorf("read the machine's statistics: %w", err)
	}
	s := Stat{Refaults: m["workingset_refault_file"]}
	if g.version == 2 {
		s.Anon, s.File = m["anon"], m["file"]
		s.Charged, err = number(g.dir, "memory.current")
		var noSwap error
		s.Swap, noSwap = number(g.dir, "memory.swap.current")
		err = errors.Join(err, ifThere(noSwap))
	} else {
		s.Anon, s.File, s.Swap = m["rss"], m["cache"], m["swap"]
		s.Charged, err = number(g.dir, "memory.usage_in_bytes")
	}
	if err != nil {
		return s, fmt.Errorf("read the control group's memory: %w", err)
	}
	var byGroup bool
	if s.Scanned, byGroup = m["pgscan"]; byGroup {
		s.Stolen = m["pgsteal"]
	} else {
		// By kind of page: the sums by who reclaims (pgscan_direct, pgscan_kswapd)
		// leave out what is done for the sake of a group's limit.
		s.Scanned = all["pgscan_anon"] + all["pgscan_file"]
		s.Stolen = all["pgsteal_anon"] + all["pgsteal_file"]
		s.MachineWide = true
	}
	if s.SwapIns, byGroup = m["pswpin"]; !byGroup {
		s.SwapIns = all["pswpin"]
	}
	return s, nil
}

// patience is for how long at most the kernel is given to end the group's processes.
const patience = 10 * time.Second

// Remove ends the processes that are in the group and removes it. It is not called
// twice.
func (g *Group) Remove() (err error) {
	for deadline := time.Now().Add(patience); g.dir != ""; time.Sleep(5 * time.Millisecond) {
		g.kill()
		err = g.tree.rmdir(g.dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("remove the control group %s: %w (rmdir it)", g.dir, err)
	}
	if g.enabled != "" {
		err = errors.Join(err, set(g.enabled, "cgroup.subtree_control", "-memory"))
	}
	return err
}

func (g *Group) kill() {
	pids, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	for _, word := range strings.Fields(string(pids)) {
		// 0 is a process of another PID namespace; to kill that would be to kill
		// our own process group.
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// String tells the interface's version and the parent of the group.
func (g *Group) String() string { return fmt.Sprintf("v%d %s", g.version, filepath.Dir(g.dir)) }

// places returns the directories that a group may be made in, the nearest to us
// first, and the version of the interface.
func (t tree) places() (dirs []string, version int, err error) {
	own, err := os.ReadFile(t.root + "/proc/self/cgroup")
	if err != nil {
		return nil, 0, err
	}
	mounts, err := os.ReadFile(t.root + "/proc/self/mountinfo")
	if err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		switch {
		case slices.Contains(strings.Split(f[1], ","), "memory"):
			if m, ok := find(string(mounts), "cgroup", "memory"); ok {
				return []string{t.root + m.path(f[2])}, 1, nil
			}
		case f[0] == "0" && f[1] == "":
			m, ok := find(string(mounts), "cgroup2", "")
			controllers, _ := os.ReadFile(t.root + m.point + "/cgroup.controllers")
			if !ok || !slices.Contains(strings.Fields(string(controllers)), "memory") {
				continue // as where version 1 has the controller
			}
			// A group with processes of its own hands nothing down: the parents
			// are tried as well.
			for dir := m.path(f[2]); ; dir = filepath.Dir(dir) {
				dirs = append(dirs, t.root+dir)
				if dir == m.point {
					return dirs, 2, nil
				}
			}
		}
	}
	return nil, 0, fmt.Errorf("none that limits memory is mounted: %w (mount one: mount -t cgroup2 none /sys/fs/cgroup)", errors.ErrUnsupported)
}

// A mount is where a hierarchy, or the part of it below top, is seen.
type mount struct{ top, point string }

// find looks a mount up in mountinfo (proc_pid_mountinfo(5)):
//
//	35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
func find(mountinfo, fstype, option string) (mount, bool) {
	for line := range strings.Lines(mountinfo) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 || r[0] != fstype {
			continue
		}
		if option == "" || slices.Contains(strings.Split(r[2], ","), option) {
			return mount{l[3], l[4]}, true
		}
	}
	return mount{}, false
}

// path is the directory of a group. One that the mount does not show is seen as
// the mount point.
func (m mount) path(group string) string {
	rel, err := filepath.Rel(m.top, group)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return m.point
	}
	return filepath.Join(m.point, rel)
}

// set writes a file of a group, which is there or is not to be made.
func set(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// ifThere passes over the error of a file that the kernel does not have.
func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// number reads a file of a group that holds one.
func number(dir, file string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// table reads a file of lines with a name and a number each.
func table(path string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			m[name] = n
		}
	}
	return m, nil
}
