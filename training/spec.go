// SPDX-License-Identifier: Apache-2.0

package training

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/training/calibration"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/split"
	"github.com/millrace-ml/millrace/training/tuning"
)

// ErrSpec means that a specification is not sound; the text says where.
var ErrSpec = errors.New("invalid training")

// specBytesMax bounds a file of specifications.
const specBytesMax = 1 << 20

// Spec says how a model is built. The YAML keys are the names in lower case, with
// underscores.
type Spec struct {
	Name        string `yaml:"-" json:"name"`
	Description string `yaml:"description" json:"description,omitempty"`
	// Service is the feature service that the model is for; empty is that of the training
	// set's manifest, if it has one.
	Service string `yaml:"service" json:"service,omitempty"`
	// Task is binary (the default), multiclass or regression; Label the column that is learnt.
	Task  string `yaml:"task" json:"task"`
	Label string `yaml:"label" json:"label"`
	// Positive is the label's text that counts as 1 in a binary task whose labels are
	// neither truth values nor 0 and 1.
	Positive string `yaml:"positive" json:"positive,omitempty"`
	// Features are columns in the model's order. Empty are those that the manifest of the
	// training set says, or all columns that have no other use.
	Features []string `yaml:"features" json:"features,omitempty"`
	// Exclude are columns that are no features.
	Exclude []string `yaml:"exclude" json:"exclude,omitempty"`
	// Categorical features have no order; those of texts always are.
	Categorical []string `yaml:"categorical" json:"categorical,omitempty"`
	// Monotone has 1 or -1 by feature; see learn.Feature.
	Monotone map[string]int `yaml:"monotone" json:"monotone,omitempty"`
	// Weight is a column with the weights of rows. ClassWeights multiply them by class:
	// "balanced", or a weight for each class.
	Weight       string       `yaml:"weight" json:"weight,omitempty"`
	ClassWeights ClassWeights `yaml:"class_weights" json:"class_weights,omitzero"`
	// Time and Group are columns that splits and metrics go by. Carry are further columns
	// for metrics.
	Time  string   `yaml:"time" json:"time,omitempty"`
	Group string   `yaml:"group" json:"group,omitempty"`
	Carry []string `yaml:"carry" json:"carry,omitempty"`
	// Split makes the folds by which candidates are judged; nil takes the last fifth of the
	// time, or of the rows at random where there is no time.
	Split *split.Plan `yaml:"split" json:"split,omitempty"`
	// Final says what the last fit leaves out for early stopping.
	Final Final `yaml:"final" json:"final"`
	// Calibrate is none (the default), platt, isotonic or temperature, fitted on rows of its own.
	Calibrate Calibrate `yaml:"calibrate" json:"calibrate,omitzero"`
	// Metric chooses; empty is average_precision, log_loss or rmse, by task.
	Metric string `yaml:"metric" json:"metric"`
	// Metrics are further ones to report: names, or definitions as the evaluator reads them
	// (a mapping). Whoever calls Build turns them into Options.Metrics.
	Metrics []any `yaml:"metrics" json:"metrics,omitempty"`
	// Candidates compete; empty is logistic (or linear) regression and trees.
	Candidates []Candidate `yaml:"candidates" json:"candidates"`
	// Rule, an expression over features, is a further baseline: what people would do.
	Rule string `yaml:"rule" json:"rule,omitempty"`
	// Trust lists features that may predict the label perfectly.
	Trust []string `yaml:"trust" json:"trust,omitempty"`
	Seed  uint64   `yaml:"seed" json:"seed"`
}

// Final says how the last fit is done.
type Final struct {
	// Valid is the share of rows, the last ones where there is a time, that early stopping
	// looks at; 0 to 0.5.
	Valid float64 `yaml:"valid" json:"valid,omitempty"`
}

// Calibrate says how raw scores become probabilities.
type Calibrate struct {
	Method string `yaml:"method" json:"method,omitempty"`
	// Share of the rows, the last ones where there is a time, for the last fit: 0.2 if not
	// given, at most 0.5.
	Share float64 `yaml:"share" json:"share,omitempty"`
}

