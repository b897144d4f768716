// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// run is an evaluation under way. Its steps fill it in, in the order of the fields.
type run struct {
	Options
	spec   *Spec
	report report.Report

	// open
	table          *table
	model, against *loaded // nil where the score is a column
	metrics        []named

	// read
	where                 *expression.Program
	slices                []slicing
	rows                  *column.Batch
	numbers               []int32 // of rows in the file, from 0
	excluded              map[string]int
	task                  metric.Task
	labels                []float64
	classes               []string
	weights               []float64
	queries               []int32
	clusters              []int32
	clusterCount          int
	scores, againstScores []float64
	outputs               int
	baselines             []baseline

	// prepare
	columns *column.Batch // for definitions of metrics, nil if there are none

	// measure
	all *contest
}

// baseline is a trivial model that is measured.
type baseline struct {
	name   string
	scores []float64
}

// open finds the columns of the data and loads the models.
func (e *run) open(ctx context.Context) (err error) {
	s := e.spec
	if e.table, err = openTable(ctx, s.Data, s.Format); err != nil {
		return err
	}
	for i := range s.Metrics {
		m, err := s.Metrics[i].parse()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSpec, err)
		}
		e.metrics = append(e.metrics, named{m, m.Name()})
	}
	manifest, err := manifestFeatures(s.Data)
	if err != nil {
		return err
	}
	if s.Model != "" {
		if e.model, err = openModel(ctx, e.Backend, s.Model, e.StateFile); err != nil {
			return err
		}
		if err = errors.Join(e.model.bind(s.Features, manifest), e.model.choose(s.Output)); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrModel, s.Model, err)
		}
	}
	if s.Against != "" {
		if e.against, err = openModel(ctx, e.Backend, s.Against, e.StateFile); err != nil {
			return err
		}
		if err = e.against.bindChampion(s, manifest); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrModel, s.Against, err)
		}
	}
	return nil
}

// bindChampion binds a champion, which may be another kind of model: what it says of itself
// comes before what the spec says of the model.
func (m *loaded) bindChampion(s *Spec, manifest []string) error {
	err := m.bind(nil, manifest)
	if err != nil && s.Features != nil {
		err = m.bind(s.Features, manifest)
	}
	if s.Output != "" && m.choose(s.Output) == nil {
		return err
	}
	return errors.Join(err, m.choose(""))
}

