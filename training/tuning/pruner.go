// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/c-bata/goptuna"
	"github.com/c-bata/goptuna/medianstopping"
)

// newPruner makes a pruner by name, nil for none.
func newPruner(name string) (goptuna.Pruner, error) {
	switch name {
	case Median:
		return medianstopping.NewPercentilePruner(50)
	case ASHA:
		return halving{}, nil
	}
	return nil, nil
}

// reduction is how many trials reach a rung for one that goes on from it. Rungs are at
// the 1st, 4th, 16th, ... report of a trial.
const reduction = 4

// halving goes on with a trial at a rung if it is among the best of those that were there,
// of four one. The first three go on only as the best so far.
type halving struct{}

var _ goptuna.Pruner = halving{}

// Prune implements goptuna.Pruner. What trials had at a rung is kept in their attributes.
func (halving) Prune(study *goptuna.Study, t goptuna.FrozenTrial) (bool, error) {
	reports, rung := len(t.IntermediateValues), 0
	for at := 1; at != reports; at *= reduction {
		if at > reports {
			return false, nil // between two rungs
		}
		rung++
	}
	step, _ := t.GetLatestStep()
	value := t.IntermediateValues[step]
	key := fmt.Sprintf("rung_%d", rung)
	if err := study.Storage.SetTrialSystemAttr(t.ID, key, strconv.FormatFloat(value, 'g', -1, 64)); err != nil {
		return false, err
	}
	trials, err := study.Storage.GetAllTrials(study.ID)
	if err != nil {
		return false, err
	}
	values := []float64{}
	for i := range trials {
		if text, ok := trials[i].SystemAttrs[key]; ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return false, err
			}
			values = append(values, v)
		}
	}
	slices.Sort(values)
	if study.Direction() == goptuna.StudyDirectionMaximize {
		slices.Reverse(values)
		return value < values[max(len(values)/reduction, 1)-1], nil
	}
	return value > values[max(len(values)/reduction, 1)-1], nil
}

// rungs are the attributes that a trial of before would have left.
func rungs(reports []Report, d Direction) map[string]string {
	attributes := map[string]string{}
	for rung, at := 0, 1; at <= len(reports); rung, at = rung+1, at*reduction {
		attributes[fmt.Sprintf("rung_%d", rung)] = strconv.FormatFloat(d.comparable(reports[at-1].Value), 'g', -1, 64)
	}
	return attributes
}
