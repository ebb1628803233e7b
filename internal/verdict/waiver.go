package verdict

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/perf/benchunit"

	"iopath/internal/summary"
)

// A Waiver lets a worsening pass, for a reason and until a day.
type Waiver struct {
	Filter string    // benchproc filter of the cells
	Unit   string    // tidied; "*": all
	Until  time.Time // the last day, UTC
	Reason string
	Where  string // file and line, for messages
}

// ReadWaivers reads waivers, one a line, with four fields that | divides:
//
//	cells (a benchstat filter) | unit | last day | reason
//	.name:Send /method:splice  | sec/op | 2027-03-31 | waits for the new pipe size, issue 12
//
// Empty lines and those that begin with # are passed over. name is for messages. The
// error is summary.ErrInput.
func ReadWaivers(r io.Reader, name string) (list []Waiver, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		where := fmt.Sprintf("%s:%d", name, n)
		fields := strings.SplitN(line, "|", 4)
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if len(fields) < 4 || fields[0] == "" || fields[1] == "" || fields[3] == "" {
			return nil, summary.Errorf("read waivers %s: want cells | unit | last day | reason, none of them empty", where)
		}
		until, err := time.Parse(time.DateOnly, fields[2])
		if err != nil {
			return nil, summary.Errorf("read waivers %s: %q is no day (write 2027-03-31)", where, fields[2])
		}
		unit := fields[1]
		if unit != "*" {
			_, unit = benchunit.Tidy(1, unit)
		}
		list = append(list, Waiver{fields[0], unit, until, fields[3], where})
	}
	if err := lines.Err(); err != nil {
		return nil, summary.Errorf("read waivers %s: %w (is it a text file?)", name, err)
	}
	return list, nil
}

// waive marks what waivers let pass; the notes name those that have ended, and those
// that are for nothing.
func (j *Judgement) waive(results *summary.Results, waivers []Waiver, today time.Time) error {
	for _, w := range waivers {
		cells, err := results.Cells(w.Filter, "pkg")
		if err != nil {
			return fmt.Errorf("waiver %s: %w", w.Where, err)
		}
		names := map[string]bool{}
		for _, c := range cells {
			names[c.Key("pkg")+" "+c.Name] = true
		}
		used := false
		for i := range j.Rows {
			r := &j.Rows[i]
			if r.Status != Regressed || !names[r.id()] || w.Unit != "*" && w.Unit != r.Unit {
				continue
			}
			used = true
			if today.Before(w.Until.AddDate(0, 0, 1)) {
				r.Status, r.Why = Waived, fmt.Sprintf("until %s: %s", w.Until.Format(time.DateOnly), w.Reason)
			} else {
				j.Notes = append(j.Notes, fmt.Sprintf("waiver %s ended on %s and no longer holds for %s", w.Where, w.Until.Format(time.DateOnly), r.Cell))
			}
		}
		if !used {
			j.Notes = append(j.Notes, fmt.Sprintf("waiver %s is for nothing that regressed (remove it)", w.Where))
		}
	}
	return nil
}
