// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

type fieldOf = definition.Field

var taskNames = map[metric.Task]string{
	metric.Binary: "binary", metric.Multiclass: "multiclass", metric.Regression: "regression", metric.Ranking: "ranking",
}

// task is the one that is named, or nil to find it from the label.
func (s *Spec) task() (*metric.Task, error) {
	if s.Task == "" {
		return nil, nil
	}
	for t, name := range taskNames {
		if name == s.Task {
			return &t, nil
		}
	}
	return nil, fmt.Errorf("is %q, it takes binary, multiclass, regression or ranking", s.Task)
}

// truth finds the task and reads the labels.
func (e *run) truth() error {
	c := e.rows.Column(e.spec.Label)
	asked, _ := e.spec.task() // it was validated
	if asked != nil {
		e.task = *asked
	} else {
		e.task = e.guess(c)
	}
	switch e.task {
	case metric.Binary:
		return e.binaryLabels(c)
	case metric.Multiclass:
		return e.classLabels(c)
	}
	if c.Type == column.String {
		return fmt.Errorf("%w: the label %s has texts, a %s task takes numbers", ErrData, c.Name, taskNames[e.task])
	}
	e.labels = make([]float64, e.rows.Rows)
	for i := range e.labels {
		e.labels[i] = c.Number(i)
		if math.IsInf(e.labels[i], 0) || e.task == metric.Ranking && e.labels[i] < 0 {
			return fmt.Errorf("%w: row %d: the label is %v", ErrData, e.numbers[i]+1, e.labels[i])
		}
	}
	return nil
}

// guess is the task that a label looks like.
func (e *run) guess(c *column.Column) metric.Task {
	switch {
	case e.spec.Query != "":
		return metric.Ranking
	case c.Type == column.Bool || e.spec.Positive != "":
		return metric.Binary
	case e.outputs > 2 && e.spec.Class == nil || e.spec.Classes != nil:
		return metric.Multiclass
	case c.Type == column.String:
		return metric.Binary // with two classes, or it will be refused
	}
	for i := range c.Len() {
		if v := c.Number(i); v != 0 && v != 1 {
			return metric.Regression
		}
	}
	return metric.Binary
}

func (e *run) binaryLabels(c *column.Column) error {
	e.labels = make([]float64, e.rows.Rows)
	positives := 0
	e.classes = []string{"0", "1"}
	values := map[string]bool{}
	for i := range e.labels {
		one, err := e.positive(c, i, values)
		if err != nil {
			return err
		}
		if one {
			e.labels[i] = 1
			positives++
		}
	}
	if err := e.checkPositive(); err != nil {
		return err
	}
	if e.spec.Positive != "" {
		e.classes = []string{"not " + e.spec.Positive, e.spec.Positive}
	}
	if positives == 0 || positives == len(e.labels) {
		return fmt.Errorf("%w: the label %s is of one class only: %d of %d rows are positive", ErrData, c.Name, positives, len(e.labels))
	}
	return nil
}

// checkPositive refuses another positive class than the one that the model learnt.
func (e *run) checkPositive() error {
	if e.model == nil || e.model.sig == nil || len(e.model.sig.Classes) != 2 || e.spec.Class != nil || e.spec.Positive == "" {
		return nil
	}
	if learnt := e.model.sig.Classes; learnt[0] == e.spec.Positive {
		return fmt.Errorf("%w: positive is %q, the model learnt %q as the positive class", ErrSpec, e.spec.Positive, learnt[1])
	}
	return nil
}

// positive reports whether a row's label is the positive class.
func (e *run) positive(c *column.Column, i int, values map[string]bool) (bool, error) {
	if c.Type == column.String || e.spec.Positive != "" {
		text := textOf(c, i)
		if e.spec.Positive != "" {
			return text == e.spec.Positive, nil
		}
		switch strings.ToLower(text) {
		case "0", "false":
			return false, nil
		case "1", "true":
			return true, nil
		}
		return false, fmt.Errorf("%w: row %d: the label %s is %q: say by positive which value counts as 1, or that the task is multiclass", ErrData, e.numbers[i]+1, c.Name, text)
	}
	v := c.Number(i)
	if v != 0 && v != 1 {
		return false, fmt.Errorf("%w: row %d: the label %s is %v, a binary one is 0 or 1: say by positive which value counts as 1", ErrData, e.numbers[i]+1, c.Name, v)
	}
	return v == 1, nil
}

// classLabels numbers the classes, in the order of the spec, of the model's metadata, or
// sorted.
func (e *run) classLabels(c *column.Column) error {
	seen := map[string]int{}
	texts := make([]string, e.rows.Rows)
	for i := range texts {
		texts[i] = textOf(c, i)
		seen[texts[i]]++
		if len(seen) > classesMax {
			return fmt.Errorf("%w: the label %s has more than %d classes", ErrData, c.Name, classesMax)
		}
	}
	switch {
	case e.spec.Classes != nil:
		e.classes = e.spec.Classes
	case e.model != nil && e.model.sig != nil && e.model.sig.Classes != nil:
		e.classes = e.model.sig.Classes
	default:
		e.classes = sortedClasses(c, seen, e.outputs)
	}
	if len(seen) < 2 {
		return fmt.Errorf("%w: the label %s is of one class only: %s", ErrData, c.Name, e.classes[0])
	}
	numbers := map[string]int{}
	for i, class := range e.classes {
		numbers[class] = i
	}
	e.labels = make([]float64, len(texts))
	for i, text := range texts {
		n, known := numbers[text]
		if !known {
			return fmt.Errorf("%w: row %d: the label %s is %q, which is none of the classes %s", ErrData, e.numbers[i]+1, c.Name, text, strings.Join(e.classes, ", "))
		}
		e.labels[i] = float64(n)
	}
	return nil
}

// sortedClasses are those seen, as numbers where they are. Whole numbers under that of the
// outputs are taken for the places of outputs, though some may not come.
func sortedClasses(c *column.Column, seen map[string]int, outputs int) []string {
	var classes []string
	places := c.Type == column.Int64
	for text := range seen {
		classes = append(classes, text)
		n, err := strconv.Atoi(text)
		places = places && err == nil && n >= 0 && n < outputs
	}
	if places {
		classes = classes[:0]
		for i := range outputs {
			classes = append(classes, strconv.Itoa(i))
		}
		return classes
	}
	slices.SortFunc(classes, func(a, b string) int {
		x, errX := strconv.ParseFloat(a, 64)
		y, errY := strconv.ParseFloat(b, 64)
		if errX == nil && errY == nil && c.Type != column.String {
			return int(math.Copysign(1, x-y))
		}
		return strings.Compare(a, b)
	})
	return classes
}
