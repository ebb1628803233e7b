package host

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A system is a machine as its kernel shows it.
type system struct {
	root    fs.FS  // of /proc and /sys; names have no leading slash
	arch    string // GOARCH
	allowed []int  // ids of the CPUs the process may use; nil if unknown
}

// facts returns the facts of the machine, with m the mount of the data
// directory, or zero if unknown.
func (s system) facts(m mount) []Fact {
	var f facts
	f.add("kernel", s.kernel())
	f.add("fs", m.String())
	f.add("device", s.device(m))
	if n, ok := s.readAhead(m); ok {
		f.add("readahead", exactSize(n))
	}
	if n, ok := s.llc(); ok {
		f.add("llc", exactSize(n))
	}
	f.add("mem", s.mem())
	f.add("swap", s.swap())
	f.add("thp", chosen(s.read("sys/kernel/mm/transparent_hugepage/enabled")))
	f.add("mitigations", s.mitigations())
	f.add("virt", s.virt())
	f.add("cpus", s.cpus())
	f.add("governor", s.governor())
	f.add("page-size", exactSize(int64(os.Getpagesize())))
	return f
}

// read returns a file's text without blanks at its ends, or "" if it cannot
// be read: what cannot be read is unknown.
func (s system) read(name string) string {
	b, err := fs.ReadFile(s.root, name)
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \t\n\x00")
}

// readInt returns the number that a file begins with.
func (s system) readInt(name string) (int64, bool) {
	word, _, _ := strings.Cut(s.read(name), " ")
	n, err := strconv.ParseInt(word, 10, 64)
	return n, err == nil
}

func (s system) exists(name string) bool {
	_, err := fs.Stat(s.root, name)
	return err == nil
}

var preempt = regexp.MustCompile(`\bPREEMPT\w*`)

// kernel returns system, release and preemption model. Where the model is
// chosen at boot (PREEMPT_DYNAMIC), the choice is told by the command line
// alone: /sys/kernel/debug/sched/preempt is for root.
func (s system) kernel() string {
	// "Linux version 6.1.0-9-amd64 (builder) (gcc ...) #1 SMP PREEMPT_DYNAMIC Debian ..."
	version := s.read("proc/version")
	f := strings.Fields(version)
	if len(f) < 3 || f[1] != "version" {
		return ""
	}
	words := []string{f[0], f[2]}
	if i := strings.LastIndex(version, " #"); i >= 0 {
		if p := preempt.FindString(version[i:]); p != "" {
			words = append(words, p)
		}
	}
	for _, arg := range strings.Fields(s.read("proc/cmdline")) {
		if strings.HasPrefix(arg, "preempt=") {
			words = append(words, arg)
		}
	}
	return strings.Join(words, " ")
}

// cpuName returns what the testing package prints as cpu. On x86 that is the
// processor's brand string, which the kernel repeats as "model name";
// elsewhere it is taken from the first 512 bytes of /proc/cpuinfo with the
// clock added, as internal/sysinfo does.
func (s system) cpuName() string {
	info := s.read("proc/cpuinfo")
	x86 := s.arch == "amd64" || s.arch == "386"
	if !x86 {
		info = info[:min(len(info), 512)]
	}
	var model, mhz string
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		switch strings.TrimSpace(key) {
		case "Model Name", "model name":
			model = value
			if x86 {
				return model
			}
		case "CPU MHz", "cpu MHz":
			mhz = value
		}
	}
	if model == "" || mhz == "" || strings.Contains(model, "GHz") || strings.Contains(model, "MHz") {
		return model
	}
	return model + " @ " + mhz + "MHz"
}

