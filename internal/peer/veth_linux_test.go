package peer

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nothing of a pair may show here, nor stay: not its devices, not its namespaces.
func TestVethLeavesNothing(t *testing.T) {
	if err := Available("veth"); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	home := namespaceID(t)
	before := interfaces(t)
	began := time.Now()
	a, b, err := Pair("veth")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a pair takes %v", time.Since(began))
	if now := namespaceID(t); now != home {
		t.Errorf("network namespace after Pair = %s, want %s", now, home)
	}
	if now := interfaces(t); now != before {
		t.Errorf("%d network devices here, want %d as before", now, before)
	}
	for _, f := range []*os.File{a, b} {
		name, err := unix.Getsockname(int(f.Fd()))
		if in, ok := name.(*unix.SockaddrInet4); err != nil || !ok || in.Addr != nearAddr && in.Addr != farAddr {
			t.Errorf("socket's address = %v, %v, want %v or %v", name, err, nearAddr, farAddr)
		}
		if delay, err := unix.GetsockoptInt(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || delay != 1 {
			t.Errorf("TCP_NODELAY = %d, %v, want 1 as over tcp", delay, err)
		}
		f.Close()
	}
}

func namespaceID(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func interfaces(t *testing.T) int {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
