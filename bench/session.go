package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/alecthomas/units"

	"iopath/internal/counters"
	"iopath/internal/datafile"
	"iopath/internal/device"
	"iopath/internal/host"
	"iopath/internal/pagecache"
	"iopath/internal/peer"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// A Session holds what the cells of one process share: the options, the files,
// the digests that jobs must come to, the CPUs. Its cells run one at a time.
type Session struct {
	given Options // as they were given, for a process that is to open the same
	opt   Options
	files map[string]*dataFile // by the name of the cache state
	want  map[wantKey]workloads.Digest
	cpus  []int // that we may run on, ascending; empty where that cannot be told

	counter string // how calls are counted: "tracepoint", "ptrace", or "" where they are not
	why     error  // why they are not
	keep    counters.Counter

	ownTable bool // whether threads can have a descriptor table of their own
	countAll bool // see Round

	per   map[string]Options // by workload: see of
	cells []Cell             // see Cells
	skips []Skip

	lacking map[string]error // see lacks
	loaded  map[string]bool  // see load

	deviceRate float64 // the best seen so far, in B/s: see slowEnough
}

// A dataFile is the file that cells of a cache state read.
type dataFile struct {
	path    string
	size    int64 // bytes
	content io.ReaderAt
	f       *os.File
	// release ends the hold on its pages, which came in by pagecache.Load; nil
	// where they are not held.
	release func() error
	// untold is why the kernel does not tell how much of it comes from the device;
	// nil where it does.
	untold error
}

// A wantKey stands for a plan and what is done with its bytes.
type wantKey struct {
	consumer, pattern string
	size              int64 // of the file
	block, pieces     int
}

