package bench

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// quieten pins the calling thread to the CPU, unless it is negative, and keeps
// the Go scheduler's preemption signals from it: they would cut calls short and
// be counted as rt_sigreturn. The caller has locked the thread; restore undoes
// both.
func quieten(cpu int) (restore func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	if cpu >= 0 {
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return nil, fmt.Errorf("pin to CPU %d: %w", cpu, err)
		}
	}
	var block, mask unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGURG - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &mask); err != nil {
		return nil, fmt.Errorf("block SIGURG: %w", err)
	}
	return func() {
		// Neither fails with what the kernel itself gave out.
		unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil)
		unix.SchedSetaffinity(0, &before)
	}, nil
}

// ownDescriptors gives the calling thread a descriptor table of its own, a copy
// of the process's, as a program of one thread has: each call on a descriptor
// that threads share takes and drops a reference by atomic instructions, 8 % of
// a pread of 4 KiB. What the thread opens from here on, no other thread sees, and
// there is no way back: the thread must end with its goroutine, locked.
func ownDescriptors() error {
	return os.NewSyscallError("unshare CLONE_FILES", unix.Unshare(unix.CLONE_FILES))
}

// canOwnDescriptors tries ownDescriptors: a container's system call filter may
// forbid it.
func canOwnDescriptors() bool {
	tried := make(chan error)
	go func() {
		runtime.LockOSThread() // and end so, with the thread
		tried <- ownDescriptors()
	}()
	return <-tried == nil
}

// anonymous returns n bytes of memory outside Go's heap, in huge pages where the
// kernel gives them: memory that is scattered over small pages is slower than the
// page cache's large folios, and then methods would exceed the ceiling.
func anonymous(n int64) (mem []byte, free func() error, err error) {
	mem, err = unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	// EINVAL where the kernel has none: then the pages are small.
	if err := unix.Madvise(mem, unix.MADV_HUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		unix.Munmap(mem)
		return nil, nil, os.NewSyscallError("madvise", err)
	}
	return mem, func() error { return os.NewSyscallError("munmap", unix.Munmap(mem)) }, nil
}

// faulting returns memory of that many pages, small ones, and what to call so
// that reading each of them is a fault that maps the zero page: nothing is
// allocated and nothing copied.
func faulting(pages int) (mem []byte, drop func() error, err error) {
	mem, err = unix.Mmap(-1, 0, pages*os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	// EINVAL where the kernel has no huge pages.
	if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		unix.Munmap(mem)
		return nil, nil, os.NewSyscallError("madvise", err)
	}
	return mem, func() error { return os.NewSyscallError("madvise", unix.Madvise(mem, unix.MADV_DONTNEED)) }, nil
}

func unmap(mem []byte) error { return os.NewSyscallError("munmap", unix.Munmap(mem)) }

func threadID() int { return unix.Gettid() }