// llc returns the bytes of the cache of the highest level that CPU 0 has.
// "cache size" in /proc/cpuinfo will not do: on AMD it is the second level.
func (s system) llc() (int64, bool) {
	const dir = "sys/devices/system/cpu/cpu0/cache"
	var size, top int64
	indexes, _ := fs.Glob(s.root, dir+"/index*")
	for _, index := range indexes {
		level, ok := s.readInt(index + "/level")
		if !ok || level <= top || s.read(index+"/type") == "Instruction" {
			continue
		}
		if n, ok := parseSize(s.read(index + "/size")); ok && n > 0 {
			size, top = n, level
		}
	}
	return size, size > 0
}

// meminfo returns a field of /proc/meminfo in bytes.
func (s system) meminfo(field string) (int64, bool) {
	for line := range strings.Lines(s.read("proc/meminfo")) {
		if key, value, _ := strings.Cut(line, ":"); key == field {
			if f := strings.Fields(value); len(f) == 2 && f[1] == "kB" {
				return parseSize(f[0] + "K") // "kB" in /proc is 1024 bytes: proc_meminfo(5)
			}
		}
	}
	return 0, false
}

func (s system) memTotal() (int64, bool) {
	n, ok := s.meminfo("MemTotal")
	return n, ok && n > 0
}

func (s system) mem() string {
	total, ok := s.memTotal()
	if !ok {
		return ""
	}
	// The total differs by some pages from boot to boot: rounded, it doesn't.
	text := roundSize(total)
	if limit, ok := s.memLimit(); ok && limit < total {
		text += " limit=" + exactSize(limit)
	}
	return text
}

func (s system) swap() string {
	switch n, ok := s.meminfo("SwapTotal"); {
	case !ok:
		return ""
	case n == 0:
		return "none"
	default:
		return roundSize(n)
	}
}

// mitigations lists the vulnerabilities that the CPU has as name=state, with
// the mitigation for a state where there is one.
// Source: Documentation/ABI/testing/sysfs-devices-system-cpu.
func (s system) mitigations() string {
	const dir = "sys/devices/system/cpu/vulnerabilities"
	entries, err := fs.ReadDir(s.root, dir)
	if err != nil || len(entries) == 0 {
		return ""
	}
	var list []string
	for _, e := range entries {
		var parts []string
		for part := range strings.SplitSeq(s.read(dir+"/"+e.Name()), "; ") {
			if part != "" && !strings.HasSuffix(part, "Not affected") {
				parts = append(parts, strings.TrimPrefix(part, "Mitigation: "))
			}
		}
		if len(parts) > 0 {
			list = append(list, e.Name()+"="+strings.Join(parts, ", "))
		}
	}
	if len(list) == 0 {
		return "not affected"
	}
	return strings.Join(list, "; ")
}

// virt returns the hypervisor ("none" where an x86 CPU denies one), the
// maker and model of the machine, and the container, as far as they are known.
func (s system) virt() string {
	var list []string
	if h := s.hypervisor(); h != "" {
		list = append(list, h)
	}
	const dmi = "sys/class/dmi/id/"
	if model := strings.TrimSpace(s.read(dmi+"sys_vendor") + " " + s.read(dmi+"product_name")); model != "" {
		list = append(list, model)
	}
	if c := s.container(); c != "" {
		list = append(list, "container="+c)
	}
	return strings.Join(list, "; ")
}

// hypervisor names the hypervisor by what it offers its guests: a clock, a
// node in the device tree, or /sys/hypervisor.
func (s system) hypervisor() string {
	if t := s.read("sys/hypervisor/type"); t != "" {
		return t
	}
	clocks := s.read("sys/devices/system/clocksource/clocksource0/available_clocksource")
	for clock := range strings.FieldsSeq(clocks) {
		switch {
		case clock == "kvm-clock":
			return "kvm"
		case clock == "xen":
			return "xen"
		case strings.HasPrefix(clock, "hyperv_"):
			return "hyperv"
		}
	}
	// A list of strings, each ended by NUL: "linux,kvm", "xen,xen-4.17".
	first, _, _ := strings.Cut(s.read("proc/device-tree/hypervisor/compatible"), "\x00")
	if vendor, name, _ := strings.Cut(first, ","); vendor == "xen" {
		return vendor
	} else if name != "" {
		return name
	}
	for line := range strings.Lines(s.read("proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) != "flags" {
			continue
		}
		if slices.Contains(strings.Fields(value), "hypervisor") {
			return "hypervisor" // there is one, and it doesn't say which
		}
		return "none"
	}
	return ""
}

