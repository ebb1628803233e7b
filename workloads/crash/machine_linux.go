package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iopath/internal/loopdev"
	"iopath/internal/pagecache"
)

// A Backend is a way to lose a machine.
type Backend struct {
	Name   string
	Loses  string // "kernel" or "power"
	Models string
	// Filesystems that it can have, of those that are known.
	Filesystems []string
	Runs        int // of each method and policy, in a set of a few minutes
	DAX         bool
	guest       bool // mounts nothing on this machine
	cycles      func(ctx context.Context, p *place, e Experiment, o machineOptions) ([]Cycle, error)
}

// Backends, in the order in which they are tried: of those that lose the same, the first
// one that can be had is as good as the others, and faster.
var Backends = []Backend{
	{
		Name: "voldisk", Loses: "power", Runs: 4, cycles: voldiskCycles, Filesystems: []string{"ext4", "xfs", "btrfs"},
		Models: "power loss: the page cache and the disk's cache are gone, in any order and sector by sector",
	}, {
		Name: "shutdown", Loses: "kernel", Runs: 4, cycles: shutdownCycles, Filesystems: []string{"ext4", "xfs"},
		Models: "a kernel's death: the page cache is gone, the disk's cache is kept",
	}, {
		Name: "uml", Loses: "kernel", Runs: 3, cycles: guestCycles(uml{}), guest: true, Filesystems: []string{"ext4", "xfs", "btrfs"},
		Models: "a kernel's death: the processes of a user-mode Linux are killed; its disk is a file and keeps what it had",
	}, {
		Name: "qemu", Loses: "kernel", Runs: 2, cycles: guestCycles(qemu{}), guest: true, DAX: true, Filesystems: []string{"ext4", "xfs", "btrfs"},
		Models: "a kernel's death: an emulated machine is killed; its disk, or DAX memory, is a file and keeps what it had",
	},
}

// BackendNamed looks one up.
func BackendNamed(name string) (Backend, bool) {
	for _, b := range Backends {
		if b.Name == name {
			return b, true
		}
	}
	return Backend{}, false
}

// machineOptions vary a machine's crash, for the backends' checks of themselves.
type machineOptions struct {
	mountOptions string
	shutdown     int  // flag of the ioctl
	syncFirst    bool // in a guest: all that is dirty, before the fault
	images       int  // of a voldisk: with some of what was pending; beside none and all
	damaged      bool // a filesystem that is no more, or a file, is a loss of all records, and no error
}

// Flags of the shutdown ioctl (linux/fs: XFS_FSOP_GOING_FLAGS_*, EXT4_GOING_FLAGS_*).
const (
	shutdownIoctl   = 0x8004587d // XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN
	shutdownFlushed = 0          // sync first: nothing is lost
	shutdownNoLog   = 2          // at once, the log not written
)

// diskSize is a machine's disk: above 512 MiB, below which mkfs.ext4 makes other blocks,
// and btrfs mixes data and metadata.
const diskSize = 768 << 20

// images is how many crash images with a part of what was pending one run of the voldisk
// gives.
const images = 3

// A place is where a machine's cycles are made: a mount namespace of one thread, in which
// all that is mounted is gone with the thread, or with the process, however it ends.
type place struct {
	dir string
	fs  string
	// keep runs something on another thread, the keeper, which never touches what is
	// mounted: see apart.
	keep func(func() error) error
}

// Machine crashes a machine under the writer, by the backend and with the filesystem, and
// returns a cycle for each image that it leaves. The error matches errors.ErrUnsupported
// where that cannot be done here.
func (b Backend) Machine(ctx context.Context, e Experiment, fs string) ([]Cycle, error) {
	return b.run(ctx, e, fs, machineOptions{shutdown: shutdownNoLog, images: images})
}

