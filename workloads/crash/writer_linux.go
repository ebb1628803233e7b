package crash

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Policy is when a record is made durable, before it is acknowledged.
type Policy struct {
	Name, Doc string
	Each      int  // records that are synced together; 0: none is
	Honest    bool // whether what is acknowledged is promised to survive the machine
}

// Policies are the sync policies; a method has some of them.
var Policies = []Policy{
	{"none", "nothing", 0, false},
	{"async", "msync MS_ASYNC each record, which does nothing since Linux 2.6.19", 0, false},
	{"each", "msync MS_SYNC or fdatasync each record", 1, true},
	{"64", "the same each 64 records, which are acknowledged together", 64, true},
	{"dsync", "open with O_DSYNC", 1, true},
	{"range", "sync_file_range each record, waited for: no metadata, no flush of the disk's cache", 1, false},
	{"flush", "Flush of the program's own buffer each record, no sync", 1, false},
	// A kernel's death is all that it can be asked about here: a power loss takes what the
	// CPU's caches have, unless it is flushed from there (mmap(2), MAP_SYNC).
	{"store", "a store alone: the file's metadata is durable by MAP_SYNC; against power loss it would have to be flushed from the CPU's cache, too", 1, true},
}

// A Method is a way of appending records.
type Method struct {
	Name, Doc string
	Policies  []string
	Mapped    bool
	DAX       bool // takes a file on DAX, which some machines can have
	open      func(w *setup) (writer, error)
}

// Methods are the ways of writing that are compared.
var Methods = []Method{
	{"mmap.shared", "stores to a MAP_SHARED mapping", []string{"none", "async", "each", "64"}, true, false, openMapped(unix.MAP_SHARED)},
	{"mmap.private", "stores to a MAP_PRIVATE mapping", []string{"none", "each"}, true, false, openMapped(unix.MAP_PRIVATE)},
	{"mmap.sync", "stores to a MAP_SYNC mapping of a file on DAX", []string{"store"}, true, true, openMapped(unix.MAP_SHARED_VALIDATE | unix.MAP_SYNC)},
	{"mmap.dax", "stores to a MAP_SHARED mapping of a file on DAX", []string{"none", "each"}, true, true, openDAX},
	{"write", "write(2)", []string{"none", "each", "64", "dsync", "range"}, false, false, openFile(false, func(f *os.File) func([]byte, int64) error {
		return func(b []byte, _ int64) error { return all(unix.Write(int(f.Fd()), b)) }
	})},
	{"pwrite", "pwrite(2)", []string{"none", "each", "dsync"}, false, false, openFile(false, func(f *os.File) func([]byte, int64) error {
		return func(b []byte, at int64) error { return all(unix.Pwrite(int(f.Fd()), b, at)) }
	})},
	{"os.File", "Go's os.File.Write, and Sync, which is fsync(2)", []string{"none", "each"}, false, false, openFile(true, func(f *os.File) func([]byte, int64) error {
		return func(b []byte, _ int64) error { _, err := f.Write(b); return err }
	})},
	{"bufio", "Go's bufio.Writer of 64 KiB", []string{"none", "flush", "each"}, false, false, openBuffered},
	{"odirect", "pwrite(2) with O_DIRECT of whole blocks of 4 KiB, the last one again and again", []string{"none", "each", "dsync"}, false, false, openDirect},
	{"io_uring", "write requests of an io_uring(7), and fdatasync by a request that is linked to the last of them", []string{"none", "each", "64", "dsync"}, false, false, openUring},
}

// A Layout is what the file is before the first record.
type Layout struct{ Name, Doc string }

// Layouts of the file.
var Layouts = []Layout{
	{"append", "empty, and longer by each record"},
	{"prealloc", "written with zeros and synced"},
	{"sparse", "made as long by ftruncate, without blocks"},
}

// setup is what a writer is opened with.
type setup struct {
	path           string
	policy, layout string
	size           int64 // bytes that the records take at most
}

// A writer appends records. sync is called as often as the policy says.
type writer interface {
	append(b []byte, at int64) error
	sync() error
	// region is memory that a stray store may hit: the mapping, or the buffer.
	region() []byte
}

func (w *setup) open(flags int) (*os.File, error) {
	if w.policy == "dsync" {
		flags |= unix.O_DSYNC
	}
	return os.OpenFile(w.path, os.O_RDWR|flags, 0)
}

// all is the error of a call that is to move all of a record, and did.
func all(n int, err error) error {
	if err == nil && n != RecordSize {
		err = fmt.Errorf("moved %d bytes of %d", n, RecordSize)
	}
	return err
}

type mapped struct {
	f     *os.File
	mem   []byte
	grow  bool // the file is made longer by each record
	flags int  // of msync; 0: none
	from  int  // what was stored since the last sync
	to    int
}

func openMapped(flags int) func(*setup) (writer, error) {
	return func(w *setup) (writer, error) {
		f, err := w.open(0)
		if err != nil {
			return nil, err
		}
		m := &mapped{f: f, grow: w.layout == "append"}
		addr, err := unix.MmapPtr(int(f.Fd()), 0, nil, uintptr(w.size), unix.PROT_READ|unix.PROT_WRITE, flags)
		if err != nil {
			return nil, os.NewSyscallError("mmap", err)
		}
		m.mem = unsafe.Slice((*byte)(addr), w.size)
		switch w.policy {
		case "async":
			m.flags = unix.MS_ASYNC
		case "each", "64":
			m.flags = unix.MS_SYNC
		}
		return m, nil
	}
}

// openDAX maps a file on persistent memory, without a page cache between.
func openDAX(w *setup) (writer, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, w.path, 0, 0, &st); err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	if st.Attributes&unix.STATX_ATTR_DAX == 0 {
		return nil, fmt.Errorf("%w: the file is not on DAX", errors.ErrUnsupported)
	}
	return openMapped(unix.MAP_SHARED)(w)
}

