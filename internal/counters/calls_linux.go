package counters

import (
	"slices"

	"golang.org/x/sys/unix"
)

// numbers are the calls that are counted by name: those that methods may
// declare, those in bulk, the Go runtime's own, and what else is made on a job's
// thread. Calls that not every architecture has are left out.
//
// They are few, because with a name comes a perf event, whose filter is tried at
// each call that the tracepoints count: 27 ns a name, and 1.3 µs with 50 of them.
// The tracepoints that each call has of its own (syscalls:sys_enter_read) were
// tried and dropped: they cost 0.2 µs together, but the kernel takes 35 ms to let
// go of each.
var numbers = map[string]int{
	"read": unix.SYS_READ, "readv": unix.SYS_READV,
	"pread64": unix.SYS_PREAD64, "preadv": unix.SYS_PREADV, "preadv2": unix.SYS_PREADV2,
	"recvfrom": unix.SYS_RECVFROM, "recvmsg": unix.SYS_RECVMSG, "recvmmsg": unix.SYS_RECVMMSG,
	"write": unix.SYS_WRITE, "writev": unix.SYS_WRITEV,
	"pwrite64": unix.SYS_PWRITE64, "pwritev": unix.SYS_PWRITEV, "pwritev2": unix.SYS_PWRITEV2,
	"sendto": unix.SYS_SENDTO, "sendmsg": unix.SYS_SENDMSG, "sendmmsg": unix.SYS_SENDMMSG,
	"sendfile": unix.SYS_SENDFILE, "splice": unix.SYS_SPLICE, "tee": unix.SYS_TEE,
	"vmsplice": unix.SYS_VMSPLICE, "copy_file_range": unix.SYS_COPY_FILE_RANGE,
	"io_uring_enter": unix.SYS_IO_URING_ENTER, "io_submit": unix.SYS_IO_SUBMIT,
	"process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV,

	"mmap": unix.SYS_MMAP, "munmap": unix.SYS_MUNMAP, "mremap": unix.SYS_MREMAP,
	"madvise": unix.SYS_MADVISE, "msync": unix.SYS_MSYNC, "mprotect": unix.SYS_MPROTECT,
	"lseek": unix.SYS_LSEEK, "fstat": unix.SYS_FSTAT, "openat": unix.SYS_OPENAT, "close": unix.SYS_CLOSE,
	"ftruncate": unix.SYS_FTRUNCATE, "memfd_create": unix.SYS_MEMFD_CREATE, "fallocate": unix.SYS_FALLOCATE,
	"fsync": unix.SYS_FSYNC, "fdatasync": unix.SYS_FDATASYNC, "sync_file_range": unix.SYS_SYNC_FILE_RANGE,
	"fcntl": unix.SYS_FCNTL, "ioctl": unix.SYS_IOCTL,

	"futex": unix.SYS_FUTEX, "epoll_ctl": unix.SYS_EPOLL_CTL, "epoll_pwait": unix.SYS_EPOLL_PWAIT,
	"nanosleep": unix.SYS_NANOSLEEP, "sched_yield": unix.SYS_SCHED_YIELD,
	"rt_sigreturn": unix.SYS_RT_SIGRETURN, "tgkill": unix.SYS_TGKILL, "getpid": unix.SYS_GETPID, "getppid": unix.SYS_GETPPID,

	"clone": unix.SYS_CLONE, "rt_sigprocmask": unix.SYS_RT_SIGPROCMASK, "prctl": unix.SYS_PRCTL,
	"timer_settime": unix.SYS_TIMER_SETTIME, "clock_gettime": unix.SYS_CLOCK_GETTIME, "getrandom": unix.SYS_GETRANDOM,

	"fadvise64": unix.SYS_FADVISE64, "readahead": unix.SYS_READAHEAD,
	"mincore": unix.SYS_MINCORE, "cachestat": unix.SYS_CACHESTAT,
	"io_uring_setup": unix.SYS_IO_URING_SETUP, "io_uring_register": unix.SYS_IO_URING_REGISTER,
	"io_setup": unix.SYS_IO_SETUP, "io_getevents": unix.SYS_IO_GETEVENTS,
	"ppoll": unix.SYS_PPOLL, "eventfd2": unix.SYS_EVENTFD2, "pipe2": unix.SYS_PIPE2,
	"socket": unix.SYS_SOCKET, "setsockopt": unix.SYS_SETSOCKOPT, "getsockopt": unix.SYS_GETSOCKOPT, "shutdown": unix.SYS_SHUTDOWN,
}

// Names lists the system calls that can be counted by name, sorted.
func Names() []string {
	names := make([]string, 0, len(numbers))
	for name := range numbers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
