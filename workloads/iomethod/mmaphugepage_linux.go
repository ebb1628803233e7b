package iomethod

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	reader := Role[Reader]{Calls: []string{"mmap", "madvise", "munmap"}, New: newMmapHugeReader}
	Register(Method{
		Name:   "mmap+hugepage",
		Doc:    "as mmap, with madvise(2) MADV_HUGEPAGE: a fault reads huge pages, and maps one at once where the filesystem has folios as large",
		Reader: reader,
		Probe:  probeReader(reader),
	})
}

// A file's huge page comes about in two ways. Where the filesystem has large
// folios, a fault on a mapping with this advice reads two folios of a huge page's
// size, and maps each by one entry (do_sync_mmap_readahead and filemap_map_pmd in
// mm/filemap.c). Elsewhere khugepaged may collapse small pages later, where the
// kernel has CONFIG_READ_ONLY_THP_FOR_FS. Nothing tells beforehand which
// filesystem has what; that a page is mapped so is FilePmdMapped in
// /proc/PID/smaps. What can be told is whether the mapping's address allows for
// it, and where it does not, the job is refused.
func newMmapHugeReader(c Config) (Reader, error) {
	huge, err := hugePageSize()
	if err != nil {
		return nil, err
	}
	a := advice{unix.MADV_HUGEPAGE, "MADV_HUGEPAGE", "CONFIG_TRANSPARENT_HUGEPAGE"}
	advise := func(m mapping, off int64) error {
		if !m.suits(off, huge) {
			return fmt.Errorf("mmap put byte %d of the file at %p: %w for huge pages (take a filesystem that aligns its mappings, such as ext4, xfs or btrfs)",
				off, &m.data[0], errors.ErrUnsupported)
		}
		return a.give(m, off)
	}
	return mmapWith(unix.MAP_SHARED, advise)(c)
}

// suits reports whether each huge page of the file that is whole in the mapping,
// which is of the file from off on, lies at an address where the processor can map
// one. Where there is none, it is true.
func (m mapping) suits(off, huge int64) bool {
	first := (off + huge - 1) / huge * huge
	none := first+huge > off+int64(len(m.data))
	return none || (int64(uintptr(unsafe.Pointer(&m.data[0])))-off)%huge == 0
}

// hugePageSize returns the size in bytes of a transparent huge page.
func hugePageSize() (int64, error) {
	text, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: no huge pages in this kernel: %w (needs CONFIG_TRANSPARENT_HUGEPAGE)", err, errors.ErrUnsupported)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
