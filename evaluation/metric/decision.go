// SPDX-License-Identifier: Apache-2.0

package metric

import "math"

// decisions are metrics of which class each row is taken for.
type decisions struct {
	byRow
	classes     int
	labels      []int32
	predictions []int32
	of          func(t *tally) float64
}

// tally counts masses by class.
type tally struct {
	hits      []float64 // taken for the class, rightly
	actual    []float64
	predicted []float64
	total     float64
}

func (k decisions) value(mass []float64) float64 {
	numbers := make([]float64, 3*k.classes)
	t := &tally{hits: numbers[:k.classes], actual: numbers[k.classes : 2*k.classes], predicted: numbers[2*k.classes:]}
	for i, m := range mass {
		y, p := k.labels[i], k.predictions[i]
		t.actual[y] += m
		t.predicted[p] += m
		if y == p {
			t.hits[y] += m
		}
		t.total += m
	}
	return k.of(t)
}

// twoDecisions are decisions between two classes.
type twoDecisions struct {
	byRow
	cells []uint8 // 2 * label + prediction
	of    func(t *tally) float64
}

func (k twoDecisions) value(mass []float64) float64 {
	var sums [4]float64
	for i, c := range k.cells[:len(mass)] {
		sums[c&3] += mass[i]
	}
	return k.of(fourCells(sums))
}

// valueCounts adds up in four lanes of a word, without branches or memory in between; a
// lane of 16 bits holds the counts of 257 rows.
func (k twoDecisions) valueCounts(counts []uint8) float64 {
	const lane, rows = 16, 257
	var sums [4]float64
	cells := k.cells[:len(counts)]
	for len(counts) > 0 {
		n := min(rows, len(counts))
		var word uint64
		for i, c := range counts[:n] {
			word += uint64(c) << (cells[i] * lane & 63)
		}
		for c := range sums {
			sums[c] += float64(word >> (c * lane) & (1<<lane - 1))
		}
		counts, cells = counts[n:], cells[n:]
	}
	return k.of(fourCells(sums))
}

func fourCells(c [4]float64) *tally {
	return &tally{
		hits:      []float64{c[0], c[3]},
		actual:    []float64{c[0] + c[1], c[2] + c[3]},
		predicted: []float64{c[0] + c[2], c[1] + c[3]},
		total:     c[0] + c[1] + c[2] + c[3],
	}
}

// decide takes each row of a binary task for class 1 from a threshold on, of a multi-class
// task for the class of the highest score, the first of several.
func decide(p *prepared, threshold float64, of func(t *tally) float64) kernel {
	k := decisions{classes: max(p.Outputs, 2), of: of, labels: make([]int32, p.Rows()), predictions: make([]int32, p.Rows())}
	for i, y := range p.Labels {
		k.labels[i] = int32(y)
		if p.Task == Multiclass {
			k.predictions[i] = int32(highest(p.Scores[i*p.Outputs : (i+1)*p.Outputs]))
		} else if p.Scores[i] >= threshold {
			k.predictions[i] = 1
		}
	}
	if k.classes > 2 {
		return k
	}
	two := twoDecisions{cells: make([]uint8, p.Rows()), of: of}
	for i, y := range k.labels {
		two.cells[i] = uint8(2*y + k.predictions[i])
	}
	return two
}

func accuracy(t *tally) float64 {
	hits := 0.0
	for _, h := range t.hits {
		hits += h
	}
	return hits / t.total
}

// balancedAccuracy is the mean recall of the classes that there are.
func balancedAccuracy(t *tally) float64 {
	var sum, classes float64
	for c, a := range t.actual {
		if a > 0 {
			sum += t.hits[c] / a
			classes++
		}
	}
	return sum / classes
}

// precisionOf is 0 where nothing was taken for the class.
func precisionOf(t *tally, class int) float64 {
	if t.predicted[class] == 0 {
		return 0 / t.total
	}
	return t.hits[class] / t.predicted[class]
}

func recallOf(t *tally, class int) float64 { return t.hits[class] / t.actual[class] }

func fBetaOf(t *tally, class int, beta float64) float64 {
	b := beta * beta
	return (1 + b) * t.hits[class] / (b*t.actual[class] + t.predicted[class])
}

func specificity(t *tally) float64 { return t.hits[0] / t.actual[0] }

// matthews is the correlation of truth and decision (Gorodkin 2004 for several classes), 0
// where either is the same for all rows.
func matthews(t *tally) float64 {
	var hits, both, actual, predicted float64
	classes, decided := 0, 0
	for c := range t.hits {
		if t.actual[c] > 0 {
			classes++
		}
		if t.predicted[c] > 0 {
			decided++
		}
		hits += t.hits[c]
		both += t.actual[c] * t.predicted[c]
		actual += t.actual[c] * t.actual[c]
		predicted += t.predicted[c] * t.predicted[c]
	}
	square := t.total * t.total
	if classes < 2 || decided < 2 {
		return 0 / t.total
	}
	return (hits*t.total - both) / math.Sqrt(square-actual) / math.Sqrt(square-predicted)
}

// kappa is agreement beyond chance (Cohen 1960); NaN where chance would agree always.
func kappa(t *tally) float64 {
	var hits, chance float64
	for c := range t.hits {
		hits += t.hits[c]
		chance += t.actual[c] / t.total * (t.predicted[c] / t.total)
	}
	if chance >= 1 {
		return math.NaN()
	}
	return 1 - (1-hits/t.total)/(1-chance)
}

// average is how per-class metrics become one.
type average uint8

const (
	macro average = iota
	micro
	weighted
)

// averaged is a mean over the classes that are in the truth or in the decisions, where a
// class for which the metric is not defined counts as 0, as in scikit-learn.
func averaged(how average, of func(t *tally, class int) float64) func(t *tally) float64 {
	return func(t *tally) float64 {
		if how == micro { // each wrong row is a miss of one class and a false alarm of another
			return accuracy(t)
		}
		var sum, total float64
		for c := range t.hits {
			if t.actual[c]+t.predicted[c] == 0 {
				continue
			}
			w := 1.0
			if how == weighted {
				w = t.actual[c]
			}
			total += w
			if v := of(t, c); !math.IsNaN(v) {
				sum += w * v
			}
		}
		return sum / total
	}
}

// topClasses is the share of rows whose class is among the k highest scores. Of equal
// scores those of later classes are taken for higher, as in scikit-learn.
func topClasses(p *prepared, k int) kernel {
	values := make([]float64, p.Rows())
	for i, y := range p.Labels {
		scores, above := p.Scores[i*p.Outputs:(i+1)*p.Outputs], 0
		for c, s := range scores {
			if s > scores[int(y)] || s == scores[int(y)] && c > int(y) {
				above++
			}
		}
		if above < k {
			values[i] = 1
		}
	}
	return mean{values: values}
}
