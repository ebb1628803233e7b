package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The two ends of the wire: addresses for documentation (RFC 5737), each in a
// network namespace of its own, where they meet nobody else's.
const device = "veth0"

var (
	nearAddr = [4]byte{192, 0, 2, 1}
	farAddr  = [4]byte{192, 0, 2, 2}
)

// vethPair connects two sockets across a pair of virtual Ethernet devices, each in
// a network namespace of its own. The namespaces have no name: the sockets hold
// them, and with the last socket they go, devices and all, however the process ends.
func vethPair() (a, b *os.File, err error) {
	// A namespace is the thread's: no other goroutine may run on it meanwhile.
	runtime.LockOSThread()
	home, err := namespace()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, nil, err
	}
	defer home.Close()
	far, err := newNamespace()
	if errors.Is(err, errors.ErrUnsupported) {
		runtime.UnlockOSThread() // it is where it was
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if e := enter(home); e != nil {
			err = errors.Join(err, e)
			return // and the thread stays locked: it is not fit for others
		}
		runtime.UnlockOSThread()
	}()
	defer far.Close()
	near, err := newNamespace()
	if err != nil {
		return nil, nil, err
	}
	defer near.Close()
	if err := addVeth(far); err != nil {
		return nil, nil, err
	}
	if err := raise(nearAddr); err != nil {
		return nil, nil, err
	}
	if err := enter(far); err != nil {
		return nil, nil, err
	}
	if err := raise(farAddr); err != nil {
		return nil, nil, err
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: farAddr[:]})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if err := errors.Join(enter(near), replug()); err != nil {
		return nil, nil, err
	}
	return connect(l)
}

// namespace returns the calling thread's network namespace.
func namespace() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }

// newNamespace puts the calling thread into a new network namespace.
func newNamespace() (*os.File, error) {
	err := os.NewSyscallError("unshare the network namespace", unix.Unshare(unix.CLONE_NEWNET))
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w (run as root, or take tcp): %w", err, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	return namespace()
}

// enter puts the calling thread into that network namespace.
func enter(ns *os.File) error {
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
}

// A setting is one thing to change of a device (netdevice(7)).
type setting struct {
	name    string
	request uint
	to      func(*unix.Ifreq) error
}

func flags(f uint16) setting {
	return setting{"SIOCSIFFLAGS", unix.SIOCSIFFLAGS, func(ifr *unix.Ifreq) error { ifr.SetUint16(f); return nil }}
}

func inet(name string, request uint, addr ...byte) setting {
	return setting{name, request, func(ifr *unix.Ifreq) error { return ifr.SetInet4Addr(addr) }}
}

// raise gives the namespace's end of the wire its address and switches it on.
func raise(addr [4]byte) error {
	return set(
		inet("SIOCSIFADDR", unix.SIOCSIFADDR, addr[:]...),
		inet("SIOCSIFNETMASK", unix.SIOCSIFNETMASK, 255, 255, 255, 0),
		flags(unix.IFF_UP),
	)
}

// replug switches the end that came up first off and on again. That the other came up
// after it, the kernel notices only within a second, and drops what is sent until then
// (net/core/link_watch.c); of an end that finds the other up it knows at once.
func replug() error { return set(flags(0), flags(unix.IFF_UP)) }

// set changes the device of the calling thread's namespace.
func set(settings ...setting) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	for _, c := range settings {
		ifr, err := unix.NewIfreq(device)
		if err == nil {
			err = c.to(ifr)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, c.request, ifr)
		}
		if err != nil {
			return fmt.Errorf("set up %s: %w", device, os.NewSyscallError("ioctl "+c.name, err))
		}
	}
	return nil
}

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// addVeth makes a pair of devices: one in the calling thread's namespace, the other
// in far (rtnetlink(7), RTM_NEWLINK).
func addVeth(far *os.File) error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	name := attribute(unix.IFLA_IFNAME, []byte(device+"\x00"))
	link := make([]byte, unix.SizeofIfInfomsg)
	other := attribute(vethInfoPeer, link, name,
		attribute(unix.IFLA_NET_NS_FD, binary.NativeEndian.AppendUint32(nil, uint32(far.Fd()))))
	request := message(unix.RTM_NEWLINK, link, name, attribute(unix.IFLA_LINKINFO,
		attribute(unix.IFLA_INFO_KIND, []byte("veth")),
		attribute(unix.IFLA_INFO_DATA, other)))
	if err := unix.Sendto(s, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	// The answer is a header and an error number, 0 where all is well.
	answer := make([]byte, os.Getpagesize())
	n, err := retry(func() (int, error) { return unix.Read(s, answer) })
	if err != nil {
		return os.NewSyscallError("read", err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("make a veth pair: an answer of %d bytes", n)
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])))
	switch errno {
	case 0:
		return nil
	case unix.EPERM, unix.EOPNOTSUPP:
		return fmt.Errorf("make a veth pair: %w (run as root on a kernel with CONFIG_VETH, or take tcp): %w", errno, errors.ErrUnsupported)
	}
	return fmt.Errorf("make a veth pair: %w", errno)
}

// message is a netlink request that is to be answered (netlink(7)).
func message(kind uint16, parts ...[]byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr)
	for _, part := range parts {
		b = append(b, part...)
	}
	h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
	h.Len, h.Type = uint32(len(b)), kind
	h.Flags = unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL
	return b
}

// attribute is one attribute of a request, padded to four bytes, which its length
// leaves out.
func attribute(kind uint16, parts ...[]byte) []byte {
	b := make([]byte, unix.SizeofRtAttr)
	for _, part := range parts {
		b = append(b, part...)
	}
	binary.NativeEndian.PutUint16(b[0:], uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
