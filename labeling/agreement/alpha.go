// SPDX-License-Identifier: Apache-2.0

package agreement

import (
	"fmt"
	"math"
	"slices"
)

// Level is what values mean, and so how far two of them are apart.
type Level string

// The levels of measurement.
const (
	// Nominal values are the same or not.
	Nominal Level = "nominal"
	// Ordinal values have an order; how far they are apart is how many values are between.
	Ordinal Level = "ordinal"
	// Interval values have differences.
	Interval Level = "interval"
	// Ratio values have a zero, and differ in proportion; they are 0 or more.
	Ratio Level = "ratio"
)

// Alpha is Krippendorff's alpha of items by annotators; NaN is a missing value. Items with
// fewer than two values say nothing and are left out.
func Alpha(values [][]float64, level Level, boot Bootstrap) (Estimate, error) {
	c, err := newCoincidences(values, level)
	if err != nil {
		return Estimate{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(c.items) == 0 {
		return Estimate{Value: math.NaN(), Low: math.NaN(), High: math.NaN()}, nil
	}
	return boot.run(len(c.items), c.alpha)
}

// coincidences are the values of items, as numbers of the different values.
type coincidences struct {
	level  Level
	values []float64 // sorted
	items  [][]int   // of two values or more
	counts []float64 // of each value, in the items drawn
	below  []float64 // for Ordinal: counts of lesser values, and half of its own
}

func newCoincidences(rows [][]float64, level Level) (*coincidences, error) {
	if !slices.Contains([]Level{Nominal, Ordinal, Interval, Ratio}, level) {
		return nil, fmt.Errorf("level: %q is none of %s, %s, %s, %s", level, Nominal, Ordinal, Interval, Ratio)
	}
	if len(rows) > ItemsMax {
		return nil, fmt.Errorf("%d items, at most %d are taken", len(rows), ItemsMax)
	}
	numbers := map[float64]int{}
	c := &coincidences{level: level}
	for i, row := range rows {
		for j, x := range row {
			switch {
			case math.IsNaN(x):
				continue
			case math.IsInf(x, 0) || level == Ratio && x < 0:
				return nil, fmt.Errorf("values[%d][%d]: %v is not of level %s", i, j, x, level)
			}
			numbers[x] = 0
			if len(numbers) > LabelsMax {
				return nil, fmt.Errorf("values: more than %d different ones: round them", LabelsMax)
			}
		}
	}
	for x := range numbers {
		c.values = append(c.values, x)
	}
	slices.Sort(c.values)
	for n, x := range c.values {
		numbers[x] = n
	}
	for _, row := range rows {
		var item []int
		for _, x := range row {
			if !math.IsNaN(x) {
				item = append(item, numbers[x])
			}
		}
		if len(item) >= 2 {
			c.items = append(c.items, item)
		}
	}
	c.counts, c.below = make([]float64, len(c.values)), make([]float64, len(c.values))
	return c, nil
}

// alpha is 1 less observed by expected disagreement, of the items drawn.
func (c *coincidences) alpha(items []int) float64 {
	clear(c.counts)
	n := 0.0
	for _, i := range items {
		for _, v := range c.items[i] {
			c.counts[v]++
			n++
		}
	}
	sum := 0.0
	for v, count := range c.counts {
		c.below[v] = sum + count/2
		sum += count
	}
	observed := 0.0
	for _, i := range items {
		item, pairs := c.items[i], 0.0
		for a := range item {
			for b := range a {
				pairs += c.difference(item[a], item[b])
			}
		}
		observed += 2 * pairs / float64(len(item)-1)
	}
	expected := 0.0
	for a, x := range c.counts {
		if x == 0 {
			continue
		}
		for b := range a {
			if y := c.counts[b]; y > 0 {
				expected += 2 * x * y * c.difference(a, b)
			}
		}
	}
	if expected == 0 {
		return math.NaN()
	}
	return 1 - (n-1)*observed/expected
}

// difference is the squared distance of two values.
func (c *coincidences) difference(a, b int) float64 {
	if a == b {
		return 0
	}
	x, y := c.values[a], c.values[b]
	d := x - y
	switch c.level {
	case Nominal:
		return 1
	case Ordinal:
		d = c.below[a] - c.below[b]
	case Ratio:
		d /= x + y // not 0: they differ, and are not below 0
	}
	return d * d
}
