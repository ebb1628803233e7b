//go:build unix

package iomethod

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

type copyRelay struct {
	from, to             net.Conn
	fromSocket, toSocket int
}

// newCopyRelay refuses what Go does not splice: anything on systems other than
// Linux, and a counted number of bytes to a Unix socket.
func newCopyRelay(c Config) (_ Relay, err error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("io.Copy from socket to socket by splice(2) on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	r := &copyRelay{fromSocket: c.From, toSocket: c.Socket}
	if r.from, err = netConn(c.From); err != nil {
		return nil, err
	}
	if r.to, err = netConn(c.Socket); err != nil {
		return nil, errors.Join(err, r.from.Close(), unix.SetNonblock(c.From, false))
	}
	if _, splices := r.to.(*net.TCPConn); !splices {
		return nil, errors.Join(r.Close(), fmt.Errorf("io.CopyN to a Unix socket reads and writes (take tcp): %w", errors.ErrUnsupported))
	}
	return r, nil
}

// Relay has net.TCPConn.ReadFrom splice from the connection, which it finds behind
// the io.LimitedReader that io.CopyN puts before it.
func (r *copyRelay) Relay(p *Plan) error {
	_, err := io.CopyN(r.to, r.from, p.Bytes())
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (r *copyRelay) Close() error {
	return errors.Join(closeConn(r.from, r.fromSocket), closeConn(r.to, r.toSocket))
}
