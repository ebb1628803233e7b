//go:build unix

package iomethod

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:      "io.Copy",
		Doc:       "Go's io.Copy between os.File and net.Conn, one call a job: Go chooses the block, and must choose sendfile(2), splice(2) or copy_file_range(2)",
		Idiomatic: true,
		Whole:     true,
		Sender:    Role[Sender]{Calls: []string{"sendfile"}, New: newCopySender},
		Copier:    Role[Copier]{Calls: []string{"copy_file_range"}, New: newIOCopier},
		Receiver:  Role[Receiver]{Calls: []string{"splice"}, New: newCopyReceiver},
		Relay:     Role[Relay]{Calls: []string{"splice"}, New: newCopyRelay},
	})
}

type copySender struct {
	f      *os.File
	conn   net.Conn
	socket int
}

func newCopySender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	conn, err := netConn(c.Socket)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &copySender{f, conn, c.Socket}, nil
}

// netConn returns a net.Conn over a duplicate of the socket: an os.File over
// the socket itself would close it when collected.
func netConn(socket int) (net.Conn, error) {
	fd, err := unix.FcntlInt(uintptr(socket), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // net.FileConn makes a duplicate of its own
	return net.FileConn(f)
}

// closeConn closes what netConn returned, and makes the socket block again:
// net.FileConn cleared that for all who share it.
func closeConn(conn net.Conn, socket int) error {
	return errors.Join(conn.Close(), unix.SetNonblock(socket, false))
}

// Send hands io.Copy the file itself. Behind an io.LimitedReader a Unix socket
// would be fed by read and write without a word, so a plan that ends before the
// file does is refused.
func (s *copySender) Send(p *Plan) error {
	if p.Length == 0 {
		return nil
	}
	st, err := s.f.Stat()
	if err != nil {
		return err
	}
	if p.Order != nil || p.Start+p.Length < st.Size() {
		return fmt.Errorf("io.Copy sends a file in order and to its end: %w", errors.ErrUnsupported)
	}
	if _, err := s.f.Seek(p.Start, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(s.conn, s.f)
	if err == nil && n < p.Length {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (s *copySender) Close() error {
	return errors.Join(closeConn(s.conn, s.socket), s.f.Close())
}