func (b Backend) run(ctx context.Context, e Experiment, fs string, o machineOptions) (cycles []Cycle, err error) {
	if _, err := mkfsPath(fs); err != nil {
		return nil, err
	}
	where := apart
	if b.guest {
		where = func(do func(func(func() error) error) error) error { return do(nil) }
	}
	err = where(func(keep func(func() error) error) error {
		dir, err := os.MkdirTemp(e.Dir, "machine-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		cycles, err = b.cycles(ctx, &place{dir, fs, keep}, e, o)
		for i := range cycles {
			cycles[i].Backend, cycles[i].Filesystem = b.Name, fs
			cycles[i].Promised = Promises(e.Method, e.Policy)
		}
		return err
	})
	return cycles, err
}

// apart runs do on a thread with a mount namespace of its own. The thread is not used
// again: it ends with its goroutine, and so do its mounts.
//
// Beside it is a keeper, a thread with another namespace, that starts what serves a disk.
// When this process is killed, the first thread may be in the midst of a write to that
// disk, where no signal reaches it. The keeper is never there: it dies, the disk's server
// with it (Pdeathsig), the write fails, and the rest comes apart. Nor may the server have
// a share in the namespace of what is mounted on its disk: were it the last, its end would
// wait for the unmounting, and that for the server.
func apart(do func(keep func(func() error) error) error) error {
	type job struct {
		do    func() error
		ended chan error
	}
	jobs, ended := make(chan job), make(chan error, 1)
	run := func(do func() error) error {
		j := job{do, make(chan error, 1)}
		jobs <- j
		return <-j.ended
	}
	thread(func() { // the keeper
		for j := range jobs {
			j.ended <- j.do()
		}
	})
	defer close(jobs)
	var mounts *os.File
	if err := run(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			return fmt.Errorf("%w: a mount namespace: %w (run as root)", errors.ErrUnsupported, os.NewSyscallError("unshare", err))
		}
		// Nothing that is mounted here may be seen elsewhere.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return os.NewSyscallError("mount MS_PRIVATE", err)
		}
		mounts, err = os.Open("/proc/thread-self/ns/mnt")
		return err
	}); err != nil {
		return err
	}
	defer mounts.Close()
	thread(func() {
		ended <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			if err := unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS); err != nil {
				return os.NewSyscallError("setns", err)
			}
			return do(run)
		}()
	})
	return <-ended
}

// thread runs do on a thread that ends with it, so not on the process's first: that one is
// never ended, and its namespace is what /proc shows as the process's.
func thread(do func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			ended := make(chan struct{})
			thread(func() { defer close(ended); do() })
			<-ended // nobody else gets this thread meanwhile
			return
		}
		do()
	}()
}

// alone leaves the keeper's mount namespace for a copy.
func alone() error {
	return os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNS))
}

// unmount waits until the last user is gone.
func unmount(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Unmount(dir, 0)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			if err != nil {
				return fmt.Errorf("unmount %s: %w", dir, err)
			}
			return nil
		}
	}
}

// mkfsPath finds the program, where an ordinary user's PATH has it not, too.
func mkfsPath(fs string) (string, error) {
	name := "mkfs." + fs
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%w: %s is not installed", errors.ErrUnsupported, name)
}

