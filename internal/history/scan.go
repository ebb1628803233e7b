package history

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/perf/benchfmt"
)

// A scanner goes through result lines and, in their order, the comments between
// them, which benchfmt passes over.
type scanner struct {
	comment func(text string) error // without "# "; those that wanted calls none are left out
	result  func(*benchfmt.Result) error
	damaged func(*benchfmt.SyntaxError) error
}

// wanted are the beginnings of the comments that mean something here.
var wanted = [][]byte{[]byte("# run: "), []byte("# date: "), []byte("# round "), []byte("# iopath ")}

// scan reads to the end, or to the first error of one of the functions.
func (s scanner) scan(reader *benchfmt.Reader, r io.Reader, name string) error {
	seen := &comments{}
	reader.Reset(io.TeeReader(r, seen), name)
	for reader.Scan() {
		rec := reader.Result()
		_, line := rec.Pos()
		if err := seen.until(line, s.comment); err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
		var err error
		switch rec := rec.(type) {
		case *benchfmt.SyntaxError:
			// What a later iopath says of a unit may differ: the first one holds.
			if !seen.isUnit(line) {
				err = s.damaged(rec)
			}
		case *benchfmt.Result:
			err = s.result(rec)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	if err := reader.Err(); err != nil {
		return err
	}
	seen.end()
	if err := seen.until(seen.line+1, s.comment); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// comments sees every line before the benchfmt reader does, and keeps those wanted
// until the reader has come to them.
type comments struct {
	partial []byte
	line    int // lines ended so far
	kept    []comment
	units   []int // lines that begin with Unit, of which the reader may complain
}

type comment struct {
	line int
	text string
}

func (c *comments) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			c.partial = append(c.partial, p...)
			return n, nil
		}
		line := p[:i]
		if len(c.partial) > 0 {
			c.partial = append(c.partial, line...)
			line = c.partial
		}
		c.see(line)
		c.partial = c.partial[:0]
		p = p[i+1:]
	}
}

func (c *comments) see(line []byte) {
	c.line++
	if len(line) == 0 || line[0] != '#' && line[0] != 'U' {
		return
	}
	if line[0] == 'U' {
		c.units = append(c.units, c.line)
		return
	}
	for _, prefix := range wanted {
		if bytes.HasPrefix(line, prefix) {
			c.kept = append(c.kept, comment{c.line, string(bytes.TrimSpace(line[2:]))})
		}
	}
}

// end takes in a last line that no newline ends.
func (c *comments) end() {
	if len(c.partial) > 0 {
		c.see(c.partial)
		c.partial = nil
	}
}

// until hands over the comments before a line.
func (c *comments) until(line int, comment func(string) error) error {
	n := 0
	for ; n < len(c.kept) && c.kept[n].line < line; n++ {
		if err := comment(c.kept[n].text); err != nil {
			return err
		}
	}
	if n > 0 {
		c.kept = append(c.kept[:0], c.kept[n:]...)
	}
	return nil
}

// isUnit reports whether a line, and none before one that was asked for, is a Unit
// line.
func (c *comments) isUnit(line int) bool {
	for len(c.units) > 0 && c.units[0] < line {
		c.units = c.units[1:]
	}
	return len(c.units) > 0 && c.units[0] == line
}
