package plots

import (
	"strings"

	"iopath/internal/summary"
)

// This file makes charts of several runs out of the Spine's: those whose answer is a
// throughput.

// references tell a machine that changed from a method that did.
var references = []Floor{
	{".name:Ceiling /pattern:seq", "B/s", "memory"},
	{".name:Floor /what:syscall", "sec/op", "time of an empty system call"},
}

// Trends returns charts over runs, which stand in the order they are read in: a line
// for each method, at the usual block where there are several.
func Trends() (all Drawings) {
	for _, c := range throughputs() {
		c.Name, c.Title = "trend-"+c.Name, "Run by run: "+inSentence(c.Title)
		switch c.X {
		case "/block":
			c.Filter += " /block:" + usualBlock
			c.Note = "Blocks of " + sizeLabel(usualBlock) + "."
			c.CeilingBy = append([]string{"/block"}, c.CeilingBy...)
			if c.CeilingFlat { // of each run, the highest
				c.CeilingFlat, c.CeilingBy = false, c.CeilingBy[1:]
			}
		case "/size":
			c.Filter += " /size:" + usualBlock
			c.Note = "Size " + sizeLabel(usualBlock) + "."
		}
		c.X, c.Order = ".file", nil
		all = append(all, c)
	}
	return all
}

// Ratios returns charts of the run read from the file newer against the one from the
// file older. Both names are the keys that .file has in the results.
func Ratios(older, newer string) (all Drawings) {
	for _, c := range throughputs() {
		c.Name, c.Title = "ratio-"+c.Name, "One run against another: "+inSentence(c.Title)
		c.Note = "Newer: " + summary.RunName(newer) + ", older: " + summary.RunName(older) + "."
		c.Ceiling, c.Floors = "", nil
		c.Y = "throughput, newer ÷ older"
		c.Ratio = &Ratio{Key: ".file", Of: [][2]string{{newer, older}}, One: "1: no change", References: references}
		all = append(all, c)
	}
	return all
}

// throughputs are the Spine's charts of one, but for those of ratios.
func throughputs() (charts []Chart) {
	for _, d := range Spine() {
		if c, ok := d.(Chart); ok && c.Unit == "B/s" && c.Ratio == nil && !strings.HasSuffix(c.Name, "-durability") {
			c.Name = strings.TrimSuffix(c.Name, "-throughput")
			charts = append(charts, c)
		}
	}
	return charts
}

// inSentence is a title that something stands before.
func inSentence(title string) string { return strings.ToLower(title[:1]) + title[1:] }
