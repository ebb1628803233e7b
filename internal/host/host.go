// Package host says where a result was measured: one config line a fact.
//
// The contract: [Facts] returns every fact of the machine that bears on a
// result, as ordered key and value pairs in the config syntax of the Go
// benchmark format (https://go.dev/design/14313-benchmark-format), and
// [WriteConfig] prints them. What is not known is absent, never empty and
// never guessed. A value is what the kernel tells any user: it is the same
// for root and for others, and it does not change from round to round, since
// benchstat refuses to compare across a config line that differs. (One
// exception: git does not tell one user the commit of another's repository.)
//
//	machine      name of the machine, as in results/MACHINE
//	commit       git describe --always --dirty of the source, else what the binary was stamped with
//	go           version of the Go toolchain
//	kernel       system, release and preemption model
//	fs           type of the data directory's filesystem, and those mount options that bear on I/O
//	device       disk under it: name, transport, size, then what the kernel holds of it
//	readahead    read-ahead window of that disk or filesystem
//	llc          largest cache that CPU 0 reaches
//	mem          memory, and the control group's limit where that is lower
//	swap         swap space
//	thp          transparent huge pages
//	mitigations  CPU vulnerabilities that this CPU has, and what is done about each
//	virt         hypervisor; maker and model; container
//	cpus         CPUs online; those allowed, and the control group's quota, where fewer
//	governor     frequency governor, its driver, whether the clock may boost
//	page-size    bytes of a page
//
// The limit: it repeats what the kernel says and measures nothing. A
// hypervisor may show a guest a cache or a disk that is not the one behind
// it. A virtio disk leaves rotational at the kernel's default of 1 whatever
// lies behind it. The disks under overlay, btrfs, zfs and network filesystems
// are not looked for.
//
// Everything under /proc and /sys is read through an [io/fs.FS], so that
// tests bring their own machines. Elsewhere than on Linux both count as
// empty. All functions are safe for concurrent use; nothing is remembered
// between calls.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	gitcmd "iopath/internal/git"
)

// A Fact is one config line. Key starts with a lower-case letter and holds
// lower-case letters, digits and dashes; Value is one line.
type Fact struct{ Key, Value string }

// Options says what the machine itself cannot.
type Options struct {
	// Machine is the name to publish results under, made safe by
	// [MachineName]. The default is the host name.
	Machine string

	// Source is a directory of the source whose commit is measured. The
	// default is the working directory. As git describe has it, files that
	// git does not track do not make a commit dirty.
	Source string
}

// Facts returns what is known of this machine, in the order of the package
// comment. dir is where the data files are or will be: fs, device and
// readahead are those of its nearest parent that exists.
func Facts(dir string, o Options) []Fact {
	var f facts
	f.add("machine", MachineName(o.Machine))
	f.add("commit", commit(o.Source))
	f.add("go", runtime.Version())
	s := here()
	m, _ := mountOf(s, dir)
	return append(f, s.facts(m)...)
}

// TestHeader returns the lines that go test prints itself: goos, goarch, pkg
// and cpu, for a file that is put together without it. pkg is an import path.
//
// The cpu is what the testing package prints, less the blanks with which AMD
// pads it, which the kernel does not keep: print one or the other in a file.
// It is absent where the kernel names no model, as on arm64.
func TestHeader(pkg string) []Fact {
	var f facts
	f.add("goos", runtime.GOOS)
	f.add("goarch", runtime.GOARCH)
	f.add("pkg", pkg)
	f.add("cpu", here().cpuName())
	return f
}

