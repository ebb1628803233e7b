package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"iopath/bench"
	"iopath/workloads/iomethod"
)

// A methodRow is a method as iopath methods prints it.
type methodRow struct {
	Name        string              `json:"name"`
	Doc         string              `json:"doc"`
	Calls       map[string][]string `json:"calls"` // by role
	Unavailable string              `json:"unavailable,omitempty"`
}

// methodRows lists all methods, and why those among lacks are not to be had.
func methodRows(lacks map[string]error) []methodRow {
	var rows []methodRow
	for _, m := range iomethod.All() {
		r := methodRow{Name: m.Name, Doc: m.Doc, Calls: map[string][]string{}}
		for _, role := range m.Roles() {
			r.Calls[role] = append([]string{}, m.Calls(role)...)
		}
		if err := lacks[m.Name]; err != nil {
			r.Unavailable = err.Error()
		}
		rows = append(rows, r)
	}
	return rows
}

// roles lists a row's roles with their calls: "reader (read), sender (read, write)".
func (r methodRow) roles() string {
	var roles []string
	for _, role := range iomethod.Roles {
		calls, ok := r.Calls[role]
		if ok && len(calls) > 0 {
			role += " (" + strings.Join(calls, ", ") + ")"
		}
		if ok {
			roles = append(roles, role)
		}
	}
	return strings.Join(roles, ", ")
}

// nameColumns is how many columns a method's name has in the list.
const nameColumns = 20

func methodsCommand(stdout io.Writer) *cli.Command {
	var (
		o   struct{ markdown, json bool }
		dir string
	)
	return &cli.Command{
		Name:  "methods",
		Usage: "list the methods: what each can do, and by which system calls",
		Flags: flags(func(fs *flag.FlagSet) {
			fs.StringVar(&dir, "dir", "", "`directory` whose filesystem the methods are tried on (default: .iopath beside go.mod)")
			fs.BoolVar(&o.markdown, "markdown", false, "print Markdown")
			fs.BoolVar(&o.json, "json", false, "print JSON")
		}),
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usage("iopath methods takes no arguments, got %q", c.Args().First())
			}
			if dir == "" {
				var err error
				if dir, err = bench.DefaultDir(); err != nil {
					return err
				}
			}
			rows := methodRows(bench.Lacks(dir, ""))
			switch {
			case o.json:
				return writeJSON(stdout, rows)
			case o.markdown:
				return writeMethodsMarkdown(stdout, rows)
			}
			for _, r := range rows {
				lines := []string{r.roles(), r.Doc}
				if r.Unavailable != "" {
					lines = append(lines, "not here: "+r.Unavailable)
				}
				name := r.Name
				for _, text := range lines {
					for _, line := range wrap(text, min(width(stdout), 100)-nameColumns-1) {
						fmt.Fprintf(stdout, "%-*s %s\n", nameColumns, name, line)
						name = ""
					}
				}
			}
			return nil
		},
	}
}

func writeMethodsMarkdown(w io.Writer, rows []methodRow) error {
	_, err := fmt.Fprint(w, "| method | role (system calls it must make) | what it does |\n|---|---|---|\n")
	for _, r := range rows {
		if err == nil {
			_, err = fmt.Fprintf(w, "| `%s` | %s | %s |\n", r.Name, r.roles(), r.Doc)
		}
	}
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// wrap breaks text into lines of at most so many characters, at its blanks.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
