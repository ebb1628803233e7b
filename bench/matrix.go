package bench

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/alecthomas/units"

	"iopath/internal/device"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// A workload is one question, and its part of the matrix.
type workload struct {
	name      string // as -workloads has it
	benchmark string
	role      string // that its methods fill
	cells     func(*picker, Cell)
	task      func(*Session, Cell) (*task, error)
}

// The matrix: what is measured. Each task has a file of its own.
var matrix = []workload{
	{"read", "Read", "reader", (*picker).read, (*Session).readTask},
	{"write", "Write", "writer", (*picker).write, (*Session).writeTask},
	{"send", "Send", "sender", (*picker).send, (*Session).sendTask},
	{"receive", "Receive", "receiver", (*picker).overSockets, (*Session).receiveTask},
	{"relay", "Relay", "relay", (*picker).overSockets, (*Session).relayTask},
	{"copy", "Copy", "copier", (*picker).copies, (*Session).copyTask},
	{"channel", "Channel", "channel", (*picker).channel, (*Session).channelTask},
	{"map", "Map", "mapper", (*picker).maps, (*Session).mapTask},
	{"open", "Open", "reader", (*picker).open, (*Session).openTask},
	{"parallel", "Parallel", "reader", (*picker).parallel, (*Session).parallelTask},
}

// workloadOf returns the workload of that benchmark.
func workloadOf(benchmark string) (workload, bool) {
	i := slices.IndexFunc(matrix, func(w workload) bool { return w.benchmark == benchmark })
	if i < 0 {
		return workload{}, false
	}
	return matrix[i], true
}

// The sizes in bytes where the user names none: of a job that writes or is moved
// between processes, and of a Map's memory.
const movedSize = 16 << 20

var mapSizes = []int64{64 << 10, 1 << 20, 16 << 20}

// perBlock is how many blocks a job has at most that waits for the device after
// each of them.
const perBlock = 64

// roundTrips is how many pieces a job of round trips has, at most.
const roundTrips = 1024

// Touches names what is done to each page of a Map.
var Touches = []string{"read", "write"}

// Exchanges names what two processes do over a channel: one sends all the bytes, or
// each piece is answered by one.
var Exchanges = []string{"stream", "roundtrip"}

// Workers names what the workers of a Parallel are: goroutines, which share as many
// Ps as there are CPUs, or OS threads with a P each.
var Workers = []string{"goroutines", "threads"}

// A Skip is a set of cells that this machine cannot measure, and why.
type Skip struct{ What, Reason string }

func (s Skip) String() string { return s.What + ": " + s.Reason }

// A picker picks the cells of a workload.
type picker struct {
	s      *Session
	o      Options // what is left open is filled in
	role   string  // of the workload's methods
	task   func(*Session, Cell) (*task, error)
	caches []string // that can be proven
	usable map[string]iomethod.Method
	// refused is what was tried: the error of each, or nil.
	refused map[Cell]error
	cells   []Cell
	skips   []Skip
}

// Cells returns the matrix: what there is to measure here, and what there is
// not and why.
func (s *Session) Cells() ([]Cell, []Skip) {
	if s.cells == nil {
		s.cells, s.skips = s.pick()
	}
	return slices.Clone(s.cells), slices.Clone(s.skips)
}

func (s *Session) pick() ([]Cell, []Skip) {
	x := &picker{s: s, usable: map[string]iomethod.Method{}, refused: map[Cell]error{}}
	lacks := s.lacks()
	tried := map[string]bool{}
	for _, name := range s.opt.Workloads {
		for _, name := range s.of(name).Methods {
			if tried[name] {
				continue
			}
			tried[name] = true
			if err := lacks[name]; err != nil {
				x.skip("/method="+name, err)
				continue
			}
			x.usable[name], _ = iomethod.Lookup(name)
		}
	}
	for _, cache := range s.opt.Caches {
		if err := s.provable(cache); err != nil {
			x.skip("/cache="+cache, err)
			continue
		}
		x.caches = append(x.caches, cache)
	}
	for _, w := range matrix {
		if slices.Contains(s.opt.Workloads, w.name) {
			x.o, x.role, x.task = s.of(w.name), w.role, w.task
			w.cells(x, Cell{Benchmark: w.benchmark})
		}
	}
	return s.withBounds(x.cells, x.skips)
}

func (x *picker) skip(what string, why error) {
	if skip := (Skip{what, why.Error()}); !slices.Contains(x.skips, skip) {
		x.skips = append(x.skips, skip)
	}
}

