package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// uml is a Linux kernel as an ordinary program: user-mode Linux (kernel.org,
// Documentation/virt/uml). Its root is the host's, read-only (hostfs). It runs by
// ptrace(2), without any right.
type uml struct{}

func (uml) disk(string) (device, options string) { return "/dev/ubda", "" }

func (uml) command(dir string, job guestJob, cmdline []string) (*exec.Cmd, error) {
	kernel, err := umlPath()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Relative, in dir: a comma in a disk's name, or a long one of a socket, is not taken.
	disk, err := filepath.Rel(dir, job.Disk)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(kernel, append([]string{
		"mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", fmt.Sprintf("init=%q", self),
		"ubd0=" + disk, "con=null", "con0=null,fd:1",
		"uml_dir=uml", "umid=guest",
	}, cmdline...)...)
	cmd.Dir = dir
	return cmd, nil
}

func umlPath() (string, error) {
	kernel, err := exec.LookPath("linux.uml")
	if err != nil {
		return "", fmt.Errorf("%w: linux.uml is not installed (user-mode-linux)", errors.ErrUnsupported)
	}
	return kernel, nil
}

func lacksUML() error {
	_, err := umlPath()
	return err
}
