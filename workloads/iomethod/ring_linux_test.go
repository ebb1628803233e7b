package iomethod

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMapTwice(t *testing.T) {
	f, err := newMemfd()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := os.Getpagesize()
	if err := allocate(f, int64(3*page)); err != nil {
		t.Fatal(err)
	}
	data, err := mapTwice(f, int64(page), 2*page)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte("across the end of the ring")
	copy(data[2*page-9:], want)
	if got := append(bytes.Clone(data[4*page-9:]), data[:len(want)-9]...); !bytes.Equal(got, want) {
		t.Errorf("got %q across the end, want %q", got, want)
	}
	before := make([]byte, page)
	if _, err := f.ReadAt(before, 0); err != nil || !bytes.Equal(before, make([]byte, page)) {
		t.Errorf("got the page before the ring written (%v), want zeros", err)
	}
	if err := unmapTwice(data); err != nil {
		t.Error(err)
	}
}

// A side that sleeps is woken by the other, and not by the end of its patience. The
// sides are slow by turns, so that each waits for the other, at an empty ring and
// at a full one.
func TestRingWakes(t *testing.T) {
	before := lifeCheck
	lifeCheck = unix.Timespec{Sec: 3600}
	t.Cleanup(func() { lifeCheck = before })
	// Who sleeps in the kernel by a raw call keeps its P, and stops the world.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))

	plan := &Plan{Length: 64 << 20, Block: 64 << 10}
	near, err := newMemfdRing(Config{Block: plan.Block})
	if err != nil {
		t.Fatal(err)
	}
	far, err := newMemfdRing(Config{Block: plan.Block, Files: near.Files()})
	if err != nil {
		t.Fatal(err)
	}
	slow := func(i, turn int) {
		if i/64%2 == turn && i%8 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	ended := make(chan error)
	piece := make([]byte, plan.Block)
	go func() {
		ended <- undisturbed(func() error {
			return near.Send(plan, func(off int64, n int) []byte {
				slow(int(off)/plan.Block, 0)
				return piece[:n]
			})
		})
	}()
	go func() {
		ended <- undisturbed(func() error {
			return far.Receive(plan, func(off int64, b []byte) { slow(int(off)/plan.Block, 1) })
		})
	}()
	limit := time.After(30 * time.Second)
	for range 2 {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-limit:
			// Nothing can stop the world now, not even to end the test.
			fmt.Fprintln(os.Stderr, "--- FAIL: TestRingWakes: a side has not been woken")
			os.Exit(1)
		}
	}
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if err := far.Close(); err != nil {
		t.Error(err)
	}
}

// undisturbed keeps the signals of Go's scheduler, which would wake who sleeps, from
// the thread that f runs on.
func undisturbed(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var urgent, before unix.Sigset_t
	urgent.Val[0] = 1 << (unix.SIGURG - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &urgent, &before); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return f()
}

// An end that attaches by what is no ring says so.
func TestAttachRingRefuses(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	near, far, err := unixSockets()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(far)
	if ch, err := newMemfdRing(Config{Block: 4096, Files: []*os.File{null, near[0]}}); err == nil {
		t.Errorf("attach to %s: got no error, want one", os.DevNull)
		ch.Close()
	}
	// It has taken them over.
	for _, f := range []*os.File{null, near[0]} {
		if err := f.Close(); err == nil {
			t.Errorf("%s: got it left open, want it closed", f.Name())
		}
	}
}
