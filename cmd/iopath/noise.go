package main

import (
	"fmt"
	"slices"

	"iopath/internal/host"
	"iopath/internal/summary"
	"iopath/internal/trial"
)

// watchNoise watches this machine.
func watchNoise() func() trial.Noise {
	before := host.ReadNoise()
	return func() trial.Noise { return before.Until(host.ReadNoise()) }
}

// measuringCPUs are those that package bench pins a job and its peer to, the
// job's first; none where it pins nothing.
func measuringCPUs() []int {
	cpus, err := host.AllowedCPUs()
	if err != nil || len(cpus) < 2 {
		return nil
	}
	return []int{cpus[len(cpus)-1], cpus[0]}
}

// When a machine counts as quiet.
const (
	quietSteal    = 0.01 // of all CPUs' time, less than
	quietInterval = 0.03 // of the median time, at most, in
	quietCells    = 0.9  // of the warm cells, at least
)

// noiseLine is the last line of a run: what the machine did to it, and how far
// the warm cells' medians are to be trusted. It is quiet if less than 1 % of the
// CPUs' time was stolen and nine warm cells in ten are within ±3 %. Cold cells do
// not count: they vary with the device.
func noiseLine(noise trial.Noise, rounds int, warm []*summary.Cell) string {
	head := fmt.Sprintf("# noise: %v over %s; ", noise, plural(rounds, "round"))
	if len(warm) == 0 {
		return head + "no warm cells\n"
	}
	var halves []float64
	for _, c := range warm {
		f, _ := c.Figure("sec/op")
		if pm, ok := f.PlusMinus(); ok {
			halves = append(halves, pm)
		}
	}
	if len(halves) == 0 {
		return head + "too few rounds for intervals\n"
	}
	slices.Sort(halves)
	within := 0
	for _, pm := range halves {
		if pm <= quietInterval {
			within++
		}
	}
	verdict := "noisy"
	if steal, _ := noise.Share("steal"); steal < quietSteal && float64(within) >= quietCells*float64(len(halves)) {
		verdict = "quiet"
	}
	return fmt.Sprintf("%s± of the median: half of %s within %s, %d within %s; %s\n", head,
		plural(len(halves), "warm cell"), percent(halves[(len(halves)-1)/2]), within, percent(quietInterval), verdict)
}
