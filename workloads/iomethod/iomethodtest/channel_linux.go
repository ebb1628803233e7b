package iomethodtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"iopath/workloads/iomethod"
)

// largest is the largest piece in bytes that a channel is given.
const largest = 4 << 20

// says is what each end of a channel sends: random, and not the same, so that no
// end can take its own bytes for the other's.
var says = sync.OnceValue(func() (ends [2][]byte) {
	for i := range ends {
		ends[i] = make([]byte, 2*largest+fileSize)
		rand.NewChaCha8([32]byte{byte(i + 1)}).Read(ends[i])
	}
	return ends
})

// An end is one side of a channel.
type end struct {
	iomethod.Channel
	m            iomethod.Method
	ours, theirs []byte // what it sends, and what it is to receive
	// Called with each piece, where they are not nil.
	sending, received func()
}

// open makes a channel and attaches its other end.
func open(m iomethod.Method, dir string, block int, roundTrip bool) (ends [2]*end, err error) {
	f, err := newFile(dir, smallSize)
	if err != nil {
		return ends, err
	}
	c := iomethod.Config{Path: f.path, Target: f.path, Block: block, Socket: -1, From: -1, RoundTrip: roundTrip}
	says := says()
	for i := range ends {
		ch, err := m.Channel.New(c)
		if err != nil {
			err = fmt.Errorf("construct end %d: got %w, want nil", i, err)
			if i > 0 {
				err = errors.Join(err, ends[0].Close())
			}
			return ends, err
		}
		ends[i] = &end{Channel: ch, m: m, ours: says[i], theirs: says[1-i]}
		if i == 0 {
			c.Files = ch.Files()
		}
	}
	return ends, nil
}