// container names the container runtime, or returns "" if there is none to
// be seen.
func (s system) container() string {
	if c := s.read("run/systemd/container"); c != "" {
		return c // written at each boot: https://systemd.io/CONTAINER_INTERFACE
	}
	// The other markers alone prove nothing: a virtual machine made from an
	// image has them too. Where / is the whole filesystem of a disk, they are
	// left over.
	root, ok := s.mount("/", 0)
	if !ok || root.major != 0 && root.root == "/" {
		return ""
	}
	if s.exists("run/.containerenv") {
		return "podman"
	}
	if s.exists(".dockerenv") {
		return "docker"
	}
	// Without a marker, where the layers and the control group lie tells.
	where := root.options + s.read("proc/self/cgroup")
	for _, c := range []string{"kubepods", "containerd", "docker", "lxc"} {
		if strings.Contains(where, "/"+c) {
			return c
		}
	}
	return ""
}

// cpus returns how many CPUs are online, and by how much the process is kept
// to fewer.
func (s system) cpus() string {
	online, ok := parseList(s.read("sys/devices/system/cpu/online"))
	if !ok {
		online = s.allowed
	}
	n := len(online)
	if n == 0 {
		n = runtime.NumCPU()
	}
	text := strconv.Itoa(n)
	if len(s.allowed) > 0 && len(s.allowed) < n {
		text += " allowed=" + formatList(s.allowed)
	}
	if quota, ok := s.cpuQuota(); ok && quota < float64(n) {
		text += fmt.Sprintf(" quota=%.4g", quota)
	}
	return text
}

// governor returns the governors in use, the driver, since "powersave" of
// intel_pstate is not that of others, and whether the clock may boost;
// "none" where the frequency is not the kernel's to choose, as in most guests.
// Source: Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst.
func (s system) governor() string {
	const cpu = "sys/devices/system/cpu"
	if !s.exists(cpu + "/online") {
		return ""
	}
	distinct := func(file string) string {
		var list []string
		names, _ := fs.Glob(s.root, cpu+"/cpufreq/policy*/"+file)
		for _, name := range names {
			if v := s.read(name); v != "" {
				list = append(list, v)
			}
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), ",")
	}
	text := distinct("scaling_governor")
	if text == "" {
		return "none"
	}
	if driver := distinct("scaling_driver"); driver != "" {
		text += " driver=" + driver
	}
	noTurbo, boost := s.read(cpu+"/intel_pstate/no_turbo"), s.read(cpu+"/cpufreq/boost")
	switch {
	case noTurbo == "0" || boost == "1":
		text += " boost=on"
	case noTurbo == "1" || boost == "0":
		text += " boost=off"
	}
	return text
}

// memLimit returns the lowest memory limit, in bytes, of the process's
// control group and its parents. memory.high counts: beyond it the group's
// page cache is reclaimed.
func (s system) memLimit() (limit int64, ok bool) {
	for _, dir := range s.cgroups("memory") {
		for _, file := range []string{"memory.max", "memory.high", "memory.limit_in_bytes"} {
			if n, isNumber := s.readInt(dir + "/" + file); isNumber && (!ok || n < limit) {
				limit, ok = n, true
			}
		}
	}
	return limit, ok
}

