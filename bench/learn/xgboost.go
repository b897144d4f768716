// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/bench/learn/trees"
)

// differenceMax is by how much the area under our model's curve may be smaller than that of
// XGBoost's for the times to be comparable. Being better is no fault.
const differenceMax = 0.002

// Trees compares the time of our tree trainer with XGBoost's, at two depths.
func Trees(ctx context.Context, l *Lab) ([]float64, any, error) {
	if l.Python == "" {
		return nil, nil, errors.New("no Python with the package xgboost; scripts/fetch-xgboost.sh fetches one")
	}
	o := trees.Options{Python: l.Python}
	if l.Quick {
		o.Rows, o.Trees, o.Rounds = 5000, 10, 1
	}
	l.progress("our trees and XGBoost's take turns")
	results, err := trees.Run(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	var ratios []float64
	var texts []string
	for _, r := range results {
		if r.OursAUC < r.TheirsAUC-differenceMax && !l.Quick {
			return nil, results, fmt.Errorf("depth %d: ROC AUC is %.4f, XGBoost's %.4f: the times cannot be compared", r.Depth, r.OursAUC, r.TheirsAUC)
		}
		ratios, texts = append(ratios, r.Ratio), append(texts, r.String())
	}
	return ratios, map[string]any{"results": results, "in words": texts}, nil
}
