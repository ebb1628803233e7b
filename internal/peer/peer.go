// Package peer is the other side of a socket: a child process that receives,
// counts and verifies, or one that sends, away from the process that is measured
// and, where there are two, on another CPU.
//
// The child is the running program itself, started again: any program that
// imports this package becomes a [Receiver] or a [Source], before its main, when
// the environment says so. It lives as long as its sockets do, so that it ends
// however its parent ends.
package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"iopath/workloads"
)

// Transports names the sockets that there are: TCP over loopback, Unix stream
// sockets, and TCP between two network namespaces across a pair of virtual
// Ethernet devices (veth(4)), which takes root. Loopback hands the sender's pages
// to the receiver inside one function call; a veth pair goes through the queues
// of two devices, as a container's traffic does.
var Transports = []string{"tcp", "unix", "veth"}

// Sinks names what a receiver can do with the bytes beside feeding a consumer
// (see workloads.Consumers). None looks at them: a digest of theirs has Bytes alone.
//
//   - drain reads them into a buffer.
//   - trunc has TCP drop them in the kernel, without a copy (MSG_TRUNC, tcp(7)).
//   - splice moves them by splice(2) into an unnamed file.
var Sinks = []string{"drain", "trunc", "splice"}

// Sums reports whether a receiver's digest has a sum with that consumer.
func Sums(consumer string) bool { return !slices.Contains(Sinks, consumer) }

// Takes reports whether a receiver can be of that consumer or sink on that
// transport: an error that matches errors.ErrUnsupported says what stands in the way.
func Takes(transport, consumer string) error {
	switch known := slices.Concat(workloads.Consumers, Sinks); {
	case !slices.Contains(known, consumer):
		return fmt.Errorf("what a receiver does with the bytes, %q, is unknown (known: %v)", consumer, known)
	case consumer == "trunc" && transport == "unix":
		return fmt.Errorf("drop what comes in by a Unix socket: of streams, only TCP has MSG_TRUNC (take drain): %w", errors.ErrUnsupported)
	}
	return nil
}

// Block is the size in bytes of a child's buffer: a receiver verifies whole
// buffers, a source sends them. It stays inside a CPU's own cache.
const Block = 256 << 10

// A Report is what a child says of one job.
type Report struct {
	workloads.Digest // of a source: Bytes alone
	// CPU is the time that the child's thread ran, from the job's begin to
	// its end: user and system together.
	CPU time.Duration
	// UserCPU and SystemCPU are how the kernel divides it, by samples at its
	// ticks (see counters.Usage).
	UserCPU, SystemCPU time.Duration
}

// Available reports whether this process can have sockets of that transport: an
// error that matches errors.ErrUnsupported says what it lacks.
func Available(transport string) error {
	a, b, err := Pair(transport)
	if err != nil {
		return err
	}
	return errors.Join(a.Close(), b.Close())
}

// Pair returns two connected, blocking stream sockets of that transport. Its error
// matches errors.ErrUnsupported where the machine or the user's rights do not bear
// it.
func Pair(transport string) (a, b *os.File, err error) {
	switch transport {
	case "tcp":
		a, b, err = tcpPair()
	case "unix":
		a, b, err = unixPair()
	case "veth":
		a, b, err = vethPair()
	default:
		err = fmt.Errorf("transport is unknown (known: %v)", Transports)
	}
	for _, f := range []*os.File{a, b} {
		if err == nil {
			err = block(f) // what net makes does not block
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect two sockets over %s: %w", transport, err)
	}
	return a, b, nil
}

func tcpPair() (a, b *os.File, err error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	return connect(l)
}

// connect returns the two ends of a connection to the listener, from the calling
// thread's network namespace.
func connect(l *net.TCPListener) (a, b *os.File, err error) {
	dialed, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		return nil, nil, err
	}
	defer dialed.Close()
	accepted, err := l.AcceptTCP()
	if err != nil {
		return nil, nil, err
	}
	defer accepted.Close()
	// Somebody else may have been faster to connect.
	if accepted.RemoteAddr().String() != dialed.LocalAddr().String() {
		return nil, nil, fmt.Errorf("accepted %s instead of %s", accepted.RemoteAddr(), dialed.LocalAddr())
	}
	if a, err = dialed.File(); err != nil { // a duplicate
		return nil, nil, err
	}
	if b, err = accepted.File(); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}
