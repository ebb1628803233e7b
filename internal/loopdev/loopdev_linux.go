package loopdev

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Device is a loop device with a file behind it.
type Device struct {
	f    *os.File
	path string
}

// tries is how often another process may take the free device first.
const tries = 16

// Attach makes a block device of the file, whose size it has. The error matches
// errors.ErrUnsupported where the machine has no loop devices, or the user may make none.
// The device is there until Close, or as long as it is mounted.
func Attach(file *os.File) (*Device, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, lacking(err)
	}
	defer control.Close()
	for range tries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, lacking(os.NewSyscallError("ioctl LOOP_CTL_GET_FREE", err))
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, lacking(err)
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		copy(config.Info.File_name[:len(config.Info.File_name)-1], file.Name())
		if err = unix.IoctlLoopConfigure(int(dev.Fd()), &config); err == nil {
			return &Device{dev, path}, nil
		}
		dev.Close()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTTY) { // the latter before Linux 5.8
			return nil, lacking(os.NewSyscallError("ioctl LOOP_CONFIGURE", err))
		}
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("make %s of %s: %w", path, file.Name(), os.NewSyscallError("ioctl LOOP_CONFIGURE", err))
		}
	}
	return nil, fmt.Errorf("make a loop device of %s: others took %d free ones before us (try again)", file.Name(), tries)
}

// Path is the device's.
func (d *Device) Path() string { return d.path }

// Close lets go of the device, which detaches itself when nobody else has it.
func (d *Device) Close() error { return d.f.Close() }

// lacking says that there are no loop devices here for us.
func lacking(err error) error {
	return fmt.Errorf("%w: loop devices: %w (run as root, on a kernel with loop devices)", errors.ErrUnsupported, err)
}
