// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/metric"
)

// Spec says what an evaluation is: an entry of evaluation.yaml, or what the flags of
// `millrace evaluate` give.
type Spec struct {
	Name        string `yaml:"-"`
	Description string `yaml:"description"`
	// Data is the file with the rows, CSV, Parquet or JSON lines; or a pattern. Format is
	// csv, jsonl or parquet, empty for what the name says.
	Data   string `yaml:"data"`
	Format string `yaml:"format"`
	// Task is binary, multiclass, regression or ranking; empty is what the label looks like.
	Task string `yaml:"task"`
	// Label is the column with the truth. Positive is the value of a binary label that
	// counts as 1. Classes are the values of a multi-class label in the order of the
	// model's outputs; empty is sorted.
	Label    string   `yaml:"label"`
	Positive string   `yaml:"positive"`
	Classes  []string `yaml:"classes"`
	// Model is a folder of a repository (models/fraud, models/fraud/3, models/fraud@3,
	// models/fraud@champion) or an .onnx file. Score is instead a column with predictions.
	Model string `yaml:"model"`
	Score string `yaml:"score"`
	// Against is the champion, as Model is given; AgainstScore its predictions.
	Against      string `yaml:"against"`
	AgainstScore string `yaml:"against_score"`
	// Output is the model's output with the predictions; empty is probabilities, else the
	// first of numbers. Class is which of its columns is the score of a binary task; nil is 1
	// of two columns.
	Output string `yaml:"output"`
	Class  *int   `yaml:"class"`
	// Features are the columns of the model's input, in order; empty is what the model's
	// file, or the manifest beside the data, says.
	Features []string `yaml:"features"`
	// Uncalibrated scores are no probabilities.
	Uncalibrated bool `yaml:"uncalibrated"`
	// Where is an expression that rows have to meet.
	Where string `yaml:"where"`
	// Time is a column with times, Cluster one by which rows belong together (a customer),
	// Query the query of a row of a ranking, Weight the weights.
	Time    string `yaml:"time"`
	Cluster string `yaml:"cluster"`
	Query   string `yaml:"query"`
	Weight  string `yaml:"weight"`
	// Threshold is the score from which a row counts as positive; nil is 0.5.
	Threshold *float64 `yaml:"threshold"`
	// Metrics are names or definitions; empty is a set for the task. The first one matters
	// most: slices are sorted by it.
	Metrics []Metric `yaml:"metrics"`
	// Slices are columns, expressions or crosses. SliceMetrics are measured in them; empty is
	// the first two and those of gates over slices. SliceRowsMin is the least rows of a slice,
	// 0 for 100.
	Slices       []Slice  `yaml:"slices"`
	SliceMetrics []string `yaml:"slice_metrics"`
	SliceRowsMin int      `yaml:"slice_rows_min"`
	// Baselines are columns or constants to see beside the model; empty is the constant that
	// is best for the labels.
	Baselines []Baseline `yaml:"baselines"`
	Bootstrap Bootstrap  `yaml:"bootstrap"`
	// Margin is by how much a model may be worse than the champion and still count as not
	// worse, for the tests of the report; 0 is none.
	Margin  float64     `yaml:"margin"`
	Gates   []gate.Gate `yaml:"gates"`
	Leakage Leakage     `yaml:"leakage"`
}

// Metric is a metric by name, or a definition of one.
type Metric struct {
	Text              string `yaml:"-"`
	metric.Definition `yaml:",inline"`
}

// SetText makes it a metric by name.
func (m *Metric) SetText(text string) { m.Text = text }

// Slice is a way to part the rows: by a column, an expression or a cross of columns.
type Slice struct {
	// Column has values to part by. Bins is for numbers: into how many groups of equal
	// size, 2 to 100; 0 is by value, or by 4 where there are more than 20 values.
	Column string `yaml:"column"`
	Bins   int    `yaml:"bins"`
	// Where is an expression; the slice is the rows for which it is true.
	Where string `yaml:"where"`
	// Cross are two columns, each combination of whose values is a slice.
	Cross []string `yaml:"cross"`
	// Name is for reports, of Where only.
	Name string `yaml:"name"`
	// text is a column or an expression, whichever the data has.
	text string
}