// ClassWeights are weights by class.
type ClassWeights struct {
	Balanced bool               `json:"balanced,omitempty"`
	ByClass  map[string]float64 `json:"by_class,omitempty"`
}

// UnmarshalYAML reads "balanced" or a mapping.
func (w *ClassWeights) UnmarshalYAML(data []byte) error {
	var text string
	if yaml.Unmarshal(data, &text) == nil && text == "balanced" {
		w.Balanced = true
		return nil
	}
	if err := yaml.Unmarshal(data, &w.ByClass); err != nil {
		return errors.New("class_weights is \"balanced\" or a mapping of classes to weights")
	}
	return nil
}

// Candidate is a method with its parameters.
type Candidate struct {
	Name   string `yaml:"name" json:"name"`
	Method string `yaml:"method" json:"method"`
	// Parameters that are not given have the method's defaults.
	Parameters learn.Values `yaml:"parameters" json:"parameters,omitempty"`
	// Search looks for better ones; nil is no search.
	Search *Search `yaml:"search" json:"search,omitempty"`
}

// Search is a search for parameters.
type Search struct {
	// Trials bounds the search, and Time, if it is not 0.
	Trials  int           `yaml:"trials" json:"trials"`
	Time    time.Duration `yaml:"time" json:"time,omitempty"`
	Sampler string        `yaml:"sampler" json:"sampler,omitempty"`
	Pruner  string        `yaml:"pruner" json:"pruner,omitempty"`
	// Parallel trials at a time; 0 is 1, which alone is reproducible.
	Parallel int `yaml:"parallel" json:"parallel,omitempty"`
	// Space has ranges by parameter; empty are those that the method suggests.
	Space map[string]tuning.Range `yaml:"space" json:"space,omitempty"`
}

// TrialsMax bounds a search.
const TrialsMax = 100_000

// Load reads the specifications of files: under `trainings`, by name.
func Load(files ...string) (map[string]*Spec, error) {
	all := make(map[string]*Spec)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(f, specBytesMax+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		specs, err := Parse(file, data)
		if err != nil {
			return nil, err
		}
		for name, s := range specs {
			if all[name] != nil {
				return nil, fmt.Errorf("%w: %s: trainings.%s is defined twice", ErrSpec, file, name)
			}
			all[name] = s
		}
	}
	return all, nil
}

// Parse reads one file. Errors wrap ErrSpec and have its lines.
func Parse(file string, data []byte) (specs map[string]*Spec, err error) {
	if len(data) > specBytesMax {
		return nil, fmt.Errorf("%w: %s: the file has more than %d bytes", ErrSpec, file, specBytesMax)
	}
	var root struct {
		Trainings map[string]*Spec `yaml:"trainings"`
	}
	defer func() { // the parser is not ours: a fault in it is a refused file, no crash
		if fault := recover(); fault != nil {
			specs, err = nil, fmt.Errorf("%w: %s: the file cannot be parsed: %v", ErrSpec, file, fault)
		}
	}()
	if err := checkYAML(data); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSpec, file, err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&root); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrSpec, file, yaml.FormatError(err, false, true))
	}
	if len(root.Trainings) == 0 {
		return nil, fmt.Errorf("%w: %s: there is nothing under trainings", ErrSpec, file)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(root.Trainings)) {
		s := root.Trainings[name]
		if s == nil {
			problems = append(problems, fmt.Errorf("%w: %s: trainings.%s is empty", ErrSpec, file, name))
			continue
		}
		s.Name = name
		s.EnsureDefaults()
		if err := s.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return root.Trainings, nil
}

