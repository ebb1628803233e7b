// Package iomethod says how bytes move: a registry of methods, one file each.
//
// A [Method] is one way of moving bytes, such as pread or sendfile. For each
// [Role] that it can fill it names the system calls that it must be seen to
// make, and a constructor. What it is given to do is a [Plan]: which bytes, in
// which order. What it must not do is take another path than the one it is
// named after: a method that cannot take its path returns an error, because
// the figure it would otherwise leave behind carries the wrong name.
//
// To add a method, add one file that calls [Register] from an init function.
// It then appears in the benchmarks, in the conformance tests (package
// iomethodtest), in the tables and in the charts.
//
// The package needs nothing but golang.org/x/sys/unix. It does not measure,
// pin, evict or verify; its callers do.
package iomethod

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"
)

// A Consumer is handed each piece of a job: the file offset of its first byte
// and the bytes themselves, which are valid only until it returns. Every
// reader feeds the same consumer, so that no method is charged, or let off, a
// pass over the data that the others make.
type Consumer func(off int64, b []byte)

// A Reader reads a file. It is not safe for concurrent use; its jobs run on
// one goroutine locked to its OS thread.
type Reader interface {
	// Read runs one job: it hands every piece of the plan to consume, in the
	// plan's order. It retries EINTR and continues after short counts. A file
	// that ends before the plan does is io.ErrUnexpectedEOF, also where the
	// kernel says so by SIGBUS.
	Read(p *Plan, consume Consumer) error
	// Close releases what the constructor took.
	Close() error
}

// A Sender writes a file to a connected stream socket. It is not safe for
// concurrent use.
type Sender interface {
	// Send runs one job: it writes every piece of the plan to the socket, in
	// the plan's order, and returns when the kernel has taken the last byte.
	// After an error a Sender can only be closed.
	Send(p *Plan) error
	// Close releases what the constructor took, but not the socket.
	Close() error
}

// A Producer is asked for each piece of a job that a method writes: it returns the
// n bytes that belong at off, which are valid until it is called again and are not
// to be changed. Every writer is fed by the same producer.
type Producer func(off int64, n int) []byte

// A Writer writes a file. It is not safe for concurrent use.
type Writer interface {
	// Write runs one job: it writes every piece of the plan at its offset, in
	// the plan's order, with the bytes that produce returns, and makes them as
	// durable as [Config.Sync] says. Pieces beyond the end of the file extend it.
	// It retries EINTR and continues after short counts.
	Write(p *Plan, produce Producer) error
	// Close releases what the constructor took, and syncs nothing more.
	Close() error
}

// A Receiver writes to a file what comes in by a connected stream socket. It is
// not safe for concurrent use.
type Receiver interface {
	// Receive runs one job: it takes in the bytes of the plan, whose pieces are in
	// ascending order, and writes each to its offset of [Config.Target]. A socket
	// that ends before the plan does is io.ErrUnexpectedEOF. Not a byte more than
	// the plan's is taken from the socket.
	Receive(p *Plan) error
	// Close releases what the constructor took, but not the socket.
	Close() error
}

// A Relay moves bytes from one connected stream socket to another. It is not safe
// for concurrent use.
type Relay interface {
	// Relay runs one job: it takes the plan's Length bytes in by [Config.From], no
	// byte more, and sends them by [Config.Socket], at most Block of them at a
	// time; the offsets mean nothing. A socket that ends before the plan does is
	// io.ErrUnexpectedEOF.
	Relay(p *Plan) error
	// Close releases what the constructor took, but not the sockets.
	Close() error
}

// A Copier copies one file to another. It is not safe for concurrent use.
type Copier interface {
	// Copy runs one job: it copies every piece of the plan, in the plan's order,
	// from [Config.Path] to the same offset of [Config.Target], which it extends
	// where it must. A file that ends before the plan does is
	// io.ErrUnexpectedEOF. After an error a Copier can only be closed.
	Copy(p *Plan) error
	// Close releases what the constructor took.
	Close() error
}

// A Channel is one end of a path between two processes, for both directions. Each
// end is used by one goroutine at a time.
type Channel interface {
	// Files are what the other process needs to attach its end, by
	// [Config.Files]: all of them, in this order. They become the caller's, who
	// closes them once the other end has its own: until then neither end can tell
	// that the other is gone. What nobody asked for, Close closes.
	Files() []*os.File
	// Send hands the plan's pieces, which are in ascending order, to the other
	// end, with the bytes that produce returns. Where the other end is gone it is
	// EPIPE or ECONNRESET, at the latest when the channel is full.
	Send(p *Plan, produce Producer) error
	// Receive takes in the plan's pieces as the other end sends them, and hands
	// each to consume. Where the other end is gone it is io.ErrUnexpectedEOF.
	Receive(p *Plan, consume Consumer) error
	// Close releases this end.
	Close() error
}