// SetText makes it a column, or an expression if no column has the name.
func (s *Slice) SetText(text string) { s.text = text }

// SliceOf is a column, or an expression if no column has the name.
func SliceOf(text string) Slice { return Slice{text: text} }

// Baseline is a trivial model.
type Baseline struct {
	Name string `yaml:"name"`
	// Constant is a score for all rows; Column has scores.
	Constant *float64 `yaml:"constant"`
	Column   string   `yaml:"column"`
}

// SetText makes it a constant if it is a number, else a column.
func (b *Baseline) SetText(text string) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		b.Constant = &v
		return
	}
	b.Column = text
}

// name is what a report calls it.
func (b *Baseline) name() string {
	switch {
	case b.Name != "":
		return b.Name
	case b.Constant != nil:
		return "always " + strconv.FormatFloat(*b.Constant, 'g', 4, 64)
	}
	return b.Column
}

// Bootstrap says how intervals are made.
type Bootstrap struct {
	// Draws is how many; nil is 1000, 0 is none: then there are no intervals.
	Draws *int `yaml:"draws"`
	// Level is the confidence, 0 for 0.95.
	Level float64 `yaml:"level"`
	Seed  uint64  `yaml:"seed"`
}

// Leakage says what to look for leaks in.
type Leakage struct {
	// Train is the file that the model learnt from; Format as that of the data.
	Train  string `yaml:"train"`
	Format string `yaml:"format"`
	// Entities are columns that must not have a value on both sides.
	Entities []string `yaml:"entities"`
	// Gap is the time that has to lie between training and test rows, such as 168h.
	Gap string `yaml:"gap"`
}

const (
	thresholdDefault = 0.5
	drawsDefault     = 1000
	levelDefault     = 0.95
	sliceRowsDefault = 100
	// listMax bounds metrics, slices as they are written, baselines and gates.
	listMax = 200
)

// EnsureDefaults replaces zero values by what they stand for.
func (s *Spec) EnsureDefaults() {
	if s.Threshold == nil {
		t := thresholdDefault
		s.Threshold = &t
	}
	if s.Bootstrap.Draws == nil {
		n := drawsDefault
		s.Bootstrap.Draws = &n
	}
	if s.Bootstrap.Level == 0 {
		s.Bootstrap.Level = levelDefault
	}
	if s.SliceRowsMin == 0 {
		s.SliceRowsMin = sliceRowsDefault
	}
}

// mistake is something wrong in a spec, and the path of the field.
type mistake struct {
	path string
	err  error
}

// Validate reports everything that is wrong without the data, after EnsureDefaults. Errors
// wrap ErrSpec.
func (s *Spec) Validate() error {
	var all []error
	for _, m := range s.mistakes(true) {
		all = append(all, fmt.Errorf("%w: %s: %w", ErrSpec, m.path, m.err))
	}
	return errors.Join(all...)
}

// mistakes lists what is wrong. A spec that is not whole may lack what flags will give it.
func (s *Spec) mistakes(whole bool) (all []mistake) {
	bad := func(path, format string, args ...any) {
		all = append(all, mistake{path, fmt.Errorf(format, args...)})
	}
	need := func(path, value string) {
		if whole && value == "" {
			bad(path, "is missing")
		}
	}
	need("data", s.Data)
	need("label", s.Label)
	if whole && s.Model == "" && s.Score == "" {
		bad("model", "is missing: give a model, or the column of a score")
	}
	if s.Model != "" && s.Score != "" {
		bad("score", "give a model or the column of a score, not both")
	}
	if s.Against != "" && s.AgainstScore != "" {
		bad("against_score", "give against or against_score, not both")
	}
	if _, err := s.task(); err != nil {
		bad("task", "%w", err)
	}
	for path, format := range map[string]string{"format": s.Format, "leakage.format": s.Leakage.Format} {
		if _, err := fileFormat(format, ""); format != "" && err != nil {
			bad(path, "%w", err)
		}
	}
	return append(append(all, s.numberMistakes()...), s.listMistakes()...)
}

