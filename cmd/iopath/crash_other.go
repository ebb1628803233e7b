//go:build !linux

package main

import (
	"context"
	"errors"
	"io"

	"github.com/urfave/cli/v3"

	"iopath/workloads/claims"
)

func examineCrash() []finding { return nil }

func kernelLoss(context.Context, string) (claims.KernelLoss, error) {
	return claims.KernelLoss{}, errors.ErrUnsupported
}

func crashCommand(_, _ io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "crash",
		Usage: "lose processes and machines while they write, and count what is left (Linux alone)",
		Action: func(context.Context, *cli.Command) error {
			return usage("iopath crash: %w on this system (it needs Linux)", errors.ErrUnsupported)
		},
	}
}
