// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
	"github.com/millrace-ml/millrace/featurestore/column"
)

// Reference is what windows are compared with: a training set, or a time in which all was
// well. Make Profile with ReferenceOf or ReferenceFile.
type Reference struct {
	// Profile is of Config.Schema. Rows without a score have NaN.
	Profile *profile.Profile
	// Scores and Labels are predictions with their labels that the model was not trained on,
	// such as those of its evaluation: quality is estimated from them and compared with
	// theirs. Without them it is neither.
	Scores, Labels []float64
}

// ReferenceLabelsMax is the most rows with a score and a label that ReferenceFile reads.
const ReferenceLabelsMax = 1 << 22

// ReferenceOf makes a reference of predictions. Labels are theirs in the same order, NaN
// where there is none, or nil. Errors wrap ErrConfig or ErrEvent.
func ReferenceOf(c Config, predictions []Prediction, labels []float64) (Reference, error) {
	c.EnsureDefaults()
	r := Reference{}
	if labels != nil && len(labels) != len(predictions) {
		return r, fmt.Errorf("%w: %d predictions and %d labels", ErrConfig, len(predictions), len(labels))
	}
	var err error
	if r.Profile, err = profile.New(c.Schema(), profile.Options{Sample: referenceRows(&c)}, nil); err != nil {
		return r, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for i := range predictions {
		p := &predictions[i]
		row := profile.Row{Key: profile.Hash(p.ID), Time: p.Time, Entity: entityOf(p.Entity), Numbers: append(slices.Clone(p.Numbers), p.Score), Texts: p.Texts}
		if err := r.Profile.Add(&row); err != nil {
			return r, fmt.Errorf("%w: prediction %.64q: %w", ErrEvent, p.ID, err)
		}
		if labels != nil && !math.IsNaN(labels[i]) && !math.IsNaN(p.Score) {
			r.Scores, r.Labels = append(r.Scores, p.Score), append(r.Labels, labels[i])
		}
	}
	return r, nil
}

// ReferenceFile makes a reference of a Parquet file that has the columns of the
// configuration, the model's scores in one column, and labels, 0 and 1 or false and true, or amounts, in
// another, which is empty if there are none. Rows without a label, or without a score, are part
// of the profile.
func ReferenceFile(ctx context.Context, c Config, path, score, label string) (Reference, error) {
	c.EnsureDefaults()
	schema := c.Schema()
	schema[len(schema)-1].Name = score
	r := Reference{}
	var missing error
	p, err := profile.File(ctx, path, schema, "", profile.Options{Sample: referenceRows(&c)}, func(b *column.Batch) {
		if label == "" {
			return
		}
		scores, labels := b.Column(score), b.Column(label)
		if labels == nil {
			missing = fmt.Errorf("%w: %s has no column %q", ErrConfig, path, label)
			return
		}
		for i := range b.Rows {
			s, l := scores.Number(i), labels.Number(i)
			switch {
			case math.IsNaN(s) || math.IsNaN(l):
			case len(r.Labels) == ReferenceLabelsMax:
				missing = fmt.Errorf("%w: %s has more than %d rows with labels: take a random part of them", ErrConfig, path, ReferenceLabelsMax)
			default:
				r.Scores, r.Labels = append(r.Scores, s), append(r.Labels, l)
			}
		}
	})
	if err == nil {
		err = missing
	}
	if err != nil {
		return Reference{}, err
	}
	p.Schema = c.Schema()
	r.Profile = p
	return r, nil
}

// referenceRows is how many rows of a reference tests look at: more than of a window, so
// that it adds little noise.
func referenceRows(c *Config) int { return min(4*c.SampleRows, profile.SampleMax) }

// base is the sample of rows that windows are compared with.
type base struct {
	numbers []*drift.Reference // the score last
	scores  []float64
	sample  []profile.Row
}

func newBase(c *Config, p *profile.Profile) base {
	b := base{sample: picked(c, p)}
	for i := range p.Numbers {
		b.numbers = append(b.numbers, drift.NewReference(numbersOf(b.sample, i)))
	}
	b.scores = numbersOf(b.sample, len(p.Numbers)-1)
	return b
}

// reference is a Reference that was made ready.
type reference struct {
	base
	profile *profile.Profile
	rows    int
	values  estimate.Values
	// Without labels none of these; else those of the kind.
	calibration *estimate.Calibration
	auc         interval.AUC
	errors      *estimate.Errors
}

// estimator is what quality is estimated from.
type estimator interface {
	Window(scores []float64, check *estimate.Check, o estimate.Options) (*estimate.Estimate, error)
	Check(scores, labels []float64, o estimate.Options) (*estimate.Check, error)
}

// estimator is nil without labels.
func (r *reference) estimator() estimator {
	switch {
	case r.calibration != nil:
		return r.calibration
	case r.errors != nil:
		return r.errors
	}
	return nil
}

func newReference(c *Config, r Reference) (*reference, error) {
	if r.Profile == nil || r.Profile.Rows == 0 {
		return nil, fmt.Errorf("%w: the reference has no rows", ErrConfig)
	}
	if schema := c.Schema(); !slices.Equal(schema, r.Profile.Schema) {
		return nil, fmt.Errorf("%w: the reference has the columns %v, the configuration %v", ErrConfig, r.Profile.Schema, schema)
	}
	own := &reference{profile: &profile.Profile{}, rows: len(r.Scores)}
	own.base = newBase(c, r.Profile) // before it is copied: it cuts the sample, which a copy shares
	*own.profile = *r.Profile
	own.profile.Options.Sample = c.SampleRows // windows are made like it
	if len(r.Scores) == 0 {
		return own, nil
	}
	var err error
	if c.Kind == Regression {
		if own.errors, err = estimate.NewErrors(r.Scores, r.Labels); err != nil {
			return nil, fmt.Errorf("%w: reference: %w", ErrConfig, err)
		}
		own.values = own.errors.Values
		return own, nil
	}
	if own.calibration, err = estimate.Calibrate(r.Scores, r.Labels); err != nil {
		return nil, fmt.Errorf("%w: reference: %w", ErrConfig, err)
	}
	if own.values, err = estimate.Realised(r.Scores, r.Labels, c.Threshold); err != nil {
		return nil, fmt.Errorf("%w: reference: %w", ErrConfig, err)
	}
	if own.auc, err = interval.AUCOf(r.Labels, r.Scores, nil); err != nil {
		return nil, fmt.Errorf("%w: reference: %w", ErrConfig, err)
	}
	return own, nil
}

// picked are the rows of a profile's sample that are tested.
func picked(c *Config, p *profile.Profile) []profile.Row {
	rows := p.Sample.Sorted()
	if !c.PerEntity {
		return rows
	}
	entities, keys := make([]int64, len(rows)), make([]uint64, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
		if entities[i] = int64(r.Entity >> 1); r.Entity == 0 {
			entities[i] = -1
		}
	}
	var kept []profile.Row
	for _, i := range drift.Thin(entities, keys) {
		kept = append(kept, rows[i])
	}
	return kept
}

func numbersOf(rows []profile.Row, column int) []float64 {
	values := make([]float64, len(rows))
	for i := range rows {
		values[i] = rows[i].Numbers[column]
	}
	return values
}

// textsOf counts the categories of a column of a sample.
func textsOf(rows []profile.Row, column int) (counts map[string]int, missing int) {
	counts = map[string]int{}
	for i := range rows {
		if name := rows[i].Texts[column]; name != "" {
			counts[name]++
		} else {
			missing++
		}
	}
	return counts, missing
}