// mkfs makes a filesystem on the device.
func (p *place) mkfs(ctx context.Context, device string) error {
	path, err := mkfsPath(p.fs)
	if err != nil {
		return err
	}
	var args []string
	switch p.fs {
	case "ext4":
		args = []string{"-q", "-F", "-b", "4096", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", device}
	case "xfs":
		args = []string{"-q", "-f", "-K", device}
	case "btrfs":
		args = []string{"-q", "-f", "-K", device}
	default:
		return fmt.Errorf("filesystem %q is unknown", p.fs)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.%s %s: %w: %s", p.fs, device, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// mounted runs do with the image's filesystem mounted at a directory.
func (p *place) mounted(image *os.File, options string, do func(dir string) error) error {
	loop, err := loopdev.Attach(image)
	if err != nil {
		return err
	}
	defer loop.Close()
	return p.mountedAt(loop.Path(), options, do)
}

func (p *place) mountedAt(device, options string, do func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(p.dir, "mnt-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if p.fs == "xfs" {
		options = strings.Trim(options+",nouuid", ",") // another image of the same
	}
	if err := unix.Mount(device, dir, p.fs, 0, options); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("%w: the kernel has no %s", errors.ErrUnsupported, p.fs)
		}
		return fmt.Errorf("mount %s of %s (%s): %w", device, p.fs, options, err)
	}
	defer func() { err = errors.Join(err, unmount(dir)) }()
	return do(dir)
}

// written runs the writer on a mounted filesystem until it has had its time, and calls
// fault, which is given how many records are acknowledged at that moment by ask. begin is
// called when the file is there, before the first record.
func (e Experiment) written(ctx context.Context, dir string, begin func() error, fault func(c *Cycle, ask func() uint64) error) (c Cycle, name string, err error) {
	c = Cycle{Method: e.Method, Policy: e.Policy, Layout: e.Layout, Seed: e.Seed, Dirty: -1}
	e.Dir = dir
	path, err := e.prepare()
	if err != nil {
		return c, "", err
	}
	if err := begin(); err != nil {
		return c, "", err
	}
	r, err := e.start(ctx, path)
	if err != nil {
		return c, "", err
	}
	defer r.stop()
	if err := r.wait(ctx, e.Time, e.Size); err != nil {
		return c, "", err
	}
	if f, err := os.Open(path); err == nil {
		if res, err := pagecache.Resident(f); err == nil && res.Source == "cachestat" {
			c.Dirty = int64(res.Dirty)
		}
		f.Close()
	}
	r.note(&c)
	err = fault(&c, r.c.acknowledged.Load)
	return c, filepath.Base(path), err
}

// checked mounts what is left and counts.
func (p *place) checked(image *os.File, name string, c *Cycle, acknowledged uint64) error {
	return p.mounted(image, "", func(dir string) error {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("the file that was synced is not there: %w", err)
		}
		defer f.Close()
		c.Counts, err = Check(f, c.Seed, acknowledged)
		return err
	})
}

func shutdownCycles(ctx context.Context, p *place, e Experiment, o machineOptions) ([]Cycle, error) {
	image, err := os.Create(filepath.Join(p.dir, "disk"))
	if err != nil {
		return nil, err
	}
	defer image.Close()
	if err := image.Truncate(diskSize); err != nil {
		return nil, err
	}
	var (
		c            Cycle
		name         string
		acknowledged uint64
	)
	err = func() error {
		// Its pages must be gone before the image is looked at by another one.
		loop, err := loopdev.Attach(image)
		if err != nil {
			return err
		}
		defer loop.Close()
		if err := p.mkfs(ctx, loop.Path()); err != nil {
			return err
		}
		return p.mountedAt(loop.Path(), o.mountOptions, func(dir string) (err error) {
			c, name, err = e.written(ctx, dir, func() error { return nil }, func(c *Cycle, ask func() uint64) error {
				d, err := os.Open(dir)
				if err != nil {
					return err
				}
				defer d.Close()
				acknowledged = ask()
				if err := unix.IoctlSetPointerInt(int(d.Fd()), shutdownIoctl, o.shutdown); err != nil {
					return fmt.Errorf("%w: shut %s down: %w", errors.ErrUnsupported, p.fs, os.NewSyscallError("ioctl", err))
				}
				return nil
			})
			return err
		})
	}()
	if err != nil {
		return nil, err
	}
	c.Fault = "kernel"
	err = p.checked(image, name, &c, acknowledged)
	return []Cycle{c}, err
}

