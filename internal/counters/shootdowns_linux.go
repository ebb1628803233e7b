package counters

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ProbeShootdowns reports whether TLB shootdowns are counted by tracepoints here:
// nil where one that was made to happen was seen. Where the tracepoint is there and
// sees none, since the processor (AMD's INVLPGB) or the hypervisor (Hyper-V, Xen)
// drops the translations without an interrupt, a count of 0 would say nothing. The
// error then matches errors.ErrUnsupported, and os.ErrPermission where the user may
// not count. It is found out once a process.
func ProbeShootdowns() error { return probeShootdowns() }

var probeShootdowns = sync.OnceValue(func() error {
	t := new(tracepoint)
	defer t.Close()
	return onThread(func() error {
		err := t.openShootdowns()
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("counted by tracepoint alone, %w (run as root)", os.ErrPermission)
		}
		if err != nil {
			return err
		}
		return sees(t.events[0])
	})
})

// onThread calls do on a thread of its own, which ends with it.
func onThread(do func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		ended <- do()
	}()
	return <-ended
}

const (
	// shootdownTries is how many are made to happen, at the most, before it is held
	// that none is seen.
	shootdownTries = 200
	// otherCPU is for how long at most a second thread is waited for each time.
	otherCPU = 10 * time.Millisecond
)

// sees makes shootdowns happen until the event, of the calling thread, counts one.
func sees(event int) error {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if allowed.Count() < 2 {
		return unsupported("there is no second CPU whose TLB could be shot down")
	}
	var ours, theirs unix.CPUSet
	for cpu := 0; theirs.Count() == 0; cpu++ {
		switch {
		case !allowed.IsSet(cpu):
		case ours.Count() == 0:
			ours.Set(cpu)
		default:
			theirs.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &ours); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	var beat atomic.Int64
	var stop atomic.Bool
	ended := make(chan error)
	go func() {
		ended <- onThread(func() error {
			err := unix.SchedSetaffinity(0, &theirs)
			for !stop.Load() && err == nil {
				beat.Add(1)
			}
			return os.NewSyscallError("sched_setaffinity", err)
		})
	}()
	seen, err := shootDown(event, &beat)
	stop.Store(true)
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	if !seen {
		return unsupported("the kernel's tracepoint tlb:tlb_flush saw none that were made to happen: the processor or the hypervisor drops translations without it")
	}
	return nil
}

// shootDown unmaps pages while another thread beats on another CPU, until the event
// counts one.
func shootDown(event int, beat *atomic.Int64) (seen bool, err error) {
	for range shootdownTries {
		b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return false, os.NewSyscallError("mmap", err)
		}
		b[0] = 1
		// The other thread must run, or its CPU has nothing to drop. To yield lets
		// Go stop the world meanwhile.
		began := time.Now()
		for now := beat.Load(); beat.Load() < now+2 && time.Since(began) < otherCPU; {
			unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
		if err := unix.Munmap(b); err != nil {
			return false, os.NewSyscallError("munmap", err)
		}
		var group [16]byte // how many events, and the first one's count
		if n, err := unix.Read(event, group[:]); err != nil || n != len(group) {
			return false, errors.Join(errors.New("read the tracepoint counter"), err)
		}
		if binary.NativeEndian.Uint64(group[8:]) > 0 {
			return true, nil
		}
	}
	return false, nil
}
