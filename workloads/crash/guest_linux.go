package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A guest is a machine of our own, kernel and all, that is a process of the host: this
// program is its init, and its disk a file. It is lost by killing that process. A second
// guest then mounts the disk, as a machine that starts again does, and counts.
//
// What the guest says goes to its console, a line each. It says how many records are
// acknowledged every millisecond: what was acknowledged after the last line counts as on
// its way, so a loss is never blamed on a policy that had no say.
type guest interface {
	// disk is what the method's is called in it, and the options to mount it with.
	disk(method string) (device, options string)
	// command is the machine with that kernel command line, its files in dir.
	command(dir string, job guestJob, cmdline []string) (*exec.Cmd, error)
}

// A guestJob is what a guest is to do: write, or check what another wrote.
type guestJob struct {
	Experiment
	Filesystem string
	Mount      string `json:",omitempty"` // its options
	Sync       bool   `json:",omitempty"` // all, before the fault
	Check      bool   `json:",omitempty"`
	Written    uint64 `json:",omitempty"` // acknowledged
	Disk       string `json:"-"`          // the file, as the host has it
	Device     string // what it is in the guest
}

// A guestLine is what a guest says.
type guestLine struct {
	Alive        bool   `json:",omitempty"` // the first one
	Absent       string `json:",omitempty"` // cannot be had in this guest
	Broken       string `json:",omitempty"`
	Cycle        *Cycle `json:",omitempty"` // the fault may come now
	Acknowledged uint64 `json:",omitempty"`
	Counts       *Counts
	Damaged      string `json:",omitempty"` // why nothing can be read of the disk
}

const (
	guestMark = "iopath-crash:"      // begins each line of ours; others are the kernel's
	guestEnv  = "IOPATH_CRASH_GUEST" // a guestJob, which the kernel hands on to its init
	guestTime = 2 * time.Minute      // for all that one guest does
	ackEvery  = time.Millisecond     // says how many are acknowledged
)

