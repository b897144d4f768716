// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker; see the Makefile.
var version = "dev"

const rootLong = `Millrace serves machine-learning models over gRPC and REST, in the dialect of the
KServe v2 protocol that Triton clients speak, with dynamic batching and hot swap; computes
their features, decides, and closes the loop: it takes outcomes, watches, lets people label,
trains, judges and promotes.

Exit status: 0 for success, 1 when a command fails, 2 for a mistake in the command line.`

const rootExample = `  millrace demo                          # the whole loop by itself, and a console to look on
  millrace up examples/card-fraud        # features, models, decisions and the loop around them
  millrace demo-repository models        # write a few small models
  millrace serve --model-repository models
  millrace predict --model simple --input 'INPUT0=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]' \
                                  --input 'INPUT1=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]'
  millrace models list
  millrace doctor`

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "millrace",
		Short:         "Serve machine-learning models",
		Long:          rootLong,
		Example:       rootExample,
		Version:       versionText(),
		Args:          cobra.NoArgs,
		RunE:          showHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(suggestFlag)
	root.AddCommand(
		newServeCommand(),
		newUpCommand(),
		newInitCommand(),
		newPredictCommand(),
		newModelsCommand(),
		newFeaturesCommand(),
		newFeedbackCommand(),
		newLabelCommand(),
		newEvaluateCommand(),
		newMonitorCommand(),
		newRunsCommand(),
		newTrainCommand(),
		newPipelineCommand(),
		newTaskCommand(),
		newBenchCommand(),
		newDemoCommand(),
		newDemoRepositoryCommand(),
		newDemoPaymentsCommand(),
		newDoctorCommand(),
		newVersionCommand(),
	)
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version", Example: "  millrace version",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return err
		},
	}
}

func versionText() string {
	return fmt.Sprintf("millrace %s (%s, %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// showHelp is what a command does that only groups others.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
