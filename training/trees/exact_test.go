// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/training/learn"
)

// exact grows a tree of squared error the slow way: it tries every threshold between two
// values of every feature, with missing values on either side, and adds up all rows anew.
type exact struct {
	table   *learn.Table
	lambda  float64
	minRows int
}

func (e *exact) gain(rows []int32, goes func(row int32) bool) float64 {
	score := func(which func(int32) bool) (s float64, n int) {
		g := 0.0
		for _, row := range rows {
			if which(row) {
				g, n = g-float64(e.table.Labels[row]), n+1
			}
		}
		return g * g / (float64(n) + e.lambda), n
	}
	left, nl := score(goes)
	right, nr := score(func(row int32) bool { return !goes(row) })
	whole, _ := score(func(int32) bool { return true })
	if nl < max(1, e.minRows) || nr < max(1, e.minRows) {
		return 0
	}
	return left + right - whole
}

// best returns the greatest gain and the rows it sends left.
func (e *exact) best(rows []int32) (gain float64, left, right []int32) {
	for _, values := range e.table.Values {
		for _, threshold := range rows {
			for _, missingLeft := range []bool{false, true} {
				goes := func(row int32) bool {
					x := values[row]
					return x <= values[threshold] || x != x && missingLeft
				}
				if g := e.gain(rows, goes); g > gain+1e-9 {
					gain, left, right = g, nil, nil
					for _, row := range rows {
						if goes(row) {
							left = append(left, row)
						} else {
							right = append(right, row)
						}
					}
				}
			}
		}
	}
	return gain, left, right
}

// grow writes the value of each row's leaf.
func (e *exact) grow(rows []int32, depth int, to []float64) {
	if depth > 0 {
		if gain, left, right := e.best(rows); gain > epsilon {
			e.grow(left, depth-1, to)
			e.grow(right, depth-1, to)
			return
		}
	}
	sum := 0.0
	for _, row := range rows {
		sum += float64(e.table.Labels[row])
	}
	for _, row := range rows {
		to[row] = sum / (float64(len(rows)) + e.lambda)
	}
}

func TestAgainstExact(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	for trial := range 40 {
		rows := 20 + r.IntN(60)
		labels, columns := make([]float32, rows), make([][]float32, 3)
		for f := range columns {
			columns[f] = make([]float32, rows)
			for i := range columns[f] {
				columns[f][i] = float32(r.IntN(25))
				if r.IntN(6) == 0 {
					columns[f][i] = float32(math.NaN())
				}
			}
		}
		mean := 0.0
		for i := range labels {
			labels[i] = float32(r.NormFloat64())
			if columns[0][i] > 12 {
				labels[i] += 2
			}
			mean += float64(labels[i]) / float64(rows)
		}
		for i := range labels {
			// The first score is the mean: the slow way has none.
			labels[i] -= float32(mean)
		}
		minRows := 1 + 4*(trial%2)
		table := numbers(learn.Regression, labels, columns...)
		slow := &exact{table, 0.5, minRows}
		want, all := make([]float64, rows), make([]int32, rows)
		for i := range all {
			all[i] = int32(i)
		}
		slow.grow(all, 3, want)
		m := fitted(t, learn.Values{"trees": 1, "learning_rate": 1.0, "max_depth": 3, "lambda": 0.5, "min_child_rows": minRows}, table, nil, learn.FitOptions{})
		for i, got := range predict(m, table) {
			if math.Abs(float64(got)-want[i]) > 1e-4 {
				t.Fatalf("trial %d, row %d: %v, the slow way %v", trial, i, got, want[i])
			}
		}
	}
}

// byAllSubsets is the best gain of parting categories in two.
func byAllSubsets(sums, counts []float64, lambda float64) float64 {
	best, g, n := 0.0, 0.0, 0.0
	for k := range sums {
		g, n = g+sums[k], n+counts[k]
	}
	for subset := 1; subset < 1<<len(sums)-1; subset++ {
		gl, nl := 0.0, 0.0
		for k := range sums {
			if subset>>k&1 == 1 {
				gl, nl = gl+sums[k], nl+counts[k]
			}
		}
		best = max(best, gl*gl/(nl+lambda)+(g-gl)*(g-gl)/(n-nl+lambda)-g*g/(n+lambda))
	}
	return best
}

func TestCategoriesAgainstAllSubsets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for trial := range 40 {
		const rows, kinds = 300, 8
		code, y := make([]float32, rows), make([]float32, rows)
		offsets := make([]float64, kinds)
		for k := range offsets {
			offsets[k] = r.NormFloat64()
		}
		for i := range code {
			k := r.IntN(kinds)
			code[i], y[i] = float32(k), float32(offsets[k]+r.NormFloat64())
		}
		mean := weightedMean(numbers(learn.Regression, y, code))
		sums, counts := make([]float64, kinds), make([]float64, kinds)
		for i, k := range code {
			sums[int(k)] += float64(y[i] - float32(mean))
			counts[int(k)]++
		}
		table := numbers(learn.Regression, y, code)
		table.Features[0].Categorical, table.Features[0].Categories = true, make([]string, kinds)
		m := fitted(t, learn.Values{"trees": 1, "max_depth": 1, "lambda": 0.0, "category_smoothing": 0.0}, table, nil, learn.FitOptions{})
		want := byAllSubsets(sums, counts, 0)
		if got := float64(m.trees[0][0].gain); math.Abs(got-want) > 1e-3*want {
			t.Errorf("trial %d: gain %v, of all subsets %v", trial, got, want)
		}
	}
}

// Sums of packed derivatives are the sums of the parts, also where they are extreme.
func TestPackedSums(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	for _, spread := range []float64{0, 3, 20} {
		pairs := make([]pair, 5000)
		absG, sumG, sumH := 0.0, 0.0, 0.0
		for i := range pairs {
			size := math.Exp(spread * r.NormFloat64() / 3)
			pairs[i] = pair{float32(r.NormFloat64() * size), float32(r.Float64() * size * 1e-6)}
			absG, sumG, sumH = absG+math.Abs(float64(pairs[i].g)), sumG+float64(pairs[i].g), sumH+float64(pairs[i].h)
		}
		s, packed, total := scaleOf(absG, sumH, len(pairs)), make([]uint64, len(pairs)), uint64(0)
		s.pack(pairs, packed)
		for _, v := range packed {
			total += v
		}
		for _, v := range slices.Backward(packed) {
			total -= v
		}
		if total != 0 {
			t.Fatal("sums do not subtract")
		}
		for _, v := range packed {
			total += v
		}
		if g, h := float64(gOf(total))/s.g, float64(hOf(total))/s.h; math.Abs(g-sumG) > 1e-5*absG || math.Abs(h-sumH) > 1e-5*sumH {
			t.Errorf("spread %v: sums %v and %v, packed %v and %v", spread, sumG, sumH, g, h)
		}
	}
}
