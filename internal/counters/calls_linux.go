package counters

import (
	"slices"

	"golang.org/x/sys/unix"
)

// numbers are the calls that are counted by name: those that methods may
// declare, those in bulk, and the Go runtime's own. Calls that not every
// architecture has are left out.
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
	"ftruncate": unix.SYS_FTRUNCATE, "fallocate": unix.SYS_FALLOCATE,
	"fsync": unix.SYS_FSYNC, "fdatasync": unix.SYS_FDATASYNC, "sync_file_range": unix.SYS_SYNC_FILE_RANGE,
	"fcntl": unix.SYS_FCNTL, "ioctl": unix.SYS_IOCTL,

	"futex": unix.SYS_FUTEX, "epoll_ctl": unix.SYS_EPOLL_CTL, "epoll_pwait": unix.SYS_EPOLL_PWAIT,
	"nanosleep": unix.SYS_NANOSLEEP, "sched_yield": unix.SYS_SCHED_YIELD,
	"rt_sigreturn": unix.SYS_RT_SIGRETURN, "tgkill": unix.SYS_TGKILL, "getpid": unix.SYS_GETPID,
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
