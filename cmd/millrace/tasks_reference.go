// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/millrace-ml/millrace/evaluation"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/orchestrator"
)

// referenceWith is what a reference task is told.
type referenceWith struct {
	// Label is the column with the truth, Positive the class that counts as 1 where it has
	// others than 0 and 1.
	Label    string `json:"label"`
	Positive string `json:"positive"`
	// Output names the model's output with scores, Class the place of the score in a row of it;
	// without them it is found as an evaluation finds it.
	Output string `json:"output"`
	Class  *int   `json:"class"`
}

func (h *taskHost) referenceKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "reference", Doc: "lets a model predict rows that it was not trained on, for monitors to compare production with", Version: taskVersion,
		Inputs: []orchestrator.Port{
			{Name: "model", Doc: "a folder with model.onnx"}, {Name: "data", Doc: "rows with their truth that the model was not trained on"},
		},
		Outputs: []orchestrator.Port{{Name: "reference", File: monitor.ReferenceFileName, Doc: "the model's columns, " + monitor.ScoreColumn + " and " + monitor.LabelColumn}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w referenceWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if w.Label == "" {
				return nil, errors.New("with.label is missing: the column with the truth")
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.reference(ctx, c, &w) }), nil
		},
	}
}

func (h *taskHost) reference(ctx context.Context, c *orchestrator.Call, w *referenceWith) error {
	data, err := dataPath(c.Inputs["data"])
	if err != nil {
		return err
	}
	p, err := evaluation.Predict(ctx, evaluation.Options{
		Spec:    evaluation.Spec{Model: filepath.Join(c.Inputs["model"], "model.onnx"), Data: data, Label: w.Label, Positive: w.Positive, Output: w.Output, Class: w.Class},
		Backend: modelBackend(slog.New(slog.DiscardHandler)), Workers: h.workers, Version: version,
		Progress: func(phase string, done, total int64) { c.Progress(done, total, phase) },
	})
	if err != nil {
		return err
	}
	out, err := openReference(c.Outputs["reference"], p.Rows)
	if err != nil {
		return err
	}
	n := len(p.Rows.Columns)
	p.Rows.Columns[n-2].Numbers, p.Rows.Columns[n-1].Numbers = p.Scores, p.Labels
	if err := out.Write(p.Rows); err != nil {
		return errors.Join(err, out.Abort())
	}
	if err := out.Close(); err != nil {
		return err
	}
	if p.Task == metric.Regression {
		fmt.Fprintf(c.Log, "%d rows, whose labels are amounts\n", p.Rows.Rows)
		return setAll(c, map[string]any{"rows": p.Rows.Rows})
	}
	positives := 0.0
	for _, label := range p.Labels {
		positives += label
	}
	fmt.Fprintf(c.Log, "%d rows, of which %.0f are positive\n", p.Rows.Rows, positives)
	return setAll(c, map[string]any{"rows": p.Rows.Rows, "positives": int(positives)})
}
