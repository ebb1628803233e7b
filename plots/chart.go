package plots

// A Chart is declared, not programmed. Across replaces X and Unit; Ratio makes
// ratios of the figures.
type Chart struct {
	Headline
	Filter string   // benchproc filter of the cells to draw, "" for all
	X      string   // key of the x axis, such as /block; .file has a place for each file read
	Order  []string // of the x values, where they are words with an order; others come behind
	Series string   // key that tells the lines apart, such as /method
	Unit   string   // as in the file (ns/op, MB/s, syscalls/op) or tidied (sec/op, B/s); X/GiB is computed from X/op
	Y      string   // what the y axis shows, without its unit; "" for the name of Unit
	Log    bool     // y in decades, with a place for zero; else linear from zero
	Usual  bool     // leave out other consumers than the usual one, where there are both
	Note   string   // what a reader must know, above the figures

	Across []Quantile // the x axis has units of the same cell
	Ratio  *Ratio     // figures are divided by others, and the y axis has its 1 in sight

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

// A Quantile is a place on an x axis that has units instead of a key's values.
type Quantile struct {
	Unit  string
	Label string
	At    float64
}

// A Ratio has the figure of each cell divided by that of another, which differs from
// it in one key alone, round by round: the k-th measurement of one by the k-th of the
// other. Its interval is one of internal/verdict.
type Ratio struct {
	Key        string      // /method, or .file for two runs
	Of         [][2]string // values of the key: of the cell, and of the one it is divided by
	One        string      // what a ratio of 1 means
	References []Floor     // what both have measured of the machine itself: their ratios are noted
}
