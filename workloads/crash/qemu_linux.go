package crash

import (
	"bufio"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// qemu is a machine that QEMU emulates (TCG, so without any right), with a kernel of a
// distribution, this program in an initramfs as its init, and a virtio disk. For
// methods on DAX the disk is persistent memory, a part of the machine's memory, which is a
// file.
type qemu struct{}

func (qemu) disk(method string) (device, options string) {
	if onDAX(method) {
		return "/dev/pmem0", "dax=always"
	}
	return "/dev/vda", ""
}

// onDAX tells whether a method takes persistent memory.
func onDAX(method string) bool {
	m, _ := MethodNamed(method)
	return m.DAX
}

// guestModules are those that a kernel may have of what a guest needs. What it does not
// have as a module, it has built in, or the guest says what it lacks.
func guestModules(job guestJob) []string {
	if onDAX(job.Method) {
		return []string{"nd_e820", "nd_pmem", job.Filesystem}
	}
	return []string{"virtio_pci", "virtio_blk", job.Filesystem}
}

func (qemu) command(dir string, job guestJob, cmdline []string) (*exec.Cmd, error) {
	emulator, kernel, modules, err := qemuParts(job.Kernel, guestModules(job))
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(initrd, modules); err != nil {
		return nil, fmt.Errorf("make the guest's initramfs: %w", err)
	}
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd,
	}
	cmdline = append(cmdline, "console=ttyS0")
	comma := strings.NewReplacer(",", ",,") // as QEMU wants it in an option's value
	if onDAX(job.Method) {
		memory := filepath.Join(dir, "memory")
		if err := persistentMemory(memory, job.Disk); err != nil {
			return nil, fmt.Errorf("make the guest's persistent memory: %w", err)
		}
		cmdline = append(cmdline, fmt.Sprintf("memmap=%d!%d", diskSize, pmemAt), "nokaslr")
		args = append(args, "-M", "q35,memory-backend=ram", "-m", fmt.Sprint(pmemMemory>>20),
			"-object", fmt.Sprintf("memory-backend-file,id=ram,share=on,mem-path=%s,size=%d", comma.Replace(memory), pmemMemory))
	} else {
		args = append(args, "-M", "q35", "-m", "256", "-drive", "format=raw,if=virtio,file="+comma.Replace(job.Disk))
	}
	return exec.Command(emulator, append(args, "-append", strings.Join(cmdline, " "))...), nil
}

// qemuParts finds what a guest is made of: the emulator, the kernel, its modules.
func qemuParts(asked string, names []string) (emulator, kernel string, modules []string, err error) {
	if runtime.GOARCH != "amd64" {
		return "", "", nil, fmt.Errorf("%w: the machine that is emulated is an x86-64, and this program is for %s", errors.ErrUnsupported, runtime.GOARCH)
	}
	if emulator, err = exec.LookPath("qemu-system-x86_64"); err != nil {
		return "", "", nil, fmt.Errorf("%w: qemu-system-x86_64 is not installed", errors.ErrUnsupported)
	}
	if kernel, err = findKernel(asked); err == nil {
		modules, err = modulesOf(kernel, names)
	}
	return emulator, kernel, modules, err
}

func lacksQEMU() error {
	_, _, _, err := qemuParts("", nil)
	return err
}

// Where the persistent memory is in the guest's, which has some below, for the kernel, and
// some above, where QEMU puts the initramfs.
const (
	pmemAt     = 256 << 20
	pmemMemory = pmemAt + diskSize + 256<<20
)

// persistentMemory makes the file of a machine's memory, with the disk in it, if it is not
// there: the second guest finds what the first one left.
func persistentMemory(name, disk string) (err error) {
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.Truncate(pmemMemory); err != nil {
		return err
	}
	from, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer from.Close()
	return copyData(to, pmemAt, from, diskSize)
}

// findKernel is the kernel asked for, or the newest in /boot that we may read.
func findKernel(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	all, _ := filepath.Glob("/boot/vmlinuz-*")
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(modified(b), modified(a)) })
	for _, kernel := range all {
		if f, err := os.Open(kernel); err == nil {
			f.Close()
			return kernel, nil
		}
	}
	if len(all) > 0 {
		return "", fmt.Errorf("%w: %s may not be read (name another with -kernel)", errors.ErrUnsupported, all[0])
	}
	return "", fmt.Errorf("%w: there is no kernel in /boot (name one with -kernel)", errors.ErrUnsupported)
}