// guestCycles loses a guest.
func guestCycles(g guest) func(context.Context, *place, Experiment, machineOptions) ([]Cycle, error) {
	return func(ctx context.Context, p *place, e Experiment, o machineOptions) ([]Cycle, error) {
		disk := filepath.Join(p.dir, "disk")
		f, err := os.OpenFile(disk, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := f.Truncate(diskSize); err != nil {
			return nil, err
		}
		if err := p.mkfs(ctx, disk); err != nil {
			return nil, err
		}
		job := guestJob{Experiment: e, Filesystem: p.fs, Sync: o.syncFirst, Disk: disk}
		job.Device, job.Mount = g.disk(e.Method)
		var (
			c            *Cycle
			acknowledged uint64
		)
		err = inGuest(ctx, g, p.dir, job, func(l guestLine) (done bool) {
			if l.Cycle != nil {
				c = l.Cycle
			}
			acknowledged = max(acknowledged, l.Acknowledged)
			return c != nil && acknowledged > 0
		})
		if err != nil {
			return nil, err
		}
		job.Check, job.Written = true, acknowledged
		err = inGuest(ctx, g, p.dir, job, func(l guestLine) bool {
			if l.Counts != nil {
				c.Counts, c.Damaged = *l.Counts, l.Damaged
			}
			return l.Counts != nil
		})
		if err != nil {
			// What could be had a moment ago cannot be wanting now.
			return nil, fmt.Errorf("in the guest that checks: %s", err)
		}
		c.Fault = "kernel"
		return []Cycle{*c}, nil
	}
}

// inGuest runs a guest until it has said what done waits for, kills it, and hears out what
// it had said until then. An error matches errors.ErrUnsupported where the machine cannot
// be had here: it dies before its init has begun.
func inGuest(ctx context.Context, g guest, dir string, job guestJob, done func(guestLine) bool) error {
	// A kernel's command line is short, and the host's paths are nothing to the guest.
	told := job
	told.Dir, told.Kernel = "", ""
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	cmd, err := g.command(dir, job, []string{
		guestEnv + "=" + base64.RawURLEncoding.EncodeToString(text),
		// A user-mode kernel has one CPU, and loses signals that come in numbers.
		"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1",
		"quiet", "loglevel=0", "panic=-1",
	})
	if err != nil {
		return err
	}
	args, err := json.Marshal(cmd.Args)
	if err != nil {
		return err
	}
	keeper := exec.Command("/proc/self/exe")
	keeper.Env = append(os.Environ(), keeperEnv+"="+string(args))
	keeper.Dir = cmd.Dir
	// A group of its own: Ctrl-C is for us to answer.
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	life, err := keeper.StdinPipe()
	if err != nil {
		return err
	}
	console, err := keeper.StdoutPipe()
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return fmt.Errorf("start the keeper of a guest: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, guestTime, fmt.Errorf("the guest is not done after %v", guestTime))
	defer cancel()
	kill := func() { life.Close() }
	defer context.AfterFunc(ctx, kill)()
	heard := hear(console, kill, done)
	kill()
	if err := keeper.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the keeper of a guest: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return heard
}

// keeperEnv makes this program the keeper of a guest: its arguments.
const keeperEnv = "IOPATH_CRASH_KEEPER"

// serveKeeper starts a guest, where this process is its keeper, and kills it when who wanted
// it closes our standard input, by its death, too. A user-mode kernel consists of
// processes that do not all die with their parent.
func serveKeeper() bool {
	env, ok := os.LookupEnv(keeperEnv)
	if !ok {
		return false
	}
	os.Unsetenv(keeperEnv)
	// Pdeathsig kills the machine when the thread that started it ends.
	runtime.LockOSThread()
	var args []string
	err := json.Unmarshal([]byte(env), &args)
	if err == nil {
		// The guest's other processes become ours when their parent is dead.
		err = os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	}
	var (
		guest   *os.Process
		nothing *os.File // to read
	)
	if err == nil {
		nothing, err = os.Open(os.DevNull)
	}
	if err == nil {
		guest, err = os.StartProcess(args[0], args, &os.ProcAttr{
			Files: []*os.File{nothing, os.Stdout, os.Stdout},
			Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
		})
	}
	if err != nil {
		fmt.Println(err) // on the console
		return true
	}
	var asked atomic.Bool
	kill := func() { unix.Kill(-guest.Pid, unix.SIGKILL) }
	go func() {
		io.Copy(io.Discard, os.Stdin)
		asked.Store(true)
		kill()
	}()
	for {
		var status syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &status, 0, nil); {
		case err == syscall.ECHILD:
			return true // and the console ends
		case pid == guest.Pid:
			if !asked.Load() {
				how := fmt.Sprintf("status %d", status.ExitStatus())
				if status.Signaled() {
					how = status.Signal().String()
				}
				fmt.Printf("\n%s ended: %s\n", filepath.Base(args[0]), how)
			}
			kill() // what it has left
		}
	}
}

// hear reads what a guest says until its console closes; it calls kill when done has what
// it waits for, or the guest cannot go on.
func hear(console io.Reader, kill func(), done func(guestLine) bool) error {
	var (
		alive, enough bool
		failed        error
		last          []string // of the kernel's own lines
	)
	for in := bufio.NewScanner(console); in.Scan(); {
		// The last line may have been cut by the kill: it does not parse.
		_, ours, is := strings.Cut(in.Text(), guestMark)
		var l guestLine
		if !is || json.Unmarshal([]byte(ours), &l) != nil {
			if text := strings.TrimSpace(in.Text()); text != "" && !is {
				last = append(last, text)
				last = last[max(0, len(last)-3):]
			}
			continue
		}
		alive = true
		switch {
		case l.Absent != "":
			failed = fmt.Errorf("%w: %s", errors.ErrUnsupported, l.Absent)
		case l.Broken != "":
			failed = fmt.Errorf("in the guest: %s", l.Broken)
		case done(l):
			enough = true
		default:
			continue
		}
		kill()
	}
	switch {
	case failed != nil:
		return failed
	case enough:
		return nil
	}
	said := strings.Join(last, "; ")
	if said == "" {
		said = "nothing"
	}
	if !alive {
		return fmt.Errorf("%w: the kernel of the guest ended before its init began; it said: %s", errors.ErrUnsupported, said)
	}
	return fmt.Errorf("the guest ended early; it said: %s", said)
}

// serveGuest is a guest's init, where this process is one.
func serveGuest() bool {
	env, ok := os.LookupEnv(guestEnv)
	if !ok || os.Getpid() != 1 {
		return false
	}
	os.Unsetenv(guestEnv)
	// What a kernel starts has no environment to speak of.
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	if err := guestInit(env); errors.Is(err, errors.ErrUnsupported) {
		say(guestLine{Absent: strings.TrimPrefix(err.Error(), errors.ErrUnsupported.Error()+": ")})
	} else if err != nil {
		say(guestLine{Broken: err.Error()})
	}
	// Nothing is synced: who is told to end loses nothing by it any more.
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func say(l guestLine) {
	text, err := json.Marshal(l)
	if err != nil {
		text = fmt.Appendf(nil, `{"Broken":%q}`, err)
	}
	// One write: lines of the kernel's come between, not into it.
	os.Stdout.Write(slices.Concat([]byte("\n"+guestMark), text, []byte("\n")))
}

func guestInit(env string) error {
	var job guestJob
	text, err := base64.RawURLEncoding.DecodeString(env)
	if err == nil {
		err = json.Unmarshal(text, &job)
	}
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	say(guestLine{Alive: true})
	for _, m := range []struct{ fs, at string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}} {
		// The kernel may have mounted /dev by itself.
		if err := unix.Mount(m.fs, m.at, m.fs, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := appears(job.Device); err != nil {
		return err
	}
	dir := "/tmp/disk"
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(job.Device, dir, job.Filesystem, 0, job.Mount); errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: the guest's kernel has no %s", errors.ErrUnsupported, job.Filesystem)
	} else if err != nil && job.Check {
		return job.lost(err)
	} else if err != nil {
		return fmt.Errorf("mount %s of %s (%s): %w", job.Device, job.Filesystem, job.Mount, err)
	}
	if job.Check {
		job.Dir = dir
		return job.check()
	}
	_, _, err = job.written(context.Background(), dir, func() error { return nil }, func(c *Cycle, w *running) error {
		ask := w.acknowledged
		if c.Dirty < 0 { // the kernel has no cachestat: nobody else has dirty pages here
			c.Dirty = dirtyPages()
		}
		if job.Sync {
			n := ask()
			unix.Sync()
			ask = func() uint64 { return n }
		}
		say(guestLine{Cycle: c})
		for ; ; time.Sleep(ackEvery) {
			say(guestLine{Acknowledged: ask()})
		}
	})
	return err
}

func (j guestJob) check() error {
	f, err := os.Open(j.path())
	if err != nil {
		return j.lost(err)
	}
	defer f.Close()
	counts, err := Check(f, j.Seed, j.Written)
	if err != nil {
		return j.lost(err)
	}
	say(guestLine{Counts: &counts})
	time.Sleep(guestTime) // until the host, which has heard it, kills us
	return nil
}

// lost says that nothing can be read of the disk.
func (j guestJob) lost(why error) error {
	say(guestLine{Counts: &Counts{Acknowledged: j.Written, Lost: j.Written}, Damaged: why.Error()})
	time.Sleep(guestTime)
	return nil
}

// appears waits for a device.
func appears(device string) (err error) {
	for range 200 {
		if _, err = os.Stat(device); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the disk: %w", err)
}

// dirtyPages is how many pages of the page cache are dirty, of all files; -1 if that is not
// told.
func dirtyPages() int64 {
	text, _ := os.ReadFile("/proc/vmstat")
	for line := range bytes.Lines(text) {
		var n int64
		if _, err := fmt.Sscanf(string(line), "nr_dirty %d", &n); err == nil {
			return n
		}
	}
	return -1
}

// loadModules loads the kernel's modules that the machine came with, in the order of their
// names.
func loadModules() error {
	names, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		flags := 0
		if filepath.Ext(name) != ".ko" {
			flags = unix.MODULE_INIT_COMPRESSED_FILE
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load the module %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}