// Open checks the options and makes the data files where they are missing. An
// error that matches [ErrUsage] is the user's to mend.
func Open(ctx context.Context, o Options) (*Session, error) {
	s, err := newSession(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, d := range s.files {
		d.untold = device.Tells(d.f)
		if d.untold != nil && !errors.Is(d.untold, errors.ErrUnsupported) {
			s.Close()
			return nil, fmt.Errorf("find out whether the kernel tells the bytes from the device: %w", d.untold)
		}
	}
	s.openCounter()
	return s, nil
}

// newSession is a session that runs jobs and reports nothing.
func newSession(ctx context.Context, o Options) (*Session, error) {
	given := o
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	s := &Session{given: given, opt: o, files: map[string]*dataFile{}, want: map[wantKey]workloads.Digest{}, per: map[string]Options{}, loaded: map[string]bool{}, countAll: true}
	if s.cpus, err = host.AllowedCPUs(); err != nil {
		s.cpus = nil // then nothing is pinned
	}
	if err := s.openFiles(ctx); err != nil {
		s.Close()
		return nil, err
	}
	s.ownTable = canOwnDescriptors()
	return s, nil
}

// of returns the options of one workload, with nothing left open.
func (s *Session) of(workload string) Options {
	o, ok := s.per[workload]
	if !ok {
		o = s.given.of(workload)
		s.per[workload] = o
	}
	return o
}

func (s *Session) openFiles(ctx context.Context) error {
	sizes := map[string]int64{"warm": s.opt.Size, "cold": s.opt.Size}
	if s.opt.Size == 0 {
		sizes["warm"], sizes["cold"] = DefaultSizes()
	}
	if err := s.checkSpace(sizes); err != nil {
		return err
	}
	for _, cache := range s.opt.Caches {
		d := &dataFile{path: s.opt.File, size: sizes[cache]}
		if d.path == "" {
			// Two files, so that no cold cell changes the folios that the warm
			// ones find.
			path, err := datafile.Ensure(ctx, s.opt.Dir, cache, d.size)
			if err != nil {
				return &usageError{err}
			}
			d.path, d.content = path, datafile.Content(d.size)
		}
		f, err := os.Open(d.path)
		if err != nil {
			return usage("open the file to read: %w (name one that you may read)", err)
		}
		d.f = f
		if d.content == nil {
			d.content = f
		}
		s.files[cache] = d
	}
	return nil
}

// checkSpace refuses to make the first data file where there is no room for the
// second.
func (s *Session) checkSpace(sizes map[string]int64) error {
	if s.opt.File != "" {
		return nil
	}
	var need int64
	for _, cache := range s.opt.Caches {
		if _, err := os.Stat(datafile.Path(s.opt.Dir, cache, sizes[cache])); err != nil {
			need += sizes[cache]
		}
	}
	if free, err := host.FreeSpace(s.opt.Dir); err == nil && free < need {
		return usage("make the data files in %s: they need %s and %s is free (take a smaller -size, or another place with -dir)",
			s.opt.Dir, units.Base2Bytes(need), units.Base2Bytes(free).Round(1))
	}
	return nil
}

// Close releases the session. The data files stay, for the next one.
func (s *Session) Close() {
	for _, d := range s.files {
		d.letGo()
		d.f.Close()
	}
	if s.keep != nil {
		s.keep.Close()
	}
}

// Size returns the bytes of the file that cells of the cache state read, or 0
// where there are no such cells.
func (s *Session) Size(cache string) int64 {
	if d, ok := s.files[cache]; ok {
		return d.size
	}
	return 0
}

// Dir is the directory that the files are in.
func (s *Session) Dir() string {
	if s.opt.File != "" {
		return s.opt.File
	}
	return s.opt.Dir
}

// jobCPU and peerCPU are where the two sides run; -1 where they are not pinned,
// because there is but one CPU, or none could be found.
func (s *Session) jobCPU() int {
	if len(s.cpus) < 2 {
		return -1
	}
	return s.cpus[len(s.cpus)-1]
}

func (s *Session) peerCPU() int {
	if len(s.cpus) < 2 {
		return -1
	}
	return s.cpus[0]
}

// A scratch is a file that a job writes. It has no name, so that it is gone with
// the process.
type scratch struct {
	path  string // by which this thread can open it
	f     *os.File
	close func() error
}

// scratch makes an empty one in the session's directory. The goroutine is locked to
// its thread, whose descriptors it is among.
func (s *Session) scratch() (*scratch, error) {
	dir, err := s.scratchDir()
	if err != nil {
		return nil, err
	}
	if err := datafile.MakeDir(dir); err != nil {
		return nil, err
	}
	f, path, err := datafile.Scratch(dir)
	if err != nil {
		return nil, err
	}
	return &scratch{path: path, f: f, close: func() error { return datafile.Discard(f, path) }}, nil
}

// scratchDir is where files may be written: never where the user's own file is.
func (s *Session) scratchDir() (string, error) {
	if s.opt.File == "" {
		return s.opt.Dir, nil
	}
	return DefaultDir()
}

// lacks returns why methods are not to be had here, by their names.
func (s *Session) lacks() map[string]error {
	if s.lacking == nil {
		if dir, err := s.scratchDir(); err == nil { // else who needs it will say so
			s.lacking = Lacks(dir, s.opt.File)
		}
	}
	return s.lacking
}

// probedSize is the size in bytes of the files that methods are probed on.
const probedSize = 64 << 10

// Lacks returns why this machine, or the filesystem of that directory, lacks some of
// the methods, by their names. They are tried on two files that it makes there,
// without names, or on one of the caller's for reading. Where the directory is not
// there yet, the one that it would be made in is as good; where it cannot be
// written, those are lacking that must know.
func Lacks(dir, file string) map[string]error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	c, remove, err := probedFiles(dir)
	defer remove()
	if file != "" {
		c.Path = file
	}
	lacks := map[string]error{}
	for _, m := range iomethod.All() {
		if m.Probe == nil {
			continue
		}
		if err := errors.Join(err, m.Available(c)); err != nil {
			lacks[m.Name] = err
		}
	}
	return lacks
}