func modified(name string) int64 {
	st, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return st.ModTime().UnixNano()
}

// modulesOf returns the files of the modules, those that others need first: what depmod(8)
// has written down of the kernel's modules, in lib/modules beside boot, where the kernel is.
func modulesOf(kernel string, names []string) ([]string, error) {
	version := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
	dir := filepath.Join(filepath.Dir(kernel), "../lib/modules", version)
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the modules of the kernel %s: %w (depmod makes it)", errors.ErrUnsupported, kernel, err)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var needed []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		file, needs, _ := strings.Cut(in.Text(), ":")
		name, _, _ := strings.Cut(path.Base(file), ".ko")
		if !slices.Contains(names, strings.ReplaceAll(name, "-", "_")) {
			continue
		}
		// What it needs is listed with what needs it before it.
		all := append([]string{file}, strings.Fields(needs)...)
		for _, m := range slices.Backward(all) {
			if m = filepath.Join(dir, m); !slices.Contains(needed, m) {
				needed = append(needed, m)
			}
		}
	}
	return needed, in.Err()
}

// writeInitrd makes an initramfs of this program and the modules.
func writeInitrd(name string, modules []string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	archive := &cpio{w: w}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "modules"} {
		archive.directory(dir)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	archive.file("init", self)
	libraries, err := sharedLibraries(self)
	if err != nil {
		return err
	}
	for _, l := range libraries {
		for dir := range parents(l) {
			archive.directory(dir)
		}
		archive.file(strings.TrimPrefix(l, "/"), l)
	}
	for i, m := range modules {
		archive.file(fmt.Sprintf("modules/%03d-%s", i, filepath.Base(m)), m)
	}
	archive.end()
	if archive.err != nil {
		return archive.err
	}
	return w.Flush()
}

// parents are the directories above an absolute path, the topmost first.
func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range name {
			if c == '/' && i > 0 && !yield(name[1:i]) {
				return
			}
		}
	}
}

// sharedLibraries are the files that the program needs when it starts, the dynamic linker,
// which knows them, among them; none where it is static.
func sharedLibraries(program string) (files []string, err error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			return nil, err
		}
		linker := strings.TrimRight(string(b), "\x00")
		out, err := exec.Command(linker, "--list", program).Output()
		if err != nil {
			return nil, fmt.Errorf("list the libraries of %s: %w", program, err)
		}
		files = append(files, linker)
		for line := range strings.Lines(string(out)) {
			// libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)
			if _, at, is := strings.Cut(line, "=> /"); is {
				file, _, _ := strings.Cut(at, " (")
				files = append(files, "/"+file)
			}
		}
	}
	return files, nil
}

// A cpio writes an archive of the kind that the kernel unpacks (newc: kernel.org,
// Documentation/driver-api/early-userspace/buffer-format). Its first error stays.
type cpio struct {
	w    io.Writer
	n    int // entries
	made map[string]bool
	err  error
}

const (
	cpioDirectory = 0o040755
	cpioFile      = 0o100755
)

func (c *cpio) entry(name string, mode, size int64, content io.Reader) {
	if c.err != nil {
		return
	}
	c.n++
	// magic, inode, mode, uid, gid, links, time, size, four parts of devices, length of the
	// name, checksum (none)
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", c.n, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	_, c.err = io.WriteString(c.w, head+padding(int64(len(head))))
	if c.err != nil || content == nil {
		return
	}
	var n int64
	if n, c.err = io.Copy(c.w, content); c.err == nil && n != size {
		c.err = fmt.Errorf("%s: %d bytes, want %d", name, n, size)
	}
	if c.err == nil {
		_, c.err = io.WriteString(c.w, padding(size))
	}
}

func padding(n int64) string { return "\x00\x00\x00"[:-n&3] }

func (c *cpio) directory(name string) {
	if c.made[name] {
		return
	}
	if c.made == nil {
		c.made = map[string]bool{}
	}
	c.made[name] = true
	c.entry(name, cpioDirectory, 0, nil)
}

func (c *cpio) file(name, from string) {
	if c.err != nil {
		return
	}
	f, err := os.Open(from)
	if err != nil {
		c.err = err
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		c.err = err
		return
	}
	c.entry(name, cpioFile, st.Size(), f)
}

func (c *cpio) end() { c.entry("TRAILER!!!", 0, 0, nil) }
