package iomethod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connection returns two connected, blocking sockets of TCP over loopback. Both
// are closed when the test ends.
func connection(t *testing.T) (ours int, theirs *os.File) {
	t.Helper()
	// A raw call that waits holds its P: the other side needs one of its own, and
	// nothing may stop the world.
	gc, procs := debug.SetGCPercent(-1), runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
	t.Cleanup(func() { debug.SetGCPercent(gc); runtime.GOMAXPROCS(procs) })
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	end := func(c net.Conn) *os.File {
		f, err := c.(*net.TCPConn).File() // a duplicate
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		f.Fd() // makes it block
		return f
	}
	ours = int(end(dialed).Fd())
	return ours, end(accepted)
}

// zerocopies returns a sender of a file of that many bytes.
func zerocopies(t *testing.T, socket int, size int64) *zerocopySender {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := newZerocopySender(Config{Path: path, Block: 4096, Socket: socket})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.(*zerocopySender)
}

// The trap: on loopback MSG_ZEROCOPY copies all the same, and it must be told.
func TestZerocopyTells(t *testing.T) {
	socket, theirs := connection(t)
	go io.Copy(io.Discard, theirs)
	s := zerocopies(t, socket, 1<<20)
	if told := s.Tell(); told != nil {
		t.Errorf("before the first job: Tell() = %v, want nothing", told)
	}
	plan := &Plan{Length: 1 << 20, Block: 4096}
	for job := range 2 {
		if err := s.Send(plan); err != nil {
			t.Fatal(err)
		}
		if s.inFlight != 0 {
			t.Errorf("job %d: %d sends in flight after it, want 0", job, s.inFlight)
		}
		if int(s.sends) < plan.Pieces() {
			t.Errorf("job %d: notified of %d sends, want %d or more", job, s.sends, plan.Pieces())
		}
		told := s.Tell()
		if len(told) != 1 || told[0] != (Figure{"copied-%", 100}) {
			t.Errorf("job %d: Tell() = %v, want 100 copied-%%", job, told)
		}
	}
	if told := s.Tell(); told != nil {
		t.Errorf("after all was told: Tell() = %v, want nothing", told)
	}
}

// ownNetwork puts the test into a network of its own, in which a socket may have
// that many bytes of optional memory. The thread ends with the test.
func ownNetwork(t *testing.T, optional int) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("unshare CLONE_NEWNET: %v (run as root)", err)
	}
	const setting = "/proc/sys/net/core/optmem_max" // each network's own, where Linux is new enough
	if err := os.WriteFile(setting, fmt.Append(nil, optional), 0); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

// The kernel keeps track of so many sends of a socket and no more: a job of more
// must wait for some, and not fail.
func TestZerocopyBeyondItsBookkeeping(t *testing.T) {
	ownNetwork(t, 2<<10)
	const piece, size = 64 << 10, 16 << 20
	most := 0
	socket, _ := connection(t) // to where nobody reads
	if err := setZerocopy(socket, 1); err != nil {
		t.Skip(err)
	}
	for b := make([]byte, piece); ; most++ {
		if _, err := rawSend(socket, b, unix.MSG_ZEROCOPY|unix.MSG_DONTWAIT); errors.Is(err, unix.ENOBUFS) {
			break
		} else if err != nil {
			t.Fatalf("send with MSG_ZEROCOPY: %v after %d sends, want ENOBUFS", err, most)
		}
	}

	socket, theirs := connection(t)
	s := zerocopies(t, socket, size)
	exceeded := make(chan struct{})
	received := make(chan int64)
	go func() {
		<-exceeded
		n, _ := io.Copy(io.Discard, theirs)
		received <- n
	}()
	pace := func(i int) {
		if i == most {
			close(exceeded)
		}
	}
	if err := s.Send(&Plan{Length: size, Block: piece, Pace: pace}); err != nil {
		t.Fatalf("%v; the kernel keeps track of %d sends", err, most)
	}
	unix.Shutdown(socket, unix.SHUT_WR)
	if n := <-received; n != size || s.inFlight != 0 {
		t.Errorf("%d bytes arrived, %d sends in flight, want %d and none", n, s.inFlight, size)
	}
}

func TestZerocopyNotes(t *testing.T) {
	ip := unix.Cmsghdr{Level: unix.SOL_IP, Type: unix.IP_RECVERR}
	ipv6 := unix.Cmsghdr{Level: unix.SOL_IPV6, Type: unix.IPV6_RECVERR}
	const zerocopy, icmp = unix.SO_EE_ORIGIN_ZEROCOPY, unix.SO_EE_ORIGIN_ICMP
	const copied = unix.SO_EE_CODE_ZEROCOPY_COPIED
	for _, c := range []struct {
		name         string
		head         unix.Cmsghdr
		ee           unix.SockExtendedErr
		done, copied uint32 // of 10 in flight; none: an error
	}{
		{"the first one", ip, unix.SockExtendedErr{Origin: zerocopy}, 1, 0},
		{"one copied", ip, unix.SockExtendedErr{Origin: zerocopy, Code: copied, Info: 7, Data: 7}, 1, 1},
		{"a range", ip, unix.SockExtendedErr{Origin: zerocopy, Info: 3, Data: 7}, 5, 0},
		{"a range copied, by IPv6", ipv6, unix.SockExtendedErr{Origin: zerocopy, Code: copied, Info: 3, Data: 7}, 5, 5},
		{"all of them", ip, unix.SockExtendedErr{Origin: zerocopy, Info: 100, Data: 109}, 10, 0},
		{"a range across the counter's end", ip, unix.SockExtendedErr{Origin: zerocopy, Info: 1<<32 - 2, Data: 1}, 4, 0},
		{"more than there are", ip, unix.SockExtendedErr{Origin: zerocopy, Info: 100, Data: 110}, 0, 0},
		{"from somewhere else", ip, unix.SockExtendedErr{Origin: icmp}, 0, 0},
		{"with an error", ip, unix.SockExtendedErr{Origin: zerocopy, Errno: uint32(unix.ENOMEM)}, 0, 0},
		{"none", unix.Cmsghdr{}, unix.SockExtendedErr{Origin: zerocopy}, 0, 0},
	} {
		s := zerocopySender{inFlight: 10, control: notification{head: c.head, ee: c.ee}}
		err := s.note()
		if s.inFlight != 10-c.done || s.sends != c.done || s.copied != c.copied || (err == nil) != (c.done > 0) {
			t.Errorf("%s: note() = %v, %d of 10 in flight, %d done, %d copied; want %d done, %d copied",
				c.name, err, s.inFlight, s.sends, s.copied, c.done, c.copied)
		}
	}
}

// The trap: where the connection is gone, the notification that is waited for may
// never come.
func TestZerocopyDoesNotWaitForEver(t *testing.T) {
	socket, _ := connection(t)
	s := zerocopies(t, socket, 1)
	s.inFlight = 1
	ended := make(chan error)
	go func() { ended <- s.complete() }()
	if err := unix.Shutdown(socket, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, unix.EPIPE) {
			t.Errorf("complete() = %v, want EPIPE", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("complete() still waits, want EPIPE")
	}
}

// The socket is its caller's, who gets it back as it was.
func TestZerocopyLeavesTheSocket(t *testing.T) {
	socket, _ := connection(t)
	s := zerocopies(t, socket, 1)
	for _, want := range []int{1, 0} {
		if got, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_ZEROCOPY); err != nil || got != want {
			t.Errorf("SO_ZEROCOPY = %d, %v, want %d", got, err, want)
		}
		if want == 1 {
			s.Close()
		}
	}
}