// beside runs f on a thread of its own, as another process would; wait returns its
// error.
func beside(f func() error) (wait func() error) {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() {
			if r := recover(); r != nil {
				ended <- fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		ended <- f()
	}()
	return func() error { return <-ended }
}

// A script is the producer that holds what it is asked for against the plan. The
// bytes that it returned last are gone when it is asked again.
type script struct {
	plan    *iomethod.Plan
	content []byte
	pace    pacer
	bufs    [2][]byte
	asked   int // pieces
	wrong   error
}

func (s *script) produce(off int64, n int) []byte {
	i := s.asked
	s.asked++
	if s.wrong == nil {
		s.wrong = s.check(i, off, n)
	}
	if s.wrong != nil {
		return make([]byte, n)
	}
	clear(s.bufs[1-i%2])
	return s.bufs[i%2][:copy(s.bufs[i%2], s.content[off:][:n])]
}

// check says what is wrong with asking for the i-th piece so.
func (s *script) check(i int, off int64, n int) error {
	if i >= s.plan.Pieces() {
		return fmt.Errorf("got %d bytes at %d asked for, want no more than %d pieces", n, off, i)
	}
	if s.pace.awaited <= i {
		return fmt.Errorf("got piece %d asked for before it was awaited", i)
	}
	if wantOff, want := s.plan.Piece(i); off != wantOff || n != want {
		return fmt.Errorf("piece %d: got %d bytes at %d asked for, want %d at %d", i, n, off, want, wantOff)
	}
	return nil
}

// send runs a job.
func (e *end) send(p *iomethod.Plan) error {
	s := script{plan: p, content: e.ours, bufs: [2][]byte{make([]byte, p.Block), make([]byte, p.Block)}}
	produce := func(off int64, n int) []byte {
		if e.sending != nil {
			e.sending()
		}
		return s.produce(off, n)
	}
	if err := e.Send(s.pace.paced(p), produce); err != nil {
		return err
	}
	if s.wrong == nil && s.asked != p.Pieces() {
		s.wrong = fmt.Errorf("got %d pieces asked for, want %d", s.asked, p.Pieces())
	}
	return errors.Join(s.wrong, s.pace.verdict(e.m, p))
}

// receive runs a job, and says how many pieces came.
func (e *end) receive(p *iomethod.Plan) (pieces int, err error) {
	w := newWitness(e.m, p, e.theirs)
	consume := func(off int64, b []byte) {
		w.consume(off, b)
		if e.received != nil {
			e.received()
		}
	}
	if err := e.Receive(w.pace.paced(p), consume); err != nil {
		return w.seen, errors.Join(w.wrong, err)
	}
	return w.seen, errors.Join(w.verdict(), w.pace.verdict(e.m, p))
}

// trips runs a job of round trips: for each piece of the plan one that is sent and
// one that comes in, by a job each.
func (e *end) trips(p *iomethod.Plan, first bool) error {
	for i := range p.Pieces() {
		off, n := p.Piece(i)
		one := &iomethod.Plan{Start: off, Length: int64(n), Block: p.Block}
		for _, sends := range []bool{first, !first} {
			var err error
			if sends {
				err = e.send(one)
			} else {
				_, err = e.receive(one)
			}
			if err != nil {
				return fmt.Errorf("round trip %d: %w", i, err)
			}
		}
	}
	return nil
}

// An exchange is jobs of a channel, and how its ends go about them.
type exchange struct {
	plans    []*iomethod.Plan
	from     int  // the end that sends: 0 is the one that made the channel
	trips    bool // each piece is answered before the next is sent
	signals  bool
	slowSend time.Duration // before each piece
	slowTake time.Duration // after each piece
}

// run has one end do the jobs beside the other. Whichever ends early lets go of
// the other by closing.
func (x exchange) run(m iomethod.Method, dir string) error {
	block := 1
	for _, p := range x.plans {
		block = max(block, p.Block)
	}
	ends, err := open(m, dir, block, x.trips)
	if err != nil {
		return err
	}
	sender, receiver := ends[x.from], ends[1-x.from]
	sender.sending = func() { time.Sleep(x.slowSend) }
	receiver.received = func() { time.Sleep(x.slowTake) }
	wait := beside(func() error { return x.life(sender, true) })
	took := x.life(receiver, false)
	sent := wait()
	switch {
	case took != nil:
		// What is wrong here may be the consequence, but says what arrived.
		return fmt.Errorf("receiver: %v; sender: %v", took, sent)
	case sent != nil:
		return fmt.Errorf("sender: %v", sent)
	}
	return nil
}

// life is all jobs of one end, and its end.
func (x exchange) life(e *end, sends bool) (err error) {
	if x.signals {
		stop, err := interrupt()
		if err != nil {
			return err
		}
		defer stop()
	}
	defer func() {
		if e := e.Close(); err == nil && e != nil {
			err = fmt.Errorf("got Close = %w, want nil", e)
		}
	}()
	for i, p := range x.plans {
		switch {
		case x.trips:
			err = e.trips(p, sends)
		case sends:
			err = e.send(p)
		default:
			_, err = e.receive(p)
		}
		if err != nil {
			return fmt.Errorf("job %d: got %w, want nil", i, err)
		}
	}
	if sends {
		return nil
	}
	return e.nothingLeft()
}

// nothingLeft checks that nothing comes after the jobs, and that the other end is
// seen to be gone.
func (e *end) nothingLeft() error {
	one := &iomethod.Plan{Length: 1, Block: 1}
	surplus := 0
	if err := e.Receive(one, func(_ int64, b []byte) { surplus += len(b) }); !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("after the other end's Close: got %d bytes and error %v, want none and one that matches io.ErrUnexpectedEOF", surplus, err)
	}
	if surplus > 0 {
		return fmt.Errorf("after the other end's Close: got %d bytes, want none", surplus)
	}
	return nil
}

