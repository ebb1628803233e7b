package counters

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Meter adds up the usage of the calling thread, or of the whole process, over
// stretches that are marked off by Start and Stop. It does not allocate once it is
// open.
type Meter struct {
	Usage
	begin    Usage
	of       scope
	io       *os.File // proc_pid_io(5); nil where there is none
	buf      [512]byte
	hardware *group // of a thread alone
}

// A scope is whose usage a meter tells.
type scope struct {
	clock int32  // clock_gettime(2)
	who   int    // getrusage(2)
	io    string // proc_pid_io(5)
}

var (
	ofThread  = scope{unix.CLOCK_THREAD_CPUTIME_ID, unix.RUSAGE_THREAD, "/proc/thread-self/io"}
	ofProcess = scope{unix.CLOCK_PROCESS_CPUTIME_ID, unix.RUSAGE_SELF, "/proc/self/io"}
)

// OpenMeter returns a meter of the calling thread. What the machine does not tell
// is absent from the usage (see [ProbeHardware] for the reasons).
func OpenMeter() *Meter {
	m := openMeter(ofThread)
	m.hardware, _ = openGroup(hardware, perfEventOpen)
	return m
}

// OpenProcessMeter returns a meter of all threads that the process has and had,
// without the processor's own events.
func OpenProcessMeter() *Meter { return openMeter(ofProcess) }

func openMeter(of scope) *Meter {
	m := &Meter{of: of, hardware: new(group)}
	// Absent without CONFIG_TASK_IO_ACCOUNTING (proc_pid_io(5)), and then so is
	// the figure.
	if f, err := os.Open(of.io); err == nil {
		m.io = f
	}
	return m
}

// Start begins a stretch. What counts the finest is read the nearest to it, so
// that reading the rest is not in it.
func (m *Meter) Start() error {
	return errors.Join(m.readIO(&m.begin), m.readCPU(&m.begin), m.hardware.read(&m.begin))
}

// Stop ends the stretch and adds it.
func (m *Meter) Stop() error {
	var end Usage
	if err := errors.Join(m.hardware.read(&end), m.readCPU(&end), m.readIO(&end)); err != nil {
		return err
	}
	m.add(&m.begin, &end)
	return nil
}

// Close releases the meter.
func (m *Meter) Close() error {
	m.hardware.close()
	if m.io == nil {
		return nil
	}
	return m.io.Close()
}

// readCPU is the clock of the thread or the process, and getrusage(2) for the rest.
//
// The clock comes first. It brings the run time up to date to which getrusage
// then scales its samples; by itself that lags behind by up to a tick (3 ms seen).
func (m *Meter) readCPU(u *Usage) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(m.of.clock, &ts); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	var ru unix.Rusage
	if err := unix.Getrusage(m.of.who, &ru); err != nil {
		return os.NewSyscallError("getrusage", err)
	}
	u.CPU, u.SystemCPU = time.Duration(ts.Nano()), time.Duration(ru.Stime.Nano())
	u.MinorFaults, u.MajorFaults = ru.Minflt, ru.Majflt
	u.Voluntary, u.Involuntary = ru.Nvcsw, ru.Nivcsw
	return nil
}

func (m *Meter) readIO(u *Usage) error {
	if m.io == nil {
		return nil
	}
	n, err := unix.Pread(int(m.io.Fd()), m.buf[:], 0)
	if err != nil {
		return fmt.Errorf("read %s: %w", m.of.io, err)
	}
	io := m.buf[:n]
	read, ok1 := field(io, "\nread_bytes: ")
	written, ok2 := field(io, "\nwrite_bytes: ")
	cancelled, ok3 := field(io, "\ncancelled_write_bytes: ")
	u.DeviceBytes, u.DeviceWritten, u.HasDeviceBytes = read, written-cancelled, ok1 && ok2 && ok3
	return nil
}

// field finds the number of a line of proc_pid_io(5), after the end of the line
// before and the field's name.
func field(io []byte, name string) (int64, bool) {
	_, rest, ok := bytes.Cut(io, []byte(name))
	if !ok {
		return 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}
