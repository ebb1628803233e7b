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
	kernel, err := exec.LookPath("linux.uml")
	if err != nil {
		return nil, fmt.Errorf("%w: linux.uml is not installed (user-mode-linux)", errors.ErrUnsupported)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(kernel, append([]string{
		"mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", fmt.Sprintf("init=%q", self),
		"ubd0=" + job.Disk, "con=null", "con0=null,fd:1",
		"uml_dir=" + filepath.Join(dir, "uml"), "umid=guest",
	}, cmdline...)...), nil
}
