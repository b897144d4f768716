// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// joinBooleans rewrites `--flag false` as `--flag=false` for boolean flags, so that
// Triton's command lines work: its boolean flags take a value, which the flag
// package reads only after an equals sign.
func joinBooleans(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil {
		return args
	}
	joined := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(joined, args[i:]...)
		}
		if i+1 < len(args) && isBooleanFlag(cmd, args[i]) && isBoolean(args[i+1]) {
			joined = append(joined, args[i]+"="+args[i+1])
			i++
			continue
		}
		joined = append(joined, args[i])
	}
	return joined
}

func isBooleanFlag(cmd *cobra.Command, arg string) bool {
	name, long := strings.CutPrefix(arg, "--")
	if !long {
		return false
	}
	flag := cmd.Flags().Lookup(name)
	return flag != nil && flag.Value.Type() == "bool"
}

func isBoolean(text string) bool {
	_, err := strconv.ParseBool(text)
	return err == nil
}

// suggestFlag adds the nearest flag to the error of one that does not exist.
func suggestFlag(cmd *cobra.Command, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		if number := new(strconv.NumError); errors.As(err, &number) { // without the name of Go's function
			err = errors.New(strings.Replace(err.Error(), number.Error(), number.Err.Error(), 1))
		}
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	}
	nearest, distanceMin := "", len(name)/2+1
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if d := editDistance(name, flag.Name); d < distanceMin {
			nearest, distanceMin = flag.Name, d
		}
	})
	if nearest == "" {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	}
	return fmt.Errorf("%w; did you mean --%s? See %s --help", err, nearest, cmd.CommandPath())
}

// explainArguments says how a command is called whose arguments are too few or too many, and
// where to look for one that does not exist.
func explainArguments(cmd *cobra.Command, err error) error {
	switch text := err.Error(); {
	case strings.HasPrefix(text, "accepts "), strings.HasPrefix(text, "requires "):
		return fmt.Errorf("%s %w; usage: %s", cmd.CommandPath(), err, cmd.UseLine())
	case strings.HasPrefix(text, "unknown command ") && !strings.Contains(text, "\n"):
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	}
	return err
}

// editDistance is the number of letters to insert, delete or replace between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
