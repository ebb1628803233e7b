// Package peer is the other side of a socket: a child process that receives,
// counts and verifies, away from the process that is measured and, where there
// are two, on another CPU.
//
// The child is the running program itself, started again: any program that
// imports this package becomes a receiver, before its main, when the
// environment says so. It lives as long as its sockets do, so that it ends
// however its parent ends.
package peer

import (
	"fmt"
	"net"
	"os"
	"time"

	"iopath/workloads"
)

// Transports names the sockets that there are: TCP over loopback, and Unix
// stream sockets.
var Transports = []string{"tcp", "unix"}

// Block is the size in bytes of the receiver's buffer: it verifies whole
// buffers. It stays inside a CPU's own cache.
const Block = 256 << 10

// A Report is what a receiver says of one job.
type Report struct {
	workloads.Digest
	// CPU is the time that the receiver's thread ran, from the job's begin to
	// its end: user and system together.
	CPU time.Duration
	// UserCPU and SystemCPU are how the kernel divides it, by samples at its
	// ticks (see counters.Usage).
	UserCPU, SystemCPU time.Duration
}

// Pair returns two connected, blocking stream sockets of that transport.
func Pair(transport string) (a, b *os.File, err error) {
	switch transport {
	case "tcp":
		a, b, err = tcpPair()
	case "unix":
		a, b, err = unixPair()
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