func (m *mapped) append(b []byte, at int64) error {
	if m.grow {
		if err := unix.Ftruncate(int(m.f.Fd()), at+int64(len(b))); err != nil {
			return os.NewSyscallError("ftruncate", err)
		}
	}
	copy(m.mem[at:], b)
	if m.to == m.from {
		m.from = int(at)
	}
	m.to = int(at) + len(b)
	if m.flags == unix.MS_ASYNC {
		return m.sync()
	}
	return nil
}

func (m *mapped) sync() error {
	from, to := m.from&^(os.Getpagesize()-1), m.to
	m.from = m.to
	if m.flags == 0 || to <= from {
		return nil
	}
	if err := unix.Msync(m.mem[from:to], m.flags); err != nil {
		return os.NewSyscallError("msync", err)
	}
	// msync writes the pages; that the file is longer is in its metadata, which msync
	// of a range brings along (it is fsync of the range since Linux 2.6.17).
	return nil
}

func (m *mapped) region() []byte { return m.mem[:m.to] }

type plain struct {
	f         *os.File
	write     func([]byte, int64) error
	how       string // to sync
	idiomatic bool   // by os.File
	at        int64
	last      []byte
}

func openFile(idiomatic bool, write func(*os.File) func([]byte, int64) error) func(*setup) (writer, error) {
	return func(w *setup) (writer, error) {
		f, err := w.open(0)
		if err != nil {
			return nil, err
		}
		return &plain{f: f, write: write(f), how: w.policy, idiomatic: idiomatic}, nil
	}
}

func (p *plain) append(b []byte, at int64) error {
	p.at, p.last = at, b
	return p.write(b, at)
}

func (p *plain) sync() error {
	switch p.how {
	case "each", "64":
		if p.idiomatic {
			return p.f.Sync()
		}
		return os.NewSyscallError("fdatasync", unix.Fdatasync(int(p.f.Fd())))
	case "range":
		const wait = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		return os.NewSyscallError("sync_file_range", unix.SyncFileRange(int(p.f.Fd()), p.at, RecordSize, wait))
	}
	return nil
}

func (p *plain) region() []byte { return p.last }

type buffered struct {
	f   *os.File
	b   *bufio.Writer
	how string
	rec []byte
}

func openBuffered(w *setup) (writer, error) {
	f, err := w.open(0)
	if err != nil {
		return nil, err
	}
	return &buffered{f: f, b: bufio.NewWriterSize(f, 64<<10), how: w.policy}, nil
}

func (p *buffered) append(b []byte, _ int64) error {
	p.rec = b
	_, err := p.b.Write(b)
	return err
}

func (p *buffered) sync() error {
	if p.how == "none" {
		return nil
	}
	if err := p.b.Flush(); err != nil || p.how == "flush" {
		return err
	}
	return p.f.Sync()
}

func (p *buffered) region() []byte { return p.rec }

// directBlock is what O_DIRECT takes everywhere: a page.
const directBlock = 4096

type direct struct {
	f    *os.File
	mem  []byte // aligned: two blocks and a record fit
	base int64  // of mem in the file
	how  string
}

func openDirect(w *setup) (writer, error) {
	f, err := w.open(unix.O_DIRECT)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: O_DIRECT on this filesystem", errors.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(-1, 0, 4*directBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &direct{f: f, mem: mem, how: w.policy}, nil
}

func (d *direct) append(b []byte, at int64) error {
	// Move on to the block that the record begins in; what is kept of it is behind.
	if block := at &^ (directBlock - 1); block != d.base {
		moved := int(block - d.base)
		n := copy(d.mem, d.mem[min(moved, len(d.mem)):])
		clear(d.mem[n:])
		d.base = block
	}
	copy(d.mem[at-d.base:], b)
	end := (int(at-d.base) + len(b) + directBlock - 1) &^ (directBlock - 1)
	n, err := unix.Pwrite(int(d.f.Fd()), d.mem[:end], d.base)
	if err == nil && n != end {
		err = fmt.Errorf("moved %d bytes of %d", n, end)
	}
	return os.NewSyscallError("pwrite", err)
}

func (d *direct) sync() error {
	if d.how == "each" {
		return os.NewSyscallError("fdatasync", unix.Fdatasync(int(d.f.Fd())))
	}
	return nil
}

func (d *direct) region() []byte { return d.mem }

// MethodNamed and PolicyNamed look one up.
func MethodNamed(name string) (Method, bool) {
	i := slices.IndexFunc(Methods, func(m Method) bool { return m.Name == name })
	if i < 0 {
		return Method{}, false
	}
	return Methods[i], true
}

func PolicyNamed(name string) (Policy, bool) {
	i := slices.IndexFunc(Policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return Policy{}, false
	}
	return Policies[i], true
}

// Promises tells whether a method with a policy promises that what it acknowledges survives
// the machine. A private mapping has none to give, though its msync returns success.
func Promises(method, policy string) bool {
	p, ok := PolicyNamed(policy)
	return ok && p.Honest && method != "mmap.private"
}

// ParseCell reads METHOD/POLICY.
func ParseCell(s string) (Method, Policy, error) {
	name, policy, _ := strings.Cut(s, "/")
	m, ok := MethodNamed(name)
	if !ok {
		return m, Policy{}, fmt.Errorf("method %q is unknown", name)
	}
	p, ok := PolicyNamed(policy)
	if !ok || !slices.Contains(m.Policies, policy) {
		return m, p, fmt.Errorf("%s has no policy %q (it has %s)", name, policy, strings.Join(m.Policies, ", "))
	}
	return m, p, nil
}
