// Package cgroup makes a control group with a memory limit for child processes,
// reads what the kernel does to keep them within it, and takes it away again.
//
// It knows version 2 of the interface, version 1, and the two side by side, and
// finds out from /proc/self/cgroup and /proc/self/mountinfo which of them limits
// memory here and where a group may be made (cgroups(7),
// Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
//
// The calling process stays where it is: a limit of its own would slow down who
// measures as well. A group that a killed run left behind is removed when the next
// one is made.
package cgroup

// Unlimited is a limit that is none.
const Unlimited = -1

// A Limit is what the processes of a group may take together, in bytes.
type Limit struct {
	Memory int64 // anonymous memory and page cache
	Swap   int64 // on top of that; 0: none, or [Unlimited]
}

// Stat is the state of a group, and what was done since it was made.
type Stat struct {
	Charged    int64 // bytes that count towards the limit, the kernel's own included
	Anon, File int64 // bytes of them: anonymous memory, and the page cache's
	Swap       int64 // bytes in swap

	Scanned  int64 // pages that reclaim looked at
	Stolen   int64 // pages that reclaim took
	Refaults int64 // pages of files that came back soon after they had been taken
	SwapIns  int64 // pages

	// MachineWide marks Scanned and Stolen of a kernel that does not tell them by
	// group (version 1): they are then all of the machine's.
	MachineWide bool
}