// numberMistakes are those of settings that have bounds, or need another.
func (s *Spec) numberMistakes() (all []mistake) {
	bad := func(path, format string, args ...any) {
		all = append(all, mistake{path, fmt.Errorf(format, args...)})
	}
	if s.Task == "ranking" && s.Query == "" {
		bad("query", "is missing: a ranking needs the column of the query")
	}
	if s.Class != nil && *s.Class < 0 {
		bad("class", "is %d, it takes a number from 0", *s.Class)
	}
	if t := *s.Threshold; math.IsNaN(t) || math.IsInf(t, 0) {
		bad("threshold", "is %v, it takes a number", t)
	}
	if n := *s.Bootstrap.Draws; n < 0 || n > drawsMax || n > 0 && n < drawsMin {
		bad("bootstrap.draws", "is %d, it takes 0 for none, or %d to %d", n, drawsMin, drawsMax)
	}
	if l := s.Bootstrap.Level; l <= 0 || l >= 1 {
		bad("bootstrap.level", "is %v, it takes a number above 0 and below 1", l)
	}
	if s.SliceRowsMin < 1 {
		bad("slice_rows_min", "is %d, it takes a number from 1", s.SliceRowsMin)
	}
	if s.Margin < 0 {
		bad("margin", "is %v, it takes a number from 0", s.Margin)
	}
	if _, err := parseGap(s.Leakage.Gap); err != nil {
		bad("leakage.gap", "%w", err)
	}
	return all
}

func (s *Spec) listMistakes() (all []mistake) {
	bad := func(path string, err error) {
		all = append(all, mistake{path, err})
	}
	for path, n := range map[string]int{"metrics": len(s.Metrics), "slices": len(s.Slices), "baselines": len(s.Baselines), "gates": len(s.Gates)} {
		if n > listMax {
			bad(path, fmt.Errorf("has %d values, at most %d are allowed", n, listMax))
		}
	}
	var names []string
	for i := range s.Metrics {
		path := fmt.Sprintf("metrics[%d]", i)
		m, err := s.Metrics[i].parse()
		if err != nil {
			bad(path, err)
			names = append(names, s.Metrics[i].Text, s.Metrics[i].Name) // so that gates over it are not wrong too
			continue
		}
		for _, other := range names {
			if other == m.Name() {
				bad(path, fmt.Errorf("%s is given twice", other))
			}
		}
		names = append(names, m.Name())
	}
	for i := range s.Slices {
		if err := s.Slices[i].validate(); err != nil {
			bad(fmt.Sprintf("slices[%d]", i), err)
		}
	}
	for i := range s.Baselines {
		if b := &s.Baselines[i]; (b.Constant == nil) == (b.Column == "") {
			bad(fmt.Sprintf("baselines[%d]", i), errors.New("give a constant or a column"))
		}
	}
	for i := range s.Gates {
		if err := s.Gates[i].Validate(names); err != nil {
			bad(fmt.Sprintf("gates[%d]", i), err)
		}
	}
	return all
}

func (s *Slice) validate() error {
	given := 0
	for _, set := range []bool{s.text != "", s.Column != "", s.Where != "", s.Cross != nil} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("give one of column, where and cross")
	case s.Cross != nil && len(s.Cross) != 2:
		return fmt.Errorf("cross has %d columns, it takes two", len(s.Cross))
	case s.Bins != 0 && (s.Bins < 2 || s.Bins > binsMax):
		return fmt.Errorf("bins is %d, it takes 2 to %d", s.Bins, binsMax)
	case s.Bins != 0 && s.Column == "":
		return errors.New("bins goes with column")
	case s.Name != "" && s.Where == "":
		return errors.New("name goes with where")
	}
	return nil
}
