// SPDX-License-Identifier: Apache-2.0

package training

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/engine/attribution"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/card"
	"github.com/millrace-ml/millrace/training/learn"
)

// Names of the card's forms within a version's folder.
const (
	CardMarkdown = "card.md"
	CardHTML     = "card.html"
)

// attributionRowsMax bounds the rows by which attributions are averaged, attributionBytes
// their number times the size of the model, which is what they take time by.
const (
	attributionRowsMin = 16
	attributionRowsMax = 1000
	attributionBytes   = 256 << 20
)

// writeCard writes the model's card. Like the manifest it has no time of day.
func (a *artifact) writeCard(dir string, m *Manifest) error {
	c, err := a.card(m)
	if err != nil {
		return err
	}
	var markdown, page bytes.Buffer
	if err := errors.Join(card.WriteMarkdown(&markdown, c), card.WriteHTML(&page, c)); err != nil {
		return err
	}
	return errors.Join(writeDurably(filepath.Join(dir, CardMarkdown), markdown.Bytes()), writeDurably(filepath.Join(dir, CardHTML), page.Bytes()))
}

func (a *artifact) card(m *Manifest) (*card.Card, error) {
	s, t := a.Spec, a.data.Table
	c := &card.Card{
		Name: s.Name, Millrace: a.Version, Task: s.Task, Target: s.Label, Description: s.Description, Service: s.Service,
		Summary: a.scorer.model.Describe(), Metric: s.Metric, Better: "lower",
		Data: card.Data{Path: a.DataName, Hash: a.data.SHA256, Rows: t.Rows(), Split: strings.Join(a.windows, "; "), Excluded: a.leftOut},
	}
	if metric, err := a.metric(); err == nil && metric.Higher {
		c.Better = "higher"
	}
	features, err := a.cardFeatures()
	if err != nil {
		return nil, err
	}
	c.Features = features
	a.describeData(&c.Data)
	for _, score := range m.Candidates {
		c.Candidates = append(c.Candidates, cardCandidate(score, score.Name == a.result.Chosen))
		if score.Name == a.result.Chosen {
			for _, curve := range score.curves {
				c.Curves = append(c.Curves, card.Curve{Name: curve.name, Steps: curve.steps, Values: curve.values})
			}
		}
	}
	if s.Calibrate.Method != "" {
		c.Calibration = &card.Calibration{Method: s.Calibrate.Method, Rows: a.calibrated}
	}
	c.Limits = a.limits()
	c.Manifest = map[string]string{
		"data": "sha256:" + m.Data.SHA256, "model": "sha256:" + m.Model.SHA256, "seed": fmt.Sprint(s.Seed),
		"method": m.Method, "cpu": m.CPU, "manifest": m.Hash,
	}
	for name, version := range m.Versions {
		c.Manifest[name] = version
	}
	return c, nil
}

func cardCandidate(s CandidateScore, chosen bool) card.Candidate {
	c := card.Candidate{
		Name: s.Name, Method: s.Method, Summary: s.describe, Parameters: s.Parameters, Metrics: s.Metrics,
		Trials: s.Trials, Chosen: chosen, Baseline: s.Baseline, Error: s.Error,
	}
	if len(s.Folds) > 1 {
		c.Spread = make(map[string]float64)
		for name, mean := range s.Metrics {
			squares := 0.0
			for _, fold := range s.Folds {
				squares += (fold[name] - mean) * (fold[name] - mean)
			}
			c.Spread[name] = math.Sqrt(squares / float64(len(s.Folds)-1))
		}
	}
	return c
}

// dated says that rows have moments, and not only an order.
func (a *artifact) dated() bool {
	c := a.data.Table.Carried.Column(a.Spec.Time)
	return c != nil && c.Type == column.Timestamp
}

func (a *artifact) describeData(d *card.Data) {
	t := a.data.Table
	if t.Task != learn.Regression {
		d.Classes = make(map[string]int)
		for _, label := range t.Labels {
			d.Classes[t.Classes[int(label)]]++
			if t.Task == learn.Binary && label == 1 {
				d.Positives++
			}
		}
	}
	if a.dated() {
		d.From, d.To = time.UnixMicro(slices.Min(t.Times)).UTC(), time.UnixMicro(slices.Max(t.Times)).UTC()
	}
}

// cardFeatures says what the model looks at.
func (a *artifact) cardFeatures() ([]card.Feature, error) {
	t := a.data.Table
	importance := a.scorer.model.Importance()
	attributions, err := a.attributions()
	if err != nil {
		return nil, err
	}
	features := make([]card.Feature, len(t.Features))
	for i, f := range t.Features {
		features[i] = card.Feature{Name: f.Name, Type: f.Type.String(), Importance: math.NaN(), Attribution: math.NaN()}
		if i < len(importance) {
			features[i].Importance = importance[i]
		}
		if attributions != nil {
			features[i].Attribution = attributions[i]
		}
	}
	return features, nil
}

// attributions are the mean sizes of what features add to scores, nil for models that
// cannot tell.
func (a *artifact) attributions() ([]float64, error) {
	if slices.ContainsFunc(a.data.Table.Features, func(f learn.Feature) bool { return f.Categorical }) {
		return nil, nil // the explainer takes what the model's matrix has, not texts
	}
	m, err := onnx.Parse(a.model, onnx.ReadOptions{})
	if err != nil {
		return nil, err
	}
	explainer, err := attribution.Open(m)
	if errors.Is(err, attribution.ErrNoAttribution) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	sample := a.sampleRows(min(max(attributionBytes/len(a.model), attributionRowsMin), attributionRowsMax))
	width, outputs := len(sample.Features), explainer.Outputs()
	row, to := make([]float32, width), make([]float64, width*outputs)
	sums := make([]float64, width)
	for i := range sample.Rows() {
		for f := range row {
			row[f] = sample.Values[f][i]
		}
		explainer.Explain(row, to)
		for f := range sums {
			for k := range outputs {
				sums[f] += math.Abs(to[k*width+f])
			}
		}
	}
	for f := range sums {
		sums[f] /= float64(sample.Rows())
	}
	return sums, nil
}

// limits are what a reader of the card has to know before trusting the model.
func (a *artifact) limits() []string {
	limits := slices.Clone(a.warnings)
	t := a.data.Table
	if a.dated() {
		limits = append(limits, fmt.Sprintf("It learnt from rows up to %s; what changed after that it does not know.", time.UnixMicro(slices.Max(t.Times)).UTC().Format(time.DateOnly)))
	}
	if t.Task == learn.Binary && a.Spec.Calibrate.Method == "" && t.Weights != nil {
		limits = append(limits, "Rows were weighted and scores were not calibrated: they rank rows and are no probabilities.")
	}
	for i, f := range t.Features {
		if missing := describeFeature(f, t.Values[i]).Missing; missing > 0.5 {
			limits = append(limits, fmt.Sprintf("%s was missing in %.0f %% of the rows.", f.Name, 100*missing))
		}
	}
	return limits
}
