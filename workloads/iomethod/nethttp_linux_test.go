package iomethod

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// What arrives is HTTP, and its header as long as was said.
func TestHTTPSender(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	socket, theirs := connection(t)
	s, err := newHTTPSender(Config{Path: path, Block: 4096, Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	plan := &Plan{Length: int64(len(content)), Block: 4096}
	for job := range 3 {
		if err := s.Send(plan); err != nil {
			t.Fatal(err)
		}
		arrived := make([]byte, s.(Preambler).Preamble()+len(content))
		if _, err := io.ReadFull(theirs, arrived); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(arrived)), nil)
		if err != nil {
			t.Fatalf("job %d: %v", job, err)
		}
		body, err := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK || err != nil || !bytes.Equal(body, content) {
			t.Errorf("job %d: got status %s and %d bytes of body, %v; want 200 and the file's %d", job, response.Status, len(body), err, len(content))
		}
	}
}

// The trap: what net/http sniffs it sends by read and write, and a file that is no
// longer has no other path.
func TestHTTPSenderRefusesSmallFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for size, refused := range map[int64]bool{1: true, httpSniffed: true, httpSniffed + 1: false} {
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		socket, _ := connection(t)
		s, err := newHTTPSender(Config{Path: path, Block: 4096, Socket: socket})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Send(&Plan{Length: size, Block: 4096}); errors.Is(err, errors.ErrUnsupported) != refused {
			t.Errorf("send %d bytes: %v, want it refused: %v", size, err, refused)
		}
	}
}
