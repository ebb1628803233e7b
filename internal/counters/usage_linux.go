package counters

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Meter adds up the calling thread's usage over stretches that are marked off
// by Start and Stop. It does not allocate once it is open.
type Meter struct {
	Usage
	begin Usage
	io    *os.File // /proc/thread-self/io of the thread; nil where there is none
	buf   [512]byte
}

// OpenMeter returns a meter of the calling thread.
func OpenMeter() *Meter {
	m := new(Meter)
	// Absent without CONFIG_TASK_IO_ACCOUNTING (proc_pid_io(5)), and then so is
	// the figure.
	if f, err := os.Open("/proc/thread-self/io"); err == nil {
		m.io = f
	}
	return m
}

// Start begins a stretch.
func (m *Meter) Start() error { return m.read(&m.begin) }

// Stop ends the stretch and adds it.
func (m *Meter) Stop() error {
	var end Usage
	if err := m.read(&end); err != nil {
		return err
	}
	m.add(&m.begin, &end)
	return nil
}

// Close releases the meter.
func (m *Meter) Close() error {
	if m.io == nil {
		return nil
	}
	return m.io.Close()
}

// read is getrusage(2) RUSAGE_THREAD, with the thread's clock for the CPU time:
// the sum is exact there, where rusage splits it by sampling.
func (m *Meter) read(u *Usage) error {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		return os.NewSyscallError("getrusage", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	u.CPU = time.Duration(ts.Nano())
	u.MinorFaults, u.MajorFaults = ru.Minflt, ru.Majflt
	u.Switches = ru.Nvcsw + ru.Nivcsw
	if m.io == nil {
		return nil
	}
	n, err := unix.Pread(int(m.io.Fd()), m.buf[:], 0)
	if err != nil {
		return fmt.Errorf("read /proc/thread-self/io: %w", err)
	}
	u.DeviceBytes, u.HasDeviceBytes = readBytes(m.buf[:n])
	return nil
}

// readBytes finds the line read_bytes, "the number of bytes which this process
// really did cause to be fetched from the storage layer" (proc_pid_io(5)).
func readBytes(io []byte) (int64, bool) {
	_, rest, ok := bytes.Cut(io, []byte("\nread_bytes: "))
	if !ok {
		return 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}
