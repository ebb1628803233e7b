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

// Config is what a constructor gets.
type Config struct {
	// Path is the file to read. The method opens it, with the flags it needs.
	Path string
	// Block is the size in bytes of the largest piece that any plan will have.
	Block int
	// Socket is a connected, blocking stream socket, for a [Sender]. It stays
	// the caller's.
	Socket int
}

// A Role is what a method can be used as. The zero Role is one that the method
// does not fill.
type Role[T any] struct {
	// Calls names the system calls that every job of at least one byte must be
	// seen to make, by their names in the manual (section 2).
	Calls []string
	// New opens the file and takes what the jobs need. It is nil where the
	// method cannot fill the role.
	New func(Config) (T, error)
}

// A Method is one way of moving bytes.
type Method struct {
	// Name is how results, flags and charts call it: the system call, or the
	// API for an idiomatic one. It must fit a benchmark's name.
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
	// that ends before the file does.
	Whole bool
	// Probe reports whether the machine has the method: nil where it has,
	// an error matching errors.ErrUnsupported where it lacks it, any other
	// error where that cannot be told. A nil Probe means every machine has it.
	Probe func() error

	Reader Role[Reader]
	Sender Role[Sender]
}

// Roles names the roles that there are.
var Roles = []string{"reader", "sender"}

// Roles names the roles that the method fills.
func (m Method) Roles() []string {
	var roles []string
	if m.Reader.New != nil {
		roles = append(roles, "reader")
	}
	if m.Sender.New != nil {
		roles = append(roles, "sender")
	}
	return roles
}

// Calls returns the system calls that the method must make in a role.
func (m Method) Calls(role string) []string {
	switch role {
	case "reader":
		return m.Reader.Calls
	case "sender":
		return m.Sender.Calls
	}
	return nil
}

// Available runs the method's probe.
func (m Method) Available() error {
	if m.Probe == nil {
		return nil
	}
	return m.Probe()
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
