// SPDX-License-Identifier: Apache-2.0

package training

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
)

// classesMax bounds the classes of a task.
const classesMax = 1024

// makeTable turns columns into what methods learn from.
func makeTable(s *Spec, r *roles, b *column.Batch) (*learn.Table, error) {
	t, _, err := makeWeighted(s, r, b)
	return t, err
}

// makeWeighted is makeTable with the weights of classes, nil for none.
func makeWeighted(s *Spec, r *roles, b *column.Batch) (*learn.Table, []float32, error) {
	if b.Rows == 0 {
		return nil, nil, fmt.Errorf("%w: there are no rows", learn.ErrData)
	}
	task, err := learn.ParseTask(s.Task)
	if err != nil {
		return nil, nil, err
	}
	t := &learn.Table{Task: task}
	var problems []error
	for _, place := range r.features {
		f, values, err := makeFeature(s, &b.Columns[place])
		problems = append(problems, err)
		t.Features, t.Values = append(t.Features, f), append(t.Values, values)
	}
	problems = append(problems, setLabels(t, s, &b.Columns[r.label]))
	if r.weight >= 0 {
		problems = append(problems, setWeights(t, &b.Columns[r.weight]))
	}
	if r.time >= 0 {
		problems = append(problems, setTimes(t, &b.Columns[r.time]))
	}
	if r.group >= 0 {
		t.Groups = numberGroups(&b.Columns[r.group])
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	factors, err := weighClasses(t, s.ClassWeights)
	if err != nil {
		return nil, nil, err
	}
	t.Carried = &column.Batch{Rows: b.Rows}
	for _, place := range append(slices.Clone(r.carried), r.time, r.group) {
		if place >= 0 && t.Carried.Column(b.Columns[place].Name) == nil {
			t.Carried.Columns = append(t.Carried.Columns, b.Columns[place])
		}
	}
	return t, factors, nil
}

// inexact warns of whole numbers that 32-bit floats do not hold: times in microseconds, and
// long numbers of things.
func inexact(f learn.Feature, c *column.Column) string {
	if c.Type != column.Int64 && c.Type != column.Timestamp {
		return ""
	}
	for row, v := range c.Ints {
		if !c.Null(row) && int64(float32(v)) != v {
			return fmt.Sprintf("feature %s has whole numbers that are rounded, as %d is to %.0f: features are 32-bit floats. Learn from a difference, or from parts of it", f.Name, v, float32(v))
		}
	}
	return ""
}

// checkNames refuses features that a model cannot have side by side.
func checkNames(t *learn.Table) error {
	var problems []error
	texts := slices.ContainsFunc(t.Features, isText)
	outputs := []string{LabelName, ProbabilitiesName}
	if t.Task == learn.Regression {
		outputs = []string{PredictionName}
	}
	seen := make(map[string]bool)
	for _, f := range t.Features {
		if seen[f.Name] {
			problems = append(problems, fmt.Errorf("%w: the feature %s is listed twice", ErrSpec, f.Name))
		}
		seen[f.Name] = true
		if texts && slices.Contains(outputs, f.Name) {
			problems = append(problems, fmt.Errorf("%w: the feature %s has the name of an output of the model: rename the column", ErrSpec, f.Name))
		}
	}
	return errors.Join(problems...)
}

// makeFeature makes 32-bit numbers of a column.
func makeFeature(s *Spec, c *column.Column) (learn.Feature, []float32, error) {
	f := learn.Feature{Name: c.Name, Type: c.Type, Monotone: int8(s.Monotone[c.Name])}
	f.Categorical = c.Type == column.String || slices.Contains(s.Categorical, c.Name)
	if f.Categorical && f.Monotone != 0 {
		return f, nil, fmt.Errorf("%w: feature %s is categorical and cannot be monotone", ErrSpec, c.Name)
	}
	if f.Categorical {
		values := numberCategories(&f, c)
		if len(f.Categories) == 0 {
			return f, nil, emptyFeature(c.Name)
		}
		return f, values, nil
	}
	values := make([]float32, c.Len())
	missing := 0
	for row := range values {
		values[row] = float32(numberOf(c, row))
		switch {
		case math.IsInf(float64(values[row]), 0):
			return f, nil, fmt.Errorf("%w: feature %s is infinite, or too large for 32 bits, in row %d", learn.ErrData, c.Name, row+1)
		case values[row] != values[row]:
			missing++
		}
	}
	if missing == len(values) {
		return f, nil, emptyFeature(c.Name)
	}
	return f, values, nil
}

func emptyFeature(name string) error {
	return fmt.Errorf("%w: feature %s has no value in any row; leave it out (exclude: [%s]) or mend its source", learn.ErrData, name, name)
}

// numberOf is a value as a number, NaN for null.
func numberOf(c *column.Column, row int) float64 {
	if c.Null(row) {
		return math.NaN()
	}
	return c.Number(row)
}

// categoryOf is a value as a category's text; false for none. Requests have 32-bit numbers,
// so that numbers which those cannot tell apart are one category; and a missing text is an
// empty one in them, so that an empty one is missing.
func categoryOf(c *column.Column, row int) (string, bool) {
	if c.Type == column.String {
		return c.Texts[row], !c.Null(row) && c.Texts[row] != ""
	}
	v := float64(float32(numberOf(c, row))) + 0 // -0 becomes 0
	if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
		return strconv.FormatInt(int64(v), 10), true
	}
	return strconv.FormatFloat(v, 'g', -1, 32), v-v == 0
}