// manifestFeatures are the features that the manifest beside a training set lists, nil
// where there is none.
func manifestFeatures(data string) ([]string, error) {
	path := data + dataset.ManifestSuffix
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m, err := dataset.ReadManifest(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	var names []string
	for _, c := range m.Columns {
		if c.Role == "feature" {
			names = append(names, c.Name)
		}
	}
	return names, nil
}

// close lets the models go.
func (e *run) close() error {
	var errs []error
	for _, m := range []*loaded{e.model, e.against} {
		if m != nil {
			errs = append(errs, m.model.Close())
		}
	}
	return errors.Join(errs...)
}

// want asks the table for all columns that the evaluation reads.
func (e *run) want() error {
	s, t := e.spec, e.table
	t.want("label", s.Label)
	t.want("score", s.Score)
	t.want("champion's score", s.AgainstScore)
	t.want("time", s.Time)
	t.want("cluster", s.Cluster)
	t.want("query", s.Query)
	t.want("weight", s.Weight)
	t.want("entity", s.Leakage.Entities...)
	for i := range s.Baselines {
		t.want("baseline", s.Baselines[i].Column)
	}
	for _, m := range []*loaded{e.model, e.against} {
		if m != nil {
			t.want("model "+m.name, m.all()...)
		}
	}
	if s.Where != "" {
		e.where = t.wantExpression("where", s.Where)
	}
	e.slices = wantSlices(s.Slices, t)
	for i := range s.Metrics {
		if s.Metrics[i].Text == "" { // a definition may read any column
			for c := range t.fields {
				t.wanted[c] = true
			}
		}
	}
	return errors.Join(t.wrong...)
}

// read reads the rows that have a label and meet the filter.
func (e *run) read(ctx context.Context) (err error) {
	if err := e.want(); err != nil {
		return err
	}
	e.excluded = map[string]int{}
	label := slices.IndexFunc(e.table.fields, func(f fieldOf) bool { return f.Name == e.spec.Label })
	keep := func(b *column.Batch, kept []bool) {
		rows := newRowReader(b)
		for i := range kept {
			switch {
			case b.Columns[label].Null(i):
				kept[i] = false
				e.excluded["the label is null"]++
			case e.where != nil && !e.where.True(rows.at(i, e.where.Fields())):
				kept[i] = false
				e.excluded["where is not true"]++
			}
		}
	}
	e.rows, e.numbers, err = e.table.read(ctx, e.RowsMax, e.Workers, keep, func(n int64) { e.Progress("read", n, -1) })
	if err != nil {
		return err
	}
	if e.rows.Rows == 0 {
		why := "the file has no row"
		for reason, n := range e.excluded {
			why = fmt.Sprintf("%s for %d rows", reason, n)
		}
		return fmt.Errorf("%w: %s: no row is left: %s", ErrData, e.spec.Data, why)
	}
	return e.units()
}

// units reads the columns that say how rows count and what belongs together.
func (e *run) units() error {
	s := e.spec
	n := e.rows.Rows
	if s.Weight != "" {
		c := e.rows.Column(s.Weight)
		e.weights = make([]float64, n)
		for i := range n {
			e.weights[i] = c.Number(i)
			if !(e.weights[i] > 0) || math.IsInf(e.weights[i], 0) {
				return fmt.Errorf("%w: row %d: the weight %s is %s, it has to be above 0", ErrData, e.numbers[i]+1, s.Weight, textOf(c, i))
			}
		}
	}
	if s.Query != "" {
		e.queries, _ = numbering(e.rows.Column(s.Query), n)
	}
	if s.Cluster != "" {
		e.clusters, e.clusterCount = numbering(e.rows.Column(s.Cluster), n)
	} else if e.queries != nil { // rows of a query are judged together, so they are drawn together
		e.clusters, e.clusterCount = numbering(e.rows.Column(s.Query), n)
	}
	if s.Time != "" {
		if c := e.rows.Column(s.Time); c.Type != column.Timestamp {
			return fmt.Errorf("%w: the time %s is %s, not timestamp", ErrData, s.Time, c.Type)
		}
	}
	for _, m := range []*loaded{e.model, e.against} {
		if m != nil {
			if err := e.checkFeatures(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFeatures refuses features without any value: the model was not made for such data.
func (e *run) checkFeatures(m *loaded) error {
	var empty []string
	for _, name := range m.all() {
		c := e.rows.Column(name)
		if !anyValue(c) {
			empty = append(empty, name)
		}
	}
	if empty != nil {
		return fmt.Errorf("%w: %s: features without a value in any row: %v", ErrData, e.spec.Data, empty)
	}
	return nil
}

func anyValue(c *column.Column) bool {
	for i := range c.Len() {
		if !c.Null(i) {
			return true
		}
	}
	return false
}

// predict gets the scores of model, champion and baselines, and the labels that suit them.
func (e *run) predict(ctx context.Context) (err error) {
	if e.scores, e.outputs, err = e.scoresOf(ctx, e.model, e.spec.Score); err != nil {
		return err
	}
	raw := e.outputs
	if err := e.truth(); err != nil {
		return err
	}
	if e.scores, e.outputs, err = e.pick(e.model, e.scores, e.outputs, e.spec.Class); err != nil {
		return err
	}
	if err := e.checkScores("score", e.scores, e.outputs); err != nil {
		return err
	}
	if e.against == nil && e.spec.AgainstScore == "" {
		return e.trivial()
	}
	var outputs int
	if e.againstScores, outputs, err = e.scoresOf(ctx, e.against, e.spec.AgainstScore); err != nil {
		return err
	}
	class := e.spec.Class
	if outputs != raw { // a class of the model's is none of the champion's
		class = nil
	}
	if e.againstScores, outputs, err = e.pick(e.against, e.againstScores, outputs, class); err != nil {
		return err
	}
	if outputs != e.outputs {
		return fmt.Errorf("%w: the champion predicts %d classes, the model %d", ErrModel, outputs, e.outputs)
	}
	if err := e.checkScores("champion's score", e.againstScores, outputs); err != nil {
		return err
	}
	return e.trivial()
}

// scoresOf are the predictions of a model, or a column.
func (e *run) scoresOf(ctx context.Context, m *loaded, name string) ([]float64, int, error) {
	if m == nil {
		return columnScores(e.rows.Column(name), e.numbers)
	}
	p, err := newPredictor(m, e.rows, e.numbers)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", ErrModel, m.about.Path, err)
	}
	scores, outputs, err := p.all(ctx, e.Workers, func(n int64) { e.Progress("predict with "+m.name, n, int64(e.rows.Rows)) })
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return nil, 0, fmt.Errorf("%w: %s: %w", ErrModel, m.about.Path, err)
	}
	return scores, outputs, nil
}

func columnScores(c *column.Column, numbers []int32) ([]float64, int, error) {
	if c.Type == column.String {
		return nil, 0, fmt.Errorf("%w: the score %s has texts", ErrData, c.Name)
	}
	scores := make([]float64, len(numbers))
	for i := range scores {
		scores[i] = c.Number(i)
	}
	return scores, 1, nil
}

// pick takes the score of a binary task out of several outputs.
func (e *run) pick(m *loaded, scores []float64, outputs int, class *int) ([]float64, int, error) {
	if e.task == metric.Multiclass || outputs == 1 && class == nil {
		return scores, outputs, nil
	}
	name := e.spec.Score
	if m != nil {
		name = m.about.Path + ": output " + m.spec.Outputs[m.output].Name
	}
	want := 1
	if class != nil {
		want = *class
	} else if outputs != 2 || e.task != metric.Binary {
		return nil, 0, fmt.Errorf("%w: %s has %d columns for a %s task: say by class which is the score", ErrModel, name, outputs, taskNames[e.task])
	}
	if want >= outputs {
		return nil, 0, fmt.Errorf("%w: %s has %d columns, there is no class %d", ErrModel, name, outputs, want)
	}
	one := make([]float64, len(scores)/outputs)
	for i := range one {
		one[i] = scores[i*outputs+want]
	}
	return one, 1, nil
}

// checkScores names the first row whose score is no number.
func (e *run) checkScores(what string, scores []float64, outputs int) error {
	for i, v := range scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: row %d: the %s is %v", ErrData, e.numbers[i/outputs]+1, what, v)
		}
	}
	if e.task == metric.Multiclass && outputs != len(e.classes) {
		return fmt.Errorf("%w: the model predicts %d classes, the label has %d (%v): say by classes what they are, in the model's order", ErrData, outputs, len(e.classes), e.classes)
	}
	if e.spec.Uncalibrated || e.task != metric.Binary && e.task != metric.Multiclass {
		return nil
	}
	return e.checkProbabilities(what, scores, outputs)
}

// sumTolerance is how far from 1 the probabilities of a row may sum to, as those of a
// softmax in 32 bits over many classes do.
const sumTolerance = 1e-3

func (e *run) checkProbabilities(what string, scores []float64, outputs int) error {
	for row := range len(scores) / outputs {
		sum := 0.
		for _, v := range scores[row*outputs : (row+1)*outputs] {
			if v < 0 || v > 1 {
				return fmt.Errorf("%w: row %d: the %s %v is no probability: set uncalibrated if scores are none", ErrData, e.numbers[row]+1, what, v)
			}
			sum += v
		}
		if outputs > 1 && math.Abs(sum-1) > sumTolerance {
			return fmt.Errorf("%w: row %d: the probabilities sum to %v: set uncalibrated if scores are none", ErrData, e.numbers[row]+1, sum)
		}
	}
	return nil
}

func moment(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
