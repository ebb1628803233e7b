//go:build !linux

package iomethod

import "os"

// dsync is O_SYNC, which promises more: not every system has O_DSYNC.
const dsync = os.O_SYNC
