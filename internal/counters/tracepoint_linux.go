package counters

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracepoint counts by the kernel's raw_syscalls:sys_enter on one thread: one
// perf event for all calls, and one with a filter for each call that is counted
// by name. They are one group, read at once, and always on. Reading is itself a
// call, and the one that ends a stretch is in it.
type tracepoint struct {
	names  []string // of the events after the first
	events []int    // descriptors; the first leads the group
	buf    []byte
	begin  []uint64
	end    []uint64
}

// OpenTracepoint returns a counter by the kernel's tracepoints for the calling
// thread. The error matches os.ErrPermission where the user may not, and
// errors.ErrUnsupported where the kernel cannot.
func OpenTracepoint() (Counter, error) {
	id, err := sysEnterID()
	if err != nil {
		return nil, err
	}
	t := &tracepoint{names: Names()}
	for i := range 1 + len(t.names) {
		if err := t.open(id, i); err != nil {
			t.Close()
			if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
				err = fmt.Errorf("%w (run as root, lower /proc/sys/kernel/perf_event_paranoid to -1, or count with -counter=ptrace)", err)
			}
			return nil, fmt.Errorf("open tracepoint raw_syscalls:sys_enter: %w", err)
		}
	}
	// The group's format: the number of events, then their values (perf_event_open(2)).
	t.buf = make([]byte, 8*(1+len(t.events)))
	t.begin = make([]uint64, len(t.events))
	t.end = make([]uint64, len(t.events))
	return t, nil
}

// open adds the i-th event to the group: all calls, then each name's.
func (t *tracepoint) open(id uint64, i int) error {
	attr := unix.PerfEventAttr{
		Type:        unix.PERF_TYPE_TRACEPOINT,
		Size:        unix.PERF_ATTR_SIZE_VER0,
		Config:      id,
		Read_format: unix.PERF_FORMAT_GROUP,
	}
	leader := -1
	if i > 0 {
		leader = t.events[0]
	}
	fd, err := unix.PerfEventOpen(&attr, unix.Gettid(), -1, leader, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("perf_event_open", err)
	}
	t.events = append(t.events, fd)
	if i == 0 {
		return nil
	}
	filter, err := unix.BytePtrFromString(fmt.Sprintf("id == %d", numbers[t.names[i-1]]))
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PERF_EVENT_IOC_SET_FILTER, uintptr(unsafe.Pointer(filter))); errno != 0 {
		return os.NewSyscallError("ioctl PERF_EVENT_IOC_SET_FILTER", errno)
	}
	return nil
}

func (t *tracepoint) Source() string { return "tracepoint" }

func (t *tracepoint) Begin() error { return t.read(t.begin) }

func (t *tracepoint) End() (Calls, error) {
	if err := t.read(t.end); err != nil {
		return Calls{}, err
	}
	c := Calls{Total: float64(t.end[0] - t.begin[0] - 1), ByName: map[string]float64{}}
	for i, name := range t.names {
		n := t.end[i+1] - t.begin[i+1]
		if name == "read" {
			n-- // our own
		}
		if n > 0 {
			c.ByName[name] = float64(n)
		}
	}
	return c, nil
}

func (t *tracepoint) read(values []uint64) error {
	n, err := unix.Read(t.events[0], t.buf)
	if err != nil {
		return fmt.Errorf("read the tracepoint counters: %w", err)
	}
	if n != len(t.buf) {
		return fmt.Errorf("read the tracepoint counters: %d bytes, want %d", n, len(t.buf))
	}
	for i := range values {
		values[i] = binary.NativeEndian.Uint64(t.buf[8*(1+i):])
	}
	return nil
}

func (t *tracepoint) Close() error {
	for _, fd := range t.events {
		unix.Close(fd)
	}
	t.events = nil
	return nil
}

// sysEnterID reads the tracepoint's number from tracefs, where it is mounted or
// else from a mount of our own that has no place in the tree, and is gone with
// its descriptor.
func sysEnterID() (uint64, error) {
	const file = "events/raw_syscalls/sys_enter/id"
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if b, err := os.ReadFile(dir + "/" + file); err == nil {
			return parseID(b)
		}
	}
	b, err := readUnmounted("tracefs", file)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (run as root, or count with -counter=ptrace)", err)
	}
	if err != nil {
		return 0, fmt.Errorf("read tracefs %s: %w", file, err)
	}
	return parseID(b)
}

func parseID(b []byte) (uint64, error) {
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

// readUnmounted reads a file of a filesystem that is mounted nowhere (fsopen(2),
// fsmount(2)).
func readUnmounted(fstype, file string) ([]byte, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	return io.ReadAll(f)
}
