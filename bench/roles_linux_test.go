package bench

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iopath/internal/counters"
	"iopath/internal/peer"
	"iopath/workloads/iomethod"
)

// This file answers: is a method that is wrong in another role than a reader's or a
// sender's found out, and do the figures belong to the jobs that they are taken for?
// Each wrong method is the right one, by plain calls, with one thing different.

func init() {
	if _, traced := os.LookupEnv(tracedEnv); traced {
		registerWrongRoles()
	}
}

// An amiss is what a method of either of these roles has: the files and the sockets
// of its Config, a buffer of a block, and what it has kept of the jobs before.
type amiss struct {
	config         iomethod.Config
	source, target *os.File // nil where the role has none
	buf            []byte
	jobs           int // begun
	kept           []byte
	write          func(*amiss, *iomethod.Plan, iomethod.Producer) error
	move           func(*amiss, *iomethod.Plan) error
}

// opened opens what the Config has of files.
func (a amiss) opened(c iomethod.Config) (_ *amiss, err error) {
	a.config, a.buf = c, make([]byte, c.Block)
	if c.Path != "" {
		a.source, err = os.Open(c.Path)
	}
	if c.Target != "" && err == nil {
		a.target, err = os.OpenFile(c.Target, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &a, nil
}

func (a *amiss) Write(p *iomethod.Plan, produce iomethod.Producer) error {
	a.jobs++
	return a.write(a, p, produce)
}
func (a *amiss) Receive(p *iomethod.Plan) error { return a.begin(p) }
func (a *amiss) Relay(p *iomethod.Plan) error   { return a.begin(p) }
func (a *amiss) Copy(p *iomethod.Plan) error    { return a.begin(p) }
func (a *amiss) Send(p *iomethod.Plan) error    { return a.begin(p) }

func (a *amiss) begin(p *iomethod.Plan) error {
	a.jobs++
	return a.move(a, p)
}

func (a *amiss) Close() (err error) {
	for _, f := range []*os.File{a.source, a.target} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// put writes all of b to the target.
func (a *amiss) put(off int64, b []byte) error {
	return all(b, func(b []byte) (int, error) {
		n, err := unix.Pwrite(int(a.target.Fd()), b, off)
		off += int64(max(n, 0))
		return n, err
	})
}

// get fills b from the source.
func (a *amiss) get(off int64, b []byte) error {
	return all(b, func(b []byte) (int, error) {
		n, err := unix.Pread(int(a.source.Fd()), b, off)
		off += int64(max(n, 0))
		return n, err
	})
}

// pass sends all of b.
func (a *amiss) pass(b []byte) error {
	return all(b, func(b []byte) (int, error) { return unix.Write(a.config.Socket, b) })
}

// pieces calls do for each piece of the plan, when it is due.
func (a *amiss) pieces(p *iomethod.Plan, do func(i int, off int64, b []byte) error) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		if err := do(i, off, a.buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// writePieces is what pwrite(2) does, with the pieces that skip does not name.
func (a *amiss) writePieces(p *iomethod.Plan, produce iomethod.Producer, skip func(i int) bool) error {
	return a.pieces(p, func(i int, off int64, b []byte) error {
		if b := produce(off, len(b)); !skip(i) {
			return a.put(off, b)
		}
		return nil
	})
}

func noPiece(int) bool    { return false }
func everyPiece(int) bool { return true }

var wrongWriters = []struct {
	name, doc string
	write     func(*amiss, *iomethod.Plan, iomethod.Producer) error
}{
	{"wrong.write.nothing", "writes nothing", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.writePieces(p, produce, everyPiece)
	}},
	{"wrong.write.once", "writes in the first job alone", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.writePieces(p, produce, func(int) bool { return a.jobs > 1 })
	}},
	{"wrong.write.stale", "writes what the first job was to write", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.pieces(p, func(i int, off int64, b []byte) error {
			if b := produce(off, len(b)); a.jobs == 1 {
				a.kept = append(a.kept, b...)
			}
			return a.put(off, a.kept[off:][:len(b)])
		})
	}},
	{"wrong.write.short", "leaves out the last block", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.writePieces(p, produce, func(i int) bool { return i == p.Pieces()-1 })
	}},
	{"wrong.write.misplaced", "writes each block to the place of its mirror image", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.pieces(p, func(_ int, off int64, b []byte) error {
			return a.put(p.Length-off-int64(len(b)), produce(off, len(b)))
		})
	}},
	{"wrong.write.timed", "writes nothing where its blocks are timed", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.writePieces(p, produce, func(int) bool { return p.Pace != nil })
	}},
	{"wrong.write.hasty", "awaits none of its pieces", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		q := *p
		q.Pace = nil
		return a.writePieces(&q, produce, noPiece)
	}},
	{"wrong.write.unsynced", "declares fdatasync, and does not sync", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return a.writePieces(p, produce, noPiece)
	}},
	{"wrong.write.syncsonce", "syncs once, whatever the policy", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return errors.Join(a.writePieces(p, produce, noPiece), unix.Fdatasync(int(a.target.Fd())))
	}},
	{"wrong.write.fsync", "declares fdatasync, and calls fsync", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		return errors.Join(a.writePieces(p, produce, noPiece), unix.Fsync(int(a.target.Fd())))
	}},
	{"wrong.write.vectored", "declares pwrite64, and also calls pwritev", func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
		err := a.writePieces(p, produce, func(i int) bool { return i == 0 })
		if err == nil {
			_, n := p.Piece(0)
			_, err = unix.Pwritev(int(a.target.Fd()), [][]byte{produce(0, n)}, 0)
		}
		return errors.Join(err, unix.Fdatasync(int(a.target.Fd())))
	}},
}

