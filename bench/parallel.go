package bench

import (
	"cmp"
	"errors"
	"runtime"
	"sync"

	"iopath/internal/counters"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// parallelTask answers: what do several readers of one file get in each other's way?
// Each worker has a reader of its own and reads its part of the plan; a job ends with
// the last of them.
//
// A goroutine that waits for a page keeps its P, which one that waits in a system
// call gives back after a while (runtime.retake): with goroutines, no more faults can
// be waited for at a time than there are Ps. Workers that are threads have a P each,
// as a program in C has.
//
// A worker that maps has a mapping of its own, with page tables of its own, as fio's
// jobs have: with random orders, each worker faults in all of the file, and a program
// that shares one mapping takes fewer faults.
//
// It is the process that is metered, and nothing is pinned.
func (s *Session) parallelTask(c Cell) (_ *task, err error) {
	m, err := c.method()
	if err != nil {
		return nil, err
	}
	d := s.files[c.Cache]
	plan, err := workloads.NewPlan(c.Pattern, d.size, c.Block)
	if err != nil {
		return nil, err
	}
	want, err := s.reference(d, c.Consume, c.Pattern, plan)
	if err != nil {
		return nil, err
	}
	procs := runtime.GOMAXPROCS(runtime.NumCPU())
	if c.As == "threads" {
		runtime.GOMAXPROCS(max(c.Workers, runtime.NumCPU()))
	}
	var workers []*worker
	stop := func() error {
		var all error
		for _, w := range workers {
			all = errors.Join(all, w.stop())
		}
		runtime.GOMAXPROCS(procs)
		return all
	}
	for k := range c.Workers {
		w, err := newWorker(m, iomethod.Config{Path: d.path, Block: c.Block}, part(plan, k, c.Workers), c)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		workers = append(workers, w)
	}
	each := func(do func(*worker) error) error {
		var all sync.WaitGroup
		for _, w := range workers {
			all.Add(1)
			w.work <- func() { defer all.Done(); w.err = do(w) }
		}
		all.Wait()
		var first error
		for _, w := range workers {
			first = cmp.Or(first, w.err)
		}
		return first
	}
	t := &task{
		cache:     c.Cache,
		bytes:     plan.Bytes(),
		declared:  m.Reader.Calls,
		idiomatic: true, // the workers are not alone
		process:   true,
		close:     stop,
	}
	t.Job = counters.Job{
		Begin: func() error {
			for _, w := range workers {
				w.consumer.Reset()
			}
			return nil
		},
		Move: func() error { return each((*worker).read) },
		End: func() error {
			var got workloads.Digest
			for _, w := range workers {
				got.Bytes += w.consumer.Bytes
				got.Sum += w.consumer.Sum
			}
			return workloads.Verify(got, want)
		},
	}
	t.count = func() (counters.Calls, error) {
		job := s.prepared(t)
		if err := job.Begin(); err != nil {
			return counters.Calls{}, err
		}
		if err := each((*worker).counted); err != nil {
			return counters.Calls{}, err
		}
		var all []counters.Calls
		for _, w := range workers {
			all = append(all, w.calls)
		}
		return counters.Sum(all), job.End()
	}
	return t, nil
}

// part is the k-th of n parts of the plan.
func part(p *iomethod.Plan, k, n int) *iomethod.Plan {
	q := *p
	from, to := k*p.Pieces()/n, (k+1)*p.Pieces()/n
	if p.Order != nil {
		q.Order = p.Order[from:to]
		return &q
	}
	q.Start = p.Start + int64(from)*int64(p.Block)
	q.Length = min(int64(to-from)*int64(p.Block), p.Start+p.Length-q.Start)
	return &q
}

// A worker reads its part whenever it is told to.
type worker struct {
	work     chan func()
	ended    chan error
	reader   iomethod.Reader
	plan     *iomethod.Plan
	consumer *workloads.Consumer
	err      error
	calls    counters.Calls
}

// newWorker starts one. Its reader is made where it is used: the caller's thread may
// have a descriptor table of its own.
func newWorker(m iomethod.Method, config iomethod.Config, plan *iomethod.Plan, c Cell) (*worker, error) {
	consumer, err := workloads.NewConsumer(c.Consume, c.Block)
	if err != nil {
		return nil, err
	}
	w := &worker{work: make(chan func()), ended: make(chan error), plan: plan, consumer: consumer}
	started := make(chan error)
	go func() {
		if c.As == "threads" {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		var err error
		w.reader, err = m.Reader.New(config)
		started <- err
		if err != nil {
			return
		}
		for work := range w.work {
			work()
		}
		w.ended <- w.reader.Close()
	}()
	return w, <-started
}

func (w *worker) read() error { return w.reader.Read(w.plan, w.consumer.Consume) }

// counted reads under the counters of its thread.
func (w *worker) counted() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := counters.OpenTracepoint()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Begin(); err != nil {
		return err
	}
	readErr := w.read()
	w.calls, err = c.End()
	return errors.Join(readErr, err)
}

func (w *worker) stop() error {
	close(w.work)
	return <-w.ended
}
