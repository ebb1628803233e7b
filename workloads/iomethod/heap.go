package iomethod

import "runtime"

func init() {
	Register(Method{
		Name:      "heap",
		Doc:       "Go's make([]byte, n), dropped, and collected by runtime.GC after each 16 MiB: memory that Go has had before it clears in make, without a fault; what a collection takes grows with all that the program keeps",
		Idiomatic: true,
		Mapper:    Role[Mapper]{New: newHeapMapper},
	})
}

// A heapMapper gives memory back as a heap does, by a collection. Jobs run with the
// collector off: without one of its own, each job would have memory fresh from the
// kernel, which no program has for long, and the heap would grow without bounds.
// debug.FreeOSMemory would give it back to the kernel as well, which Go itself does
// in the background, and only with what it is not going to need soon.
type heapMapper struct {
	b       []byte
	dropped int // bytes since the last collection
}

// heapGarbage is how many bytes are dropped before they are collected. Go itself
// waits for 4 MiB at least, and for as much as the program keeps (GOGC).
const heapGarbage = 16 << 20

func newHeapMapper(Config) (Mapper, error) { return &heapMapper{}, nil }

// Map allocates n bytes.
func (h *heapMapper) Map(n int) ([]byte, error) {
	if err := canMap(n, len(h.b)); err != nil {
		return nil, err
	}
	h.b = make([]byte, n)
	return h.b, nil
}

// Unmap drops them, and collects what was dropped once it is enough.
func (h *heapMapper) Unmap() error {
	if h.b == nil {
		return errUnmapped
	}
	h.dropped += len(h.b)
	h.b = nil
	if h.dropped >= heapGarbage {
		h.dropped = 0
		runtime.GC()
	}
	return nil
}

// Close drops them.
func (h *heapMapper) Close() error {
	h.b = nil
	return nil
}
