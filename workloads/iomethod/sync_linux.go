package iomethod

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const dsync = unix.O_DSYNC

// An fdSync carries out a policy on a descriptor that is written.
type fdSync Sync

// fdSyncs are its policies: msync(2) has nothing to sync where nothing is mapped.
var fdSyncs = []Sync{SyncNone, SyncRange, SyncEnd, SyncDsync, SyncBlock}

func fdSyncCalls(c Config) []string {
	switch c.Sync {
	case SyncEnd, SyncBlock:
		return []string{"fdatasync"}
	case SyncRange:
		return []string{"sync_file_range"}
	}
	return nil
}

// piece does what is due after each piece.
func (s fdSync) piece(fd int, off int64, n int) error {
	switch Sync(s) {
	case SyncBlock:
		return fdatasync(fd)
	case SyncRange:
		return beginWriteback(fd, off, n)
	}
	return nil
}

// end does what is due after the last piece of the plan.
func (s fdSync) end(fd int, p *Plan) error {
	if p.Pieces() == 0 {
		return nil // and no bytes mean all of the file to sync_file_range(2)
	}
	switch Sync(s) {
	case SyncEnd:
		return fdatasync(fd)
	case SyncRange:
		return awaitWriteback(fd, p)
	}
	return nil
}

// A mapSync carries out a policy on a shared mapping that is stored to.
type mapSync Sync

// mapSyncs are its policies: O_DSYNC bears on calls that write, and not on stores.
var mapSyncs = []Sync{SyncNone, SyncAsync, SyncRange, SyncEnd, SyncBlock}

func mapSyncCalls(c Config) []string {
	switch c.Sync {
	case SyncAsync, SyncEnd, SyncBlock:
		return []string{"msync"}
	case SyncRange:
		return []string{"sync_file_range"}
	}
	return nil
}

// piece does what is due after each piece: stored is the part of the mapping that
// lies at off. Since Linux 2.6.19 MS_ASYNC starts nothing (msync(2), "NOTES").
//
// Write-back may be begun by the descriptor here as well: the first store to a
// clean page faults and marks it dirty in the page cache, which is where
// sync_file_range(2) looks, and write-back protects the page again before it
// copies it, so that no later store is lost (mm/page-writeback.c,
// folio_clear_dirty_for_io).
func (s mapSync) piece(fd int, off int64, stored []byte) error {
	switch Sync(s) {
	case SyncAsync:
		return msync(stored, unix.MS_ASYNC)
	case SyncBlock:
		return msync(stored, unix.MS_SYNC)
	case SyncRange:
		return beginWriteback(fd, off, len(stored))
	}
	return nil
}

// end does what is due after the last piece of the plan, whose stretch is mapped.
func (s mapSync) end(fd int, p *Plan, stretch []byte) error {
	switch Sync(s) {
	case SyncEnd:
		return msync(stretch, unix.MS_SYNC)
	case SyncRange:
		return awaitWriteback(fd, p)
	}
	return nil
}

func fdatasync(fd int) error {
	_, err := retry(unix.SYS_FDATASYNC, uintptr(fd), 0, 0, 0, 0, 0)
	return os.NewSyscallError("fdatasync", err)
}

// msync syncs the pages that hold b, a part of a mapping.
func msync(b []byte, flags int) error {
	addr := uintptr(unsafe.Pointer(&b[0]))
	pad := addr % uintptr(os.Getpagesize()) // it wants the address of a page
	_, err := retry(unix.SYS_MSYNC, addr-pad, uintptr(len(b))+pad, uintptr(flags), 0, 0, 0)
	return os.NewSyscallError("msync", err)
}

// beginWriteback has the kernel write the dirty pages of a piece, and does not
// wait for it, unless the device's queue is full.
func beginWriteback(fd int, off int64, n int) error {
	return syncFileRange(fd, off, int64(n), unix.SYNC_FILE_RANGE_WRITE)
}

// awaitWriteback has it write what is still dirty of the plan's stretch, and waits
// for all of it. Neither the file's size nor where its blocks are is written, and
// the device's cache is not flushed (sync_file_range(2), "Warning").
func awaitWriteback(fd int, p *Plan) error {
	return syncFileRange(fd, p.Start, p.Length,
		unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
}

func syncFileRange(fd int, off, n int64, flags int) error {
	_, err := retry(unix.SYS_SYNC_FILE_RANGE, uintptr(fd), uintptr(off), uintptr(n), uintptr(flags), 0, 0)
	return os.NewSyscallError("sync_file_range", err)
}
