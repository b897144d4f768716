// SPDX-License-Identifier: Apache-2.0

package vec

import "math"

// lanes is the count of partial results of a reduction over a row.
const lanes = 64

// reduceRowsGeneric reduces every row; op is not ReduceMean.
func reduceRowsGeneric(op Reduction, dst, src []float32, rows, cols int) {
	for r := range rows {
		row := src[r*cols:][:cols]
		var partial [lanes]float32
		start := identity(op)
		for l := range partial {
			partial[l] = start
		}
		for ; len(row) > lanes; row = row[lanes:] {
			accumulate(op, partial[:], row[:lanes])
		}
		accumulate(op, partial[:], row)
		dst[r] = fold(op, &partial, cols)
	}
}

// fold combines the upper half of the partial results with the lower until one is
// left. Those that a row of n elements did not reach would change nothing.
func fold(op Reduction, partial *[lanes]float32, n int) float32 {
	for half := lanes / 2; half > 0; half /= 2 {
		if half >= n {
			continue
		}
		for l := range half {
			partial[l] = combine(op, partial[l], partial[l+half])
		}
	}
	return partial[0]
}

// identity is the result of no elements.
func identity(op Reduction) float32 {
	switch op {
	case ReduceMax:
		return float32(math.Inf(-1))
	case ReduceMin:
		return float32(math.Inf(1))
	}
	return 0
}

// accumulate takes one more row into partial results, each element into its own.
func accumulate(op Reduction, partial, row []float32) {
	partial = partial[:len(row)]
	switch op {
	case ReduceSumSquares:
		for l, v := range row {
			partial[l] += float32(v * v)
		}
	case ReduceSumAbs:
		for l, v := range row {
			partial[l] += magnitude(v)
		}
	case ReduceMax:
		for l, v := range row {
			partial[l] = larger(partial[l], v)
		}
	case ReduceMin:
		for l, v := range row {
			partial[l] = smaller(partial[l], v)
		}
	case ReduceMaxAbs:
		for l, v := range row {
			partial[l] = larger(partial[l], magnitude(v))
		}
	default:
		for l, v := range row {
			partial[l] += v
		}
	}
}

func magnitude(v float32) float32 {
	return math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
}

// combine makes one of two results.
func combine(op Reduction, p, q float32) float32 {
	switch op {
	case ReduceMax, ReduceMaxAbs:
		return larger(p, q)
	case ReduceMin:
		return smaller(p, q)
	}
	return p + q
}

func dotGeneric(a, b []float32) float32 {
	var partial [lanes]float32
	for i, v := range a {
		partial[i%lanes] += float32(v * b[i])
	}
	return fold(ReduceSum, &partial, len(a))
}

// reduceColsGeneric reduces each column of mid x cols elements.
func reduceColsGeneric(op Reduction, dst, src []float32, mid, cols int) {
	start := identity(op)
	for c := range dst {
		dst[c] = start
	}
	for m := range mid {
		accumulate(op, dst, src[m*cols:][:cols])
	}
}

// indexOfGeneric is the first index of v, or of NaN if v is; len(a) if there is none.
func indexOfGeneric(a []float32, v float32) int {
	for i, x := range a {
		if x == v || (x != x && v != v) {
			return i
		}
	}
	return len(a)
}
