// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"math"
	"path/filepath"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// Of weights by a monitor.
const (
	// sliceWeightMax bounds what a slice counts.
	sliceWeightMax = 100
	// slicePrior is how many labels the share of wrong predictions of all rows is worth, so
	// that a slice of few labels counts about as much as others.
	slicePrior = 20
)

// sliceWeightsOf reads what slices count by the newest matured report of a monitor, whose
// record is in the state folder. A monitor that has found nothing yet weighs nothing.
func sliceWeightsOf(state string) func(name string) (map[string]float64, error) {
	return func(name string) (_ map[string]float64, err error) {
		store, err := record.Open(filepath.Join(state, monitorsFolder, name))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		matured := true
		reports, err := store.Reports(record.Query{Matured: &matured, Limit: 1})
		if err != nil || len(reports) == 0 {
			return nil, err
		}
		return weighSlices(&reports[len(reports)-1]), nil
	}
}

// weighSlices lets a slice count as many times more as it is wrong more often than all rows
// are, or by more, of a regression; one that is wrong less often counts once.
func weighSlices(r *monitor.Report) map[string]float64 {
	if r.Quality == nil {
		return nil
	}
	wrongOf := func(q *monitor.Quality) float64 { return 1 - q.Values.Of(estimate.Accuracy) }
	if r.Kind == monitor.Regression {
		wrongOf = func(q *monitor.Quality) float64 { return q.Values.Of(estimate.MAE) }
	}
	all := wrongOf(r.Quality)
	if !(all > 0) {
		return nil
	}
	weights := map[string]float64{}
	for _, s := range r.Slices {
		n, wrong := float64(s.Quality.Labelled), wrongOf(&s.Quality)
		if n == 0 || math.IsNaN(wrong) {
			continue
		}
		share := (n*wrong + slicePrior*all) / (n + slicePrior)
		weights[s.Value] = max(weights[s.Value], min(sliceWeightMax, max(1, share/all)))
	}
	return weights
}
