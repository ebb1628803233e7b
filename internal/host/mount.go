package host

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A mount is a line of /proc/self/mountinfo.
// Source: proc_pid_mountinfo(5).
type mount struct {
	id           int
	major, minor int    // of the device; major 0 is a filesystem without one
	root         string // directory of the filesystem that is mounted
	point        string // where it is mounted
	fstype       string
	options      string // of the mount, then of the filesystem, with commas between
}

// parseMount reads one line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (m mount, ok bool) {
	// A source may be empty, so that two blanks follow each other: split at
	// each blank. The blanks within a field are written as \040.
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Split(left, " "), strings.Split(right, " ")
	if !ok || len(l) < 6 || len(r) < 3 {
		return mount{}, false
	}
	major, minor, _ := strings.Cut(l[2], ":")
	var errs [3]error
	m.id, errs[0] = strconv.Atoi(l[0])
	m.major, errs[1] = strconv.Atoi(major)
	m.minor, errs[2] = strconv.Atoi(minor)
	m.root, m.point = unescape(l[3]), unescape(l[4])
	m.fstype, m.options = r[0], l[5]+","+r[2]
	return m, errs == [3]error{} && strings.HasPrefix(m.point, "/") && m.fstype != ""
}

// unescape undoes the kernel's octal escapes: \040 is a blank.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mounts returns the mounts that the process sees, in the kernel's order.
func (s system) mounts() []mount {
	var list []mount
	for line := range strings.Lines(s.read("proc/self/mountinfo")) {
		if m, ok := parseMount(strings.TrimRight(line, "\n")); ok {
			list = append(list, m)
		}
	}
	return list
}

// mount returns the mount that path, absolute and without symbolic links, is
// on: the one with the id that statx(2) gives, or, with id 0 from a kernel
// that gives none, the last one whose mount point is the longest above path.
// The device number will not do: on btrfs stat(2) gives another one than
// mountinfo, and the same device may be mounted twice with other options.
func (s system) mount(path string, id int) (found mount, ok bool) {
	for _, m := range s.mounts() {
		if id != 0 && m.id == id {
			return m, true
		}
		if within(path, m.point) && len(m.point) >= len(found.point) {
			found, ok = m, true
		}
	}
	return found, ok
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// bearing holds the mount options that bear on how bytes move or on what
// survives a crash. The rest stay out: they name users, hosts and paths.
// The kernel itself shows few of those that are at their default.
var bearing = strings.Fields(`
	ro sync dirsync lazytime noatime nodiratime relatime strictatime dax
	async barrier nobarrier commit data delalloc nodelalloc discard nodiscard
	auto_da_alloc noauto_da_alloc dioread_lock dioread_nolock journal_async_commit
	journal_checksum nobh stripe inode_readahead_blks
	allocsize largeio logbsize logbufs sunit swalloc swidth wsync
	autodefrag compress compress-force datacow datasum flushoncommit nodatacow
	nodatasum max_inline notreelog nossd ssd ssd_spread thread_pool
	active_logs background_gc compress_algorithm fsync_mode
	huge metacopy volatile
	actimeo cache local_lock msize nconnect noac nocto proto rsize trans vers wsize
	max_read`)

// String returns the type of the filesystem and the options that bear on I/O.
func (m mount) String() string {
	var options []string
	for o := range strings.SplitSeq(m.options, ",") {
		key, _, _ := strings.Cut(o, "=")
		if slices.Contains(bearing, key) && !slices.Contains(options, o) {
			options = append(options, o)
		}
	}
	if options == nil {
		return m.fstype
	}
	return m.fstype + " " + strings.Join(options, ",")
}

// disk returns the sysfs directory of the whole disk that m is on, and the
// number of the partition, or "" for none.
func (s system) disk(m mount) (dir, partition string, ok bool) {
	if m.major == 0 {
		return "", "", false // overlay, btrfs, nfs, tmpfs: no disk of its own
	}
	const block = "sys/dev/block"
	link, err := fs.ReadLink(s.root, fmt.Sprintf("%s/%d:%d", block, m.major, m.minor))
	if err != nil {
		return "", "", false
	}
	// The link, ../../devices/pci0000:00/.../nvme0n1/nvme0n1p2, is the path
	// through the buses; a partition lies in its disk's directory.
	dir = path.Join(block, link)
	if partition = s.read(dir + "/partition"); partition != "" {
		dir = path.Dir(dir)
	}
	return dir, partition, true
}

// buses gives the transport for the start of a directory's name in a disk's
// path through /sys/devices.
var buses = []struct{ prefix, transport string }{
	{"virtio", "virtio"}, {"nvme", "nvme"}, {"usb", "usb"}, {"ata", "ata"}, {"mmc", "mmc"},
	{"end_device-", "sas"}, {"session", "iscsi"}, {"VMBUS", "vmbus"}, {"vbd-", "xen"},
}

// transport returns the bus nearest to the disk in dir, or what kind of
// virtual disk it is; "" if unknown.
func (s system) transport(dir string) string {
	if strings.Contains(dir, "/devices/virtual/block/") {
		if uuid := s.read(dir + "/dm/uuid"); uuid != "" { // "LVM-...", "CRYPT-LUKS2-..."
			kind, _, _ := strings.Cut(uuid, "-")
			return strings.ToLower(kind)
		}
		if level := s.read(dir + "/md/level"); level != "" { // "raid1"
			return level
		}
		return strings.TrimRight(path.Base(dir), "-0123456789") // "loop", "dm", "zram"
	}
	names := strings.Split(dir, "/")
	for _, name := range slices.Backward(names) {
		for _, b := range buses {
			if strings.HasPrefix(name, b.prefix) {
				return b.transport
			}
		}
	}
	return ""
}

// device describes the disk that m is on. rotational and write-cache are what
// the kernel believes of the disk, which is what it acts on.
// Source: Documentation/ABI/stable/sysfs-block.
func (s system) device(m mount) string {
	dir, partition, ok := s.disk(m)
	if !ok {
		return ""
	}
	words := []string{path.Base(dir)}
	add := func(key, value string) {
		if value != "" {
			words = append(words, key+value)
		}
	}
	add("", s.transport(dir))
	// In units of 512 bytes, whatever the disk's own sector is.
	if n, ok := s.readInt(dir + "/size"); ok && n >= 0 && n < 1<<54 {
		add("", roundSize(n*512))
	}
	add("partition=", partition)
	var below []string
	slaves, _ := fs.ReadDir(s.root, dir+"/slaves")
	for _, d := range slaves {
		below = append(below, d.Name())
	}
	add("on=", strings.Join(below, ","))
	add("rotational=", s.read(dir+"/queue/rotational"))
	add("scheduler=", chosen(s.read(dir+"/queue/scheduler")))
	add("write-cache=", strings.ReplaceAll(s.read(dir+"/queue/write_cache"), " ", "-"))
	add("model=", s.read(dir+"/device/model")) // last: it has blanks
	return strings.Join(words, " ")
}

// readAhead returns the bytes of the read-ahead window of the disk that m is
// on, or of the filesystem itself where it has no disk (nfs, fuse).
func (s system) readAhead(m mount) (int64, bool) {
	name := fmt.Sprintf("sys/class/bdi/%d:%d", m.major, m.minor)
	if dir, _, ok := s.disk(m); ok {
		name = dir + "/queue"
	}
	kib, ok := s.readInt(name + "/read_ahead_kb")
	return kib << 10, ok && kib >= 0 && kib < 1<<53
}