var wrongMovers = []struct {
	name, role, calls, doc string
	move                   func(*amiss, *iomethod.Plan) error
}{
	{"wrong.receive.byte", "receiver", "read pwrite64", "takes in all bytes, and loses the last one", func(a *amiss, p *iomethod.Plan) error {
		return a.receive(p, func(i int, b []byte) []byte {
			if i == p.Pieces()-1 {
				return b[:len(b)-1]
			}
			return b
		})
	}},
	{"wrong.receive.once", "receiver", "read pwrite64", "writes what the first job brought", func(a *amiss, p *iomethod.Plan) error {
		return a.receive(p, func(i int, b []byte) []byte {
			if a.jobs == 1 {
				a.kept = append(a.kept, b...)
			}
			return a.kept[i*p.Block:][:len(b)]
		})
	}},
	{"wrong.receive.splice", "receiver", "splice", "declares splice, and reads and writes", func(a *amiss, p *iomethod.Plan) error {
		return a.receive(p, func(_ int, b []byte) []byte { return b })
	}},
	{"wrong.relay.byte", "relay", "read write", "changes a byte", func(a *amiss, p *iomethod.Plan) error {
		return a.relay(p, func(i int, b []byte) []byte {
			if i == p.Pieces()/2 {
				b[len(b)/2]++
			}
			return b
		})
	}},
	{"wrong.relay.early", "relay", "read write", "hangs up before the last byte", func(a *amiss, p *iomethod.Plan) error {
		return errors.Join(a.relay(p, func(i int, b []byte) []byte {
			if i == p.Pieces()-1 {
				return b[:len(b)-1]
			}
			return b
		}), unix.Shutdown(a.config.Socket, unix.SHUT_WR))
	}},
	{"wrong.relay.splice", "relay", "splice", "declares splice, and reads and writes", func(a *amiss, p *iomethod.Plan) error {
		return a.relay(p, func(_ int, b []byte) []byte { return b })
	}},
	{"wrong.copy.hole", "copier", "pread64 pwrite64", "leaves a hole", func(a *amiss, p *iomethod.Plan) error {
		return a.copyPieces(p, func(i int) bool { return i == p.Pieces()/2 })
	}},
	{"wrong.copy.short", "copier", "pread64 pwrite64", "leaves out the last block", func(a *amiss, p *iomethod.Plan) error {
		return a.copyPieces(p, func(i int) bool { return i == p.Pieces()-1 })
	}},
	{"wrong.copy.once", "copier", "pread64 pwrite64", "copies in the first job alone", func(a *amiss, p *iomethod.Plan) error {
		return a.copyPieces(p, func(int) bool { return a.jobs > 1 })
	}},
	{"wrong.copy.range", "copier", "copy_file_range", "declares copy_file_range, and reads and writes", func(a *amiss, p *iomethod.Plan) error {
		return a.copyPieces(p, noPiece)
	}},
	{"wrong.send.early", "sender", "pread64 write", "hangs up before the last block", func(a *amiss, p *iomethod.Plan) error {
		return errors.Join(a.send(p, func(i int) bool { return i == p.Pieces()-1 }), unix.Shutdown(a.config.Socket, unix.SHUT_WR))
	}},
}

// receive is what read+write does, with what is made of each piece.
func (a *amiss) receive(p *iomethod.Plan, of func(i int, b []byte) []byte) error {
	return a.taken(p, a.config.Socket, func(i int, off int64, b []byte) error { return a.put(off, of(i, b)) })
}

// relay is the same from socket to socket.
func (a *amiss) relay(p *iomethod.Plan, of func(i int, b []byte) []byte) error {
	return a.taken(p, a.config.From, func(i int, _ int64, b []byte) error { return a.pass(of(i, b)) })
}

// taken calls do for each piece that has come in by a socket.
func (a *amiss) taken(p *iomethod.Plan, socket int, do func(i int, off int64, b []byte) error) error {
	return a.pieces(p, func(i int, off int64, b []byte) error {
		if err := all(b, func(b []byte) (int, error) { return unix.Read(socket, b) }); err != nil {
			return err
		}
		return do(i, off, b)
	})
}

// copyPieces copies the pieces that skip does not name.
func (a *amiss) copyPieces(p *iomethod.Plan, skip func(i int) bool) error {
	return a.read(p, skip, a.put)
}

// send sends the pieces that skip does not name.
func (a *amiss) send(p *iomethod.Plan, skip func(i int) bool) error {
	return a.read(p, skip, func(_ int64, b []byte) error { return a.pass(b) })
}

