//go:build unix

package iomethod

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	Register(Method{
		Name:      "net.http",
		Doc:       "Go's http.ServeContent, one response a job: its header and 512 bytes by read and write, the rest by sendfile(2)",
		Idiomatic: true,
		Whole:     true,
		Sender:    Role[Sender]{Calls: []string{"read", "write", "sendfile"}, New: newHTTPSender},
	})
}

// httpSniffed is how many bytes net/http reads and writes before it leaves the
// rest to the connection's ReadFrom, which calls sendfile(2).
const httpSniffed = 512

// An httpSender is a server of one file on one connection. The other side is no
// client: it only takes in what arrives. The requests come from memory.
//
// The server has a goroutine of its own, on whatever thread, where what it costs
// is nobody's. So it takes requests and hands them to the job's goroutine, which
// answers them there. What is left out of the job's CPU time and of its system
// calls is to parse the request.
type httpSender struct {
	f        *os.File
	size     int64 // of the file
	preamble int64 // of a response, before the file's bytes
	socket   int
	server   http.Server
	ended    chan error // what Serve returned
	conn     *httpConn
	client   net.Conn // where requests are written
	requests chan httpRequest
	answered chan struct{}
}

type httpRequest struct {
	w http.ResponseWriter
	r *http.Request
}

func newHTTPSender(c Config) (Sender, error) {
	f, err := openFile(c)
	if err != nil {
		return nil, err
	}
	s := &httpSender{f: f, socket: c.Socket}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := s.measure(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start starts the server.
func (s *httpSender) start() error {
	conn, err := netConn(s.socket)
	if err != nil {
		return err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		err := fmt.Errorf("net/http sends by read(2) and write(2) on a %s socket: %w (send by TCP)", conn.LocalAddr().Network(), errors.ErrUnsupported)
		return errors.Join(err, closeConn(conn, s.socket))
	}
	client, requests := net.Pipe()
	s.client, s.conn = client, &httpConn{TCPConn: tcp, requests: requests}
	s.requests, s.answered = make(chan httpRequest), make(chan struct{})
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests <- httpRequest{w, r}
		<-s.answered
	})
	s.ended = make(chan error)
	listener := httpListener{make(chan net.Conn, 1), tcp.LocalAddr()}
	listener.conns <- s.conn
	go func() { s.ended <- s.server.Serve(listener) }()
	return nil
}

// measure asks for the header alone, and keeps it from the socket.
func (s *httpSender) measure() error {
	st, err := s.f.Stat()
	if err != nil {
		return err
	}
	s.size = st.Size()
	s.conn.dry = true
	err = s.answer("HEAD")
	s.conn.dry = false
	s.preamble = s.conn.sent
	return err
}

// answer has the server take a request, and answers it.
func (s *httpSender) answer(method string) error {
	if _, err := io.WriteString(s.client, method+" /file HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	request := <-s.requests
	s.conn.sent, s.conn.err = 0, nil
	// Else it would be guessed from bytes that are read for nothing else.
	request.w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(request.w, request.r, "", time.Time{}, s.f)
	// What is still buffered would else be written when the handler returns.
	err := http.NewResponseController(request.w).Flush()
	if s.conn.err != nil {
		err = s.conn.err // which ServeContent keeps to itself
	}
	s.answered <- struct{}{}
	return err
}

// Send serves the whole file. A part of it wants a header of another length.
func (s *httpSender) Send(p *Plan) error {
	switch end := p.Start + p.Length; {
	case p.Length == 0:
		return nil
	case end > s.size:
		return io.ErrUnexpectedEOF
	case p.Order != nil || p.Length < s.size:
		return fmt.Errorf("net.http sends a whole file, in order: %w", errors.ErrUnsupported)
	case p.Length <= httpSniffed:
		return fmt.Errorf("net/http sends a file of %d bytes by read(2) and write(2): %w (send more than %d)", p.Length, errors.ErrUnsupported, httpSniffed)
	}
	if err := s.answer("GET"); err != nil {
		return err
	}
	if want := s.preamble + p.Length; s.conn.sent != want {
		return fmt.Errorf("net/http sent %d bytes, want %d: the file has changed: %w", s.conn.sent, want, io.ErrUnexpectedEOF)
	}
	return nil
}

// Preamble returns the length of the header.
func (s *httpSender) Preamble() int { return int(s.preamble) }

// Close makes the socket block again: net.FileConn cleared that for all who
// share it.
func (s *httpSender) Close() error {
	err := s.server.Close() // and with it the connection
	if ended := <-s.ended; ended != http.ErrServerClosed {
		err = errors.Join(err, ended)
	}
	return errors.Join(err, s.client.Close(), unix.SetNonblock(s.socket, false), s.f.Close())
}

// An httpConn takes requests from memory, and counts the bytes that it sends. It
// has the ReadFrom that net/http looks for. Its fields are the job's while the
// server waits for an answer.
type httpConn struct {
	*net.TCPConn
	requests net.Conn
	dry      bool  // it sends nothing, and only counts
	sent     int64 // bytes of this answer
	err      error // the first one of this answer
}

func (c *httpConn) Read(b []byte) (int, error)        { return c.requests.Read(b) }
func (c *httpConn) SetReadDeadline(t time.Time) error { return c.requests.SetReadDeadline(t) }
func (c *httpConn) Close() error                      { return errors.Join(c.TCPConn.Close(), c.requests.Close()) }

func (c *httpConn) Write(b []byte) (n int, err error) {
	if n = len(b); !c.dry {
		n, err = c.TCPConn.Write(b)
	}
	c.note(int64(n), err)
	return n, err
}

func (c *httpConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.note(n, err)
	return n, err
}

func (c *httpConn) note(n int64, err error) {
	c.sent += n
	if c.err == nil {
		c.err = err
	}
}

// An httpListener accepts the connections that it is given.
type httpListener struct {
	conns chan net.Conn
	addr  net.Addr
}

func (l httpListener) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l httpListener) Addr() net.Addr { return l.addr }
func (l httpListener) Close() error   { close(l.conns); return nil }
