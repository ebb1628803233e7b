package bench

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"iopath/internal/counters"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// channelTask answers: which way from a process to another is the fastest, and what
// does it cost each side? The other process runs on another CPU, where there is one.
// A stream ends when it has all the bytes, which it verifies. A job of round trips
// is as many pieces, each answered by one of as many bytes; we verify the answers,
// and a block's time is from when it is asked for to when its answer has been
// consumed. The throughput is that of one direction.
func (s *Session) channelTask(c Cell) (_ *task, err error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	file, err := s.scratch()
	if err != nil {
		return nil, err
	}
	config := iomethod.Config{Target: file.path, Block: c.Block, RoundTrip: c.What == "roundtrip"}
	ch, err := m.Channel.New(config)
	if err != nil {
		return nil, errors.Join(err, file.close())
	}
	far, err := s.startFarEnd(ch, farEnd{Method: c.Method, Block: c.Block, CPU: s.peerCPU(), RoundTrip: config.RoundTrip})
	if err != nil {
		return nil, errors.Join(err, ch.Close(), file.close())
	}
	x, err := newExchange(ch, c.Block)
	if err != nil {
		return nil, errors.Join(err, ch.Close(), far.close(), file.close())
	}
	t := &task{
		bytes:     c.Size,
		declared:  m.Channel.Declared(config),
		sometimes: m.Channel.Sometimes,
		idiomatic: m.Idiomatic,
		whole:     m.Whole,
		plan:      workloads.Sequential(c.Size, c.Block),
		reference: func(*iomethod.Plan) (workloads.Digest, error) { return workloads.Digest{}, nil },
		peer:      new(peer.Report),
		// Our end first: where the other one waits for bytes, it ends with them.
		close: func() error { return errors.Join(ch.Close(), far.close(), file.close()) },
	}
	var answer workloads.Digest
	t.before = func() error {
		x.next()
		t.want = x.digest(t.plan, x.asks)
		if config.RoundTrip {
			answer = x.digest(t.plan, x.answers)
		}
		x.consumer.Reset()
		return nil
	}
	move := func() error { return ch.Send(t.plan, x.asks.Produce) }
	if config.RoundTrip {
		t.consume = x.consumer.Consume
		move = func() error { return x.ask(t.plan, t.consume) }
	}
	t.Job = counters.Job{
		Begin: func() error { return far.begin(t.plan.Bytes()) },
		Move:  move,
		End: func() error {
			report, err := far.finish()
			if err != nil {
				return err
			}
			t.add(report)
			return errors.Join(workloads.Verify(report.Digest, t.want), workloads.Verify(x.consumer.Digest, answer))
		},
	}
	return t, nil
}

// An exchange is what both processes know of the jobs of a channel: what is sent in
// either direction, and who gets it.
type exchange struct {
	ch       iomethod.Channel
	asks     *workloads.Source
	answers  *workloads.Source // a job ahead, so that no end can take its own bytes for the other's
	consumer *workloads.Consumer
	one      iomethod.Plan // of the piece under way
}

func newExchange(ch iomethod.Channel, block int) (*exchange, error) {
	consumer, err := workloads.NewConsumer(usualConsumer, block)
	x := &exchange{ch: ch, asks: workloads.NewSource(block), answers: workloads.NewSource(block), consumer: consumer}
	x.answers.Next()
	return x, err
}

// next goes on to the next job.
func (x *exchange) next() {
	x.asks.Next()
	x.answers.Next()
}

// digest returns what a consumer must come to over the plan's pieces of the source.
func (x *exchange) digest(p *iomethod.Plan, s *workloads.Source) workloads.Digest {
	x.consumer.Reset()
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		x.consumer.Consume(off, s.Produce(off, n))
	}
	return x.consumer.Digest
}

// ask sends each piece and takes in its answer.
func (x *exchange) ask(p *iomethod.Plan, consume iomethod.Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		x.only(p, i)
		if err := x.ch.Send(&x.one, x.asks.Produce); err != nil {
			return err
		}
		if err := x.ch.Receive(&x.one, consume); err != nil {
			return err
		}
	}
	return nil
}

// answer takes in each piece and answers it.
func (x *exchange) answer(p *iomethod.Plan) error {
	for i := range p.Pieces() {
		x.only(p, i)
		if err := x.ch.Receive(&x.one, x.consumer.Consume); err != nil {
			return err
		}
		if err := x.ch.Send(&x.one, x.answers.Produce); err != nil {
			return err
		}
	}
	return nil
}

// only makes the i-th piece a plan of its own.
func (x *exchange) only(p *iomethod.Plan, i int) {
	off, n := p.Piece(i)
	x.one = iomethod.Plan{Start: off, Length: int64(n), Block: p.Block}
}

// channelEnv holds a farEnd, as JSON, for a process that is to be the other end of a
// channel: the running program, started again. It cannot be one as soon as package
// peer's children are, which is before other packages have registered methods.
const channelEnv = "IOPATH_CHANNEL"

// A farEnd is what the other process is told.
type farEnd struct {
	Method    string
	Block     int
	CPU       int
	RoundTrip bool
	Files     int // of the channel, after the control socket
}

// The descriptors of the other process, after the standard three.
const (
	farControl = 3
	farFiles   = 4
)

// The messages on the control socket are numbers of eight bytes. What begins a job
// is the bytes that it has; a report is bytes and sum, then CPU, user and system time
// in nanoseconds.
const (
	farBegin  = 8
	farReport = 5 * 8
)

// channelChild is the other end of a channel where this process was started for
// that. It ends when the control socket is closed.
func channelChild() (started bool, err error) {
	env, started := os.LookupEnv(channelEnv)
	if !started {
		return false, nil
	}
	var end farEnd
	if err := json.Unmarshal([]byte(env), &end); err != nil {
		return true, fmt.Errorf("read %s: %w", channelEnv, err)
	}
	if err := end.serve(); err != nil {
		return true, fmt.Errorf("the other end of %s: %w", end.Method, err)
	}
	return true, nil
}

