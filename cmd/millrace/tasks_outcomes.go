// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
	"github.com/millrace-ml/millrace/training"
)

// outcomesWith is what an outcomes task is told.
type outcomesWith struct {
	// Label is one of the project's feedback files; empty is the only one. Model leaves out
	// the decisions of other models.
	Label string `json:"label"`
	Model string `json:"model"`
	AsOf  string `json:"as_of"`
	taskTimes
	// Early takes decisions whose window is not over, Unlabelled those without a label too,
	// and PlainOnly leaves out the columns of features.
	Early      bool `json:"early"`
	Unlabelled bool `json:"unlabelled"`
	PlainOnly  bool `json:"plain_only"`
	// Dataset asks for a training set in place of the table.
	Dataset *outcomesSet `json:"dataset"`
}

func (w *outcomesWith) validate() error {
	if w.Dataset == nil {
		return nil
	}
	if w.Early || w.Unlabelled || w.PlainOnly {
		return errors.New("with.dataset: a training set has labels and features, and takes early labels from early_from alone: leave out early, unlabelled and plain_only")
	}
	return w.Dataset.validate()
}

// outcomesFile is what an outcomes task writes.
const outcomesFile = "outcomes.parquet"

func (h *taskHost) outcomesKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "outcomes", Doc: "writes decisions with the features that the model saw and what became of them, as known at an instant", Version: taskVersion,
		Inputs: []orchestrator.Port{{Name: "history", Optional: true, Doc: "a training set of the same features, of before anything was decided, to learn from besides"}},
		Outputs: []orchestrator.Port{
			{Name: "rows", File: outcomesFile, Optional: true, Doc: "a row for each decision, as feedback join writes it"},
			{Name: "dataset", Optional: true, Doc: "in its place, where with.dataset asks for it: a folder with " + training.DataFile + " and its manifest"},
		},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w outcomesWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if err := w.validate(); err != nil {
				return nil, err
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.outcomes(ctx, c, &w) }), nil
		},
		Fingerprint: func(ctx context.Context, f *orchestrator.Fingerprint) (string, error) {
			hash := ""
			for _, file := range h.project.Feedback {
				text, err := os.ReadFile(file)
				if err != nil {
					return "", err
				}
				hash += string(text)
			}
			log, err := h.logFingerprint(ctx)
			return hash + log, err
		},
	}
}

// outcomes joins as `millrace feedback join` does.
func (h *taskHost) outcomes(ctx context.Context, c *orchestrator.Call, w *outcomesWith) (err error) {
	f := joinFlags{label: w.Label, output: c.Outputs["rows"], vectors: !w.PlainOnly}
	if w.Dataset != nil {
		if err := os.Mkdir(c.Outputs["dataset"], 0o755); err != nil {
			return err
		}
		f.output, f.options.EarlyFrom = filepath.Join(c.Outputs["dataset"], training.DataFile), w.Dataset.EarlyFrom
	}
	f.options.Model, f.options.MatureOnly, f.options.LabelledOnly = w.Model, !w.Early, !w.Unlabelled
	if f.from, f.to, err = w.parse(); err != nil {
		return err
	}
	if w.AsOf != "" {
		if err := f.asOf.Set(w.AsOf); err != nil {
			return fmt.Errorf("with.as_of: %w", err)
		}
	}
	_, policies, labels, err := labelsIn(h.project.Dir)
	if err != nil {
		return err
	}
	if f.options.Label, err = chosenLabel(labels, w.Label); err != nil {
		return fmt.Errorf("%w: with.label: %w", orchestrator.ErrPermanent, err)
	}
	if err := f.moments(h.project); err != nil {
		return err
	}
	log, done, err := h.openLog(ctx)
	if err != nil {
		return err
	}
	defer closing(&err, done)
	f.options.Log = log
	j := &joiner{flags: &f, progress: newProgress(io.Discard)}
	if f.vectors {
		if j.vectors, err = newVectorColumns(policies, f.options.Label.Decision); err != nil {
			return err
		}
	}
	if w.Dataset != nil {
		at := slices.IndexFunc(policies, func(p *policy.Policy) bool { return p.Name == f.options.Label.Decision })
		if j.set, err = newSetRows(w.Dataset, f.options.Label, policies[at], f.options.AsOf); err != nil {
			return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
		}
		if history := c.Inputs["history"]; history != "" {
			if j.set.history, err = dataPath(history); err != nil {
				return err
			}
		}
	}
	if err := j.write(ctx); err != nil {
		return explainJoin(err)
	}
	j.result.Output = filepath.Base(f.output)
	values := map[string]any{"rows": j.result.Rows, "contradicted": j.result.Contradicted}
	if j.set != nil {
		catalog, err := h.catalog()
		if err != nil {
			return err
		}
		if err := j.set.write(ctx, catalog, j.vectors, &f, j.result.Rows); err != nil {
			return err
		}
		j.set.setValues(values)
	}
	return errors.Join(j.result.table(c.Log), setAll(c, values))
}
