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
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iopath/internal/loopdev"
)

// A Backend is a way to lose a machine.
type Backend struct {
	Name   string
	Loses  string // "kernel" or "power"
	Models string
	// Filesystems that it can have, of those that are known.
	Filesystems []string
	Runs        int // of each method and policy, in a set of a few minutes; three times as many on DAX
	DAX         bool
	Apart       bool // its machines have kernels of their own: several may be lost at a time
	cycles      func(ctx context.Context, p *place, e Experiment, o machineOptions) ([]Cycle, error)
	lacks       func() error
}

// Lacks tells what the backend wants and does not find here, without losing a machine: nil
// is no promise. The error matches errors.ErrUnsupported.
func (b Backend) Lacks() error {
	if _, err := mkfsPath(b.Filesystems[0]); err != nil {
		return err
	}
	return b.lacks()
}

// Backends, in the order in which they are tried: of those that lose the same, the first
// one that can be had is as good as the others, and faster.
var Backends = []Backend{
	{
		Name: "voldisk", Loses: "power", Runs: 3, cycles: voldiskCycles, lacks: lacksFUSE, Filesystems: []string{"ext4", "xfs", "btrfs"},
		Models: "power loss: the page cache and the disk's cache are gone, in any order and sector by sector",
	}, {
		Name: "shutdown", Loses: "kernel", Runs: 4, cycles: shutdownCycles, lacks: lacksMounts, Filesystems: []string{"ext4", "xfs"},
		Models: "a kernel's death: the page cache is gone, the disk's cache is kept",
	}, {
		Name: "uml", Loses: "kernel", Runs: 3, cycles: guestCycles(uml{}), lacks: lacksUML, Apart: true, Filesystems: []string{"ext4", "xfs", "btrfs"},
		Models: "a kernel's death: the processes of a user-mode Linux are killed; its disk is a file and keeps what it had",
	}, {
		Name: "qemu", Loses: "kernel", Runs: 1, cycles: guestCycles(qemu{}), lacks: lacksQEMU, Apart: true, DAX: true, Filesystems: []string{"ext4", "xfs", "btrfs"},
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
	// Of a voldisk's power: so many cuts, each at random within every after the one before,
	// and leaving another part of the disk's cache. 0: one each every until the experiment's
	// time is over, and nothing of it.
	cuts  int
	every time.Duration
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

// A voldisk's power is cut several times a run, and given back: each cut is an image at a
// moment of its own. Where nothing may be lost, there are more: that none was is worth as
// much as there were.
const (
	cuts       = 5
	cutsHonest = 12
	cutEvery   = 60 * time.Millisecond
)

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
	o := machineOptions{shutdown: shutdownNoLog, cuts: cuts, every: cutEvery}
	if Promises(e.Method, e.Policy) {
		o.cuts = cutsHonest
	}
	return b.run(ctx, e, fs, o)
}

func (b Backend) run(ctx context.Context, e Experiment, fs string, o machineOptions) (cycles []Cycle, err error) {
	if _, err := mkfsPath(fs); err != nil {
		return nil, err
	}
	where := apart
	if b.Apart {
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

// Ages cuts the power again and again under one writer, that goes on as if it had not been,
// until the experiment's time is over: what would have been lost had it stayed away. Its
// disk's cache is lost whole each time. Backend voldisk alone can do that. The cycles until
// an error are returned with it.
func (b Backend) Ages(ctx context.Context, e Experiment, fs string, every time.Duration) ([]Cycle, error) {
	return b.run(ctx, e, fs, machineOptions{every: every})
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

// lacksMounts tries a mount namespace.
func lacksMounts() error { return apart(func(func(func() error) error) error { return nil }) }

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
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s of %s (%s): %w", device, p.fs, options, err)
		}
		return fmt.Errorf("%w: mount %s of %s (%s): %w", errDamaged, device, p.fs, options, err)
	}
	defer func() { err = errors.Join(err, unmount(dir)) }()
	return do(dir)
}

// written runs the writer on a mounted filesystem until it has had its time, and calls
// fault. begin is called when the file is there, before the first record.
func (e Experiment) written(ctx context.Context, dir string, begin func() error, fault func(c *Cycle, w *running) error) (c Cycle, name string, err error) {
	c = Cycle{Method: e.Method, Policy: e.Policy, Layout: e.Layout, Seed: e.Seed, Pace: e.Pace, Dirty: -1, DeviceBytes: -1}
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
	if err := r.wait(ctx, e.moment(), e.Size); err != nil {
		return c, "", err
	}
	r.note(&c)
	err = fault(&c, r)
	return c, filepath.Base(path), err
}

// errDamaged is matched by the error of a filesystem that cannot be mounted.
var errDamaged = errors.New("damaged")

// checked mounts what is left and counts. A filesystem that is no more, or a file, is a
// loss of all.
func (p *place) checked(image *os.File, name string, c *Cycle, acknowledged uint64) error {
	err := p.mounted(image, "", func(dir string) error {
		f, err := os.Open(filepath.Join(dir, name))
		if err == nil {
			defer f.Close()
			c.Counts, err = Check(f, c.Seed, acknowledged)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil
	})
	if errors.Is(err, errDamaged) {
		c.Counts, c.Damaged = Counts{Acknowledged: acknowledged, Lost: acknowledged}, err.Error()
		return nil
	}
	return err
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
			c, name, err = e.written(ctx, dir, func() error { return nil }, func(c *Cycle, w *running) error {
				d, err := os.Open(dir)
				if err != nil {
					return err
				}
				defer d.Close()
				acknowledged = w.acknowledged()
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
	f, err := os.OpenFile(disk.path(), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	loop, err := loopdev.Attach(f)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	if err := p.mkfs(ctx, loop.Path()); err != nil {
		return nil, err
	}
	err = p.mountedAt(loop.Path(), o.mountOptions, func(dir string) error {
		first := e
		if o.cuts == 0 {
			first.Time = o.every
		}
		_, _, err := first.written(ctx, dir, disk.begin, func(c *Cycle, w *running) (err error) {
			cycles, err = p.cutPower(ctx, w, disk, *c, e.Time, o)
			return err
		})
		return err
	})
	return cycles, err
}

// cutPower cuts the disk's power again and again under the writer, and counts what each cut
// would have left.
func (p *place) cutPower(ctx context.Context, w *running, disk *voldisk, c Cycle, long time.Duration, o machineOptions) (cycles []Cycle, err error) {
	c.Fault = "power"
	rng := rand.New(rand.NewPCG(c.Seed, 2))
	for began, next := time.Now(), time.Duration(0); ; {
		one := c
		switch {
		case len(cycles) == 1:
			one.Kept = 1 // of the disk's cache; of the first none, of the others some
		case len(cycles) > 1:
			one.Kept = rng.Float64()
		}
		if o.cuts == 0 {
			one.Kept = 0
		}
		w.note(&one)
		// First the count, then the cut: what is acknowledged in between is not asked for.
		acknowledged := w.acknowledged()
		image, written, err := disk.cutPower(one.Kept, rng)
		if err != nil {
			return cycles, err
		}
		one.DeviceBytes = written
		err = p.checked(image, filepath.Base(w.path), &one, acknowledged)
		image.Close()
		os.Remove(image.Name())
		if err != nil {
			return cycles, fmt.Errorf("after a power cut at %.1f s: %w", one.After, err)
		}
		cycles = append(cycles, one)
		if o.cuts > 0 {
			next = time.Since(began) + time.Duration(rng.Float64()*float64(o.every))
		} else {
			next += o.every
		}
		if o.cuts > 0 && len(cycles) == o.cuts || o.cuts == 0 && next > long-o.every {
			return cycles, nil
		}
		select {
		case <-ctx.Done():
			return cycles, context.Cause(ctx)
		case <-time.After(time.Until(began.Add(next))):
		}
	}
}

// SelfCheck finds out whether the backend sees what it is there to see on the filesystem,
// or on DAX: a loss where there must be one, and none where there must be none. A backend
// that fails it reports nothing.
func (b Backend) SelfCheck(ctx context.Context, dir, fs string, dax bool, seed uint64, kernel string) error {
	honest := Experiment{Dir: dir, Method: "write", Policy: "each", Layout: "append", Size: 4 << 20, Time: 300 * time.Millisecond, Seed: seed, Kernel: kernel}
	if dax {
		honest.Method, honest.Layout = "mmap.dax", "sparse"
	}
	lossy := honest
	lossy.Policy = "none"
	usual := machineOptions{shutdown: shutdownNoLog, cuts: cuts, every: cutEvery}
	type check struct {
		Experiment
		o     machineOptions
		loses bool
		wrong string
		n     uint64
		err   error
	}
	checks := []*check{
		{Experiment: lossy, o: usual, loses: true, wrong: "what nobody synced was not lost: it sees no loss"},
		{Experiment: honest, o: usual, wrong: "records were lost that were promised to be safe: the defect is ours until it is found to be the kernel's"},
	}
	switch {
	case b.Name != "voldisk":
		// Syncing first must lose nothing of what nobody has synced.
		o := usual
		o.shutdown, o.syncFirst = shutdownFlushed, true
		checks = append(checks, &check{Experiment: lossy, o: o, wrong: "records were lost though all was synced first"})
	case fs != "xfs": // which has no such option
		o := usual
		o.mountOptions = "nobarrier"
		checks = append(checks, &check{Experiment: honest, o: o, loses: true, wrong: "a filesystem without barriers lost nothing: it sees no loss of the disk's cache"})
	}
	var wg sync.WaitGroup
	for _, c := range checks {
		do := func() {
			var cycles []Cycle
			cycles, c.err = b.run(ctx, c.Experiment, fs, c.o)
			for _, one := range cycles {
				c.n += one.LostOrTorn()
			}
		}
		if b.Apart {
			wg.Go(do)
		} else {
			do()
		}
	}
	wg.Wait()
	for _, c := range checks {
		switch {
		case c.err != nil:
			return c.err
		case c.loses != (c.n > 0):
			return fmt.Errorf("backend %s on %s: %s (%d)", b.Name, fs, c.wrong, c.n)
		}
	}
	return nil
}
