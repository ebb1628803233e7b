package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machinesEnv makes the test binary lose machines in a directory, by a backend, until it is
// told to end.
const (
	machinesEnv = "IOPATH_CRASH_TEST_MACHINES"
	backendEnv  = "IOPATH_CRASH_TEST_BACKEND"
)

func loseMachines() bool {
	dir, ok := os.LookupEnv(machinesEnv)
	if !ok {
		return false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, _ := BackendNamed(os.Getenv(backendEnv))
	for seed := uint64(1); ctx.Err() == nil; seed++ {
		e := Experiment{Dir: dir, Method: "write", Policy: "each", Layout: "prealloc", Size: 16 << 20, Time: 500 * time.Millisecond, Seed: seed}
		if _, err := b.Machine(ctx, e, "ext4"); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitBroken)
		}
	}
	return true
}

// remains says what there is of a lab in dir: processes, mounts, loop devices, FUSE
// connections, of which it gathers the names, and filesystems.
func remains(dir string, fusectl *os.File, connections map[string]bool) (left []string) {
	self := strconv.Itoa(os.Getpid())
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if filepath.Base(p) == self {
			continue
		}
		// mkfs and writers have the directory in their environment, as children.
		environ, _ := os.ReadFile(filepath.Join(p, "environ"))
		cmdline, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if bytes.Contains(environ, []byte(dir)) || bytes.Contains(cmdline, []byte(dir)) {
			name, _, _ := bytes.Cut(cmdline, []byte{0})
			left = append(left, "process "+p+" "+filepath.Base(string(name)))
		}
		// A thread may have a namespace of its own.
		tasks, _ := filepath.Glob(filepath.Join(p, "task/[0-9]*/mountinfo"))
		for _, task := range tasks {
			info, _ := os.ReadFile(task)
			for line := range strings.Lines(string(info)) {
				if f := strings.Fields(line); strings.Contains(line, dir) && len(f) > 4 {
					left = append(left, "mount "+f[4])
					if _, minor, _ := strings.Cut(f[2], ":"); strings.Contains(line, "fuse.voldisk") {
						connections[minor] = true
					}
				}
			}
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		if file, err := os.ReadFile(l); err == nil && strings.Contains(string(file), dir) {
			left = append(left, "loop device "+l)
		}
	}
	for c := range connections {
		var st unix.Stat_t
		if unix.Fstatat(int(fusectl.Fd()), c, &st, 0) == nil {
			left = append(left, "FUSE connection "+c)
		}
	}
	return left
}

// openFusectl opens the directory that the kernel has FUSE connections in, mounted where
// nobody else sees it.
func openFusectl(t *testing.T) (dir *os.File) {
	at := t.TempDir()
	err := apart(func(func(func() error) error) (err error) {
		if err := unix.Mount("none", at, "fusectl", 0, ""); err != nil {
			return err
		}
		dir, err = os.Open(at)
		return err
	})
	if err != nil {
		t.Fatalf("mount fusectl: %v", err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// A kill of who loses machines leaves nothing mounted, attached or running, whatever it was
// at; a Ctrl-C leaves no file either.
func TestNothingIsLeft(t *testing.T) {
	for _, test := range []struct {
		backend string
		began   []string // what is there when a machine is
	}{
		{"voldisk", []string{"loop device", "FUSE connection"}},
		{"uml", []string{" linux.uml"}},
		{"qemu", []string{" qemu-system-x86_64"}},
	} {
		t.Run(test.backend, func(t *testing.T) { nothingIsLeft(t, test.backend, test.began) })
	}
}

func nothingIsLeft(t *testing.T, backend string, began []string) {
	b, _ := BackendNamed(backend)
	probe := Experiment{Dir: t.TempDir(), Method: "write", Policy: "each", Layout: "append", Size: 1 << 20, Time: time.Millisecond, Seed: 1}
	if _, err := b.Machine(t.Context(), probe, "ext4"); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	var fusectl *os.File
	delays := []int{200, 1500} // at boot, and at work
	if !b.Apart {
		fusectl = openFusectl(t)
		delays = []int{0, 50, 150, 300, 500, 700, 900, 1100, 1300, 1500}
	}
	if testing.Short() {
		delays = []int{300}
	}
	for _, test := range []struct {
		name   string
		signal syscall.Signal
	}{{"SIGKILL", unix.SIGKILL}, {"SIGINT", unix.SIGINT}} {
		for _, ms := range delays {
			t.Run(fmt.Sprintf("%s/after=%dms", test.name, ms), func(t *testing.T) {
				dir := t.TempDir()
				var stderr bytes.Buffer
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), machinesEnv+"="+dir, backendEnv+"="+backend)
				cmd.Stderr = &stderr
				cmd.WaitDelay = 30 * time.Second
				// As a terminal does, the signal goes to the whole group.
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				connections := map[string]bool{}
				has := func() bool {
					there := strings.Join(remains(dir, fusectl, connections), "\n")
					return !slices.ContainsFunc(began, func(what string) bool { return !strings.Contains(there, what) })
				}
				for deadline := time.Now().Add(30 * time.Second); !has(); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						cmd.Process.Kill()
						cmd.Wait()
						t.Fatalf("no %s after 30 s: %s", strings.Join(began, ", "), &stderr)
					}
				}
				time.Sleep(time.Duration(ms) * time.Millisecond)
				remains(dir, fusectl, connections) // those of now
				if err := syscall.Kill(-cmd.Process.Pid, test.signal); err != nil {
					t.Error(err)
				}
				err := cmd.Wait()
				if test.signal == unix.SIGINT {
					if err != nil {
						t.Errorf("%v: %s", err, &stderr)
					}
					if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
						t.Errorf("files are left: %v, %v", files, err)
					}
				}
				for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
					left := remains(dir, fusectl, connections)
					if len(left) == 0 {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("30 s later there is still:\n%s", strings.Join(left, "\n"))
					}
				}
			})
		}
	}
}
