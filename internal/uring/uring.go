// Package uring drives an io_uring(7) by its three system calls: io_uring_setup(2),
// io_uring_register(2) and io_uring_enter(2).
//
// It is a ring and its two queues, and no more: what is asked for is the caller's to
// fill in (SQE), and what came of it to judge (CQE). Requests and completions allocate
// nothing, and nothing falls back: a machine without io_uring gives an error that
// matches errors.ErrUnsupported. A ring belongs to one OS thread (see Ring) and is not
// safe for concurrent use. Elsewhere than on Linux the package is empty.
package uring