// channelStretches are those that a channel must pass, which knows ascending plans
// alone, and some in pieces that are large, or come to lie anywhere in a buffer.
func channelStretches() []stretch {
	ascending := slices.DeleteFunc(stretches(), func(s stretch) bool {
		return slices.ContainsFunc(s.plans, func(p *iomethod.Plan) bool { return !slices.IsSorted(p.Order) })
	})
	type plans = []*iomethod.Plan
	all := int64(len(says()[0]))
	return append(ascending,
		stretch{"pieces of 1 MiB", all, plans{{Length: all, Block: 1 << 20}}},
		stretch{"pieces of 4 MiB", all, plans{{Length: all, Block: largest}}},
		stretch{"pieces of 4097 bytes", all, plans{{Start: 1, Length: all - 1, Block: 4097}}},
		stretch{"pieces of 65535 bytes, then of 65537", all, plans{{Length: all / 2, Block: 65535}, {Length: all / 2, Block: 65537}}},
		stretch{"pieces of 3 bytes amid those of 1 MiB", all, plans{{Length: 3 << 20, Block: 1 << 20}, {Length: 10, Block: 3}, {Length: 3 << 20, Block: 1 << 20}}},
	)
}

func channelCases(m iomethod.Method) []Case {
	var cases []Case
	add := func(name string, run func(ctx context.Context, dir string) error) {
		cases = append(cases, Case{"channel/" + name, run})
	}
	for from, direction := range []string{"out", "back"} {
		exchanged := func(name string, x exchange) {
			x.from = from
			add(direction+"/"+name, func(_ context.Context, dir string) error {
				return mandatory(name, x.run(m, dir))
			})
		}
		for _, s := range channelStretches() {
			exchanged(s.name, exchange{plans: s.plans})
		}
		whole := func(size int64, block int) []*iomethod.Plan {
			return []*iomethod.Plan{{Length: size, Block: block}}
		}
		exchanged("slow sender", exchange{plans: whole(1<<20, 32<<10), slowSend: time.Millisecond})
		exchanged("slow receiver", exchange{plans: whole(3<<20, 64<<10), slowTake: time.Millisecond})
		exchanged("signals", exchange{plans: whole(2*largest, 4096), signals: true})
		exchanged("signals, slow receiver", exchange{plans: whole(3<<20, 256<<10), signals: true, slowTake: time.Millisecond})
		for _, t := range []struct {
			name string
			plan *iomethod.Plan
		}{
			{"round trips of 1 byte", &iomethod.Plan{Length: 500, Block: 1}},
			{"round trips of 4096 bytes", &iomethod.Plan{Length: 500 * 4096, Block: 4096}},
			{"round trips of 65537 bytes", &iomethod.Plan{Length: 50*65537 + 1, Block: 65537}},
			{"round trips of 1 MiB", &iomethod.Plan{Length: 5 << 20, Block: 1 << 20}},
		} {
			exchanged(t.name, exchange{plans: []*iomethod.Plan{t.plan}, trips: true})
		}
		exchanged("round trips with signals", exchange{plans: whole(200*4096, 4096), trips: true, signals: true})

		for _, d := range departures {
			add(direction+"/"+d.name, func(_ context.Context, dir string) error {
				ends, err := open(m, dir, 4096, false)
				if err != nil {
					return err
				}
				return d.run(ends[from], ends[1-from])
			})
		}
	}
	add("descriptors and mappings", func(_ context.Context, dir string) error {
		// In the directory are the files that have no name.
		return released(file{path: dir}, func() error {
			before, err := sharedMappings()
			if err != nil {
				return err
			}
			if err := (exchange{plans: []*iomethod.Plan{{Length: fileSize, Block: 4096}}}).run(m, dir); err != nil {
				return err
			}
			after, err := sharedMappings()
			if err == nil && after != before {
				err = fmt.Errorf("after Close: got %d shared mappings, want %d", after, before)
			}
			return err
		})
	})
	add("attached by nobody", func(_ context.Context, dir string) error {
		return released(file{path: dir}, func() error {
			ch, err := m.Channel.New(iomethod.Config{Target: dir + "/file", Block: 4096, Socket: -1, From: -1})
			if err != nil {
				return err
			}
			return ch.Close()
		})
	})
	add("attached by too few files", func(_ context.Context, dir string) error {
		ch, err := m.Channel.New(iomethod.Config{Target: dir + "/file", Block: 4096, Files: []*os.File{}, Socket: -1, From: -1})
		if err == nil {
			return errors.Join(errors.New("got no error, want one from New"), ch.Close())
		}
		return nil
	})
	add("allocations", func(_ context.Context, dir string) error { return channelAllocations(m, dir) })
	return cases
}