// A Mapper makes memory. It is not safe for concurrent use.
type Mapper interface {
	// Map returns n bytes that nobody has touched yet: of the file at
	// [Config.Path] from its start on, or zeros where the method has no file. It
	// is an error for n below 1, and while what it returned last is not given
	// back.
	Map(n int) ([]byte, error)
	// Unmap gives back what Map returned last; where nothing is mapped it is an
	// error.
	Unmap() error
	// Close releases what the constructor took, and unmaps.
	Close() error
}

// A Reopener is a Reader that can go on with another file and keeps its buffers:
// for many small files, each opened, read and closed.
type Reopener interface {
	Reader
	// Reopen closes the file and opens the one at path in its place. It does not
	// allocate, unless the method is idiomatic.
	Reopen(path string) error
}

// A Preambler is a Sender that sends a header before the bytes of each job, as a
// protocol wants it.
type Preambler interface {
	Sender
	// Preamble returns its length in bytes, which is the same for every job of at
	// least one byte; other jobs send nothing.
	Preamble() int
}

// A Teller has figures of its own that nobody else can tell.
type Teller interface {
	// Tell returns them over all jobs since it was called last.
	Tell() []Figure
}

// A Figure is one of them, in a unit as benchmark results have it.
type Figure struct {
	Unit  string // such as "copied-%"
	Value float64
}

// A Sync is how durable a writer makes what it writes, and when.
type Sync string

// The policies. What a method cannot do, such as MS_ASYNC of what is not mapped,
// its constructor refuses by an error that matches errors.ErrUnsupported.
const (
	SyncNone  Sync = "none"  // leave it to the kernel
	SyncEnd   Sync = "end"   // fdatasync(2) or msync(2) with MS_SYNC, once, after the last piece
	SyncBlock Sync = "block" // the same after each piece, of that piece where it is msync
	SyncAsync Sync = "async" // msync(2) with MS_ASYNC after each piece
	SyncDsync Sync = "dsync" // the file is opened with O_DSYNC
	SyncRange Sync = "range" // sync_file_range(2) of each piece, to begin its write-back, and of all at the end, to wait: no promise after a crash
)

// Syncs are the policies, the weakest first.
var Syncs = []Sync{SyncNone, SyncAsync, SyncRange, SyncEnd, SyncDsync, SyncBlock}

// Config is what a constructor gets. A role has no use for the fields that are not
// its own.
type Config struct {
	// Path is the file to read. The method opens it, with the flags it needs.
	Path string
	// Target is the file to write, of a [Writer], a [Receiver] and a [Copier]. It
	// exists; the method opens it, and changes nothing but the bytes of its plans.
	Target string
	// Block is the size in bytes of the largest piece that any plan will have.
	Block int
	// Socket is a connected, blocking stream socket: where a [Sender] and a
	// [Relay] send, and a [Receiver] receives. It stays the caller's.
	Socket int
	// From is such a socket too, where a [Relay] receives.
	From int
	// Sync is a [Writer]'s policy.
	Sync Sync
	// Files are the other end's [Channel.Files], for the end that attaches; nil for
	// the one that makes the channel. The constructor takes them over, also where
	// it fails.
	Files []*os.File
	// RoundTrip tells a [Channel] that each piece is answered by one, so that the
	// calls of both directions are its own.
	RoundTrip bool
	// Write tells a [Mapper] that its memory will be written. A shared mapping is
	// then one of Target, which is long enough, and Path is never changed.
	Write bool
}

// A Role is what a method can be used as. The zero Role is one that the method
// does not fill.
type Role[T any] struct {
	// Calls names the system calls that every job of at least one byte must be
	// seen to make, by their names in the manual (section 2).
	Calls []string
	// Also returns those that it must make besides with that Config. It may be nil.
	Also func(Config) []string
	// Sometimes names calls that are the method's own and that a job makes only now
	// and then, such as futex where it waits for another process: otherwise those
	// of Go's scheduler are not taken for the job's.
	Sometimes []string
	// New opens the file and takes what the jobs need. It is nil where the
	// method cannot fill the role. Its error matches errors.ErrUnsupported where
	// it is the machine, the filesystem or the Config that does not bear it.
	New func(Config) (T, error)
}

// Declared returns all calls that a job with that Config must be seen to make.
func (r Role[T]) Declared(c Config) []string {
	if r.Also == nil {
		return r.Calls
	}
	return append(slices.Clone(r.Calls), r.Also(c)...)
}

