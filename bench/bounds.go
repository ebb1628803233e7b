package bench

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"iopath/internal/counters"
	"iopath/internal/device"
	"iopath/internal/peer"
	"iopath/workloads"
)

// This file answers: what can no method exceed, and what can none do without?
//
// Ceilings are the consumer over memory, the socket fed from one buffer, and the
// device read past the page cache. Floors are what one of the steps costs that
// every method is made of.

// ceilingTask is what bounds a warm read, or a warm send where it names a
// transport.
func (s *Session) ceilingTask(c Cell) (*task, error) {
	if c.Transport != "" {
		return s.socketTask(c)
	}
	return s.memoryTask(c)
}

// memoryTask walks the consumer over as many bytes that no file is behind, all of
// them present.
func (s *Session) memoryTask(c Cell) (*task, error) {
	plan, err := workloads.NewPlan(c.Pattern, c.Size, c.Block)
	if err != nil {
		return nil, err
	}
	consumer, err := workloads.NewConsumer(c.Consume, c.Block)
	if err != nil {
		return nil, err
	}
	d := s.files["warm"]
	want, err := s.reference(d, c.Consume, c.Pattern, plan)
	if err != nil {
		return nil, err
	}
	mem, free, err := anonymous(c.Size)
	if err != nil {
		return nil, err
	}
	// From the file: that is faster than to make it again, and it is verified.
	if n, err := d.f.ReadAt(mem, 0); int64(n) < c.Size {
		free()
		return nil, err
	}
	return &task{
		Job: counters.Job{
			Begin: func() error { consumer.Reset(); return nil },
			Move: func() error {
				for i := range plan.Pieces() {
					off, n := plan.Piece(i)
					consumer.Consume(off, mem[off:][:n])
				}
				return nil
			},
			End: func() error { return workloads.Verify(consumer.Digest, want) },
		},
		bytes: plan.Bytes(),
		close: free,
	}, nil
}

// socketTask writes one cached block to the socket again and again: what is left
// of a send where reading the file costs nothing. The receiver verifies it.
func (s *Session) socketTask(c Cell) (*task, error) {
	buf := make([]byte, c.Block)
	if n, err := s.files["warm"].content.ReadAt(buf, 0); n < len(buf) && err != nil {
		return nil, err
	}
	want := workloads.Digest{Bytes: c.Size}
	if peer.Sums(c.Consume) {
		var err error
		if want, err = workloads.Reference(c.Consume, workloads.Sequential(c.Size, peer.Block), repeated(buf)); err != nil {
			return nil, err
		}
	}
	receiver, err := s.receiver(c)
	if err != nil {
		return nil, err
	}
	plan := workloads.Sequential(c.Size, c.Block)
	socket := receiver.Socket()
	t := &task{
		bytes:    c.Size,
		declared: []string{"write"},
		close:    receiver.Close,
	}
	t.Job = t.received(receiver, func() error { return receiver.Begin(c.Size) }, func() error {
		for i := range plan.Pieces() {
			_, n := plan.Piece(i)
			if err := rawWrite(socket, buf[:n]); err != nil {
				return err
			}
		}
		return nil
	}, func() workloads.Digest { return want })
	return t, nil
}

// repeated is the content that one block makes, over and over.
type repeated []byte

func (r repeated) ReadAt(b []byte, off int64) (int, error) {
	for n := 0; n < len(b); {
		n += copy(b[n:], r[(off+int64(n))%int64(len(r)):])
	}
	return len(b), nil
}

func rawWrite(fd int, b []byte) error {
	for len(b) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			b = b[n:]
		case syscall.EINTR:
		default:
			return fmt.Errorf("write: %w", errno)
		}
	}
	return nil
}

const (
	// deviceBlock is how many bytes one request of a sequential Device cell has.
	deviceBlock = 1 << 20
	// maxDepth is how many requests are in flight, where they fit into
	// deviceMemory bytes.
	maxDepth     = 32
	deviceMemory = 64 << 20
)

func deviceDepth(block int) int { return max(1, min(maxDepth, deviceMemory/block)) }

// deviceTask is what bounds a cold cell: the file read with O_DIRECT, at depth.
// It is touched, not summed, so that the CPU is not what it waits for.
func (s *Session) deviceTask(c Cell) (*task, error) {
	d := s.files["cold"]
	plan, err := workloads.NewPlan(c.Pattern, c.Size, c.Block)
	if err != nil {
		return nil, err
	}
	consumer, err := workloads.NewConsumer("touch", c.Block)
	if err != nil {
		return nil, err
	}
	want, err := s.reference(d, "touch", c.Pattern, plan)
	if err != nil {
		return nil, err
	}
	r, err := device.Open(d.path, c.Block, c.Depth)
	if err != nil {
		return nil, err
	}
	return &task{
		Job: counters.Job{
			Begin: func() error { consumer.Reset(); return nil },
			Move:  func() error { return r.Read(plan, consumer.Consume) },
			End:   func() error { return workloads.Verify(consumer.Digest, want) },
		},
		bytes:     plan.Bytes(),
		declared:  []string{"io_submit"},
		idiomatic: true, // it waits by way of Go's scheduler
		close:     r.Close,
	}, nil
}

