package trial

import (
	"os/exec"
	"syscall"
)

// apart puts the child into a process group of its own, so that the terminal's
// Ctrl-C reaches it by way of us, and ties its life to ours.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends the child's whole group.
func kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