// cpuQuota returns the lowest CPU bandwidth limit, in CPUs, of the process's
// control group and its parents.
func (s system) cpuQuota() (cpus float64, ok bool) {
	for _, dir := range s.cgroups("cpu") {
		text := s.read(dir + "/cpu.max") // version 2: "QUOTA PERIOD", or "max PERIOD"
		if text == "" {
			text = s.read(dir+"/cpu.cfs_quota_us") + " " + s.read(dir+"/cpu.cfs_period_us")
		}
		var quota, period float64
		if n, _ := fmt.Sscan(text, &quota, &period); n < 2 || quota <= 0 || period <= 0 {
			continue
		}
		if c := quota / period; !ok || c < cpus {
			cpus, ok = c, true
		}
	}
	return cpus, ok
}

// cgroups returns the directories of the process's control group and its
// parents, as far up as they are mounted, in version 2 of the interface and in
// the hierarchy of a controller of version 1. Source: cgroups(7).
func (s system) cgroups(controller string) []string {
	var dirs []string
	mounts := s.mounts()
	for line := range strings.Lines(s.read("proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		v2 := f[0] == "0" && f[1] == ""
		if !v2 && !slices.Contains(strings.Split(f[1], ","), controller) {
			continue
		}
		i := slices.IndexFunc(mounts, func(m mount) bool {
			return v2 && m.fstype == "cgroup2" ||
				!v2 && m.fstype == "cgroup" && slices.Contains(strings.Split(m.options, ","), controller)
		})
		if i < 0 {
			continue
		}
		m := mounts[i]
		// The mount shows the hierarchy from m.root down. A group outside it
		// is seen as the mount point itself.
		rel := "/"
		if p := path.Join("/", f[2]); within(p, m.root) {
			rel = path.Join("/", strings.TrimPrefix(p, m.root))
		}
		for ; ; rel = path.Dir(rel) {
			dirs = append(dirs, strings.TrimPrefix(path.Join(m.point, rel), "/"))
			if rel == "/" {
				break
			}
		}
	}
	return dirs
}

// chosen returns the word in brackets, by which sysfs marks the choice in
// force, or the text itself if it is a single word.
func chosen(text string) string {
	if _, after, ok := strings.Cut(text, "["); ok {
		word, _, _ := strings.Cut(after, "]")
		return word
	}
	if len(strings.Fields(text)) == 1 {
		return text
	}
	return ""
}

// parseSize reads a size as sysfs writes it: digits, then K, M, G or nothing.
func parseSize(text string) (int64, bool) {
	shift := 0
	if i := len(text) - 1; i >= 0 {
		if k := strings.IndexByte("KMG", text[i]); k >= 0 {
			text, shift = text[:i], 10*(k+1)
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n<<shift>>shift != n || n<<shift > 1<<63-1 {
		return 0, false
	}
	return int64(n << shift), true
}

var prefixes = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// exactSize writes n bytes, n >= 0, in the largest unit of which they are a
// whole number: 8388608 is 8MiB, and 4325376 is 4224KiB.
func exactSize(n int64) string {
	i := 0
	for ; n != 0 && n%1024 == 0 && i < len(prefixes)-1; i++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + prefixes[i]
}

// roundSize writes n bytes, n >= 0, to a tenth of the largest unit below them.
func roundSize(n int64) string {
	i, x := 0, float64(n)
	for ; x >= 1023.95 && i < len(prefixes)-1; i++ {
		x /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0") + prefixes[i]
}

// maxCPUs bounds what a list of CPUs may hold: eight times the kernel's most.
const maxCPUs = 1 << 16

// parseList reads a list of CPUs as the kernel writes it: "0-3,8".
func parseList(text string) ([]int, bool) {
	var ids []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || a > b || len(ids)+int(b-a) >= maxCPUs {
			return nil, false
		}
		for ; a <= b; a++ {
			ids = append(ids, int(a))
		}
	}
	return ids, true
}

// formatList is the inverse of parseList, for ids in ascending order.
func formatList(ids []int) string {
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		part := strconv.Itoa(ids[i])
		if j > i {
			part += "-" + strconv.Itoa(ids[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