func (end farEnd) serve() error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if _, err := quieten(end.CPU); err != nil {
		return err
	}
	ch, err := end.attach()
	if err != nil {
		return err
	}
	x, err := newExchange(ch, end.Block)
	if err != nil {
		return errors.Join(err, ch.Close())
	}
	return errors.Join(end.jobs(x), ch.Close())
}

// attach attaches our end of the channel.
func (end farEnd) attach() (iomethod.Channel, error) {
	m, ok := iomethod.Lookup(end.Method)
	if !ok {
		return nil, errors.New("the method is not registered (call bench.Child in the program that registers it)")
	}
	config := iomethod.Config{Block: end.Block, RoundTrip: end.RoundTrip}
	for i := range end.Files {
		// Whatever we start must not keep the channel open.
		unix.CloseOnExec(farFiles + i)
		config.Files = append(config.Files, os.NewFile(uintptr(farFiles+i), "channel"))
	}
	return m.Channel.New(config)
}

// jobs runs one job for each message.
func (end farEnd) jobs(x *exchange) error {
	meter := counters.OpenMeter()
	defer meter.Close()
	var message [farReport]byte
	for {
		n, err := patiently(func() (int, error) { return unix.Read(farControl, message[:farBegin]) })
		if err != nil || n == 0 {
			return err
		}
		meter.Usage = counters.Usage{}
		if err := meter.Start(); err != nil {
			return err
		}
		x.next()
		x.consumer.Reset()
		plan := workloads.Sequential(int64(binary.LittleEndian.Uint64(message[:])), end.Block)
		if end.RoundTrip {
			err = x.answer(plan)
		} else {
			err = x.ch.Receive(plan, x.consumer.Consume)
		}
		if err := errors.Join(err, meter.Stop()); err != nil {
			return err
		}
		for i, v := range []uint64{uint64(x.consumer.Bytes), x.consumer.Sum, uint64(meter.CPU), uint64(meter.UserCPU), uint64(meter.SystemCPU)} {
			binary.LittleEndian.PutUint64(message[8*i:], v)
		}
		if _, err := patiently(func() (int, error) { return unix.Write(farControl, message[:]) }); err != nil {
			return err
		}
	}
}

// patiently calls again what a signal cut short.
func patiently(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// A farProcess is the other process, as we see it.
type farProcess struct {
	cmd     *exec.Cmd
	control *os.File
	buf     [farReport]byte
}

// startFarEnd starts the process that attaches to the channel.
func (s *Session) startFarEnd(ch iomethod.Channel, end farEnd) (_ *farProcess, err error) {
	files := ch.Files()
	end.Files = len(files)
	// The other process has its own once it is started. Were ours kept open, neither
	// end could tell when the other is gone.
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	env, err := json.Marshal(end)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	far := &farProcess{cmd: exec.Command(self), control: os.NewFile(uintptr(pair[0]), "control")}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	limit := unix.NsecToTimeval(int64(farPatience))
	err = os.NewSyscallError("setsockopt SO_RCVTIMEO", unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err == nil {
		far.cmd.Env = append(os.Environ(), channelEnv+"="+string(env))
		far.cmd.ExtraFiles = append([]*os.File{theirs}, files...) // farControl, farFiles
		far.cmd.Stderr = os.Stderr
		err = s.unpinned(far.cmd.Start)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the other end of the channel: %w", err), far.control.Close())
	}
	return far, nil
}

// unpinned calls what starts a process that is to see all CPUs, which it would count
// by the one that the calling thread is pinned to.
func (s *Session) unpinned(start func() error) error {
	if s.jobCPU() < 0 {
		return start()
	}
	var pinned, all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &pinned); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for _, cpu := range s.cpus {
		all.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &all); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	return errors.Join(start(), os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &pinned)))
}

// farPatience is how long the other process may take for what is in the channel when
// we have sent all, and to end.
const farPatience = 5 * time.Second

// begin tells the other process that a job of that many bytes begins.
func (far *farProcess) begin(bytes int64) error {
	binary.LittleEndian.PutUint64(far.buf[:], uint64(bytes))
	_, err := patiently(func() (int, error) { return unix.Write(int(far.control.Fd()), far.buf[:farBegin]) })
	if err != nil {
		return fmt.Errorf("begin a job at the other end of the channel: %w", err)
	}
	return nil
}

// finish waits until the other process has the whole job, and returns its report.
func (far *farProcess) finish() (peer.Report, error) {
	n, err := patiently(func() (int, error) { return unix.Read(int(far.control.Fd()), far.buf[:]) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		err = fmt.Errorf("%w: it has not got all bytes within %v", workloads.ErrVerification, farPatience)
	case err == nil && n < farReport:
		err = errors.New("it ended early")
	}
	if err != nil {
		return peer.Report{}, fmt.Errorf("wait for the other end of the channel: %w", err)
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(far.buf[8*i:]) }
	return peer.Report{
		Digest:    workloads.Digest{Bytes: int64(number(0)), Sum: number(1)},
		CPU:       time.Duration(number(2)),
		UserCPU:   time.Duration(number(3)),
		SystemCPU: time.Duration(number(4)),
	}, nil
}

// close ends the other process and waits for it, and reports how it ended where that
// was not well.
func (far *farProcess) close() error {
	far.control.Close()
	defer time.AfterFunc(farPatience, func() { far.cmd.Process.Kill() }).Stop()
	if err := far.cmd.Wait(); err != nil {
		return fmt.Errorf("the other end of the channel: %w", err)
	}
	return nil
}
