// Package loopdev makes block devices of files (loop(4)).
//
// A device detaches itself when its last user is gone (LO_FLAGS_AUTOCLEAR), so that
// none is left behind by a process that was killed: the descriptor that Attach keeps is
// the first user, a mount the next. It needs root.
package loopdev