// read reads every piece, and calls do for those that skip does not name.
func (a *amiss) read(p *iomethod.Plan, skip func(i int) bool, do func(off int64, b []byte) error) error {
	return a.pieces(p, func(i int, off int64, b []byte) error {
		if err := a.get(off, b); err != nil || skip(i) {
			return err
		}
		return do(off, b)
	})
}

// A wrongMapper's memory is anonymous.
type wrongMapper struct {
	mem   []byte
	less  int  // bytes that it returns too few
	first byte // of the memory
	leaks bool
}

func (m *wrongMapper) Map(n int) (_ []byte, err error) {
	m.mem, err = unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	m.mem[0] = m.first
	return m.mem[:n-m.less], nil
}

func (m *wrongMapper) Unmap() error {
	if m.leaks {
		return nil
	}
	return unix.Munmap(m.mem)
}

func (m *wrongMapper) Close() error { return nil }

// A forgedMapper says that its memory is a file's.
type forgedMapper struct {
	wrongMapper
	path string
}

func (m *forgedMapper) Backing() string { return m.path }

var wrongMappers = []struct {
	name, doc string
	new       func(iomethod.Config) iomethod.Mapper
}{
	{"wrong.map.less", "returns too little", func(iomethod.Config) iomethod.Mapper { return &wrongMapper{less: 4096} }},
	{"wrong.map.used", "returns memory that is not zeros", func(iomethod.Config) iomethod.Mapper { return &wrongMapper{first: 1} }},
	{"wrong.map.forged", "returns zeros in place of the file's bytes, and stores that nobody sees", func(c iomethod.Config) iomethod.Mapper {
		if c.Write {
			return &forgedMapper{path: c.Target}
		}
		return &forgedMapper{path: c.Path}
	}},
	{"wrong.map.leaks", "does not unmap", func(iomethod.Config) iomethod.Mapper { return &wrongMapper{leaks: true} }},
}

// A wrongReopener goes on to another file in the wrong way.
type wrongReopener struct {
	*wrong
	reopen func(w *wrong, path string) error
}

func (r wrongReopener) Reopen(path string) error { return r.reopen(r.wrong, path) }

// wrongFileReaders read the right bytes of a single file that they are given whole.
var wrongFileReaders = []struct {
	name, doc string
	read      func(*wrong, *iomethod.Plan, iomethod.Consumer) error
	reopen    func(w *wrong, path string) error // nil where it cannot
}{
	{"wrong.open.first", "reads the first file again and again", (*wrong).right, func(w *wrong, _ string) error { return nil }},
	{"wrong.open.leaks", "does not close the files, but at the end", (*wrong).right, func(w *wrong, path string) (err error) {
		leaked = append(leaked, w.f)
		w.f, err = os.Open(path)
		return err
	}},
	{"wrong.parallel.first", "reads the first worker's part, whoever it is", func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
		q := *p
		q.Start = 0
		return w.right(&q, consume)
	}, nil},
	{"wrong.parallel.elsewhere", "reads the first worker's part, and says that it is its own", func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
		q := *p
		q.Start = 0
		return w.right(&q, func(off int64, b []byte) { consume(p.Start+off, b) })
	}, nil},
	{"wrong.parallel.idle", "reads in the first worker alone", func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
		if p.Start > 0 {
			return nil
		}
		return w.right(p, consume)
	}, nil},
	{"wrong.faulting", "reads as it should, and faults for pages of its own", func(w *wrong, p *iomethod.Plan, consume iomethod.Consumer) error {
		return errors.Join(touchFresh(ownFaults), w.right(p, consume))
	}, nil},
}

// leaked keeps the files from the garbage collector.
var leaked []*os.File

func (w *wrong) right(p *iomethod.Plan, consume iomethod.Consumer) error {
	return w.preads(int(w.f.Fd()), p, consume)
}

// ownFaults is how many minor faults each worker of wrong.faulting has in a job.
const ownFaults = 1000

// touchFresh touches so many small pages that nobody has touched.
func touchFresh(pages int) error {
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	// Where the kernel has no huge pages, it has no such advice.
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		return errors.Join(err, unix.Munmap(b))
	}
	for i := 0; i < len(b); i += page {
		b[i] = 1
	}
	return unix.Munmap(b)
}

// A teller tells how many jobs it has had.
type teller struct {
	*amiss
	told int
}

func (s *teller) Tell() []iomethod.Figure {
	n := s.jobs - s.told
	s.told = s.jobs
	return []iomethod.Figure{{Unit: "told-jobs", Value: float64(n)}}
}

// A herald sends as many bytes before the file's as it says, or others.
type herald struct {
	*amiss
	says, sends int
}

func (s herald) Preamble() int { return s.says }

func (s herald) Send(p *iomethod.Plan) error {
	return errors.Join(s.pass(make([]byte, s.sends)), s.amiss.Send(p))
}

// What a picky writer refuses as a whole, and what it merely fails at.
var (
	errPicky = fmt.Errorf("it does not please: %w", errors.ErrUnsupported)
	errFails = errors.New("it does not work")
	refusals int // by its constructor
)