// WriteConfig writes one "key: value" line for each fact. A fact with an
// empty value is unknown and left out: in the format it would delete the key.
// A key or a value that would not be read back as it is given is an error,
// and nothing is written.
func WriteConfig(w io.Writer, facts []Fact) error {
	var b strings.Builder
	for _, f := range facts {
		if f.Value == "" {
			continue
		}
		if !validKey(f.Key) {
			return fmt.Errorf("write config: key %q: want lower-case letters, digits and dashes, a letter first", f.Key)
		}
		if f.Value != oneLine(f.Value) {
			return fmt.Errorf("write config: %s: value %q: want one line without blanks at its ends", f.Key, f.Value)
		}
		fmt.Fprintf(&b, "%s: %s\n", f.Key, f.Value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// MachineName returns name, or the host name if name is empty, fit to be a
// directory: letters, digits, dot, dash and underscore, a letter or digit
// first, at most 64 bytes. It returns "" if nothing is left of either.
func MachineName(name string) string {
	if name == "" {
		name, _ = os.Hostname()
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, name)
	name = strings.TrimLeft(name, ".-_")
	return strings.TrimRight(name[:min(len(name), 64)], ".-_")
}

// Filesystem returns the type of the filesystem that dir, or its nearest
// parent that exists, is on: "ext4", "tmpfs". On other systems than Linux the
// error wraps [errors.ErrUnsupported].
func Filesystem(dir string) (string, error) {
	m, err := mountOf(here(), dir)
	return m.fstype, err
}

// IsTmpfs reports whether files in dir, or in its nearest parent that exists,
// are memory only (tmpfs, ramfs), so that they cannot be cold. A tmpfs under
// an overlay is not seen. On other systems than Linux the error wraps
// [errors.ErrUnsupported].
func IsTmpfs(dir string) (bool, error) {
	path, err := existing(dir)
	if err != nil {
		return false, err
	}
	return isTmpfs(path)
}

// FreeSpace returns the bytes that an ordinary user may still write to dir's
// filesystem, or that of dir's nearest parent that exists; quotas are not
// counted. On other systems than Linux the error wraps
// [errors.ErrUnsupported].
func FreeSpace(dir string) (int64, error) {
	path, err := existing(dir)
	if err != nil {
		return 0, err
	}
	return freeSpace(path)
}

// ReadAhead returns the read-ahead window in bytes of the disk or filesystem
// under dir. Zero is a window: read-ahead is off.
func ReadAhead(dir string) (n int64, ok bool) {
	s := here()
	m, err := mountOf(s, dir)
	if err != nil {
		return 0, false
	}
	return s.readAhead(m)
}

// LLC returns the size in bytes of the last-level cache of CPU 0.
func LLC() (n int64, ok bool) { return here().llc() }

// Memory returns the bytes of memory that this process may use: the
// machine's, or the limit of its control group if that is lower.
func Memory() (n int64, ok bool) {
	s := here()
	total, ok := s.memTotal()
	if limit, limited := s.memLimit(); limited && limit < total {
		return limit, true
	}
	return total, ok
}

// PageSize returns the bytes of a page.
func PageSize() int { return os.Getpagesize() }

// AllowedCPUs returns the ids of the CPUs that the process may run on, in
// ascending order: sched_getaffinity(2) of its first thread, so that a thread
// pinned later does not change the answer. On other systems than Linux the
// error wraps [errors.ErrUnsupported].
func AllowedCPUs() ([]int, error) { return allowedCPUs() }

type facts []Fact

// add appends a fact, if it is known.
func (f *facts) add(key, value string) {
	if value = oneLine(value); value != "" {
		*f = append(*f, Fact{key, value})
	}
}

func validKey(key string) bool {
	for i, r := range key {
		if !('a' <= r && r <= 'z' || i > 0 && ('0' <= r && r <= '9' || r == '-')) {
			return false
		}
	}
	return key != ""
}

// oneLine makes s printable UTF-8 on one line. Blanks within it stay: the
// name of a CPU has several in a row.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " ")))
}

// here is the machine that this process runs on.
func here() system {
	allowed, _ := allowedCPUs()
	return system{root: rootFS(), arch: runtime.GOARCH, allowed: allowed}
}

// mountOf finds the mount that dir, or its nearest parent that exists, is on.
func mountOf(s system, dir string) (mount, error) {
	path, err := existing(dir)
	if err != nil {
		return mount{}, err
	}
	id, _ := mountID(path)
	m, ok := s.mount(path, id)
	if !ok {
		err := fs.ErrNotExist
		if runtime.GOOS != "linux" {
			err = errors.ErrUnsupported
		}
		return mount{}, fmt.Errorf("find the mount of %s in /proc/self/mountinfo: %w", path, err)
	}
	return m, nil
}

// existing returns the absolute path, without symbolic links, of dir or of
// its nearest parent that exists.
func existing(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return real, err
		}
		path = filepath.Dir(path)
	}
}

// commit describes the source in dir, else the source this binary was
// stamped with, else nothing.
func commit(dir string) string {
	// A tree unpacked inside another project's repository has no commit of
	// its own: ask whether the commit has this module before naming it.
	if _, err := git(moduleRoot(dir), "rev-parse", "--verify", "--quiet", "HEAD:./"); err == nil {
		if s, err := git(dir, "describe", "--always", "--dirty", "--abbrev=12"); err == nil {
			return s
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return stamp(info.Settings)
}

// moduleRoot returns the nearest parent of dir with a go.mod, or dir.
func moduleRoot(dir string) string {
	path, err := filepath.Abs(dir)
	for err == nil {
		if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
			return path
		}
		if path == filepath.Dir(path) {
			break
		}
		path = filepath.Dir(path)
	}
	return dir
}

// git runs one git command in dir, and does not wait for ever.
func git(dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return gitcmd.Run(ctx, dir, args...)
}

// stamp writes a binary's revision the way git describe does.
func stamp(settings []debug.BuildSetting) string {
	var revision, dirty string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}