func probedFiles(dir string) (c iomethod.Config, remove func(), err error) {
	c = iomethod.Config{Block: 4 << 10, Socket: -1, From: -1}
	var made []func()
	remove = func() {
		for _, undo := range made {
			undo()
		}
	}
	for _, path := range []*string{&c.Path, &c.Target} {
		f, name, err := datafile.Scratch(dir)
		if err != nil {
			return c, remove, err
		}
		made = append(made, func() { datafile.Discard(f, name) })
		if _, err := io.Copy(f, io.NewSectionReader(datafile.Content(probedSize), 0, probedSize)); err != nil {
			return c, remove, fmt.Errorf("write a file to try the methods on: %w", err)
		}
		*path = name
	}
	return c, remove, nil
}

// provable reports whether the cache state can be made and proven here.
func (s *Session) provable(cache string) error {
	d := s.files[cache]
	if cache == "cold" {
		if tmpfs, err := host.IsTmpfs(d.path); err == nil && tmpfs {
			return fmt.Errorf("%s is on tmpfs, which has no device to be cold on (choose a disk with -dir)", d.path)
		}
	}
	_, err := pagecache.Resident(d.f)
	return err
}

// prepare brings the file into the cell's cache state, and returns the proof.
func (s *Session) prepare(cache string) (pagecache.Residency, error) {
	d := s.files[cache]
	if cache == "cold" {
		for _, other := range s.files {
			if other.path != d.path {
				continue
			}
			if err := other.letGo(); err != nil {
				return pagecache.Residency{}, err
			}
		}
		return makeCold(d.f)
	}
	r, err := pagecache.Resident(d.f)
	if err != nil || d.release != nil && r.Pages == r.Total {
		return r, err
	}
	if err := d.letGo(); err != nil {
		return r, err
	}
	if err := pagecache.Load(d.f); err != nil {
		return r, err
	}
	if d.release, err = pagecache.Hold(d.f); err != nil {
		return r, err
	}
	return s.stillWarm()
}

// letGo lets the file's pages be evicted.
func (d *dataFile) letGo() error {
	if d.release == nil {
		return nil
	}
	release := d.release
	d.release = nil
	return release()
}

// inFlight is how long the kernel may hold on to pages that a job has handed it:
// what sendfile and splice put into a TCP socket cannot be evicted until the
// receiver has acknowledged it, which it may put off for 200 ms.
const inFlight = 3 * time.Second

// makeCold evicts the file and proves it.
func makeCold(f *os.File) (r pagecache.Residency, err error) {
	for deadline := time.Now().Add(inFlight); ; time.Sleep(5 * time.Millisecond) {
		if err := pagecache.Evict(f); err != nil {
			return r, err
		}
		if r, err = pagecache.Resident(f); err != nil {
			return r, err
		}
		if err = r.Cold(); err == nil || time.Now().After(deadline) {
			return r, err
		}
		if err := peer.Flush(); err != nil {
			return r, err
		}
	}
}

// stillWarm proves the state of the warm file.
func (s *Session) stillWarm() (pagecache.Residency, error) {
	r, err := pagecache.Resident(s.files["warm"].f)
	if err == nil {
		err = r.Warm()
	}
	return r, err
}

// reference returns the digest that the consumer must come to over a plan of that
// pattern.
func (s *Session) reference(d *dataFile, consumer, pattern string, p *iomethod.Plan) (workloads.Digest, error) {
	key := wantKey{consumer, pattern, d.size, p.Block, p.Pieces()}
	if workloads.Once(pattern) && p.Bytes() == d.size {
		key.pattern = "seq" // the order makes no difference to all of it
	}
	if want, ok := s.want[key]; ok {
		return want, nil
	}
	want, err := workloads.Reference(consumer, p, d.content)
	if err == nil {
		s.want[key] = want
	}
	return want, err
}

// method returns the method of the cell and checks that it still fits.
func (c Cell) method() (iomethod.Method, error) {
	m, ok := iomethod.Lookup(c.Method)
	if !ok {
		return m, usage("method %q is unknown (see iopath methods)", c.Method)
	}
	return m, nil
}
