// SPDX-License-Identifier: Apache-2.0

// Command millrace serves models and talks to model servers.
//
// This package is the only one that reads flags and environment variables. Each
// command fills the options of the packages it wires together, validates them and
// runs; what the commands do lives in those packages. A command ends when its
// context does: the first interrupt or termination signal cancels it, the second
// kills the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// Exit statuses, as the root command's help states them.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(joinBooleans(root, args))

	// What fails before a command starts is a mistake in the command line.
	started := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		err := errors.Join(cmd.ValidateRequiredFlags(), cpu.Problem())
		started = err == nil
		return err
	}

	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !started {
		err = explainArguments(cmd, err)
	}
	fmt.Fprintln(stderr, "millrace:", err)
	var usage usageError
	if !started || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// usageError is a mistake in the command line that a command finds after it
// started, such as flags that contradict each other.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }
