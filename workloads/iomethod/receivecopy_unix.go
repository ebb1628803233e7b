//go:build unix

package iomethod

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
)

type copyReceiver struct {
	f      *os.File
	conn   net.Conn
	socket int
}

// newCopyReceiver refuses systems other than Linux: there os.File reads and writes.
func newCopyReceiver(c Config) (Receiver, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("io.Copy from a socket to a file by splice(2) on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	f, err := openTarget(c, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	conn, err := netConn(c.Socket)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &copyReceiver{f, conn, c.Socket}, nil
}

// Receive has os.File.ReadFrom splice from the connection, which it finds behind
// the io.LimitedReader that io.CopyN puts before it.
func (r *copyReceiver) Receive(p *Plan) error {
	if p.Length == 0 {
		return nil
	}
	if p.Order != nil {
		return fmt.Errorf("io.Copy to pieces of a file: %w", errors.ErrUnsupported)
	}
	if _, err := r.f.Seek(p.Start, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(r.f, r.conn, p.Length)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (r *copyReceiver) Close() error {
	return errors.Join(closeConn(r.conn, r.socket), r.f.Close())
}
