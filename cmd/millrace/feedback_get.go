// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// feedbackVersion is a version of a piece of feedback, as `feedback get` answers it.
type feedbackVersion struct {
	ArrivalTime  string            `json:"arrival_time"`
	Sequence     uint64            `json:"sequence"`
	FeedbackID   string            `json:"feedback_id"`
	PredictionID string            `json:"prediction_id,omitempty"`
	Entity       map[string]string `json:"entity,omitempty"`
	Name         string            `json:"name"`
	Kind         string            `json:"kind"`
	Value        any               `json:"value"`
	Source       string            `json:"source,omitempty"`
	EventTime    string            `json:"event_time"`
	Weight       float64           `json:"weight"`
	Reason       string            `json:"reason,omitempty"`
}

type feedbackFound struct {
	Versions []feedbackVersion `json:"versions"`
	// Truncated: there are more, older ones.
	Truncated bool `json:"truncated"`
}

func (o *feedbackOptions) getCommand() *cobra.Command {
	var client featuresClient
	var q millracev1.GetOutcomeRequest
	var from, to, asOf momentFlag
	cmd := &cobra.Command{
		Use:   "get --prediction-id ID | --feedback-id ID",
		Short: "Print what was said about a prediction",
		Long: `Print what was said about a prediction, or all versions of a piece of feedback, oldest
first: corrections and contradictions too. At most 1,000 versions are printed, the newest.
Feedback by entity has no prediction id: it is found by its own, and by feedback join.`,
		Example: `  millrace feedback get --prediction-id 06e52xs28047v5ga0004dkxde8
  millrace feedback get --feedback-id chargeback-77 --as-of 2026-02-01 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (q.PredictionId == "") == (q.FeedbackId == "") {
				return usageError{errors.New("give --prediction-id or --feedback-id, one of them")}
			}
			q.From, q.To, q.AsOf = from.micros(), to.micros(), asOf.micros()
			found, err := findFeedback(cmd.Context(), &client, &q)
			if err != nil {
				return err
			}
			return o.show(cmd.OutOrStdout(), found, found.table)
		},
	}
	flags := cmd.Flags()
	client.addFlags(flags)
	flags.StringVar(&q.PredictionId, "prediction-id", "", "`id` of the prediction")
	flags.StringVar(&q.FeedbackId, "feedback-id", "", "`id` of the feedback")
	flags.Var(&from, "from", "leave out what happened before this moment (default: 90 days ago)")
	flags.Var(&to, "to", "leave out what happened from this moment on")
	flags.Var(&asOf, "as-of", "what was known at this moment (default: now)")
	return cmd
}

func findFeedback(ctx context.Context, client *featuresClient, q *millracev1.GetOutcomeRequest) (*feedbackFound, error) {
	ctx, conn, done, err := client.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	answer, err := millracev1.NewFeedbackClient(conn).GetOutcome(ctx, q)
	if err != nil {
		return nil, explainFeedback(client, err)
	}
	found := &feedbackFound{Truncated: answer.Truncated, Versions: []feedbackVersion{}}
	for _, v := range answer.Versions {
		i := v.GetItem()
		found.Versions = append(found.Versions, feedbackVersion{
			ArrivalTime: formatMicros(v.ArrivalTime), Sequence: v.Sequence, FeedbackID: i.GetFeedbackId(), PredictionID: i.GetPredictionId(), Entity: i.GetEntity(),
			Name: i.GetName(), Kind: groundtruth.Kind(max(i.GetKind(), 1)).String(), Value: wireScalar(i.GetValue()), Source: i.GetSource(),
			EventTime: formatMicros(i.GetEventTime()), Weight: i.GetWeight(), Reason: i.GetReason(),
		})
	}
	return found, nil
}

// wireScalar is a value as JSON has it.
func wireScalar(v *millracev1.Value) any {
	switch v := v.GetKind().(type) {
	case *millracev1.Value_Bool:
		return v.Bool
	case *millracev1.Value_Number:
		return v.Number
	case *millracev1.Value_Integer:
		return v.Integer
	case *millracev1.Value_Text:
		return v.Text
	}
	return nil
}

func (f *feedbackFound) table(w io.Writer) error {
	if len(f.Versions) == 0 {
		_, err := fmt.Fprintln(w, "nothing was said; --from looks further back than 90 days")
		return err
	}
	table := newTable(w, "ARRIVED\tHAPPENED\tNAME\tKIND\tVALUE\tSOURCE\tWEIGHT\tFEEDBACK ID\tREASON")
	for _, v := range f.Versions {
		value := "withdrawn"
		if v.Value != nil {
			value = printable(fmt.Sprint(v.Value))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", short(v.ArrivalTime), short(v.EventTime), printable(v.Name), v.Kind, value,
			printable(v.Source), strconv.FormatFloat(v.Weight, 'g', -1, 64), printable(v.FeedbackID), printable(v.Reason))
	}
	if err := table.Flush(); err != nil || !f.Truncated {
		return err
	}
	_, err := fmt.Fprintln(w, "older versions were left out; --to shows what happened before")
	return err
}

// short is a moment to the second.
func short(moment string) string {
	t, err := time.Parse(time.RFC3339Nano, moment)
	if err != nil {
		return moment
	}
	return t.Format("2006-01-02 15:04:05")
}
