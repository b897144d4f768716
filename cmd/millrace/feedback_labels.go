// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// definedLabel is a label as `feedback labels` answers it.
type definedLabel struct {
	Label    string   `json:"label"`
	Decision string   `json:"decision"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Window   string   `json:"window"`
	Silence  string   `json:"silence"`
	Sources  []string `json:"sources"`
	Entity   []string `json:"entity,omitempty"`
	Within   string   `json:"within,omitempty"`
}

func (o *feedbackOptions) labelsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "labels [PROJECT]",
		Short: "Check the labels of a project and print them",
		Long: `Check the labels of a project and print them: which feedback is the outcome of which
decision. Every mistake is reported by file, line and column. PROJECT is a folder, or the
current one; a server may run.`,
		Example: `  millrace feedback labels
  millrace feedback labels examples/card-fraud --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) == 1 {
				folder = args[0]
			}
			_, _, labels, err := labelsIn(folder)
			if err != nil {
				return err
			}
			all := make([]definedLabel, len(labels))
			for i, d := range labels {
				all[i] = describeLabel(d)
			}
			return o.show(cmd.OutOrStdout(), all, func(w io.Writer) error { return printLabels(w, all) })
		},
	}
}

func describeLabel(d *groundtruth.Definition) definedLabel {
	l := definedLabel{Label: d.Name, Decision: d.Decision, Kind: d.Kind.String(), Name: d.Outcome, Type: "any",
		Window: definition.FormatDuration(d.Window), Silence: "unknown", Sources: []string{}, Entity: d.Entity}
	if d.Type != groundtruth.TypeNull {
		l.Type = d.Type.String()
	}
	if d.Silence == groundtruth.SilenceNegative {
		l.Silence = d.Negative.String()
	}
	for _, s := range d.Sources {
		l.Sources = append(l.Sources, fmt.Sprintf("%s %d", s.Name, s.Priority))
	}
	if len(d.Entity) > 0 {
		l.Within = definition.FormatDuration(d.Within)
	}
	return l
}

func printLabels(w io.Writer, all []definedLabel) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no labels: millrace.yaml lists files of them under feedback")
		return err
	}
	table := newTable(w, "LABEL\tDECISION\tKIND\tNAME\tTYPE\tWINDOW\tSILENCE MEANS\tSOURCES\tBY ENTITY")
	for _, l := range all {
		sources, entity := "all", "no"
		if len(l.Sources) > 0 {
			sources = strings.Join(l.Sources, ", ")
		}
		if len(l.Entity) > 0 {
			entity = strings.Join(l.Entity, ", ") + " within " + l.Within
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Label, l.Decision, l.Kind, printable(l.Name), l.Type, l.Window, l.Silence, printable(sources), entity)
	}
	return table.Flush()
}