// EnsureDefaults completes the specification.
func (s *Spec) EnsureDefaults() {
	s.Task = cmp.Or(s.Task, learn.Binary.String())
	linear := "linear"
	switch s.Task {
	case learn.Binary.String():
		s.Metric, linear = cmp.Or(s.Metric, "average_precision"), "logistic"
	case learn.Multiclass.String():
		s.Metric, linear = cmp.Or(s.Metric, "log_loss"), "logistic"
	default:
		s.Metric = cmp.Or(s.Metric, "rmse")
	}
	if len(s.Candidates) == 0 {
		s.Candidates = []Candidate{{Method: linear}, {Method: "trees"}}
	}
	for i := range s.Candidates {
		c := &s.Candidates[i]
		c.Name = cmp.Or(c.Name, c.Method)
		if c.Search != nil {
			c.Search.Parallel = cmp.Or(c.Search.Parallel, 1)
		}
	}
	if s.Calibrate.Method == calibration.None {
		s.Calibrate.Method = ""
	}
	if s.Calibrate.Method != "" {
		s.Calibrate.Share = cmp.Or(s.Calibrate.Share, 0.2)
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

// Validate reports all that is wrong, after EnsureDefaults. Errors wrap ErrSpec.
func (s *Spec) Validate() error {
	var problems []error
	bad := func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: trainings.%s.%s: %w", ErrSpec, s.Name, path, fmt.Errorf(format, args...)))
	}
	if !nameForm.MatchString(s.Name) {
		bad("name", "%q may have letters, digits, and _ . - within", s.Name)
	}
	task, err := learn.ParseTask(s.Task)
	if err != nil {
		bad("task", "%w", err)
	}
	if s.Label == "" {
		bad("label", "is missing: the column that is learnt")
	}
	for name, sign := range s.Monotone {
		if sign < -1 || sign > 1 {
			bad("monotone."+name, "is 1, -1 or 0")
		}
	}
	for class, w := range s.ClassWeights.ByClass {
		if !(w > 0) || math.IsInf(w, 0) {
			bad("class_weights."+class, "is not positive")
		}
	}
	if task == learn.Regression && (s.ClassWeights.Balanced || s.ClassWeights.ByClass != nil) {
		bad("class_weights", "a regression has no classes")
	}
	if !(s.Final.Valid >= 0 && s.Final.Valid <= 0.5) {
		bad("final.valid", "is a share from 0 to 0.5")
	}
	if s.Calibrate.Method != "" {
		if !slices.Contains(calibration.Methods(), s.Calibrate.Method) {
			bad("calibrate.method", "%q is none of %v", s.Calibrate.Method, calibration.Methods())
		}
		if task == learn.Regression {
			bad("calibrate", "a regression has no probabilities")
		}
		if !(s.Calibrate.Share > 0 && s.Calibrate.Share <= 0.5) {
			bad("calibrate.share", "is a share above 0 and at most 0.5")
		}
	}
	problems = append(problems, s.validateCandidates(task))
	return errors.Join(problems...)
}

func (s *Spec) validateCandidates(task learn.Task) error {
	var problems []error
	names := make(map[string]bool)
	for i := range s.Candidates {
		c := &s.Candidates[i]
		where := fmt.Sprintf("trainings.%s.candidates[%d]", s.Name, i)
		bad := func(err error) { problems = append(problems, fmt.Errorf("%w: %s: %w", ErrSpec, where, err)) }
		if !nameForm.MatchString(c.Name) || names[c.Name] || isBaseline(c.Name) {
			bad(fmt.Errorf("the name %q is taken, or has other than letters, digits, _ . -", c.Name))
		}
		names[c.Name] = true
		m, err := methodFor(c.Method, task)
		if err != nil {
			bad(err)
			continue
		}
		if _, err := m.Complete(c.Parameters); err != nil {
			bad(err)
		}
		if c.Method == methodLast {
			bad(fmt.Errorf("%s cannot be served: it is a baseline of prequential splits", c.Method))
		}
		if c.Search != nil {
			if err := c.Search.validate(m); err != nil {
				bad(fmt.Errorf("search: %w", err))
			}
		}
	}
	return errors.Join(problems...)
}

func (s *Search) validate(m *learn.Method) error {
	switch {
	case s.Trials < 1 || s.Trials > TrialsMax:
		return fmt.Errorf("trials is %d; give 1 to %d", s.Trials, TrialsMax)
	case s.Time < 0:
		return errors.New("time is negative")
	case s.Parallel < 1 || s.Parallel > 64:
		return fmt.Errorf("parallel is %d; give 1 to 64", s.Parallel)
	}
	_, err := tuning.NewSpace(m, s.Space)
	return err
}
