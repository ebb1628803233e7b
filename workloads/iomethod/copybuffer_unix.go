//go:build unix

package iomethod

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

func init() {
	Register(Method{
		Name:      "io.CopyBuffer",
		Doc:       "Go's io.CopyBuffer with a buffer of the block's size, kept off its fast path: as where a reader or a writer is wrapped",
		Idiomatic: true,
		Whole:     true,
		Sender:    Role[Sender]{Calls: []string{"read", "write"}, New: newCopyBufferSender},
	})
}

type copyBufferSender struct {
	f      *os.File
	conn   net.Conn
	socket int
	buf    []byte
}

func newCopyBufferSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	conn, err := netConn(c.Socket)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &copyBufferSender{f, conn, c.Socket, newBuffer(c.Block)}, nil
}

// Send hides the connection's ReadFrom, and the file's WriteTo behind the limit:
// with either, io.CopyBuffer would leave its buffer alone and call sendfile(2).
func (s *copyBufferSender) Send(p *Plan) error {
	if p.Length == 0 {
		return nil
	}
	if p.Order != nil {
		return fmt.Errorf("io.CopyBuffer sends a file in order: %w", errors.ErrUnsupported)
	}
	if _, err := s.f.Seek(p.Start, io.SeekStart); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{s.conn}, io.LimitReader(s.f, p.Length), s.buf[:p.Block])
	if err == nil && n < p.Length {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (s *copyBufferSender) Close() error {
	return errors.Join(closeConn(s.conn, s.socket), s.f.Close())
}
