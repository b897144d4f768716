// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/millrace-ml/millrace/evaluation"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// evaluatedRounds is how often the evaluation is timed.
const evaluatedRounds = 3

// Evaluate times a whole evaluation of a million rows with scores, from the Parquet file
// to the report: reading, ROC AUC and average precision, a thousand bootstrap draws of
// both, and the baseline that every report has. It returns the seconds, the median of
// some rounds.
func Evaluate(ctx context.Context, l *Lab) ([]float64, any, error) {
	rows, draws, rounds := 1_000_000, 1000, evaluatedRounds
	if l.Quick {
		rows, draws, rounds = 10_000, 50, 1
	}
	path := filepath.Join(l.Folder, "scores.parquet")
	if err := writeScores(path, rows); err != nil {
		return nil, nil, err
	}
	options := evaluation.Options{
		Spec: evaluation.Spec{
			Name: "scores", Data: path, Task: "binary", Label: "label", Score: "score",
			Metrics:   []evaluation.Metric{{Text: "roc_auc"}, {Text: "average_precision"}},
			Bootstrap: evaluation.Bootstrap{Draws: &draws, Seed: 1},
		},
		Workers: 2, NoLatency: true, Version: "bench",
	}
	var seconds []float64
	found := map[string]any{}
	for round := range rounds {
		l.progress("evaluation of %d rows, round %d", rows, round+1)
		began := time.Now()
		r, err := evaluation.Evaluate(ctx, options)
		if err != nil {
			return nil, nil, err
		}
		seconds = append(seconds, time.Since(began).Seconds())
		for _, m := range r.Metrics {
			if m.Value.Low == nil || m.Value.High == nil {
				return nil, nil, fmt.Errorf("the metric %s has no interval", m.Name)
			}
			found[m.Name] = m.Value
		}
	}
	return []float64{median(seconds)}, map[string]any{"seconds": seconds, "rows": rows, "draws": draws, "workers": 2, "metrics": found}, nil
}

// writeScores writes labels, a tenth of them 1, and scores that tell them apart in part.
func writeScores(path string, rows int) error {
	r := rand.New(rand.NewPCG(1, 9))
	label := column.Column{Name: "label", Type: column.Int64}
	score := column.Column{Name: "score", Type: column.Float64}
	for range rows {
		positive := int64(0)
		z := r.NormFloat64() - 2.5
		if r.Float64() < 0.1 {
			positive, z = 1, z+1.5
		}
		label.AppendInt(positive)
		score.AppendNumber(1 / (1 + math.Exp(-z)))
	}
	w, err := source.NewParquetWriter(path, []source.ParquetColumn{
		{Name: "label", Type: column.Int64, Required: true}, {Name: "score", Type: column.Float64, Required: true},
	}, source.WriterOptions{})
	if err != nil {
		return err
	}
	if err := w.Write(&column.Batch{Rows: rows, Columns: []column.Column{label, score}}); err != nil {
		return fmt.Errorf("%w (%w)", err, w.Abort())
	}
	return w.Close()
}
