// SPDX-License-Identifier: Apache-2.0

package training

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/training/learn"
)

// A feature leaks when it alone ranks the rows as the label does, which nothing that is
// known before the outcome should. Few rows may do so by chance.
const (
	leakAUC     = 0.9999
	leakRowsMin = 200
	leakEachMin = 20
)

// checkLeaks refuses features that tell the label, unless the specification trusts them.
func checkLeaks(s *Spec, t *learn.Table) error {
	var problems []error
	for i, f := range t.Features {
		if slices.Contains(s.Trust, f.Name) {
			continue
		}
		if tellsLabel(t, i) {
			problems = append(problems, fmt.Errorf("%w: the feature %s alone tells the label %s: it leaks. Leave it out (exclude), or say that it is known beforehand (trust: [%s])",
				learn.ErrData, f.Name, s.Label, f.Name))
		}
	}
	return errors.Join(problems...)
}

func tellsLabel(t *learn.Table, feature int) bool {
	values := t.Values[feature]
	if t.Task != learn.Binary {
		return len(values) >= leakRowsMin && slices.Equal(values, t.Labels)
	}
	auc, positives := areaUnderCurve(values, t.Labels)
	negatives := len(values) - positives
	if len(values) < leakRowsMin || min(positives, negatives) < leakEachMin {
		return false
	}
	return auc >= leakAUC || auc <= 1-leakAUC
}

// areaUnderCurve is the ROC AUC of a feature, by ranks; a missing value is the lowest.
func areaUnderCurve(values, labels []float32) (auc float64, positives int) {
	order := make([]int32, len(values))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(values[a], values[b]) })
	below, wins := 0.0, 0.0
	for i := 0; i < len(order); {
		ones, zeros := 0.0, 0.0
		v := values[order[i]]
		for ; i < len(order) && cmp.Compare(values[order[i]], v) == 0; i++ {
			if labels[order[i]] == 1 {
				ones++
			} else {
				zeros++
			}
		}
		wins += ones * (below + zeros/2)
		below += zeros
		positives += int(ones)
	}
	pairs := float64(positives) * below
	if pairs == 0 {
		return 0.5, positives
	}
	return wins / pairs, positives
}
