// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/c-bata/goptuna"

	"github.com/millrace-ml/millrace/training/learn"
)

// Range is where a parameter is looked for: one of Int, Float (both ends included) and
// Choice.
type Range struct {
	Int    []int64   `yaml:"int" json:"int,omitempty"`
	Float  []float64 `yaml:"float" json:"float,omitempty"`
	Choice []any     `yaml:"choice" json:"choice,omitempty"`
	// Log is for numbers above 0 of which factors count.
	Log bool `yaml:"log" json:"log,omitempty"`
}

// Bounds of a space.
const (
	ParametersMax = 100
	ChoicesMax    = 1000
)

// Space is what is searched.
type Space struct{ dimensions []dimension }

// dimension is a parameter that is searched. Its values are coordinates: numbers, and
// numbers of choices.
type dimension struct {
	name string
	// distribution is goptuna's form of it; low and high bound coordinates.
	distribution any
	low, high    float64
	log, whole   bool
	choices      []any
}

// NewSpace makes the space of a method: the ranges given, or if there are none those that
// the method suggests. What is wrong is reported at once; errors wrap learn.ErrParameters.
func NewSpace(m *learn.Method, ranges map[string]Range) (Space, error) {
	if len(ranges) == 0 {
		ranges = suggested(m)
	}
	var (
		s        Space
		problems []error
	)
	for _, name := range slices.Sorted(maps.Keys(ranges)) {
		i := slices.IndexFunc(m.Parameters, func(p learn.Parameter) bool { return p.Name == name })
		if i < 0 {
			problems = append(problems, fmt.Errorf("%w: space.%s: %s has no such parameter", learn.ErrParameters, name, m.Name))
			continue
		}
		d, err := newDimension(m, &m.Parameters[i], ranges[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("%w: space.%s: %w", learn.ErrParameters, name, err))
			continue
		}
		s.dimensions = append(s.dimensions, d)
	}
	if len(problems) == 0 && (len(s.dimensions) == 0 || len(s.dimensions) > ParametersMax) {
		problems = append(problems, fmt.Errorf("%w: space: %d parameters of %s to search; give 1 to %d", learn.ErrParameters, len(s.dimensions), m.Name, ParametersMax))
	}
	return s, errors.Join(problems...)
}

func suggested(m *learn.Method) map[string]Range {
	ranges := map[string]Range{}
	for _, p := range m.Parameters {
		if p.SearchMin == p.SearchMax {
			continue
		}
		switch p.Kind {
		case learn.Int:
			ranges[p.Name] = Range{Int: []int64{int64(p.SearchMin), int64(p.SearchMax)}, Log: p.Log}
		case learn.Float:
			ranges[p.Name] = Range{Float: []float64{p.SearchMin, p.SearchMax}, Log: p.Log}
		}
	}
	return ranges
}

func newDimension(m *learn.Method, p *learn.Parameter, r Range) (dimension, error) {
	d := dimension{name: p.Name, log: r.Log}
	given := 0
	for _, there := range []bool{r.Int != nil, r.Float != nil, r.Choice != nil} {
		if there {
			given++
		}
	}
	switch {
	case given != 1:
		return d, errors.New("give one of int: [LEAST, MOST], float: [LEAST, MOST] and choice: [A, B, ...]")
	case r.Choice != nil:
		return d.ofChoices(m, r)
	case r.Int != nil && len(r.Int) != 2 || r.Float != nil && len(r.Float) != 2:
		return d, errors.New("a range has two numbers, the least and the most")
	case r.Int != nil:
		if p.Kind != learn.Int && p.Kind != learn.Float {
			return d, errors.New("it is not a number; use choice")
		}
		d.low, d.high, d.whole = float64(r.Int[0]), float64(r.Int[1]), true
		d.distribution = goptuna.IntUniformDistribution{Low: int(r.Int[0]), High: int(r.Int[1])}
	default:
		if p.Kind != learn.Float {
			return d, errors.New("it does not take fractions; use int or choice")
		}
		d.low, d.high = r.Float[0], r.Float[1]
		d.distribution = goptuna.UniformDistribution{Low: d.low, High: d.high}
	}
	const exact = 1 << 53 // beyond it floats skip whole numbers
	switch {
	case !(d.low <= d.high) || math.IsInf(d.high-d.low, 0) || d.whole && (d.low < -exact || d.high > exact):
		return d, fmt.Errorf("%v to %v is not a range", d.low, d.high)
	case !(d.low >= p.Min && d.high <= p.Max):
		return d, fmt.Errorf("%v to %v is not within %v and %v", d.low, d.high, p.Min, p.Max)
	case d.log && !(d.low > 0):
		return d, errors.New("log needs a least number above 0")
	}
	return d, nil
}

func (d dimension) ofChoices(m *learn.Method, r Range) (dimension, error) {
	if len(r.Choice) == 0 || len(r.Choice) > ChoicesMax || r.Log {
		return d, fmt.Errorf("choice has 1 to %d values, and no log", ChoicesMax)
	}
	names := make([]string, len(r.Choice))
	for i, value := range r.Choice {
		complete, err := m.Complete(learn.Values{d.name: value})
		if err != nil {
			return d, err
		}
		if slices.Contains(d.choices, complete[d.name]) {
			return d, fmt.Errorf("%v is there twice", value)
		}
		d.choices, names[i] = append(d.choices, complete[d.name]), fmt.Sprint(i)
	}
	d.high = float64(len(r.Choice) - 1)
	d.distribution = goptuna.CategoricalDistribution{Choices: names}
	return d, nil
}

// value is what a coordinate stands for.
func (d *dimension) value(x float64) any {
	switch {
	case d.choices != nil:
		return d.choices[int(x)]
	case d.whole:
		return int64(x)
	}
	return x
}

// coordinate is where a value of an earlier trial lies; false if the space has it no more.
func (d *dimension) coordinate(value any) (float64, bool) {
	if d.choices != nil {
		i := slices.IndexFunc(d.choices, func(c any) bool { return same(c, value) })
		return float64(i), i >= 0
	}
	x, ok := float(value)
	return x, ok && x >= d.low && x <= d.high && (!d.whole || x == math.Trunc(x))
}

// same compares values of which a log may have turned whole numbers into floats or back.
func same(a, b any) bool {
	x, isX := float(a)
	y, isY := float(b)
	if isX && isY {
		return x == y
	}
	return a == b
}

func float(value any) (float64, bool) {
	switch v := value.(type) {
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