var registerWrongRoles = sync.OnceFunc(func() {
	registerWrong()
	pwrites := []string{"pwrite64"}
	syncs := func(c iomethod.Config) []string {
		if c.Sync == iomethod.SyncEnd || c.Sync == iomethod.SyncBlock {
			return []string{"fdatasync"}
		}
		return nil
	}
	for _, m := range wrongWriters {
		iomethod.Register(iomethod.Method{Name: m.name, Doc: m.doc, Idiomatic: true, Writer: iomethod.Role[iomethod.Writer]{
			Calls: pwrites, Also: syncs,
			New: func(c iomethod.Config) (iomethod.Writer, error) { return amiss{write: m.write}.opened(c) },
		}})
	}
	for _, m := range wrongMovers {
		iomethod.Register(wrongMover(m.name, m.doc, m.role, m.move, strings.Fields(m.calls)))
	}
	for _, m := range wrongMappers {
		iomethod.Register(iomethod.Method{Name: m.name, Doc: m.doc, Idiomatic: true, Mapper: iomethod.Role[iomethod.Mapper]{
			Calls: []string{"mmap", "munmap"},
			New:   func(c iomethod.Config) (iomethod.Mapper, error) { return m.new(c), nil },
		}})
	}
	for _, m := range wrongFileReaders {
		iomethod.Register(iomethod.Method{Name: m.name, Doc: m.doc, Idiomatic: true, Reader: iomethod.Role[iomethod.Reader]{
			Calls: []string{"pread64"},
			New: func(c iomethod.Config) (iomethod.Reader, error) {
				f, err := os.Open(c.Path)
				if err != nil {
					return nil, err
				}
				w := &wrong{f: f, buf: make([]byte, c.Block), read: m.read}
				if m.reopen == nil {
					return w, nil
				}
				return wrongReopener{w, m.reopen}, nil
			},
		}})
	}
	senders := map[string]func(*amiss) iomethod.Sender{
		"wrong.teller":        func(a *amiss) iomethod.Sender { return &teller{amiss: a} },
		"wrong.herald":        func(a *amiss) iomethod.Sender { return herald{a, 1000, 1000} },
		"wrong.herald.silent": func(a *amiss) iomethod.Sender { return herald{a, 0, 1000} },
	}
	for name, of := range senders {
		iomethod.Register(iomethod.Method{Name: name, Doc: "sends as it should, and more", Idiomatic: true, Sender: iomethod.Role[iomethod.Sender]{
			Calls: []string{"pread64", "write"},
			New: func(c iomethod.Config) (iomethod.Sender, error) {
				a, err := amiss{move: func(a *amiss, p *iomethod.Plan) error { return a.send(p, noPiece) }}.opened(c)
				if err != nil {
					return nil, err
				}
				return of(a), nil
			},
		}})
	}
	iomethod.Register(iomethod.Method{Name: "wrong.picky", Doc: "refuses to sync at the end and to write in any order, and cannot sync each block", Idiomatic: true, Writer: iomethod.Role[iomethod.Writer]{
		Calls: pwrites,
		New: func(c iomethod.Config) (iomethod.Writer, error) {
			switch c.Sync {
			case iomethod.SyncEnd:
				refusals++
				return nil, errPicky
			case iomethod.SyncBlock:
				return nil, errFails
			}
			return amiss{write: func(a *amiss, p *iomethod.Plan, produce iomethod.Producer) error {
				if p.Order != nil {
					return errPicky
				}
				return a.writePieces(p, produce, noPiece)
			}}.opened(c)
		},
	}})
})

// wrongMover is a method with that job in that role.
func wrongMover(name, doc, role string, move func(*amiss, *iomethod.Plan) error, calls []string) iomethod.Method {
	m := iomethod.Method{Name: name, Doc: doc, Idiomatic: true}
	open := amiss{move: move}.opened
	switch role {
	case "sender":
		m.Sender = iomethod.Role[iomethod.Sender]{Calls: calls, New: func(c iomethod.Config) (iomethod.Sender, error) { return open(c) }}
	case "receiver":
		m.Receiver = iomethod.Role[iomethod.Receiver]{Calls: calls, New: func(c iomethod.Config) (iomethod.Receiver, error) { return open(c) }}
	case "relay":
		m.Relay = iomethod.Role[iomethod.Relay]{Calls: calls, New: func(c iomethod.Config) (iomethod.Relay, error) { return open(c) }}
	case "copier":
		m.Copier = iomethod.Role[iomethod.Copier]{Calls: calls, New: func(c iomethod.Config) (iomethod.Copier, error) { return open(c) }}
	}
	return m
}

// The size of the jobs here, and of a block.
const (
	roleSize  = 1 << 20
	roleBlock = 64 << 10
)

// roleCell reads a cell's name, and gives it what every cell of its benchmark has.
func roleCell(t *testing.T, name string) Cell {
	t.Helper()
	c, err := ParseCell(name)
	if err != nil {
		t.Fatal(err)
	}
	c.Size = cmp.Or(c.Size, roleSize)
	if c.Benchmark != "Map" && c.Benchmark != "Open" {
		c.Block = roleBlock
	}
	switch c.Benchmark {
	case "Read", "Send", "Copy", "Parallel":
		c.Cache = "warm"
		c.Consume = cmp.Or(c.Consume, usualConsumer)
	}
	return c
}

