// Package crash loses processes and machines on purpose, and counts what is left of what
// a program was told is written.
//
// A writer appends records to a file, by a method and a sync policy, and acknowledges
// each when the policy says that it is safe. Then a fault ends the writer, or the machine
// under it. What the file holds afterwards is checked record by record:
//
//  1. A record (see Record) proves itself: it has a number, and a checksum over all of it.
//     Its 1000 bytes never align with pages or sectors, so that tears show.
//  2. Acknowledgements are counted in memory that the writer shares with who started it,
//     and that no fault of the writer's takes away.
//  3. A fault of the process leaves the page cache, which the check reads. A fault of the
//     machine is modelled by a Backend, which says what it models: none stands in for
//     another.
//  4. A backend is believed when it has seen a loss where there must be one, and none where
//     there must be none (Backend.SelfCheck).
//
// Cycles that share a kernel run one at a time: what else flushes would save what was to be
// lost. What a cycle draws, its records, the moment of its fault and the sectors that a disk
// keeps, it draws from its seed; how far the writer is at that moment is the machine's.
package crash

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// RecordSize is the bytes of a record.
const RecordSize = 1000

// The places of a record's parts; the rest is drawn from its run and number.
const (
	recordMagic = "iopath/1"
	sumAt       = 8
	numberAt    = 12
	runAt       = 20
	bodyAt      = 28
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record fills b, of RecordSize bytes, with the record of that number in that run.
func Record(b []byte, run, number uint64) {
	copy(b, recordMagic)
	binary.LittleEndian.PutUint64(b[numberAt:], number)
	binary.LittleEndian.PutUint64(b[runAt:], run)
	// xorshift64*: no two records are alike, and none has a byte that stays zero.
	x := run ^ (number+1)*0x9e3779b97f4a7c15 | 1
	var word [8]byte
	for i := bodyAt; i < RecordSize; i += len(word) {
		x ^= x >> 12
		x ^= x << 25
		x ^= x >> 27
		binary.LittleEndian.PutUint64(word[:], x*0x2545f4914f6cdd1d|0x0101010101010101)
		copy(b[i:RecordSize], word[:])
	}
	binary.LittleEndian.PutUint32(b[sumAt:], crc32.Checksum(b[numberAt:RecordSize], castagnoli))
}

// A state is what a file holds in the place of a record.
type state int

const (
	intact state = iota
	absent       // nothing: zeros, or the file ends before
	torn         // some of it
)

// stateOf tells what b, which is shorter than a record at the end of a file, holds in the
// place of the record.
func stateOf(b []byte, run, number uint64, want []byte) state {
	Record(want, run, number)
	if string(b) == string(want) {
		return intact
	}
	for _, c := range b {
		if c != 0 {
			return torn
		}
	}
	return absent
}

// Counts says what is left of the records.
type Counts struct {
	Acknowledged uint64 `json:"acknowledged"`
	Intact       uint64 `json:"intact"` // of those acknowledged, as the next three
	Lost         uint64 `json:"lost"`
	Torn         uint64 `json:"torn"`
	Holes        uint64 `json:"holes"` // of those lost or torn: a later one is intact

	// Beyond those acknowledged: of records that were on their way.
	Unacknowledged uint64 `json:"unacknowledged"` // intact
	TornInFlight   uint64 `json:"torn_in_flight"`
}

// LostOrTorn is how many acknowledged records are not what they were.
func (c Counts) LostOrTorn() uint64 { return c.Lost + c.Torn }

// Check reads what a file holds after a fault, and counts. The writer had acknowledged so
// many records of the run.
func Check(r io.ReaderAt, run, acknowledged uint64) (Counts, error) {
	c := Counts{Acknowledged: acknowledged}
	const batch = 1024
	buf, want := make([]byte, batch*RecordSize), make([]byte, RecordSize)
	pending := uint64(0) // lost or torn, and no intact one seen behind
	for first := uint64(0); ; first += batch {
		n, err := r.ReadAt(buf, int64(first)*RecordSize)
		if err != nil && err != io.EOF {
			return c, fmt.Errorf("read record %d: %w", first, err)
		}
		ended := err == io.EOF
		for i := uint64(0); i < batch; i++ {
			number := first + i
			if number >= acknowledged && int(i)*RecordSize >= n {
				break
			}
			from, to := min(int(i)*RecordSize, n), min(int(i+1)*RecordSize, n)
			s := stateOf(buf[from:to], run, number, want)
			switch {
			case number >= acknowledged && s == intact:
				c.Unacknowledged++
			case number >= acknowledged && s == torn:
				c.TornInFlight++
			case number >= acknowledged:
			case s == intact:
				c.Intact++
			case s == torn:
				c.Torn++
				pending++
			default:
				c.Lost++
				pending++
			}
			if s == intact {
				c.Holes += pending
				pending = 0
			}
		}
		if ended && (first+batch)*RecordSize >= acknowledged*RecordSize {
			return c, nil
		}
	}
}
