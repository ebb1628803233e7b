package iomethodtest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// descriptors returns the calling thread's open descriptors and what each is
// open on.
func descriptors() (map[string]string, error) {
	// Not self: that is the first thread, which may have a table of its own.
	const dir = "/proc/thread-self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	open := map[string]string{}
	for _, e := range entries {
		// The one that the directory was read by is gone by now.
		if link, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			open[e.Name()] = link
		}
	}
	return open, nil
}

// mappings returns the first line of /proc/self/maps that names the file, or
// "" where there is none.
func mappings(path string) (string, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(maps) {
		if strings.Contains(string(line), path) {
			return strings.TrimSpace(string(line)), nil
		}
	}
	return "", nil
}

// interrupt sends SIGURG to the calling thread, again and again, until stop is
// called. It is the signal that Go's scheduler preempts by. The thread's own
// calls are cut short by it, where one for the whole process might go to another
// thread.
func interrupt() (stop func(), err error) {
	pid, tid := unix.Getpid(), unix.Gettid()
	if err := unix.Tgkill(pid, tid, unix.SIGURG); err != nil {
		return nil, fmt.Errorf("send SIGURG to ourselves: %w", err)
	}
	end := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(20 * time.Microsecond):
				unix.Tgkill(pid, tid, unix.SIGURG)
			}
		}
	})
	return func() { close(end); ended.Wait() }, nil
}
