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
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/workloads"
)

// env holds "CPU,consumer" for a process that is to be a receiver.
const env = "IOPATH_RECEIVER"

func init() {
	v, ok := os.LookupEnv(env)
	if !ok {
		return
	}
	if err := receiver(v); err != nil {
		fmt.Fprintf(os.Stderr, "receiver: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// The receiver's descriptors, after the standard three.
const (
	dataFD    = 3
	controlFD = 4
)

// The messages on the control socket are numbers of eight bytes. What begins a
// job is the bytes that it has; a report is bytes and sum, then CPU, user and
// system time in nanoseconds.
const (
	beginSize  = 8
	reportSize = 5 * 8
)

// receiver is the child process: for each message on the control socket it
// receives one job and reports. It ends when the control socket is closed.
func receiver(spec string) error {
	var cpu int
	var consumer string
	if _, err := fmt.Sscanf(spec, "%d,%s", &cpu, &consumer); err != nil {
		return fmt.Errorf("%s=%q: %w", env, spec, err)
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if cpu >= 0 {
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin to CPU %d: %w", cpu, err)
		}
	}
	c, err := workloads.NewConsumer(consumer, Block)
	if err != nil {
		return err
	}
	buf := make([]byte, Block)
	var report [reportSize]byte
	for {
		if n, err := retry(func() (int, error) { return unix.Read(controlFD, report[:beginSize]) }); err != nil || n == 0 {
			return err
		}
		job := int64(binary.LittleEndian.Uint64(report[:]))
		began := threadTimes()
		c.Reset()
		if err := receive(c, buf, job); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(report[0:], uint64(c.Bytes))
		binary.LittleEndian.PutUint64(report[8:], c.Sum)
		for i, end := range threadTimes() {
			binary.LittleEndian.PutUint64(report[16+8*i:], uint64(end-began[i]))
		}
		if _, err := retry(func() (int, error) { return unix.Write(controlFD, report[:]) }); err != nil {
			return err
		}
	}
}

// receive takes in one job, or less where the sender goes away.
func receive(c *workloads.Consumer, buf []byte, job int64) error {
	for off := int64(0); off < job; {
		b := buf[:min(int64(len(buf)), job-off)]
		filled := 0
		for filled < len(b) {
			rest := b[filled:]
			n, _, errno := unix.RawSyscall(unix.SYS_READ, dataFD, uintptr(unsafe.Pointer(&rest[0])), uintptr(len(rest)))
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 {
				return os.NewSyscallError("read", errno)
			}
			if n == 0 {
				c.Consume(off, b[:filled])
				return nil
			}
			filled += int(n)
		}
		c.Consume(off, b)
		off += int64(filled)
	}
	return nil
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

// A Receiver is a child process at the other end of a socket. It is used by one
// goroutine at a time.
type Receiver struct {
	cmd     *exec.Cmd
	data    *os.File
	control *os.File
	buf     [reportSize]byte
}

// Start starts a receiver that feeds that consumer (see workloads.Consumers), and
// is pinned to that CPU, or not pinned where it is negative.
func Start(transport, consumer string, cpu int) (*Receiver, error) {
	ours, theirs, err := Pair(transport)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		ours.Close()
		return nil, os.NewSyscallError("socketpair", err)
	}
	control, theirControl := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirControl.Close()
	limit := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		ours.Close()
		control.Close()
		return nil, os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}

	self, err := os.Executable()
	if err != nil {
		ours.Close()
		control.Close()
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%s", env, cpu, consumer))
	cmd.ExtraFiles = []*os.File{theirs, theirControl} // dataFD, controlFD
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		ours.Close()
		control.Close()
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	return &Receiver{cmd: cmd, data: ours, control: control}, nil
}

// Socket is this side's end of the socket.
func (r *Receiver) Socket() int { return int(r.data.Fd()) }

// Begin tells the receiver that a job of that many bytes begins.
func (r *Receiver) Begin(job int64) error {
	binary.LittleEndian.PutUint64(r.buf[:], uint64(job))
	_, err := retry(func() (int, error) { return unix.Write(int(r.control.Fd()), r.buf[:beginSize]) })
	if err != nil {
		return fmt.Errorf("begin a job at the receiver: %w", err)
	}
	return nil
}

// patience is how long a receiver may take for what the kernel holds of a job
// when the sender has returned: some MiB.
const patience = 5 * time.Second

// Finish waits until the receiver has the whole job, and returns its report. What
// has not arrived by then is not waited for any longer than patience: the report
// is of fewer bytes, and the socket of no more use.
func (r *Receiver) Finish() (Report, error) {
	n, err := retry(func() (int, error) { return unix.Read(int(r.control.Fd()), r.buf[:]) })
	if errors.Is(err, unix.EAGAIN) {
		if err := unix.Shutdown(r.Socket(), unix.SHUT_WR); err != nil {
			return Report{}, fmt.Errorf("wait for the receiver: %w", os.NewSyscallError("shutdown", err))
		}
		n, err = retry(func() (int, error) { return unix.Read(int(r.control.Fd()), r.buf[:]) })
	}
	if err == nil && n < reportSize {
		err = errors.New("it ended early")
	}
	if err != nil {
		return Report{}, fmt.Errorf("wait for the receiver: %w", err)
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(r.buf[8*i:]) }
	return Report{
		Digest:    workloads.Digest{Bytes: int64(number(0)), Sum: number(1)},
		CPU:       time.Duration(number(2)),
		UserCPU:   time.Duration(number(3)),
		SystemCPU: time.Duration(number(4)),
	}, nil
}

// Close ends the receiver and waits for it. It reports how the receiver ended
// where that was not well.
func (r *Receiver) Close() error {
	r.data.Close()
	r.control.Close()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	return nil
}

// Flush makes the kernel let go of packets that have been received: it puts off
// freeing them to the next packet that the CPU of their sender handles
// (net.core.skb_defer_max), and until then the pages of the file that sendfile
// or splice put into them cannot be evicted. Flush sends a datagram from here to
// here.
func Flush() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	self, err := unix.Getsockname(s)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	return os.NewSyscallError("sendto", unix.Sendto(s, []byte{0}, 0, self))
}

func block(f *os.File) error {
	return os.NewSyscallError("fcntl", unix.SetNonblock(int(f.Fd()), false))
}

func unixPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}
