package counters

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// An event is one that the kernel counts by perf_event_open(2).
type event struct {
	kind   uint32 // PERF_TYPE_*
	config uint64
}

// hardware are the events of [Usage.Hardware].
//
// PERF_COUNT_HW_CACHE_MISSES is not among them: on AMD it counts the misses of
// the L2, and the kernel has no event for those of the last level there
// (arch/x86/events/amd/core.c).
var hardware = [NumHardware]event{
	Cycles:       {unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_CPU_CYCLES},
	Instructions: {unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS},
	LLCMisses:    loadMisses(unix.PERF_COUNT_HW_CACHE_LL),
	DTLBMisses:   loadMisses(unix.PERF_COUNT_HW_CACHE_DTLB),
}

func loadMisses(cache uint64) event {
	return event{unix.PERF_TYPE_HW_CACHE, cache | unix.PERF_COUNT_HW_CACHE_OP_READ<<8 | unix.PERF_COUNT_HW_CACHE_RESULT_MISS<<16}
}

// A group counts events of the calling thread. They are on the processor all
// together or not at all, so that one can be set against the other.
type group struct {
	scope string // "user+kernel" or "user"; "" where nothing is counted
	which []int  // indices of Usage.Hardware, in the order of fds
	fds   []int  // the first leads the group
	buf   [8 * (3 + NumHardware)]byte
}

// openGroup opens those of the events that the machine has. The error tells why
// the others are absent, those that have the same cause together, and is nil
// where there are none.
func openGroup(events [NumHardware]event, open func(attr *unix.PerfEventAttr, leader int) (int, error)) (*group, error) {
	g := &group{scope: "user+kernel"}
	var bits uint64
	var causes []error
	lacking := map[string][]string{} // the names, by the cause
	for i, e := range events {
		leader := -1
		if len(g.fds) > 0 {
			leader = g.fds[0]
		}
		attr := unix.PerfEventAttr{
			Type:        e.kind,
			Size:        unix.PERF_ATTR_SIZE_VER0,
			Config:      e.config,
			Bits:        bits,
			Read_format: unix.PERF_FORMAT_GROUP | unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
		}
		fd, err := open(&attr, leader)
		if forbidden(err) && leader < 0 && bits == 0 {
			// perf_event_paranoid is 2, as by default: the user's part is allowed.
			g.scope, bits = "user", unix.PerfBitExcludeKernel|unix.PerfBitExcludeHv
			attr.Bits = bits
			fd, err = open(&attr, leader)
		}
		if err == nil {
			g.which, g.fds = append(g.which, i), append(g.fds, fd)
			continue
		}
		err = explain(err)
		if lacking[err.Error()] == nil {
			causes = append(causes, err)
		}
		lacking[err.Error()] = append(lacking[err.Error()], HardwareNames[i])
	}
	if len(g.fds) == 0 {
		g.scope = ""
	}
	var absent error
	for _, cause := range causes {
		err := fmt.Errorf("%s: %w", strings.Join(lacking[cause.Error()], ", "), cause)
		if absent != nil {
			err = fmt.Errorf("%w; %w", absent, err)
		}
		absent = err
	}
	return g, absent
}

func perfEventOpen(attr *unix.PerfEventAttr, leader int) (int, error) {
	return unix.PerfEventOpen(attr, unix.Gettid(), -1, leader, unix.PERF_FLAG_FD_CLOEXEC)
}

func forbidden(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// explain tells what an error of perf_event_open(2) means: that the user may not
// (it matches os.ErrPermission), that the machine lacks the event (it matches
// errors.ErrUnsupported), or else that it could not be told.
func explain(err error) error {
	switch {
	case forbidden(err):
		return fmt.Errorf("perf_event_open: %w (run as root, or lower /proc/sys/kernel/perf_event_paranoid to 2; a container must allow the call)", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOSYS):
		return unsupported("not supported by this machine")
	case errors.Is(err, unix.EINVAL):
		// The event makes no sense to this processor, or its counters are too few
		// for one more in the group.
		return unsupported("not supported by this machine beside the others")
	}
	return os.NewSyscallError("perf_event_open", err)
}

// unsupported is an error that reads as it says and matches errors.ErrUnsupported.
type unsupported string

func (e unsupported) Error() string      { return string(e) }
func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// read reads the counts so far, and how long they were to be counted and were.
func (g *group) read(u *Usage) error {
	if len(g.fds) == 0 {
		return nil
	}
	// The group's format: the number of events, the two times, then the events'
	// values (perf_event_open(2)).
	buf := g.buf[:8*(3+len(g.fds))]
	n, err := unix.Read(g.fds[0], buf)
	if err != nil {
		return fmt.Errorf("read the hardware counters: %w", err)
	}
	if n != len(buf) {
		return fmt.Errorf("read the hardware counters: %d bytes, want %d", n, len(buf))
	}
	value := func(i int) int64 { return int64(binary.NativeEndian.Uint64(buf[8*i:])) }
	u.enabled, u.running = value(1), value(2)
	for i, which := range g.which {
		u.Hardware[which], u.HasHardware[which] = value(3+i), true
	}
	return nil
}

func (g *group) close() {
	for _, fd := range g.fds {
		unix.Close(fd)
	}
	g.fds = nil
}

// ProbeHardware tells which of [HardwareNames] are counted of a thread of this
// user, and in which scope: "user+kernel", "user", or "" for none. The error, of
// one line, tells why others are not, and is nil where all are: it matches
// errors.ErrUnsupported where the machine lacks one, and os.ErrPermission where
// the user may not count it.
func ProbeHardware() (scope string, names []string, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return probe(openGroup(hardware, perfEventOpen))
}

// probe sees whether the group counts, and closes it.
func probe(g *group, absent error) (scope string, names []string, err error) {
	defer g.close()
	var begin, end, used Usage
	if err := errors.Join(g.read(&begin), g.read(&end)); err != nil {
		return "", nil, err
	}
	used.add(&begin, &end)
	for i, has := range used.HasHardware {
		if has {
			names = append(names, HardwareNames[i])
		}
	}
	if len(g.fds) > 0 && names == nil {
		return "", nil, errors.New("the processor's counters are in use by others (end other perf sessions, or write 0 to /proc/sys/kernel/nmi_watchdog)")
	}
	return g.scope, names, absent
}