// methods adds the cell once for each method that it has a meaning with.
func (x *picker) methods(c Cell) {
	for _, name := range x.o.Methods {
		m, ok := x.usable[name]
		switch {
		case !ok || !m.Fills(x.role):
		case m.Cache != "" && c.Cache != "" && m.Cache != c.Cache:
		case m.Idle && c.Workers != 0: // it has nothing to share out
		case c.As == "goroutines" && hasHelpers(m.Calls(x.role)):
			x.skip("Parallel/as=goroutines/method="+name, errors.New("a ring is one OS thread's, and a goroutine changes its thread"))
		case m.Idle && c.Cache != "" && c.Cache != x.caches[0]:
			// What moves nothing has no cache state: once is enough.
		default:
			c.Method = name
			if what, err := x.refusal(c); err != nil {
				x.skip(what, err)
				continue
			}
			x.cells = append(x.cells, c)
		}
	}
}

// refusal tries what a method may refuse as a whole: a policy, an order of writing, a
// transport, to write memory. It names what was refused, and why. Any other error is
// the cell's own, and found again when it runs.
func (x *picker) refusal(c Cell) (what string, _ error) {
	if x.role == "reader" {
		return "", nil
	}
	key := Cell{Benchmark: c.Benchmark, Pattern: c.Pattern, Transport: c.Transport, Sync: c.Sync, Touch: c.Touch, Method: c.Method}
	err, tried := x.refused[key]
	if !tried {
		try := c
		if c.Block != 0 {
			try.Size = int64(c.Block)
		}
		ended := make(chan error)
		go func() {
			runtime.LockOSThread() // a scratch file's path is the thread's
			defer runtime.UnlockOSThread()
			t, err := x.task(x.s, try)
			if err == nil && c.Benchmark == "Write" {
				err = t.once()
			}
			if t != nil {
				t.close()
			}
			ended <- err
		}()
		err = <-ended
		x.refused[key] = err
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return key.Name(), err
}

// blocks calls add for each block that is not longer than the cell's size.
func (x *picker) blocks(c Cell, add func(Cell)) {
	for _, block := range x.o.Blocks {
		if c.Block = block; int64(block) > c.Size {
			what := fmt.Sprintf("%s/block=%s", c.Benchmark, units.Base2Bytes(block))
			if c.Cache != "" {
				what = fmt.Sprintf("/cache=%s/block=%s", c.Cache, units.Base2Bytes(block))
			}
			x.skip(what, fmt.Errorf("the file has only %s", units.Base2Bytes(c.Size)))
			continue
		}
		add(c)
	}
}

// files calls add for each file that there is to read, by its cache state, and each
// block of it.
func (x *picker) files(c Cell, add func(Cell)) {
	for _, cache := range x.o.Caches {
		if !slices.Contains(x.caches, cache) {
			continue
		}
		c.Cache, c.Size = cache, x.s.files[cache].size
		x.blocks(c, add)
	}
}

// moved is how many bytes a job has that reads no file.
func (x *picker) moved() int64 {
	if x.s.opt.Size != 0 {
		return x.s.opt.Size
	}
	return movedSize
}

// transports calls add for each socket that there is here.
func (x *picker) transports(c Cell, add func(Cell)) {
	for _, transport := range x.o.Transports {
		if err := peer.Available(transport); err != nil {
			x.skip("/transport="+transport, err)
			continue
		}
		c.Transport = transport
		add(c)
	}
}

func (x *picker) read(c Cell) {
	x.files(c, func(c Cell) {
		for _, pattern := range x.o.Patterns {
			if pattern == appending {
				continue
			}
			if pattern == "sparse" && c.Cache == "warm" {
				if slices.Contains(x.s.given.Patterns, "sparse") {
					x.skip("/pattern=sparse/cache=warm", errors.New("so small a part of a warm file stays in the CPU's cache from job to job (take -patterns rand)"))
				}
				continue
			}
			for _, consume := range x.o.Consumers {
				if slices.Contains(workloads.Consumers, consume) {
					c.Pattern, c.Consume = pattern, consume
					x.methods(c)
				}
			}
		}
	})
}

func (x *picker) write(c Cell) {
	c.Size = x.moved()
	x.blocks(c, func(c Cell) {
		for _, pattern := range x.o.Patterns {
			for _, sync := range x.o.Syncs {
				c := c
				c.Pattern, c.Sync = pattern, sync
				if sync == string(iomethod.SyncBlock) || sync == string(iomethod.SyncDsync) {
					c.Size = min(c.Size, perBlock*int64(c.Block))
				}
				x.methods(c)
			}
		}
	})
}

func (x *picker) send(c Cell) {
	x.files(c, func(c Cell) {
		x.transports(c, func(c Cell) {
			for _, consume := range x.o.Consumers {
				if consume == "copy" {
					continue // the socket makes that copy already
				}
				if err := peer.Takes(c.Transport, consume); err != nil {
					x.skip("/transport="+c.Transport+"/consume="+consume, err)
					continue
				}
				c.Consume = consume
				x.methods(c)
			}
		})
	})
}

// overSockets picks what has a process at the other end of its sockets, and reads
// no file.
func (x *picker) overSockets(c Cell) {
	c.Size = x.moved()
	x.blocks(c, func(c Cell) { x.transports(c, x.methods) })
}

func (x *picker) copies(c Cell) { x.files(c, x.methods) }

func (x *picker) channel(c Cell) {
	c.Size = x.moved()
	x.blocks(c, func(c Cell) {
		for _, c.What = range Exchanges {
			c := c
			if c.What == "roundtrip" {
				c.Size = min(c.Size, roundTrips*int64(c.Block))
			}
			x.methods(c)
		}
	})
}

func (x *picker) maps(c Cell) {
	sizes := mapSizes
	if x.s.given.Size != 0 {
		sizes = []int64{x.s.given.Size}
	}
	for _, c.Size = range sizes {
		if limit := x.s.mapped().size; c.Size > limit {
			x.skip("Map/size="+units.Base2Bytes(c.Size).String(), fmt.Errorf("the file has only %s", units.Base2Bytes(limit)))
			continue
		}
		for _, c.Touch = range Touches {
			x.methods(c)
		}
	}
}

func (x *picker) parallel(c Cell) {
	x.files(c, func(c Cell) {
		for _, pattern := range x.o.Patterns {
			if pattern == appending || pattern == "sparse" && c.Cache == "warm" {
				continue
			}
			for _, c.Workers = range x.o.Threads {
				for _, c.As = range Workers {
					c.Pattern, c.Consume = pattern, usualConsumer
					x.methods(c)
				}
			}
		}
	})
}

// DefaultThreads are the numbers of workers where the user names none: 1, 2, 4 and
// so on to twice the CPUs.
func DefaultThreads() (n []int) {
	for k := 1; k < 2*runtime.NumCPU(); k *= 2 {
		n = append(n, k)
	}
	return append(n, 2*runtime.NumCPU())
}

// withBounds adds what the cells are held against: a ceiling for each, each once,
// and the floors.
func (s *Session) withBounds(cells []Cell, skips []Skip) ([]Cell, []Skip) {
	if len(cells) == 0 {
		return cells, skips
	}
	var bounds []Cell
	refused := map[string]bool{}
	for _, c := range cells {
		if c.Benchmark != "Read" && c.Benchmark != "Send" {
			continue
		}
		bound := Cell{Benchmark: "Ceiling", Pattern: c.Pattern, Transport: c.Transport, Consume: c.Consume, Size: c.Size, Block: c.Block}
		if c.Cache == "cold" {
			bound = Cell{Benchmark: "Device", Pattern: "rand", Size: c.Size, Block: c.Block}
			if c.Pattern == "seq" || c.Transport != "" {
				// Whatever the block, the kernel reads ahead in large ones.
				bound.Pattern, bound.Block = "seq", int(min(deviceBlock, c.Size))
			}
			bound.Depth = deviceDepth(bound.Block)
		}
		if slices.Contains(bounds, bound) || refused[bound.Name()] {
			continue
		}
		if err := s.canMeasure(bound); err != nil {
			refused[bound.Name()] = true
			skips = append(skips, Skip{bound.Name(), err.Error()})
			continue
		}
		bounds = append(bounds, bound)
	}
	for _, what := range Floors {
		bounds = append(bounds, Cell{Benchmark: "Floor", What: what})
	}
	return append(cells, bounds...), skips
}

// canMeasure reports whether the device can be read past the page cache, and that
// be proven.
func (s *Session) canMeasure(bound Cell) error {
	if bound.Benchmark != "Device" {
		return nil
	}
	d := s.files["cold"]
	if d.untold != nil {
		return d.untold
	}
	r, err := device.Open(d.path, bound.Block, bound.Depth)
	if err != nil {
		return err
	}
	return r.Close()
}
