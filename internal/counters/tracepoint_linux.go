package counters

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracepoint counts by the kernel's raw_syscalls:sys_enter on one thread: one
// perf event for all calls, and one with a filter for each call that is counted
// by name. The last is tlb:tlb_flush, where it sees any. They are one group, read
// at once, and always on. Reading is itself a call, and the one that ends a
// stretch is in it.
type tracepoint struct {
	names      []string // of the calls whose events follow the first
	shootdowns bool     // whether there is an event for them
	events     []int    // descriptors; the first leads the group
	buf        []byte
	begin      []uint64
	end        []uint64
}

// OpenTracepoint returns a counter by the kernel's tracepoints for the calling
// thread. The error matches os.ErrPermission where the user may not, and
// errors.ErrUnsupported where the kernel cannot.
func OpenTracepoint() (Counter, error) {
	// Events of two threads make no group (EINVAL).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := &tracepoint{names: Names()}
	err := t.openCalls()
	if err == nil && ProbeShootdowns() == nil {
		err = t.openShootdowns()
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	// The group's format: the number of events, then their values (perf_event_open(2)).
	t.buf = make([]byte, 8*(1+len(t.events)))
	t.begin = make([]uint64, len(t.events))
	t.end = make([]uint64, len(t.events))
	return t, nil
}

// openCalls adds the event of all calls, then each name's.
func (t *tracepoint) openCalls() error {
	format, err := tracefsFormat("raw_syscalls/sys_enter")
	if err != nil {
		return err
	}
	if err := t.open("raw_syscalls:sys_enter", format, ""); err != nil {
		return err
	}
	for _, name := range t.names {
		if err := t.open("raw_syscalls:sys_enter", format, fmt.Sprintf("id == %d", numbers[name])); err != nil {
			return err
		}
	}
	return nil
}

// openShootdowns adds the event of TLB shootdowns. The error matches
// errors.ErrUnsupported where the kernel has none: it is x86's own.
func (t *tracepoint) openShootdowns() error {
	format, err := tracefsFormat("tlb/tlb_flush")
	if errors.Is(err, fs.ErrNotExist) {
		return unsupported("the kernel has no tracepoint tlb:tlb_flush")
	}
	if err != nil {
		return err
	}
	// TLB_REMOTE_SEND_IPI (trace/events/tlb.h). The other reasons are flushes of
	// the thread's own CPU, and those that it was asked for.
	reason, ok := symbol(format, "remote IPI send")
	if !ok {
		return unsupported("the kernel's tracepoint tlb:tlb_flush does not tell who interrupts")
	}
	if err := t.open("tlb:tlb_flush", format, "reason == "+reason); err != nil {
		return err
	}
	t.shootdowns = true
	return nil
}

// open adds an event to the group.
func (t *tracepoint) open(name, format, filter string) error {
	if err := t.openEvent(format, filter); err != nil {
		if forbidden(err) {
			err = fmt.Errorf("%w (run as root, lower /proc/sys/kernel/perf_event_paranoid to -1, or count with -counter=ptrace)", err)
		}
		return fmt.Errorf("open tracepoint %s: %w", name, err)
	}
	return nil
}

func (t *tracepoint) openEvent(format, filter string) error {
	id, err := formatID(format)
	if err != nil {
		return err
	}
	attr := unix.PerfEventAttr{
		Type:        unix.PERF_TYPE_TRACEPOINT,
		Size:        unix.PERF_ATTR_SIZE_VER0,
		Config:      id,
		Read_format: unix.PERF_FORMAT_GROUP,
	}
	leader := -1
	if len(t.events) > 0 {
		leader = t.events[0]
	}
	fd, err := perfEventOpen(&attr, leader)
	if err != nil {
		return os.NewSyscallError("perf_event_open", err)
	}
	t.events = append(t.events, fd)
	if filter == "" {
		return nil
	}
	text, err := unix.BytePtrFromString(filter)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PERF_EVENT_IOC_SET_FILTER, uintptr(unsafe.Pointer(text))); errno != 0 {
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
	if t.shootdowns {
		last := len(t.events) - 1
		c.Shootdowns, c.HasShootdowns = float64(t.end[last]-t.begin[last]), true
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

// tracefsFormat reads the description of a tracepoint from tracefs, where it is
// mounted or else from a mount of our own that has no place in the tree, and is
// gone with its descriptor. The error matches fs.ErrNotExist where the kernel has
// no such tracepoint.
func tracefsFormat(tracepoint string) (string, error) {
	file := "events/" + tracepoint + "/format"
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		b, err := os.ReadFile(dir + "/" + file)
		if err == nil {
			return string(b), nil
		}
		if _, statErr := os.Stat(dir + "/events"); statErr == nil && errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read tracefs: %w", err)
		}
	}
	b, err := readUnmounted("tracefs", file)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (run as root, or count with -counter=ptrace)", err)
	}
	if err != nil {
		return "", fmt.Errorf("read tracefs %s: %w", file, err)
	}
	return string(b), nil
}

// formatID finds a tracepoint's number in its description.
func formatID(format string) (uint64, error) {
	_, rest, _ := strings.Cut(format, "\nID: ")
	digits, _, _ := strings.Cut(rest, "\n")
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("find the tracepoint's ID in its format: %w", err)
	}
	return id, nil
}

// symbol finds the number that a tracepoint's description gives a name, as in
// { 4, "remote IPI send" }.
func symbol(format, name string) (number string, ok bool) {
	before, _, ok := strings.Cut(format, `, "`+name+`" }`)
	if !ok {
		return "", false
	}
	number = before[strings.LastIndex(before, "{ ")+1:]
	number = strings.TrimSpace(number)
	_, err := strconv.Atoi(number)
	return number, err == nil
}

// readUnmounted reads a file of a filesystem that is mounted nowhere (fsopen(2),
// fsmount(2)).
func readUnmounted(fstype, file string) ([]byte, error) {
	context, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
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