// channelAllocations counts those of a round trip on one thread: there is but one P
// meanwhile, and so a job is one that the channel takes whole.
func channelAllocations(m iomethod.Method, dir string) (err error) {
	ends, err := open(m, dir, 4096, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ends[0].Close(), ends[1].Close()) }()
	plan := &iomethod.Plan{Length: 16 << 10, Block: 4096}
	says := says()
	produce := func(off int64, n int) []byte { return says[0][off:][:n] }
	var bytes int
	consume := func(_ int64, b []byte) { bytes += len(b) }
	return allocations(m, func() error {
		for from := range ends {
			if err := ends[from].Send(plan, produce); err != nil {
				return err
			}
			if err := ends[1-from].Receive(plan, consume); err != nil {
				return err
			}
		}
		return nil
	})
}

// departures are what goes wrong on the way: one end stays, the other goes.
var departures = []struct {
	name string
	run  func(stays, goes *end) error
}{
	{"sends to one that is gone", func(stays, goes *end) error {
		return errors.Join(goes.Close(), stays.sendsInVain(), stays.Close())
	}},
	{"receives from one that is gone", func(stays, goes *end) error {
		return errors.Join(goes.Close(), stays.nothingLeft(), stays.Close())
	}},
	{"sends to one that goes", func(stays, goes *end) error {
		wait := beside(func() error {
			_, err := goes.receive(&iomethod.Plan{Length: 4096, Block: 4096})
			time.Sleep(leave)
			return errors.Join(err, goes.Close())
		})
		return errors.Join(stays.sendsInVain(), wait(), stays.Close())
	}},
	{"receives from one that goes", func(stays, goes *end) error {
		const pieces = 3
		wait := beside(func() error {
			err := goes.send(&iomethod.Plan{Length: pieces * 4096, Block: 4096})
			time.Sleep(leave)
			return errors.Join(err, goes.Close())
		})
		got, err := stays.receive(&iomethod.Plan{Length: fileSize, Block: 4096})
		if got != pieces || !errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("got %d pieces and error %v, want %d and one that matches io.ErrUnexpectedEOF", got, err, pieces)
		} else {
			err = nil
		}
		return errors.Join(err, wait(), stays.Close())
	}},
}

// leave is how long an end waits before it goes: the other sleeps by then.
const leave = 30 * time.Millisecond

// sendsInVain checks that an end cannot send for ever when the other is gone. Some
// bytes may find room.
func (e *end) sendsInVain() error {
	const enough = 32 << 20
	plan := &iomethod.Plan{Length: fileSize, Block: 4096}
	produce := func(off int64, n int) []byte { return e.ours[off:][:n] }
	for range enough / fileSize {
		err := e.Send(plan, produce)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("got error %v, want EPIPE or ECONNRESET", err)
		}
	}
	return fmt.Errorf("got %d bytes sent to an end that is gone, want EPIPE or ECONNRESET", enough)
}

// sharedMappings returns how many of the process's mappings are shared.
func sharedMappings() (n int, err error) {
	maps, err := os.ReadFile("/proc/self/maps")
	for line := range bytes.Lines(maps) {
		if fields := strings.Fields(string(line)); strings.HasSuffix(fields[1], "s") {
			n++
		}
	}
	return n, err
}
