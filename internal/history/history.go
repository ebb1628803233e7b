// Package history keeps the runs of iopath regress, night after night, and finds
// where one of them changed for good.
//
// # The store
//
// A [Store] is a plain branch of a git repository, of no kin to the others, with one
// file a month, 2026-11.txt, by the date of the run in UTC. A file only ever grows: no
// byte that is in it changes. It is in the Go benchmark format, so benchstat reads it:
//
//	git show iopath-history:2026-11.txt |
//		go tool benchstat -filter 'side:(base OR head)' -ignore commit -col side -
//
// A run is a block that stands for itself: its name and date as comments, the facts of
// its machine, the units, the result lines below their round, side and commit, and at
// its end an empty value for each key that it set, which takes the key away. Of a
// line's figures it keeps time, CPU time and the exact counts. What else was measured
// is in the run itself; with all of it the store would be five times as large.
//
// It is written by git's plumbing (hash-object, mktree, commit-tree, update-ref with
// the old value), so no work tree and no index is touched, no hook runs, and a bare
// repository will do. Where two add at once, git lets one of them move the branch, and
// the other one adds to what that has left.
//
// # From lines to changes
//
//  1. [Store.Read] makes one [Point] of each run, cell and unit: the median over the
//     rounds of the ratio head ÷ base. Both were measured within the same minute, so
//     what disturbs the machine for a night disturbs both. Lines are dropped as they
//     are read.
//  2. A [Series] is apart for each fingerprint of a machine (what the machine is, see
//     fingerprint: not its kernel or Go, whose changes one wants to see) and for each
//     pinned commit.
//  3. [History.Changes] splits each series by E-divisive with medians, in the variant
//     with exact medians (James, Kejariwal, Matteson, Leveraging cloud data to mitigate
//     user experience from "breaking bad", 2014, arXiv:1411.7955). Of a segment of n
//     logarithms of ratios it takes the split into τ and n-τ, at least MinSegment each,
//     with the greatest τ(n-τ)/n · (difference of the two medians)². The segment is
//     split where chance gives as great a one with a probability of at most
//     Significance: at most one of 1999 permutations of the segment, whose seed is a
//     constant with the series' name. Then both sides are looked at in turn, and
//     windows of what is not split as a whole: see within.
//  4. Of each median, the bound nearer to the other side is taken in place of itself:
//     see clearly. Where a segment is split is not where the statistic is greatest, but
//     where the distances from the two medians have the least sum: see place. Both
//     differ from the paper, and its reasons hold for series much longer than ours.
//  5. Segments within verdict.MinLead (2 %) of each other are joined: two builds of one
//     code differ by as much.
//
// A median does not follow one or two runs, so a spike is no change.
//
// # Limits
//
// Significance is that of one segment. Of m series in which nothing changes, at most
// m/1000 are expected to be split: a wrong one among 137 cells in one of seven nights,
// were each night's history new. It is the old one with one more run, so what is wrong
// stays for some nights and goes, and most of it is below 2 %. Stricter would cost
// what follows.
//
// A step of ten times the noise is found after three runs where 100 came before, after
// four or five where 20 did; one as great as the noise after 30. With fewer than 20
// hardly any can be told: so few runs come into the order of a change by chance. Spikes
// on record count with these.
//
// A change that is taken back moves the median of neither side once the runs since then
// outnumber it. It is found in windows of the series then, where it stands out beyond
// doubt, as a month of five times the noise does (see within). What lasted for less is
// seen while it lasts, and masked later.
//
// Of a series with a correlation from run to run, permutations are no sample: at 0.3,
// of 2000 series of 100 runs without a change some 30 are split, not two.
//
// The package knows the result format and git, and no workload.
package history
