package datafile

import (
	"encoding/binary"
	"io"
)

// Content is what a data file of that many bytes holds. Each aligned word of
// eight bytes depends on its own position and on nothing else, so that any
// block which is missing, doubled or misplaced is seen, and any stretch can be
// checked without the rest. It cannot be compressed.
//
// It implements io.ReaderAt and is safe for concurrent use.
type Content int64

// ReadAt fills b with the content from offset off on.
func (c Content) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(c) {
		return 0, io.EOF
	}
	var err error
	if rest := int64(c) - off; int64(len(b)) > rest {
		b, err = b[:rest], io.EOF
	}
	n := len(b)
	var word [8]byte
	if skip := int(off % 8); skip != 0 {
		binary.LittleEndian.PutUint64(word[:], wordAt(off-int64(skip)))
		m := copy(b, word[skip:])
		b, off = b[m:], off+int64(m)
	}
	for ; len(b) >= 8; b, off = b[8:], off+8 {
		binary.LittleEndian.PutUint64(b, wordAt(off))
	}
	if len(b) > 0 {
		binary.LittleEndian.PutUint64(word[:], wordAt(off))
		copy(b, word[:])
	}
	return n, err
}

// wordAt is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) over
// the offset, which is a multiple of 8.
func wordAt(off int64) uint64 {
	z := uint64(off)/8*0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
