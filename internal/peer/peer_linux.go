package peer

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flush makes the kernel let go of packets that have been received: it puts off
// freeing them to the next packet that the CPU of their sender handles
// (net.core.skb_defer_max), and until then the pages of the file that sendfile
// or splice put into them cannot be evicted. Flush sends a datagram from here to
// here on every CPU: the sender may have been on any, and be on another now.
func Flush() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	self, err := unix.Getsockname(s)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for cpu := range 8 * int(unsafe.Sizeof(mine)) {
		var one unix.CPUSet
		if one.Set(cpu); unix.SchedSetaffinity(0, &one) != nil {
			continue // there is none of that number, or it is not for us
		}
		if err = unix.Sendto(s, []byte{0}, 0, self); err != nil {
			break
		}
	}
	if restored := unix.SchedSetaffinity(0, &mine); err == nil && restored != nil {
		return os.NewSyscallError("sched_setaffinity", restored)
	}
	return os.NewSyscallError("sendto", err)
}

func block(f *os.File) error {
	return os.NewSyscallError("fcntl", unix.SetNonblock(int(f.Fd()), false))
}

func unixPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}