// roleLine measures one cell for so long, with that counter, and returns its line.
func roleLine(t *testing.T, benchTime, counter, name string) string {
	t.Helper()
	c := roleCell(t, name)
	w, _ := workloadOf(c.Benchmark)
	o := Options{
		Workloads: []string{w.name}, Methods: []string{c.Method}, Caches: []string{"warm"}, Blocks: []int{roleBlock},
		Dir: disk(t), Size: roleSize, Counter: counter,
	}
	return roundOf(t, benchTime, o, true, c)[0]
}

// hurryChildren has no child sleep for a second at its end, under the race detector.
func hurryChildren(t *testing.T) { t.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) }

func TestWrongRolesFail(t *testing.T) {
	registerWrongRoles()
	hurryChildren(t)
	const (
		wrongByte = "verification failed: byte 0x"
		noByte    = "verification failed: no byte at offset "
		wrongSum  = "verification failed: sum "
		arrived   = "verification failed: %d bytes arrived, want 1048576"
		fellBack  = "not the declared path: %s(2) is declared and was not made; seen: "
		also      = "not the declared path: %s(2) is not declared and was made; seen: "
		hurried   = "time each block: 0 of 16 were awaited"
	)
	less := func(n int) string { return fmt.Sprintf(arrived, roleSize-n) }
	for _, c := range []struct {
		cell, want string
		counted    bool // it is found out by its calls
	}{
		{"Write/pattern=seq/sync=none/method=wrong.write.nothing", wrongByte, false},
		{"Write/pattern=append/sync=none/method=wrong.write.nothing", noByte + "0,", false},
		{"Write/pattern=seq/sync=none/method=wrong.write.once", wrongByte, false},
		{"Write/pattern=append/sync=none/method=wrong.write.once", noByte + "0,", false},
		{"Write/pattern=seq/sync=none/method=wrong.write.stale", wrongByte, false},
		{"Write/pattern=append/sync=none/method=wrong.write.stale", wrongByte, false},
		{"Write/pattern=seq/sync=none/method=wrong.write.short", wrongByte, false},
		{"Write/pattern=append/sync=none/method=wrong.write.short", noByte + "983040,", false},
		{"Write/pattern=rand/sync=none/method=wrong.write.misplaced", wrongByte, false},
		{"Write/pattern=append/sync=none/method=wrong.write.misplaced", wrongByte, false},
		{"Write/pattern=seq/sync=none/method=wrong.write.timed", "time each block: " + wrongByte, false},
		{"Write/pattern=append/sync=none/method=wrong.write.timed", "time each block: " + noByte + "0,", false},
		{"Write/pattern=seq/sync=none/method=wrong.write.hasty", hurried, false},
		{"Write/pattern=seq/sync=end/method=wrong.write.unsynced", fmt.Sprintf(fellBack, "fdatasync"), true},
		{"Write/pattern=seq/sync=block/method=wrong.write.syncsonce", "is due after each of 16 pieces", true},
		{"Write/pattern=seq/sync=end/method=wrong.write.fsync", fmt.Sprintf(fellBack, "fdatasync"), true},
		{"Write/pattern=seq/sync=end/method=wrong.write.vectored", fmt.Sprintf(also, "pwritev"), true},
		{"Receive/transport=tcp/method=wrong.receive.byte", noByte + "1048575,", false},
		{"Receive/transport=unix/method=wrong.receive.byte", noByte + "1048575,", false},
		{"Receive/transport=tcp/method=wrong.receive.once", wrongByte, false},
		{"Receive/transport=tcp/method=wrong.receive.splice", fmt.Sprintf(fellBack, "splice"), true},
		{"Relay/transport=tcp/method=wrong.relay.byte", wrongSum, false},
		{"Relay/transport=unix/method=wrong.relay.byte", wrongSum, false},
		{"Relay/transport=tcp/method=wrong.relay.early", less(1), false},
		{"Relay/transport=tcp/method=wrong.relay.splice", fmt.Sprintf(fellBack, "splice"), true},
		{"Copy/method=wrong.copy.hole", wrongSum, false},
		{"Copy/method=wrong.copy.short", less(roleBlock), false},
		{"Copy/method=wrong.copy.once", less(roleSize), false},
		{"Copy/method=wrong.copy.range", fmt.Sprintf(fellBack, "copy_file_range"), true},
		{"Map/touch=read/method=wrong.map.less", "verification failed: ", false},
		{"Map/touch=write/method=wrong.map.less", "verification failed: ", false},
		{"Map/touch=read/method=wrong.map.used", wrongSum, false},
		{"Map/touch=read/method=wrong.map.forged", wrongSum, false},
		{"Map/touch=write/method=wrong.map.forged", wrongByte, false},
		{"Map/touch=write/method=wrong.map.leaks", fmt.Sprintf(fellBack, "munmap"), true},
		{"Open/size=64KiB/files=4/method=wrong.open.first", wrongSum, false},
		{"Open/size=64KiB/files=4/method=wrong.open.leaks", fmt.Sprintf(fellBack, "close"), true},
		{"Parallel/pattern=seq/workers=2/as=threads/method=wrong.parallel.first", wrongSum, false},
		{"Parallel/pattern=seq/workers=2/as=goroutines/method=wrong.parallel.elsewhere", wrongSum, false},
		{"Parallel/pattern=seq/workers=2/as=threads/method=wrong.parallel.idle", less(roleSize / 2), false},
	} {
		t.Run(c.cell, func(t *testing.T) {
			counter := "none"
			if c.counted {
				counter = ""
				if source, why := open(t, Options{Size: roleSize, Blocks: []int{roleBlock}}).Counter(); source == "" {
					t.Skip(why)
				}
			}
			line := roleLine(t, "1x", counter, c.cell)
			head := fmt.Sprintf("# failed: Benchmark%s: ", roleCell(t, c.cell).Name())
			if !strings.HasPrefix(line, head) || !strings.Contains(line, c.want) {
				t.Errorf("got %q, want %s…%s…", line, head, c.want)
			}
		})
	}
	for _, f := range leaked {
		f.Close()
	}
	leaked = nil
}

