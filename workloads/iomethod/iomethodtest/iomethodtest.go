// Package iomethodtest checks that methods keep the contract of package
// iomethod: every byte once, in its place, and an error wherever that cannot
// be.
//
// A package that registers methods of its own has them checked, with all the
// others, by
//
//	func TestConformance(t *testing.T) { iomethodtest.Run(t) }
//
// A [Case] returns what it found as an error, and knows no testing.T: so the
// cases can be tested themselves, on methods that are wrong on purpose.
//
// What arrives is judged here, not how it came: that a method takes the path
// it is named after is proven where its system calls are counted, in package
// bench. The cases change settings of the whole process while they run (the
// garbage collector, GOMAXPROCS), so that they cannot run in parallel.
package iomethodtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iopath/workloads/iomethod"
)

// limit is how long a case may take before it counts as hung. The slowest takes
// a second.
const limit = 20 * time.Second

// smallSize is the size in bytes of the files that a method is probed on.
const smallSize = 64 << 10

// Run checks every registered method.
func Run(t *testing.T) {
	for _, m := range iomethod.All() {
		t.Run(m.Name, func(t *testing.T) { Method(t, m) })
	}
}

// Method checks one method. It skips one that the machine lacks, and single
// cases that the method refuses by an error matching errors.ErrUnsupported,
// each with that error as the reason.
func Method(t *testing.T, m iomethod.Method) {
	small, err := newFile(t.TempDir(), smallSize)
	if err != nil {
		t.Fatal(err)
	}
	target := small.path + ".target"
	if err := os.WriteFile(target, small.content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.Available(iomethod.Config{Path: small.path, Target: target, Socket: -1, From: -1}); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatalf("probe of %s = %v, want nil or an error that matches ErrUnsupported", m.Name, err)
	}
	for _, c := range Cases(m) {
		t.Run(c.Name, func(t *testing.T) {
			if testing.Short() && c.isLong() {
				t.Skip("one of many stretches: run without -short")
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := c.Run(ctx, t.TempDir())
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A Case is one thing to check of one method.
type Case struct {
	Name string // ROLE/WHAT, or sender/TRANSPORT/WHAT
	run  func(ctx context.Context, dir string) error
}

// Cases returns what there is to check of a method, in every role it fills.
func Cases(m iomethod.Method) []Case {
	var cases []Case
	if m.Reader.New != nil {
		cases = append(cases, readerCases(m)...)
	}
	if m.Writer.New != nil {
		cases = append(cases, writerCases(m)...)
	}
	if m.Sender.New != nil {
		cases = append(cases, senderCases(m)...)
	}
	if m.Copier.New != nil {
		cases = append(cases, copierCases(m)...)
	}
	if m.Receiver.New != nil {
		cases = append(cases, receiverCases(m)...)
	}
	if m.Relay.New != nil {
		cases = append(cases, relayCases(m)...)
	}
	if m.Mapper.New != nil {
		cases = append(cases, mapperCases(m)...)
	}
	if m.Channel.New != nil {
		cases = append(cases, channelCases(m)...)
	}
	return cases
}

// isLong reports whether the case is a stretch that others stand for in a short test.
func (c Case) isLong() bool {
	name := c.Name[strings.LastIndex(c.Name, "/")+1:]
	for _, s := range stretches() {
		if s.name == name {
			return name != wholePages && name != "whole file" && name != "random order" && name != "two jobs"
		}
	}
	return false
}

// Run runs the case, with its files in dir. The error says what was found, with
// got and want; one that matches errors.ErrUnsupported is the method's refusal,
// or says what this system lacks. A case that has not ended when ctx has is an
// error too; what hangs in it is then left behind.
func (c Case) Run(ctx context.Context, dir string) error {
	// As the kernel will name what is in it.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	// Raw system calls hold their P and cannot be preempted: while one waits for
	// the other side of a socket, that side needs a P of its own, and nothing
	// may stop the world.
	gc := debug.SetGCPercent(-1)
	procs := runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as every job's goroutine is
		defer runtime.UnlockOSThread()
		defer func() {
			if r := recover(); r != nil {
				ended <- fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		ended <- c.run(ctx, dir)
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		// Whoever waits at a socket is being woken: give them time to go.
		select {
		case err = <-ended:
		case <-time.After(time.Second):
			// Not even stopping the world to restore GOMAXPROCS would end.
			return fmt.Errorf("hangs: has not ended: %w", context.Cause(ctx))
		}
	}
	runtime.GOMAXPROCS(procs)
	debug.SetGCPercent(gc)
	if ctx.Err() != nil {
		return fmt.Errorf("hangs: %w; when woken: %v", context.Cause(ctx), err)
	}
	return err
}

// fileSize is what most cases read, in bytes: many pages of any size, several
// of the larger blocks, more than a pipe holds, and no multiple of anything.
const fileSize = 1<<20 + 3*4096 + 123

// A file is what a case reads.
type file struct {
	path    string
	content []byte
}

// content is what every file begins with: random, the same each time.
var content = sync.OnceValue(func() []byte {
	b := make([]byte, fileSize)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

func newFile(dir string, size int64) (file, error) {
	f := file{filepath.Join(dir, "file"), content()[:size]}
	return f, os.WriteFile(f.path, f.content, 0o644)
}

// A stretch is a case that both readers and senders must pass: jobs one after
// another over one file.
type stretch struct {
	name  string
	size  int64 // bytes of the file
	plans []*iomethod.Plan
}

// wholePages is the case that no method can refuse.
const wholePages = "whole pages"

func stretches() []stretch {
	type plans = []*iomethod.Plan
	shuffled := func(p iomethod.Plan) *iomethod.Plan {
		for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(p.Pieces()) {
			p.Order = append(p.Order, uint32(i))
		}
		return &p
	}
	some := func(p *iomethod.Plan) *iomethod.Plan {
		p.Order = p.Order[:len(p.Order)/16]
		return p
	}
	const end = fileSize
	return []stretch{
		{wholePages, 1 << 20, plans{{Length: 1 << 20, Block: 64 << 10}}},
		{"whole file", end, plans{{Length: end, Block: 64 << 10}}},
		{"unaligned start to the end", end, plans{{Start: 4097, Length: end - 4097, Block: 4096}}},
		{"unaligned start, odd length", end, plans{{Start: 12345, Length: 54321, Block: 4096}}},
		{"block of 1 byte", end, plans{{Start: end - 257, Length: 257, Block: 1}}},
		{"block of 7 bytes", end, plans{{Start: end - 5003, Length: 5003, Block: 7}}},
		{"block of 4096 bytes", end, plans{{Length: end, Block: 4096}}},
		{"block of 65536 bytes across pages", end, plans{{Start: 1, Length: end - 1, Block: 65536}}},
		{"block beyond the end", end, plans{{Start: end - 1000, Length: 1000, Block: 1 << 20}}},
		{"block beyond the file", 1000, plans{{Length: 1000, Block: 4 << 20}}},
		{"last page of one byte", 3*4096 + 1, plans{{Length: 3*4096 + 1, Block: 4096}}},
		{"last page short of one byte", 3*4096 - 1, plans{{Length: 3*4096 - 1, Block: 4096}}},
		{"random order", end, plans{shuffled(iomethod.Plan{Length: end, Block: 4096})}},
		{"random order, unaligned", end, plans{shuffled(iomethod.Plan{Start: 4095, Length: 99999, Block: 1000})}},
		{"some pieces", end, plans{some(shuffled(iomethod.Plan{Length: end, Block: 4096}))}},
		{"some pieces twice", end, plans{{Length: end, Block: 4096, Order: []uint32{5, 5, 0, end / 4096, 5, 0, 1, end / 4096}}}},
		{"no piece", end, plans{{Length: end, Block: 4096, Order: []uint32{}}}},
		{"zero length", end, plans{{Block: 4096}}},
		{"zero length inside", end, plans{{Start: 5000, Block: 4096}}},
		{"empty file", 0, plans{{Block: 4096}}},
		{"two jobs", end, plans{{Length: end, Block: 4096}, {Start: 4097, Length: end - 4097, Block: 65536}}},
		{"two jobs, backwards", end, plans{{Start: 70000, Length: 33333, Block: 4096}, {Start: 33, Length: 70000, Block: 5000}}},
		{"the same job twice", end, plans{{Length: end, Block: 65536}, {Length: end, Block: 65536}}},
	}
}

// A pacer holds a job to awaiting each of its pieces before it has them.
type pacer struct {
	awaited int
	wrong   error
}

// paced returns the plan with the pacer in it.
func (a *pacer) paced(p *iomethod.Plan) *iomethod.Plan {
	q := *p
	q.Pace = func(i int) {
		if i != a.awaited && a.wrong == nil {
			a.wrong = fmt.Errorf("got piece %d awaited, want piece %d", i, a.awaited)
		}
		a.awaited++
	}
	return &q
}

// verdict is nil where every piece was awaited, or none by a method that has none.
func (a *pacer) verdict(m iomethod.Method, p *iomethod.Plan) error {
	want := p.Pieces()
	if m.Whole {
		want = 0
	}
	if a.wrong == nil && a.awaited != want {
		return fmt.Errorf("got %d pieces awaited, want %d", a.awaited, want)
	}
	return a.wrong
}

// mandatory makes a refusal of a case that cannot be refused a failure.
func mandatory(name string, err error) error {
	if name == wholePages && errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("refused whole pages in order to the end of the file: %v", err)
	}
	return err
}

// config is what the method is constructed with for the jobs.
func (f file) config(plans ...*iomethod.Plan) iomethod.Config {
	c := iomethod.Config{Path: f.path, Socket: -1}
	for _, p := range plans {
		c.Block = max(c.Block, p.Block)
	}
	return c
}

// differ says where got differs from want first; nil where it does not.
func differ(what string, got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	return fmt.Errorf("%s: got %d bytes, want %d; the first %d are right", what, len(got), len(want), i)
}

// released runs a whole life of the method a few times and reports the
// descriptors, and the mappings of the file, that it leaves behind.
func released(f file, life func() error) error {
	for i := range 3 {
		before, err := descriptors()
		if err != nil {
			return err
		}
		if err := life(); err != nil {
			return err
		}
		after, err := descriptors()
		if err != nil {
			return err
		}
		// The first life may make Go's poller open what it keeps.
		for fd, link := range after {
			if before[fd] != link && i > 0 {
				return fmt.Errorf("after Close: got descriptor %s open on %s, want it closed", fd, link)
			}
		}
		mapped, err := mappings(f.path)
		if err != nil {
			return err
		}
		if mapped != "" {
			return fmt.Errorf("after Close: got mapping %q, want none of the file", mapped)
		}
	}
	return nil
}

// instrumented reports whether the race detector is built in: it allocates.
func instrumented() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// allocations checks that a job makes none.
func allocations(m iomethod.Method, job func() error) error {
	switch {
	case m.Idiomatic:
		return fmt.Errorf("%s is idiomatic and may allocate: %w", m.Name, errors.ErrUnsupported)
	case instrumented():
		return fmt.Errorf("count allocations under the race detector: %w", errors.ErrUnsupported)
	}
	var failed error
	got := testing.AllocsPerRun(10, func() {
		if err := job(); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	if got != 0 {
		return fmt.Errorf("got %v allocations a job, want 0", got)
	}
	return nil
}