// textOf is a value as a class's or a group's text; false for null.
func textOf(c *column.Column, row int) (string, bool) {
	switch c.Type {
	case column.String:
		return c.Texts[row], !c.Null(row)
	case column.Int64, column.Timestamp:
		return strconv.FormatInt(c.Ints[row], 10), !c.Null(row)
	}
	v := numberOf(c, row)
	return strconv.FormatFloat(v, 'f', -1, 64), v == v
}

// numberCategories gives codes to the most frequent categories, in the order of their texts.
func numberCategories(f *learn.Feature, c *column.Column) []float32 {
	counts := make(map[string]int)
	for row := range c.Len() {
		if text, ok := categoryOf(c, row); ok {
			counts[text]++
		}
	}
	categories := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	categories = categories[:min(len(categories), learn.CategoriesMax)]
	slices.Sort(categories)
	f.Categories = categories
	codes := make(map[string]float32, len(categories))
	for i, text := range categories {
		codes[text] = float32(i)
	}
	values := make([]float32, c.Len())
	for row := range values {
		text, ok := categoryOf(c, row)
		code, known := codes[text]
		if !ok || !known {
			code = float32(math.NaN())
		}
		values[row] = code
	}
	return values
}

func setLabels(t *learn.Table, s *Spec, c *column.Column) error {
	t.Labels = make([]float32, c.Len())
	if t.Task == learn.Regression {
		if c.Type == column.String {
			return fmt.Errorf("%w: the label %s is a text; a regression learns numbers", ErrSpec, c.Name)
		}
		for row := range t.Labels {
			v := numberOf(c, row)
			if math.IsNaN(v) || math.IsInf(float64(float32(v)), 0) {
				return fmt.Errorf("%w: the label %s of row %d is missing or infinite", learn.ErrData, c.Name, row+1)
			}
			t.Labels[row] = float32(v)
		}
		return checkRounding(t, c)
	}
	numbers := make(map[string]float32)
	for row := range t.Labels {
		text, ok := textOf(c, row)
		if !ok {
			return fmt.Errorf("%w: row %d has no label in column %s; leave such rows out", learn.ErrData, row+1, c.Name)
		}
		numbers[text] = 0
		if len(numbers) > classesMax {
			return fmt.Errorf("%w: the label %s has more than %d classes: is the task a regression?", learn.ErrData, c.Name, classesMax)
		}
	}
	if err := orderClasses(t, s, c, numbers); err != nil {
		return err
	}
	for row := range t.Labels {
		text, _ := textOf(c, row)
		t.Labels[row] = numbers[text]
	}
	return nil
}

// roundingMax is how much of the spread of labels may be lost by 32 bits.
const roundingMax = 0.01

// checkRounding refuses labels that 32-bit floats cannot tell apart well enough, such as
// values about ten million that differ by one.
func checkRounding(t *learn.Table, c *column.Column) error {
	n, mean, lost, spread := float64(t.Rows()), 0.0, 0.0, 0.0
	for row := range t.Labels {
		mean += numberOf(c, row) / n
	}
	for row, y := range t.Labels {
		v := numberOf(c, row)
		lost, spread = lost+math.Abs(v-float64(y))/n, spread+math.Abs(v-mean)/n
	}
	if lost > roundingMax*spread && spread > 0 {
		return fmt.Errorf("%w: the label %s is about %g and differs by %.3g on average, which 32-bit floats do not hold: subtract a constant from it", learn.ErrData, c.Name, mean, spread)
	}
	return nil
}

