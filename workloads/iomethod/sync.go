package iomethod

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// openTarget opens the file that a method writes, which is there: flags are those
// of os.OpenFile, to which the policy adds its own.
func openTarget(c Config, flags int) (*os.File, error) {
	if c.Sync == SyncDsync {
		flags |= dsync
	}
	return os.OpenFile(c.Target, flags, 0)
}

// checkSync refuses the policies that a method has not; no policy is none.
func checkSync(policy Sync, has ...Sync) error {
	switch {
	case policy == "" || slices.Contains(has, policy):
		return nil
	case slices.Contains(Syncs, policy):
		return fmt.Errorf("sync=%s is not among what the method can do, %v: %w", policy, has, errors.ErrUnsupported)
	}
	return fmt.Errorf("sync=%q is unknown (known: %v)", policy, Syncs)
}

// A fileSync carries out a policy on an os.File, which has fsync(2) and not
// fdatasync(2): the file's times are synced as well.
type fileSync Sync

// fileSyncs are its policies: package os has neither sync_file_range(2) nor
// msync(2).
var fileSyncs = []Sync{SyncNone, SyncEnd, SyncDsync, SyncBlock}

func fileSyncCalls(c Config) []string {
	if c.Sync == SyncEnd || c.Sync == SyncBlock {
		return []string{"fsync"}
	}
	return nil
}

// piece does what is due after each piece.
func (s fileSync) piece(f *os.File) error {
	if Sync(s) != SyncBlock {
		return nil
	}
	return f.Sync()
}

// end does what is due after the last piece of the plan.
func (s fileSync) end(f *os.File, p *Plan) error {
	if Sync(s) != SyncEnd || p.Pieces() == 0 {
		return nil
	}
	return f.Sync()
}
