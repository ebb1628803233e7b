package plots

// A Chart is declared, not programmed.
type Chart struct {
	Headline
	Filter string   // benchproc filter of the cells to draw, "" for all
	X      string   // key of the x axis, such as /block
	Order  []string // of the x values, where they are words with an order; others come behind
	Series string   // key that tells the lines apart, such as /method
	Unit   string   // as in the file (ns/op, MB/s, syscalls/op) or tidied (sec/op, B/s); X/GiB is computed from X/op
	Y      string   // what the y axis shows, without its unit; "" for the name of Unit
	Log    bool     // y in decades, with a place for zero; else linear from zero

	Ceiling      string   // filter of cells that bound the others from above, "" for none
	CeilingLabel string   // what they are the ceiling of: memory, socket, device
	CeilingBy    []string // keys, beside X, in which a cell and its ceiling agree; a line for each set of values
	CeilingFlat  bool     // whether the highest of them bounds all, whatever its X
	Floors       []Floor
}

// A Floor is a horizontal line: the least of one unit among the cells that a
// filter keeps. It is drawn where it is near the figures.
type Floor struct {
	Filter, Unit string
	Label        string
}