// ErrTooFast is matched by the error of a cold cell that was faster than the
// device: its bytes came from somewhere else.
var ErrTooFast = errors.New("faster than the device")

const (
	// fasterBy is how much faster than the device a cold cell may seem: on a shared
	// disk two stretches of a second differ by as much (1995 MB/s were seen, and
	// 1792 right afterwards in the best of five). A cache is many times as fast.
	fasterBy = 1.25
	// deviceBytes is how many bytes tell its speed, at least, deviceTries how often
	// it is measured before a cell is refused, and devicePause for how long the disk
	// is left alone before another try.
	deviceBytes = 128 << 20
	deviceTries = 8
	devicePause = 100 * time.Millisecond
	// deviceLeast is how many bytes a job has, at least, that is held against it: a
	// smaller one is a window or two of readahead, which the disk may answer in a
	// burst that it cannot keep up.
	deviceLeast = 16 << 20
)

// slowEnough holds the throughput of a cold cell, in B/s, whose jobs have that many
// bytes, against what the device itself reaches, in order and in large blocks.
func (s *Session) slowEnough(job int64, rate float64) error {
	if job < deviceLeast || s.files["cold"].untold != nil {
		return nil
	}
	for try := range deviceTries {
		if rate <= s.deviceRate*fasterBy {
			return nil
		}
		if try > 0 {
			time.Sleep(devicePause)
		}
		// Not known yet, or of a slower moment.
		again, err := s.measureDevice()
		if errors.Is(err, errors.ErrUnsupported) {
			return nil // the run says that there is no Device cell, and why
		}
		if err != nil {
			return fmt.Errorf("measure the device: %w", err)
		}
		s.deviceRate = max(s.deviceRate, again)
	}
	if rate <= s.deviceRate*fasterBy {
		return nil
	}
	return fmt.Errorf("%w: %.0f MB/s, and O_DIRECT at depth reached %.0f in the best of %d tries; the bytes came from a cache (is the file on a compressed filesystem, or read by somebody else meanwhile?)",
		ErrTooFast, rate/1e6, s.deviceRate/1e6, deviceTries)
}

// measureDevice returns the throughput of the cold file past the page cache, in B/s.
func (s *Session) measureDevice() (float64, error) {
	d := s.files["cold"]
	block := int(min(deviceBlock, d.size))
	r, err := device.Open(d.path, (block+4095)&^4095, deviceDepth(block))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	plan := workloads.Sequential(d.size, (block+4095)&^4095)
	meter := counters.OpenMeter()
	defer meter.Close()
	if err := meter.Start(); err != nil {
		return 0, err
	}
	began, bytes := time.Now(), int64(0)
	for bytes < deviceBytes {
		if err := r.Read(plan, nil); err != nil {
			return 0, err
		}
		bytes += d.size
	}
	took := time.Since(began)
	if err := meter.Stop(); err != nil {
		return 0, err
	}
	return float64(bytes) / took.Seconds(), device.Served(meter.Usage, bytes)
}

// Floors names the steps whose cost is measured:
//
//   - syscall: an empty system call, getppid(2).
//   - fault: a minor page fault, which maps the zero page.
//   - clock: a reading of the clock, as the latency pass reads it.
var Floors = []string{"syscall", "fault", "clock"}

// floorSteps is how many steps a job of a Floor has.
const floorSteps = 4096

// floorTask measures one step. Unlike elsewhere, one op is one of them.
func (s *Session) floorTask(c Cell) (*task, error) {
	t := &task{steps: floorSteps, close: func() error { return nil }}
	nothing := func() error { return nil }
	t.Job = counters.Job{Begin: nothing, End: nothing}
	switch c.What {
	case "syscall":
		t.Move = func() error {
			for range floorSteps {
				syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
			}
			return nil
		}
		t.declared = []string{"getppid"}
	case "fault":
		mem, drop, err := faulting(floorSteps)
		if err != nil {
			return nil, err
		}
		t.Begin = drop
		t.Move = func() error {
			var sum byte
			for i := 0; i < len(mem); i += len(mem) / floorSteps {
				sum += mem[i]
			}
			if sum != 0 { // used, so that no load is left out
				return errors.New("untouched memory is not zero")
			}
			return nil
		}
		t.faults = floorSteps
		t.close = func() error { return unmap(mem) }
	case "clock":
		t.Move = func() error {
			began, last := time.Now(), time.Duration(0)
			for range floorSteps {
				now := time.Since(began)
				if now < last {
					return errors.New("the clock went back")
				}
				last = now
			}
			return nil
		}
	default:
		return nil, fmt.Errorf("floor %q is unknown (known: %v)", c.What, Floors)
	}
	// Only the steps themselves: beginning a job may cost more than they do.
	move := t.Move
	t.Move = func() error {
		began := time.Now()
		err := move()
		t.moving += time.Since(began)
		return err
	}
	return t, nil
}
