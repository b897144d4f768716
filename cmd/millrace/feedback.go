// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// feedbackOptions are the flags that all commands below `millrace feedback` share.
type feedbackOptions struct{ json bool }

func newFeedbackCommand() *cobra.Command {
	o := new(feedbackOptions)
	cmd := &cobra.Command{
		Use:   "feedback",
		Short: "Say what became of decisions, look it up, and join it to them",
		Long: `Say what became of decisions, look it up, and join it to them.

Feedback names a prediction, or an entity and a time. The files that millrace.yaml lists
under feedback say which of it is the label of which decision.`,
		Example: `  millrace feedback import chargebacks.csv --name is_fraud --source chargeback
  millrace feedback get --prediction-id 06e52xs28047v5ga0004dkxde8
  millrace feedback join . --label fraud --output labelled.parquet --mature-only --vectors`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.PersistentFlags().BoolVar(&o.json, "json", false, "answer in JSON instead of a table")
	cmd.AddCommand(o.labelsCommand(), o.importCommand(), o.getCommand(), o.joinCommand())
	return cmd
}

// show writes an answer: as JSON when asked for, else by table.
func (o *feedbackOptions) show(w io.Writer, answer any, table func(io.Writer) error) error {
	if !o.json {
		return table(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

// explainFeedback turns the error of a call into a line for a person.
func explainFeedback(c *featuresClient, err error) error {
	if status.Code(err) == codes.Unimplemented {
		return &feedbackMissing{c.url}
	}
	return c.explain(err)
}

type feedbackMissing struct{ server string }

func (e *feedbackMissing) Error() string {
	return e.server + ": the server takes no feedback: it serves no project with decisions (millrace up)"
}

// printable is a text of somebody else as one line of a terminal, which it must not be
// able to command.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	return strconv.Quote(text)
}