// A method's own figures are those of the timed jobs: neither the first job nor those
// that are counted, or whose blocks are timed, are among them.
func TestTellerTellsOfTimedJobsAlone(t *testing.T) {
	registerWrongRoles()
	for _, counter := range []string{"none", "auto"} {
		for _, jobs := range []float64{1, 3} {
			v := values(t, roleLine(t, fmt.Sprintf("%vx", jobs), counter, "Send/transport=tcp/method=wrong.teller"))
			if got, ok := v["told-jobs"]; !ok || got != jobs {
				t.Errorf("counter %s: told of %v jobs (%v), want %v", counter, got, ok, jobs)
			}
		}
	}
}

// consumersOf are all that a receiver can do with the bytes on that transport.
func consumersOf(transport string) (names []string) {
	for _, name := range Consumers {
		if name != "copy" && peer.Takes(transport, name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// A header is no part of the bytes that are verified, whoever takes them in; where
// nobody was told of it, it is taken for the file.
func TestPreambleIsSkipped(t *testing.T) {
	registerWrongRoles()
	for _, consume := range consumersOf("tcp") {
		name := "Send/transport=tcp/consume=" + consume + "/method=wrong.herald"
		if line := roleLine(t, "2x", "none", name); !strings.HasPrefix(line, "Benchmark") {
			t.Errorf("%s: got %q, want a result", name, line)
		}
		name += ".silent"
		if line := roleLine(t, "2x", "none", name); !strings.Contains(line, "verification failed: ") {
			t.Errorf("%s: got %q, want the header taken for the file", name, line)
		}
	}
}

// A sink looks at no byte, but it counts them, and tells its CPU time.
func TestSinksCountBytes(t *testing.T) {
	registerWrongRoles()
	for _, transport := range []string{"tcp", "unix"} {
		for _, consume := range consumersOf(transport) {
			name := "Send/transport=" + transport + "/consume=" + consume + "/method="
			for _, counter := range []string{"none", "auto"} {
				v := values(t, roleLine(t, "2x", counter, name+"read+write"))
				for _, unit := range []string{"peer-cpu-ns/op", "cpu-ns/op", "MB/s"} {
					if v[unit] <= 0 {
						t.Errorf("%sread+write: %v %s, want more than 0", name, v[unit], unit)
					}
				}
			}
			want := fmt.Sprintf("verification failed: %d bytes arrived, want %d", roleSize-roleBlock, roleSize)
			if line := roleLine(t, "1x", "none", name+"wrong.send.early"); !strings.Contains(line, want) {
				t.Errorf("%swrong.send.early: got %q, want …%s", name, line, want)
			}
		}
	}
}

// What a method refuses is one line, with the reason, and no cells; what fails is a
// cell still. It is tried once.
func TestRefusalIsOneSkip(t *testing.T) {
	registerWrongRoles()
	refusals = 0
	s := open(t, Options{
		Workloads: []string{"write"}, Methods: []string{"wrong.picky"}, Size: roleSize, Blocks: []int{4 << 10, roleBlock},
		Patterns: []string{"seq", "rand"}, Syncs: []string{"none", "end", "block"}, Counter: "none",
	})
	cells, skips := s.Cells()
	var got []string
	for _, c := range cells {
		if c.Benchmark == "Write" {
			got = append(got, c.Name())
		}
	}
	slices.Sort(got)
	if want := []string{
		"Write/pattern=rand/sync=block/size=1MiB/block=64KiB/method=wrong.picky",
		"Write/pattern=rand/sync=block/size=256KiB/block=4KiB/method=wrong.picky",
		"Write/pattern=seq/sync=block/size=1MiB/block=64KiB/method=wrong.picky",
		"Write/pattern=seq/sync=block/size=256KiB/block=4KiB/method=wrong.picky",
		"Write/pattern=seq/sync=none/size=1MiB/block=4KiB/method=wrong.picky",
		"Write/pattern=seq/sync=none/size=1MiB/block=64KiB/method=wrong.picky",
	}; !slices.Equal(got, want) {
		t.Errorf("cells:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	slices.SortFunc(skips, func(a, b Skip) int { return strings.Compare(a.What, b.What) })
	if want := []Skip{
		{"Write/pattern=rand/sync=end/method=wrong.picky", errPicky.Error()},
		{"Write/pattern=rand/sync=none/method=wrong.picky", errPicky.Error()},
		{"Write/pattern=seq/sync=end/method=wrong.picky", errPicky.Error()},
	}; !slices.Equal(skips, want) {
		t.Errorf("skipped %v, want %v", skips, want)
	}
	again, skipsAgain := s.Cells()
	slices.SortFunc(skipsAgain, func(a, b Skip) int { return strings.Compare(a.What, b.What) })
	if !reflect.DeepEqual(again, cells) || !reflect.DeepEqual(skipsAgain, skips) {
		t.Errorf("the second time: %v, %v, want %v, %v", again, skipsAgain, cells, skips)
	}
	if refusals != 2 { // once in each pattern
		t.Errorf("sync=end was tried %d times, want 2", refusals)
	}
	line, err := s.line(roleCell(t, "Write/pattern=seq/sync=block/method=wrong.picky"))
	if !errors.Is(err, errFails) || !strings.HasPrefix(line, "# failed: ") {
		t.Errorf("the cell that fails: %q, %v, want %v", line, err, errFails)
	}
}

// A transport is refused as a policy is: one line, whatever the blocks.
func TestRefusalOfTransport(t *testing.T) {
	hurryChildren(t)
	s := open(t, Options{
		Workloads: []string{"send"}, Methods: []string{"net.http"}, Transports: []string{"tcp", "unix"}, Consumers: []string{"sum"},
		Caches: []string{"warm"}, Size: roleSize, Blocks: []int{4 << 10, roleBlock}, Counter: "none",
	})
	cells, skips := s.Cells()
	cells = slices.DeleteFunc(cells, func(c Cell) bool { return c.Benchmark != "Send" })
	if len(cells) != 2 || cells[0].Transport != "tcp" || cells[1].Transport != "tcp" {
		t.Errorf("cells: %v, want tcp alone", cells)
	}
	if len(skips) != 1 || skips[0].What != "Send/transport=unix/method=net.http" || !strings.Contains(skips[0].Reason, "send by TCP") {
		t.Errorf("skipped %v, want net.http on unix", skips)
	}
}

// What has one cache state is measured in that one alone, and the other is not said
// to be skipped: it has no meaning.
func TestMethodsOfOneCacheState(t *testing.T) {
	only := map[string]string{"mmap+kept": "warm", "memfd": "warm", "odirect": "cold"}
	o := Options{Workloads: []string{"read"}, Patterns: []string{"seq"}, Consumers: []string{"sum"}, Size: roleSize, Blocks: []int{roleBlock}, Counter: "none"}
	for name := range only {
		o.Methods = append(o.Methods, name)
	}
	s := open(t, o)
	cells, skips := s.Cells()
	got := map[string][]string{}
	for _, c := range cells {
		if c.Benchmark == "Read" {
			got[c.Method] = append(got[c.Method], c.Cache)
		}
	}
	for name, cache := range only {
		want := []string{cache}
		if s.lacks()[name] != nil || s.provable(cache) != nil {
			want = nil
		}
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: cells in the states %v, want %v", name, got[name], want)
		}
	}
	for _, skip := range skips {
		if strings.Contains(skip.What, "Read/") {
			t.Errorf("skipped %v, want no such line", skip)
		}
	}
}

// What is before and after a job is once a job, and not in its time, nor what it
// uses in the job's.
func TestBeforeAndAfterAreNotTimed(t *testing.T) {
	const jobs, pause = 4, 50 * time.Millisecond
	s := open(t, Options{Size: roleSize, Counter: "none"})
	var seen []string
	step := func(name string, rest time.Duration) func() error {
		return func() error {
			seen = append(seen, name)
			if rest == 0 {
				return nil
			}
			time.Sleep(rest)
			return touchFresh(ownFaults)
		}
	}
	work := &task{
		Job:    counters.Job{Begin: step("begin", 0), Move: step("move", 0), End: step("end", 0)},
		before: step("before", pause), after: step("after", pause),
	}
	defer setBenchTime(t, fmt.Sprintf("%dx", jobs))()
	var used counters.Usage
	var err error
	r := testing.Benchmark(func(b *testing.B) {
		seen = nil
		used, err = s.time(b, work, new(residency), new(residency))
	})
	if err != nil {
		t.Fatal(err)
	}
	one := []string{"before", "begin", "move", "end", "after"}
	if want := slices.Repeat(one, jobs); r.N != jobs || !slices.Equal(seen, want) {
		t.Errorf("%d jobs: %v, want %v", r.N, seen, want)
	}
	if took := time.Duration(r.NsPerOp()); took > pause/2 {
		t.Errorf("a job that does nothing took %v, want none of the %v before it or after it", took, pause)
	}
	if used.MinorFaults > ownFaults/2 {
		t.Errorf("jobs that do nothing had %d minor faults, want none of the %d before and after each", used.MinorFaults, ownFaults)
	}
}

// The counted job and the first one have theirs as well.
func TestBeforeAndAfterAreInEveryPass(t *testing.T) {
	s := open(t, Options{Size: roleSize, Counter: "none"})
	var seen []string
	step := func(name string) func() error {
		return func() error { seen = append(seen, name); return nil }
	}
	work := &task{Job: counters.Job{Begin: step("begin"), Move: step("move"), End: step("end")}, before: step("before"), after: step("after")}
	job := s.prepared(work)
	for name, run := range map[string]func() error{
		"first":   work.once,
		"counted": func() error { return errors.Join(job.Begin(), job.Move(), job.End()) },
	} {
		seen = nil
		if err := run(); err != nil || !slices.Equal(seen, []string{"before", "begin", "move", "end", "after"}) {
			t.Errorf("the %s job: %v, %v", name, seen, err)
		}
	}
}

// setBenchTime sets for how long a benchmark runs, and returns what undoes it.
func setBenchTime(t *testing.T, benchTime string) func() {
	t.Helper()
	f := flag.Lookup("test.benchtime")
	before := f.Value.String()
	if err := flag.Set(f.Name, benchTime); err != nil {
		t.Fatal(err)
	}
	return func() { flag.Set(f.Name, before) }
}

// The workers' faults are the job's, though they are on other threads.
func TestParallelIsMeteredWhole(t *testing.T) {
	registerWrongRoles()
	for _, as := range Workers {
		for _, workers := range []int{1, 3} {
			v := values(t, roleLine(t, "3x", "none", fmt.Sprintf("Parallel/pattern=seq/workers=%d/as=%s/method=wrong.faulting", workers, as)))
			want := float64(workers * ownFaults)
			if got := v["minflt/op"]; got < want || got > 1.5*want {
				t.Errorf("%d %s: %v minflt/op, want %v and a few of the process's own", workers, as, got, want)
			}
		}
	}
}

// needTrace skips where calls cannot be counted by ptrace.
func needTrace(t *testing.T) {
	t.Helper()
	hurryChildren(t)
	if err := counters.ProbeTrace(); err != nil {
		t.Skip(err)
	}
}

// The workers' calls add up, where they can be counted: a traced thread's marks are
// its own.
func TestParallelCallsAddUp(t *testing.T) {
	name := func(workers int, as string) string {
		return fmt.Sprintf("Parallel/pattern=rand/workers=%d/as=%s/method=pread", workers, as)
	}
	t.Run("tracepoint", func(t *testing.T) {
		needTracepoints(t)
		for _, as := range Workers {
			for _, workers := range []int{1, 2, 3} {
				v := values(t, roleLine(t, "1x", "tracepoint", name(workers, as)))
				want, slack := float64(roleSize/roleBlock), 0.0
				if instrumented() {
					slack = float64(8 * workers)
				}
				if got, ok := v["syscalls/op"]; !ok || got < want || got > want+slack {
					t.Errorf("%d %s: %v syscalls/op (%v), want %v", workers, as, got, ok, want)
				}
			}
		}
	})
	t.Run("ptrace", func(t *testing.T) {
		needTrace(t)
		v := values(t, roleLine(t, "1x", "ptrace", name(2, "threads")))
		if got, ok := v["syscalls/op"]; ok || v["ns/op"] <= 0 {
			t.Errorf("%v syscalls/op (%v) by ptrace, want a result without", got, ok)
		}
	})
}

// A traced child does each workload's job, finds the files that it writes, and
// starts the other processes that it needs.
func TestTracedCellOfEachWorkload(t *testing.T) {
	needTrace(t)
	const blocks, mappings = roleSize / roleBlock, mapBytes / roleSize
	type count struct{ least, most float64 }
	exact := func(n float64) count { return count{n, n} }
	cells := map[string]count{
		"Read/pattern=seq/method=pread":               exact(blocks),
		"Write/pattern=append/sync=end/method=pwrite": exact(blocks + 1),
		"Write/pattern=rand/sync=none/method=pwrite":  exact(blocks),
		"Send/transport=unix/method=read+write":       {2 * blocks, 1000},
		"Receive/transport=unix/method=read+write":    {2 * blocks, 1000},
		"Relay/transport=unix/method=read+write":      {2 * blocks, 1000},
		"Copy/method=mmap+mmap":                       {4, 100},
		"Channel/what=roundtrip/method=pipe":          {2 * blocks, 1000},
		"Map/touch=write/method=map+shared":           {2 * mappings, 5 * mappings},
		"Open/size=64KiB/files=4/method=mmap":         exact(4 * 5), // openat, fstat, mmap, munmap, close
	}
	covered := map[string]bool{"Parallel": true} // see TestParallelCallsAddUp
	for name, want := range cells {
		c := roleCell(t, name)
		covered[c.Benchmark] = true
		if m, ok := iomethod.Lookup(c.Method); !ok {
			t.Errorf("%s: there is no such method", name)
			continue
		} else if w, _ := workloadOf(c.Benchmark); !m.Fills(w.role) {
			t.Errorf("%s: the method is no %s", name, w.role)
			continue
		}
		if instrumented() {
			want.most += 8
		}
		line := roleLine(t, "1x", "ptrace", name)
		if got, ok := values(t, line)["syscalls/op"]; !ok || got < want.least || got > want.most {
			t.Errorf("%s: %v syscalls/op (%v), want %v to %v: %s", name, got, ok, want.least, want.most, line)
		}
	}
	for _, w := range matrix {
		if !covered[w.benchmark] {
			t.Errorf("no cell of %s was traced", w.benchmark)
		}
	}
}