func voldiskCycles(ctx context.Context, p *place, e Experiment, o machineOptions) (cycles []Cycle, err error) {
	disk, err := p.newVoldisk(diskSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, disk.close()) }()
	if err := alone(); err != nil {
		return nil, err
	}
	var (
		c            Cycle
		name         string
		acknowledged uint64
		left         *cut
	)
	err = func() error {
		f, err := os.OpenFile(disk.path(), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		loop, err := loopdev.Attach(f)
		if err != nil {
			return err
		}
		defer loop.Close()
		if err := p.mkfs(ctx, loop.Path()); err != nil {
			return err
		}
		return p.mountedAt(loop.Path(), o.mountOptions, func(dir string) (err error) {
			c, name, err = e.written(ctx, dir, disk.begin, func(c *Cycle, ask func() uint64) (err error) {
				// First the count, then the cut: what is acknowledged in between
				// is not asked for.
				acknowledged = ask()
				left, err = disk.cutPower()
				return err
			})
			if err == nil {
				c.DeviceBytes = left.written - disk.before
			}
			return err
		})
	}()
	if err != nil {
		return nil, err
	}
	c.Fault = "power"
	rng := rand.New(rand.NewPCG(e.Seed, 2))
	chances := []float64{0, 1}
	for range o.images {
		chances = append(chances, rng.Float64())
	}
	for _, chance := range chances {
		if ctx.Err() != nil {
			return cycles, context.Cause(ctx)
		}
		image, err := disk.image(left, chance, rng)
		if err != nil {
			return cycles, err
		}
		one := c
		one.Kept = chance
		err = p.checked(image, name, &one, acknowledged)
		if err != nil && o.damaged {
			one.Counts, err = Counts{Acknowledged: acknowledged, Lost: acknowledged}, nil
		}
		image.Close()
		os.Remove(image.Name())
		if err != nil {
			return cycles, fmt.Errorf("after a power cut that kept %.0f %% of the disk's cache: %w", 100*chance, err)
		}
		cycles = append(cycles, one)
	}
	return cycles, nil
}

// SelfCheck finds out whether the backend sees what it is there to see: a loss where there
// must be one, and none where there must be none. A backend that fails it reports nothing.
func (b Backend) SelfCheck(ctx context.Context, dir string, seed uint64, kernel string) error {
	honest := Experiment{Dir: dir, Method: "write", Policy: "each", Layout: "append", Size: 4 << 20, Time: 300 * time.Millisecond, Seed: seed, Kernel: kernel}
	lossy := honest
	lossy.Policy = "none"
	control, o := honest, machineOptions{shutdown: shutdownNoLog, images: images, mountOptions: "nobarrier", damaged: true}
	if b.Name != "voldisk" {
		// Syncing first must lose nothing of what nobody has synced.
		control, o = lossy, machineOptions{shutdown: shutdownFlushed, syncFirst: true}
	}
	lost := func(e Experiment, o machineOptions) (n uint64, err error) {
		cycles, err := b.run(ctx, e, "ext4", o)
		for _, c := range cycles {
			n += c.LostOrTorn()
		}
		return n, err
	}
	usual := machineOptions{shutdown: shutdownNoLog, images: images}
	if n, err := lost(lossy, usual); err != nil {
		return err
	} else if n == 0 {
		return fmt.Errorf("backend %s: what nobody synced was not lost: it sees no loss", b.Name)
	}
	if n, err := lost(honest, usual); err != nil {
		return err
	} else if n > 0 {
		return fmt.Errorf("backend %s: %d records were lost that fdatasync had promised: the defect is ours until it is found to be the kernel's", b.Name, n)
	}
	n, err := lost(control, o)
	switch {
	case err != nil:
		return err
	case b.Name != "voldisk" && n > 0:
		return fmt.Errorf("backend %s: %d records were lost though all was synced first", b.Name, n)
	case b.Name == "voldisk" && n == 0:
		return fmt.Errorf("backend voldisk: a filesystem without barriers lost nothing: it sees no loss of the disk's cache")
	}
	return nil
}
