package bench

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"iopath/internal/datafile"
)

// The CPU that sent a file's pages keeps them, until it handles another packet, also
// from who now runs on another one.
func TestColdAfterAnotherCPUSent(t *testing.T) {
	needCold(t, open(t, Options{Size: 1 << 20, Counter: "none"}))
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < 2 && cpu < 1024; cpu++ {
		if mine.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < 2 {
		t.Skip("there is one CPU")
	}
	const size = 1 << 20
	path := filepath.Join(disk(t), "data")
	b := make([]byte, size)
	if _, err := datafile.Content(size).ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer unix.SchedSetaffinity(0, &mine)
	for round := range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				runtime.LockOSThread() // on that CPU until it ends
				var other unix.CPUSet
				other.Set(cpus[1])
				unix.SchedSetaffinity(0, &other)
				_, err = io.CopyN(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, size)
				defer c.Close()
			}
			received <- err
		}()
		var one unix.CPUSet
		one.Set(cpus[0])
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		var at int64
		for at < size {
			if _, err := unix.Sendfile(int(raw.Fd()), int(f.Fd()), &at, size); err != nil && !errors.Is(err, unix.EAGAIN) {
				t.Fatal(err)
			}
		}
		if err := <-received; err != nil {
			t.Fatal(err)
		}
		one.Zero()
		one.Set(cpus[1])
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		if _, err := makeCold(f); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		raw.Close()
		c.Close()
		l.Close()
	}
}
