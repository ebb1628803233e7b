package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"iopath/workloads"
)

// env holds "ROLE CPU KIND" for a process that is to be a child.
const env = "IOPATH_PEER"

func init() {
	v, ok := os.LookupEnv(env)
	if !ok {
		return
	}
	if err := serve(v); err != nil {
		fmt.Fprintf(os.Stderr, "peer (%s): %v\n", v, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// The child's descriptors, after the standard three.
const (
	dataFD    = 3
	controlFD = 4
	fileFD    = 5 // of a receiver that writes one
)

// The messages on the control socket are numbers of eight bytes. What begins a
// job is two numbers that mean to each role what its jobFunc says; a report is
// bytes and sum, then CPU, user and system time in nanoseconds.
const (
	beginSize  = 2 * 8
	reportSize = 5 * 8
)

// A jobFunc is what a child does for one job.
type jobFunc func(a, b int64) (workloads.Digest, error)

// serve is the child process: for each message on the control socket it does one
// job and reports. It ends when the control socket is closed.
func serve(spec string) error {
	var cpu int
	var role, kind string
	if _, err := fmt.Sscan(spec, &role, &cpu, &kind); err != nil {
		return fmt.Errorf("%s=%q: %w", env, spec, err)
	}
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))) // jobs hold one of the Ps while they block
	go endWithParent()
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if cpu >= 0 {
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin to CPU %d: %w", cpu, err)
		}
	}
	job, err := newJob(role, kind)
	if err != nil {
		return err
	}
	var buf [reportSize]byte
	for {
		n, err := retry(func() (int, error) { return unix.Read(controlFD, buf[:beginSize]) })
		if n == 0 || gone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for a job: %w", err)
		}
		began := threadTimes()
		digest, err := job(int64(binary.LittleEndian.Uint64(buf[0:])), int64(binary.LittleEndian.Uint64(buf[8:])))
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(buf[0:], uint64(digest.Bytes))
		binary.LittleEndian.PutUint64(buf[8:], digest.Sum)
		for i, end := range threadTimes() {
			binary.LittleEndian.PutUint64(buf[16+8*i:], uint64(end-began[i]))
		}
		_, err = retry(func() (int, error) { return unix.Write(controlFD, buf[:]) })
		if gone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
}

// endWithParent waits for the parent to close the control socket, and ends the
// process. The end of the data socket is not enough to end a job: over veth, the
// parent's device may be gone before it has told.
func endWithParent() {
	control := []unix.PollFd{{Fd: controlFD}}
	for control[0].Revents == 0 {
		if _, err := retry(func() (int, error) { return unix.Poll(control, -1) }); err != nil {
			return // the job's own end must do
		}
	}
	os.Exit(0)
}

// gone reports whether it is the other side of the socket that is no more there.
func gone(err error) bool { return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) }

func newJob(role, kind string) (jobFunc, error) {
	if role == "source" {
		return newSending()
	}
	return newReceiving(kind)
}

// threadTimes returns the calling thread's CPU time: all of it, user, system.
// Neither call can fail for one's own thread (clock_gettime(2), getrusage(2)).
func threadTimes() [3]time.Duration {
	var ts unix.Timespec
	var ru unix.Rusage
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	unix.Getrusage(unix.RUSAGE_THREAD, &ru)
	return [3]time.Duration{time.Duration(ts.Nano()), time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())}
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// A child is a process at the other end of a socket, as its parent sees it.
type child struct {
	role    string
	cmd     *exec.Cmd
	data    *os.File
	control *os.File
	buf     [reportSize]byte
}

// start starts a child in that role. It gets the files besides its sockets.
func start(transport, role, kind string, cpu int, files ...*os.File) (_ *child, err error) {
	ours, theirs, err := Pair(transport)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	control, theirControl, err := controlPair()
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer theirControl.Close()
	c := &child{role: role, data: ours, control: control}
	self, err := os.Executable()
	if err == nil {
		c.cmd = exec.Command(self)
		c.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", env, role, cpu, kind))
		c.cmd.ExtraFiles = append([]*os.File{theirs, theirControl}, files...) // dataFD, controlFD, fileFD
		c.cmd.Stderr = os.Stderr
		err = c.cmd.Start()
	}
	if err != nil {
		ours.Close()
		control.Close()
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	return c, nil
}

// patience is how long a child may take for what the kernel holds of a job when
// our side of it is over: some MiB.
const patience = 5 * time.Second

// controlPair returns two sockets for messages; reading the first ends when
// patience does.
func controlPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs = os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	limit := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		ours.Close()
		theirs.Close()
		return nil, nil, os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}
	return ours, theirs, nil
}

// Socket is this side's end of the socket.
func (c *child) Socket() int { return int(c.data.Fd()) }

func (c *child) begin(a, b int64) error {
	binary.LittleEndian.PutUint64(c.buf[0:], uint64(a))
	binary.LittleEndian.PutUint64(c.buf[8:], uint64(b))
	_, err := retry(func() (int, error) { return unix.Write(int(c.control.Fd()), c.buf[:beginSize]) })
	if err != nil {
		return fmt.Errorf("begin a job at the %s: %w", c.role, err)
	}
	return nil
}

// Finish waits until the child has done the whole job, and returns its report. It
// waits for five seconds at most: the report of a receiver is then of fewer bytes, a
// source is an error, and the socket is of no more use.
func (c *child) Finish() (Report, error) {
	report := func() (int, error) { return unix.Read(int(c.control.Fd()), c.buf[:]) }
	n, err := retry(report)
	if errors.Is(err, unix.EAGAIN) {
		if err := c.giveUp(); err != nil {
			return Report{}, fmt.Errorf("give up the %s: %w", c.role, err)
		}
		n, err = retry(report)
	}
	if err == nil && n < reportSize {
		err = errors.New("it ended early")
	}
	if err != nil {
		return Report{}, fmt.Errorf("wait for the %s: %w", c.role, err)
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(c.buf[8*i:]) }
	return Report{
		Digest:    workloads.Digest{Bytes: int64(number(0)), Sum: number(1)},
		CPU:       time.Duration(number(2)),
		UserCPU:   time.Duration(number(3)),
		SystemCPU: time.Duration(number(4)),
	}, nil
}

// giveUp ends a job that has no end: a receiver's where it waits for bytes, a
// source's where nobody takes them.
func (c *child) giveUp() error {
	if c.role == "source" {
		return c.cmd.Process.Kill()
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(c.Socket(), unix.SHUT_WR))
}

// Close ends the child and waits for it. It reports how the child ended where that
// was not well.
func (c *child) Close() error {
	c.data.Close()
	c.control.Close()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.role, err)
	}
	return nil
}