// A Method is one way of moving bytes.
type Method struct {
	// Name is how results, flags and charts call it: the system call, or the
	// API for an idiomatic one, with what sets it apart behind a plus sign. It
	// must fit a benchmark's name.
	Name string
	// Doc is one line without a full stop at its end.
	Doc string
	// Idle marks the method that moves nothing and shows the harness's own
	// cost: its jobs hand over empty pieces, and have no throughput.
	Idle bool
	// Idiomatic marks a method that goes through Go's runtime (os, io, net):
	// Go's price is part of what it measures. One that is not makes raw system
	// calls alone, and is run with Go's scheduler out of the way.
	Idiomatic bool
	// Whole marks a method that leaves it to Go's library how a job is cut into
	// pieces: it awaits none of them (see [Plan.Await]), and may refuse a plan
	// of less than the whole file.
	Whole bool
	// Unordered marks a reader with several requests in flight, which hands its
	// pieces to the consumer as they complete.
	Unordered bool
	// Cache is "cold" for a method that goes past the page cache, "warm" for one
	// whose bytes stay mapped or copied between jobs, or that has no need of
	// them: the one state of the page cache that it can be measured in. It is empty where both mean something.
	Cache string
	// Probe reports whether the machine has the method, and the filesystem of
	// Config.Path and Config.Target, two small files: nil where it has, an error
	// matching errors.ErrUnsupported where it lacks it, which names the remedy,
	// any other error where that cannot be told. A nil Probe means every machine
	// has it.
	Probe func(Config) error

	Reader   Role[Reader]
	Writer   Role[Writer]
	Sender   Role[Sender]
	Receiver Role[Receiver]
	Relay    Role[Relay]
	Copier   Role[Copier]
	Channel  Role[Channel]
	Mapper   Role[Mapper]
}

// Roles names the roles that there are.
var Roles = []string{"reader", "writer", "sender", "receiver", "relay", "copier", "channel", "mapper"}

// role returns the calls of the role of that name, and whether the method fills it.
func (m Method) role(name string) (calls []string, fills bool) {
	switch name {
	case "reader":
		return m.Reader.Calls, m.Reader.New != nil
	case "writer":
		return m.Writer.Calls, m.Writer.New != nil
	case "sender":
		return m.Sender.Calls, m.Sender.New != nil
	case "receiver":
		return m.Receiver.Calls, m.Receiver.New != nil
	case "relay":
		return m.Relay.Calls, m.Relay.New != nil
	case "copier":
		return m.Copier.Calls, m.Copier.New != nil
	case "channel":
		return m.Channel.Calls, m.Channel.New != nil
	case "mapper":
		return m.Mapper.Calls, m.Mapper.New != nil
	}
	return nil, false
}

// Fills reports whether the method fills the role of that name.
func (m Method) Fills(role string) bool {
	_, fills := m.role(role)
	return fills
}

// Roles names the roles that the method fills.
func (m Method) Roles() []string {
	var roles []string
	for _, name := range Roles {
		if m.Fills(name) {
			roles = append(roles, name)
		}
	}
	return roles
}

// Calls returns the system calls that the method must make in a role, whatever
// its Config.
func (m Method) Calls(role string) []string {
	calls, _ := m.role(role)
	return calls
}

// Available runs the method's probe on two small files.
func (m Method) Available(c Config) error {
	if m.Probe == nil {
		return nil
	}
	return m.Probe(c)
}

var registry []Method

// Register adds a method. It is called from init functions, and panics where
// the method cannot be told from another one or cannot be named in a result.
func Register(m Method) {
	switch {
	case m.Name == "" || strings.ContainsFunc(m.Name, breaksNames):
		panic(fmt.Sprintf("iomethod.Register: method name %q does not fit a benchmark's name", m.Name))
	case m.Doc == "" || strings.Contains(m.Doc, "\n"):
		panic(fmt.Sprintf("iomethod.Register: method %s wants a Doc of one line", m.Name))
	case len(m.Roles()) == 0:
		panic(fmt.Sprintf("iomethod.Register: method %s fills no role", m.Name))
	}
	at, taken := slices.BinarySearchFunc(registry, m.Name, func(r Method, name string) int {
		return strings.Compare(r.Name, name)
	})
	if taken {
		panic(fmt.Sprintf("iomethod.Register: method %s is registered twice", m.Name))
	}
	registry = slices.Insert(registry, at, m)
}

// breaksNames reports what a value in a benchmark's name cannot hold: the
// separators of names, of flags' lists and of results' fields. A hyphen would
// let "ring-8" be read as "ring" on 8 CPUs.
func breaksNames(r rune) bool { return r <= ' ' || strings.ContainsRune("/=,-\"\x7f", r) }

// All returns the registered methods, sorted by name.
func All() []Method { return slices.Clone(registry) }

// Lookup returns the method of that name.
func Lookup(name string) (Method, bool) {
	for _, m := range registry {
		if m.Name == name {
			return m, true
		}
	}
	return Method{}, false
}

// newBuffer returns n bytes that start 1 KiB into a page, wherever Go's allocator
// puts them: copying a page of the page cache to the same offset of another page
// is 5 % slower at 4 KiB, because loads look like they depend on stores whose
// addresses end alike. malloc in C does not align to pages either.
func newBuffer(n int) []byte {
	const offset = 1 << 10
	page := os.Getpagesize()
	b := make([]byte, n+2*page)
	skip := (offset - int(uintptr(unsafe.Pointer(&b[0]))%uintptr(page)) + page) % page
	for i := 0; i < len(b); i += page {
		b[i] = 0 // present before the first job, which may be a cold one
	}
	return b[skip:][:n:n]
}

// openFile opens a method's file for reading.
func openFile(c Config) (*os.File, error) { return os.Open(c.Path) }
