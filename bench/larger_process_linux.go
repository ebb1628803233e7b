package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iopath/internal/cgroup"
)

// A lodger is the running program, started again inside a control group, and asked
// by JSON on its standard input, a value and its answer at a time.
type lodger struct {
	cmd       *exec.Cmd
	ask       *json.Encoder
	answers   *json.Decoder
	close     func() error
	complaint *bytes.Buffer
}

// lodge starts one. It is in the group before it is asked for anything, and so has
// touched nothing but what Go's runtime needs. It has the files as descriptors 3 and
// up. It does not outlive the calling thread, which is therefore locked.
func lodge(g *cgroup.Group, env string, files ...*os.File) (*lodger, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l := &lodger{cmd: exec.Command(self, os.Args[1:]...), complaint: new(bytes.Buffer)}
	l.cmd.Env = append(os.Environ(), env+"=1")
	l.cmd.ExtraFiles = files
	l.cmd.Stderr = l.complaint
	// Ctrl-C comes by way of us.
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := l.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.ask, l.answers, l.close = json.NewEncoder(in), json.NewDecoder(out), in.Close
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	if err := g.Add(l.cmd.Process.Pid); err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

// tell hands it a value and waits for the answer.
func (l *lodger) tell(what, answer any) error {
	err := l.ask.Encode(what)
	if err == nil {
		err = l.answers.Decode(answer)
	}
	if err != nil {
		return l.why(err)
	}
	return nil
}

// errKilled is matched by the error of a lodger that the kernel ended, and not we.
var errKilled = errors.New("killed by the kernel, for want of memory")

// why ends the lodger and returns what it died of.
func (l *lodger) why(err error) error {
	l.close()
	// A signal is told by Wait. What is still alive has a second to complain.
	patience := time.AfterFunc(time.Second, func() { l.cmd.Process.Kill() })
	ended := l.cmd.Wait()
	text := strings.TrimSpace(l.complaint.String())
	switch status, _ := l.cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case text != "":
		return errors.New(text)
	case patience.Stop() && status.Signaled() && status.Signal() == syscall.SIGKILL:
		return errKilled
	}
	return errors.Join(err, ended)
}

// end kills it. What it had is free when end returns.
func (l *lodger) end() {
	l.close()
	l.cmd.Process.Kill()
	l.cmd.Wait() // an error says what is known: that it was killed
}

// lodged serves the parent where this process was started for that.
func lodged(env string, serve func(requests *json.Decoder, answers *json.Encoder) error) (started bool, err error) {
	if os.Getenv(env) == "" {
		return false, nil
	}
	// What this process starts is not to take itself for one.
	if err := os.Unsetenv(env); err != nil {
		return true, err
	}
	err = serve(json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout))
	if errors.Is(err, io.EOF) {
		err = nil // the parent has had enough
	}
	return true, err
}

// A procUsage is what a process, with all of its threads, has used so far.
type procUsage struct {
	cpu                  time.Duration
	minor, major, device int64
}

// usageOf reads it from outside (proc_pid_stat(5), proc_pid_io(5)), the CPU time by
// the process's clock, which is exact (clock_getcpuclockid(3)).
func usageOf(pid int) (u procUsage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, in brackets, may hold anything. Behind it are the state and so on:
	// minflt is field 10, majflt field 12.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 10 {
		return u, fmt.Errorf("read /proc/%d/stat: cut short", pid)
	}
	u.minor, err = strconv.ParseInt(fields[7], 10, 64)
	if err != nil {
		return u, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	if u.major, err = strconv.ParseInt(fields[9], 10, 64); err != nil {
		return u, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	if u.device, err = named(fmt.Sprintf("/proc/%d/io", pid), "read_bytes:"); err != nil {
		return u, err
	}
	var ts unix.Timespec
	const scheduled = 2 // CPUCLOCK_SCHED (include/linux/posix-timers_types.h)
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		return u, os.NewSyscallError("clock_gettime", err)
	}
	u.cpu = time.Duration(ts.Nano())
	return u, nil
}

// named finds the number behind a name at the begin of a line.
func named(path, name string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("read %s: it has no %s %w", path, name, errors.ErrUnsupported)
}
