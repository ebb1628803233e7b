package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"os"
	"strconv"
	"strings"
)

var (
	//go:embed report.tmpl
	page string
	//go:embed report.css
	style string
	//go:embed report.js
	script string

	pageTemplate = template.Must(template.New("report").Parse(page))
)

// HTML writes the report as one file that needs no other: style, script and charts
// are inline, and the page forbids the browser to load anything or to run another
// script. Without JavaScript all is there too, but for sorting and filtering.
//
// The error is that of a chart's file which cannot be read.
func (r *Report) HTML(w io.Writer) error {
	var glyphs glyphs
	charts := 0
	type part struct {
		ID, Name     string
		Lead, Folded []template.HTML
	}
	var parts []part
	for i, s := range r.sections() {
		p := part{ID: "charts-" + strconv.Itoa(i+1), Name: s.Name}
		for _, of := range []struct {
			charts []Chart
			into   *[]template.HTML
		}{{s.Lead, &p.Lead}, {s.Folded, &p.Folded}} {
			for _, c := range of.charts {
				raw, err := os.ReadFile(c.SVG)
				if err != nil {
					return fmt.Errorf("take chart into the report: %w (draw it anew: iopath plot)", err)
				}
				charts++
				*of.into = append(*of.into, template.HTML(glyphs.inline("c"+strconv.Itoa(charts), raw)))
			}
		}
		parts = append(parts, p)
	}
	sum := sha256.Sum256([]byte(script))
	return pageTemplate.Execute(w, map[string]any{
		"Report":     r,
		"Style":      template.CSS(style),
		"Script":     template.JS(script),
		"ScriptHash": base64.StdEncoding.EncodeToString(sum[:]),
		"Glyphs":     template.HTML(glyphs.defs.String()),
		"Parts":      parts,
		"Folded":     folded,
		"Grid":       r.grid(),
		"Table":      r.table,
		"Bounds":     r.bounds(),
		"Machine":    r.machine(),
		"Commit":     r.commit(),
		"Commands":   r.commands,
		"Made":       r.made,
		"Unrecorded": unrecorded,
	})
}

// glyphs are the outlines of letters that charts use. Each chart's file has its
// own; in a page that has many they stand once.
type glyphs struct {
	ids  map[string]string // by outline
	defs bytes.Buffer
}

// inline returns a chart's SVG as it may stand in a page beside others: the ids in
// it begin with prefix, and its letters are those of all.
func (g *glyphs) inline(prefix string, svg []byte) string {
	text := string(svg)
	if i := strings.Index(text, "<svg"); i >= 0 {
		text = text[i:] // behind what makes it a file of its own
	}
	shared := map[string]string{}
	parts := strings.Split(text, outlineStart)
	for i, part := range parts[1:] {
		// An outline has an id and a d, and ends.
		id, rest, _ := strings.Cut(part, `" d="`)
		d, after, ok := strings.Cut(rest, `"/>`)
		if !ok || strings.ContainsAny(id+d, `"<`) {
			parts[i+1] = outlineStart + part
			continue
		}
		shared[id] = g.share(d)
		parts[i+1] = strings.TrimPrefix(after, "\n")
	}
	text = strings.Join(parts, "")
	for _, mark := range []string{` id="`, `href="#`, `url(#`} {
		parts := strings.Split(text, mark)
		for i, part := range parts[1:] {
			end := max(strings.IndexAny(part, `")`), 0)
			id, ok := shared[part[:end]]
			if !ok {
				id = prefix + "-" + part[:end]
			}
			parts[i+1] = mark + id + part[end:]
		}
		text = strings.Join(parts, "")
	}
	// In a page these are understood, and an address is none.
	for _, space := range []string{` xmlns="http://www.w3.org/2000/svg"`, ` xmlns:xlink="http://www.w3.org/1999/xlink"`} {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\n\t"+space[1:], ""), space, "")
	}
	return strings.ReplaceAll(text, "xlink:href=", "href=")
}

const outlineStart = `<path id="`

// share returns the id of an outline, which it writes down if it is new.
func (g *glyphs) share(d string) string {
	if id, ok := g.ids[d]; ok {
		return id
	}
	if g.ids == nil {
		g.ids = map[string]string{}
	}
	id := "g" + strconv.Itoa(len(g.ids))
	g.ids[d] = id
	fmt.Fprintf(&g.defs, "<path id=\"%s\" d=\"%s\"/>\n", id, d)
	return id
}
