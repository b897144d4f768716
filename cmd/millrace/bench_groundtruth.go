// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/bench/loop/groundtruth"
)

// newBenchGroundtruthCommand joins outcomes in a process that does nothing else, so that its
// memory can be told; the loop suite starts it.
func newBenchGroundtruthCommand() *cobra.Command {
	var c groundtruth.Config
	cmd := &cobra.Command{
		Use:    "groundtruth",
		Short:  "Measure how fast outcomes are joined to predictions, as JSON",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.Dir == "" || c.Predictions < 1 || c.Outcomes < 1 || c.Rate < 1 || c.Batch < 1 {
				return usageError{fmt.Errorf("--dir is needed, and numbers from 1 on")}
			}
			c.Progress = func(format string, values ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", values...) }
			result, err := groundtruth.Run(cmd.Context(), c)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(result)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.Dir, "dir", "", "empty `folder` for log and join")
	flags.IntVar(&c.Predictions, "predictions", 1_000_000, "`number` of predictions in the log")
	flags.IntVar(&c.Outcomes, "outcomes", 100_000, "`number` of outcomes as fast as it goes")
	flags.IntVar(&c.Rate, "rate", 10_000, "outcomes a second of the paced part")
	flags.DurationVar(&c.Paced, "paced", 10*time.Second, "`time` that the paced part takes")
	flags.IntVar(&c.Batch, "batch", 500, "outcomes of a call")
	flags.Uint64Var(&c.Seed, "seed", 1, "`seed` of the outcomes")
	return cmd
}
