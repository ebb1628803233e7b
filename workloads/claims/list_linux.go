package claims

// The claims, in the order of the article and then of lore. Each function stands in the
// file of its subject.
var all = []Claim{
	{1, "length", "mmap costs the same for any length: nothing is read until it is touched", length},
	{2, "first-touch", "The first touch of a page faults, later ones do not", firstTouch},
	{3, "memory", "Only what is touched takes memory", memory},
	{4, "writeback", "Dirty pages go to disk by themselves, without msync", writeback},
	{5, "sync", "Manual syncing is rarely needed", manualSync},
	{6, "pressure", "Under memory pressure, a mapped file's pages are dropped, not swapped", pressure},
	{7, "crossings", "mmap and write need four crossings into the kernel where sendfile needs two", crossings},
	{8, "copies", "mmap removes the copy between kernel and user", copies},
	{9, "large-random", "mmap wins for large files and frequent random access", largeRandom},
	{10, "alignment", "The length of a mapping must be a multiple of the page, and so must the offset", alignment},
	{11, "tail", "Any byte inside the file can be accessed, and none behind it", tail},
	{12, "outlives", "A mapping outlives close and unlink", outlives},
	{13, "resize", "A mapping sees a file that grows, and faults where it shrank", resize},
	{14, "append", "The article's sample appends to a file and unmaps it", sampleAppend},
	{15, "protection", "What is unmapped or read-only cannot be stored to, and a file opened for reading cannot be mapped shared for writing", protection},
	{16, "shared", "MAP_SHARED is seen by other processes at once; MAP_PRIVATE never reaches the file, and copies on write", shared},
	{17, "anonymous", "Anonymous mappings are cheaper than the Go heap", anonymous},
	{18, "ipc", "Shared memory beats pipes and sockets between processes", ipc},
	{19, "device", "A device can be mapped, and has the bytes that read gives", device},
	{20, "go-fault", "A fault in a mapping kills a Go program", goFault},
	{21, "scheduler", "A page fault holds up Go's scheduler where a system call does not", scheduler},
	{22, "fork", "fork shares mappings, exec drops them; MADV_DONTFORK and mlock do what they say", fork},
}
