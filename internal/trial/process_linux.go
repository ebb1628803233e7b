package trial

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// apart puts the child into a process group of its own, so that the terminal's
// Ctrl-C reaches it by way of us, and ties its life to ours.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends the child's whole group.
func kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// pin moves the calling thread to the CPU, unless it is negative. Where that is
// forbidden the thread stays where it is.
func pin(cpu int) {
	if cpu >= 0 {
		var one unix.CPUSet
		one.Set(cpu)
		unix.SchedSetaffinity(0, &one)
	}
}