// orderClasses numbers the classes: numbers by size, texts by the alphabet, the positive
// one of two last.
func orderClasses(t *learn.Table, s *Spec, c *column.Column, numbers map[string]float32) error {
	t.Classes = slices.SortedFunc(maps.Keys(numbers), func(a, b string) int {
		x, errX := strconv.ParseFloat(a, 64)
		y, errY := strconv.ParseFloat(b, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(a, b)
	})
	if len(t.Classes) < 2 {
		return fmt.Errorf("%w: the label %s is %q in every row: there is nothing to tell apart", learn.ErrData, c.Name, t.Classes[0])
	}
	if t.Task == learn.Binary {
		if len(t.Classes) > 2 {
			return fmt.Errorf("%w: the label %s has %d classes (%v); the task is multiclass", learn.ErrData, c.Name, len(t.Classes), t.Classes[:3])
		}
		standard := slices.Equal(t.Classes, []string{"0", "1"})
		switch i := slices.Index(t.Classes, s.Positive); {
		case s.Positive != "" && i < 0:
			return fmt.Errorf("%w: positive is %q, but the label %s is %v", ErrSpec, s.Positive, c.Name, t.Classes)
		case s.Positive == "" && !standard:
			return fmt.Errorf("%w: the label %s is %v: say which one is positive", ErrSpec, c.Name, t.Classes)
		case i == 0:
			slices.Reverse(t.Classes)
		}
	}
	for i, text := range t.Classes {
		numbers[text] = float32(i)
	}
	return nil
}

func setWeights(t *learn.Table, c *column.Column) error {
	if c.Type == column.String {
		return fmt.Errorf("%w: the weight %s is a text", ErrSpec, c.Name)
	}
	t.Weights = make([]float32, c.Len())
	for row := range t.Weights {
		w := float32(numberOf(c, row))
		if !(w > 0) || math.IsInf(float64(w), 0) {
			return fmt.Errorf("%w: the weight %s of row %d is %v, not positive", learn.ErrData, c.Name, row+1, w)
		}
		t.Weights[row] = w
	}
	return nil
}

func setTimes(t *learn.Table, c *column.Column) error {
	t.Times = make([]int64, c.Len())
	for row := range t.Times {
		if c.Null(row) {
			return fmt.Errorf("%w: the time %s of row %d is missing", learn.ErrData, c.Name, row+1)
		}
		switch c.Type {
		case column.Timestamp, column.Int64:
			t.Times[row] = c.Ints[row]
		default: // the order is what counts, as of a column that numbers the rows
			return fmt.Errorf("%w: the time %s is a %s; it has to be a timestamp, or a whole number that orders the rows", ErrSpec, c.Name, c.Type)
		}
	}
	return nil
}

// numberGroups gives a number to each group; rows without one are groups of their own.
func numberGroups(c *column.Column) []int32 {
	groups := make([]int32, c.Len())
	numbers := make(map[string]int32)
	next := int32(0)
	for row := range groups {
		text, ok := textOf(c, row)
		number, known := numbers[text]
		if !ok || !known {
			number, next = next, next+1
			if ok {
				numbers[text] = number
			}
		}
		groups[row] = number
	}
	return groups
}

// weighClasses multiplies weights by those of classes, which it returns; nil for none.
func weighClasses(t *learn.Table, w ClassWeights) ([]float32, error) {
	if !w.Balanced && len(w.ByClass) == 0 {
		return nil, nil
	}
	factors := make([]float32, len(t.Classes))
	for i := range factors {
		factors[i] = 1
	}
	for class, factor := range w.ByClass {
		i := slices.Index(t.Classes, class)
		if i < 0 {
			return nil, fmt.Errorf("%w: class_weights has the class %q; there are %v", ErrSpec, class, t.Classes)
		}
		factors[i] = float32(factor)
	}
	if w.Balanced { // as scikit-learn: rows / (classes x rows of the class)
		counts := make([]float64, len(t.Classes))
		for _, label := range t.Labels {
			counts[int(label)]++
		}
		for i, count := range counts {
			factors[i] = float32(float64(t.Rows()) / (float64(len(counts)) * count))
		}
	}
	weights := make([]float32, t.Rows())
	for row, label := range t.Labels {
		weights[row] = t.Weight(row) * factors[int(label)]
	}
	t.Weights = weights
	return factors, nil
}
