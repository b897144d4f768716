// SPDX-License-Identifier: Apache-2.0

package conv

// rowsGeneric is Rows in plain Go.
func rowsGeneric(dst []float32, ldd int, src []float32, cols int, t *Taps, weights, bias []float32, e *Epilogue) {
	rows := len(bias)
	for r, start := range bias {
		out := dst[r*ldd:][:cols]
		for i := range out {
			out[i] = start
		}
		for k, o := range t.offsets {
			w := weights[k*rows+r]
			for i, x := range src[o/4:][:cols] {
				out[i] += w * x
			}
		}
		e.limit(out)
	}
}

// limit is written so that NaN passes both comparisons.
func (e *Epilogue) limit(out []float32) {
	for i, x := range out {
		if x < e.Low {
			x = e.Low
		}
		if x > e.High {
			x = e.High
		}
		out[i] = x
	}
}

// maxGeneric, sumGeneric and filterGeneric are one row of Max, Sum and Filter in plain Go.
func maxGeneric(dst, src []float32, step int, t *Taps, start float32) {
	for i := range dst {
		largest := start
		for _, o := range t.offsets {
			if x := src[i*step+o/4]; !(largest > x) {
				largest = x
			}
		}
		dst[i] = largest
	}
}

func sumGeneric(dst, src []float32, step int, t *Taps) {
	for i := range dst {
		sum := float32(0)
		for _, o := range t.offsets {
			sum += src[i*step+o/4]
		}
		dst[i] = sum
	}
}

func filterGeneric(dst, src []float32, step int, t *Taps, w []float32, bias float32, e *Epilogue) {
	for i := range dst {
		sum := bias
		for k, o := range t.offsets {
			sum += w[k] * src[i*step+o/4]
		}
		dst[i] = sum
	}
	e.limit(dst)
}
