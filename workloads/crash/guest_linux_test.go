package crash

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a console prints, and what is made of it.
func TestHear(t *testing.T) {
	const alive = "\n" + guestMark + `{"Alive":true}` + "\r\n"
	for _, test := range []struct {
		name, console string
		acknowledged  uint64 // heard last
		kills         int
		err           string // "": none
		absent        bool
	}{
		{"acknowledged", "noise\n" + alive + guestMark + `{"Acknowledged":3}` + "\n" + guestMark + `{"Acknowledged":5}` + "\n", 5, 2, "", false},
		{"the last line is cut", alive + guestMark + `{"Acknowledged":3}` + "\n" + guestMark + `{"Acknowledged":5`, 3, 1, "", false},
		{"behind another's line", alive + "[ 1.2] a driver " + guestMark + `{"Acknowledged":3}` + "\n", 3, 1, "", false},
		{"no kernel", "ptrace set fp regs failed, errno = 14\n", 0, 0, "it said: ptrace set fp regs failed, errno = 14", true},
		{"silence", "", 0, 0, "it said: nothing", true},
		{"panic", alive + "Kernel panic\n", 0, 0, "the guest ended early; it said: Kernel panic", false},
		{"cannot", alive + guestMark + `{"Absent":"no xfs"}` + "\n", 0, 1, "no xfs", true},
		{"broken", alive + guestMark + `{"Broken":"no space"}` + "\n", 0, 1, "in the guest: no space", false},
	} {
		kills, heard := 0, uint64(0)
		err := hear(strings.NewReader(test.console), func() { kills++ }, func(l guestLine) bool {
			heard = max(heard, l.Acknowledged)
			return heard > 0
		})
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
		if errors.Is(err, errors.ErrUnsupported) != test.absent || heard != test.acknowledged || kills != test.kills {
			t.Errorf("%s: %v, heard %d, killed %d times, want %d, %d", test.name, err, heard, kills, test.acknowledged, test.kills)
		}
	}
}

// A user-mode kernel that cannot run here is no failure, and says why.
func TestKernelThatDies(t *testing.T) {
	if _, err := mkfsPath("ext4"); err != nil {
		t.Skip(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "linux.uml"), []byte("#!/bin/sh\necho ptrace set fp regs failed, errno = 14\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	b, _ := BackendNamed("uml")
	e := experiment(t, "write", "each", "append", 1)
	_, err := b.Machine(t.Context(), e, "ext4")
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "errno = 14") {
		t.Errorf("%v, want ErrUnsupported with what the kernel said", err)
	}
	// One that hangs is waited for no longer than the caller does.
	if err := os.WriteFile(filepath.Join(bin, "linux.uml"), []byte("#!/bin/sh\nsleep 1000 & sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.Machine(ctx, e, "ext4"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a deadline", err)
	}
	if left, err := os.ReadDir(e.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestModules(t *testing.T) {
	root := t.TempDir()
	lib := filepath.Join(root, "lib/modules/6.1.0-x")
	for dir, files := range map[string][]string{filepath.Join(root, "boot"): {"vmlinuz-6.1.0-x"}, lib: nil} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	kernel := filepath.Join(root, "boot/vmlinuz-6.1.0-x")
	if _, err := modulesOf(kernel, []string{"virtio_blk"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a kernel without modules.dep: %v, want ErrUnsupported", err)
	}
	dep := `kernel/drivers/virtio/virtio.ko.xz:
kernel/drivers/virtio/virtio_ring.ko.xz:
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio-pci.ko.xz: kernel/drivers/virtio/virtio.ko.xz
kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz
`
	if err := os.WriteFile(filepath.Join(lib, "modules.dep"), []byte(dep), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := modulesOf(kernel, []string{"virtio_pci", "virtio_blk", "ext4"})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range got {
		got[i] = strings.TrimPrefix(m, lib+"/kernel/drivers/")
	}
	if want := []string{"virtio/virtio.ko.xz", "virtio/virtio_ring.ko.xz", "block/virtio_blk.ko.xz", "virtio/virtio-pci.ko.xz"}; !slices.Equal(got, want) {
		t.Errorf("modules %q, want %q", got, want)
	}
	if _, err := findKernel(kernel); err != nil {
		t.Error(err)
	}
}

// An entry begins and ends where the kernel looks for it: at fours.
func TestCpio(t *testing.T) {
	var b strings.Builder
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cpio{w: &b}
	c.directory("dev")
	c.directory("dev")
	c.file("dev/hello", name)
	c.end()
	if c.err != nil {
		t.Fatal(c.err)
	}
	// Magic, number, mode, two ids, links, time, size, four of devices, length of the name, sum.
	const zero = "00000000"
	want := "070701" + "00000001" + "000041ED" + zero + zero + "00000001" + zero + zero + zero + zero + zero + zero + "00000004" + zero + "dev\x00" + "\x00\x00" +
		"070701" + "00000002" + "000081ED" + zero + zero + "00000001" + zero + "00000005" + zero + zero + zero + zero + "0000000A" + zero + "dev/hello\x00" + "hello\x00\x00\x00" +
		"070701" + "00000003" + zero + zero + zero + "00000001" + zero + zero + zero + zero + zero + zero + "0000000B" + zero + "TRAILER!!!\x00" + "\x00\x00\x00"
	if b.String() != want {
		t.Errorf("archive\n%q, want\n%q", b.String(), want)
	}
	if c.file("none", name+"x"); c.err == nil {
		t.Error("a file that is not there is archived")
	}
}

// A writer that does not sync loses records at any age, one that syncs none; and its power
// comes back.
func TestAges(t *testing.T) {
	b, _ := BackendNamed("voldisk")
	for policy, loses := range map[string]bool{"none": true, "64": false} {
		e := experiment(t, "write", policy, "append", 3)
		e.Time, e.Pace = 2*time.Second, 500
		cycles, err := b.Ages(t.Context(), e, "ext4", 400*time.Millisecond)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(cycles) < 3 {
			t.Errorf("%s: %d cuts, want some", policy, len(cycles))
		}
		for i, c := range cycles {
			if c.Pace != 500 || c.Fault != "power" || c.Acknowledged == 0 || (c.LostOrTorn() > 0) != loses {
				t.Errorf("%s: %+v", policy, c)
			}
			if i > 0 && (c.After <= cycles[i-1].After || c.Acknowledged <= cycles[i-1].Acknowledged) {
				t.Errorf("%s: the writer did not go on: %+v after %+v", policy, c, cycles[i-1])
			}
		}
	}
}
