// SPDX-License-Identifier: Apache-2.0

package calibration

import "math"

const (
	stepsMax  = 200
	halvesMax = 40
)

func weightOf(weights []float32, i int) float64 {
	if weights == nil {
		return 1
	}
	return float64(weights[i])
}

// fitPlatt fits a line to scores by Newton's method with halved steps. Scores are centred
// and scaled first, so that the equations are well conditioned whatever their range.
func fitPlatt(scores, labels, weights []float32) line {
	centre, spread := moments(scores, weights)
	var positive, negative float64
	for i, y := range labels {
		if y == 1 {
			positive += weightOf(weights, i)
		} else {
			negative += weightOf(weights, i)
		}
	}
	p := &platt{scores: scores, labels: labels, weights: weights, centre: centre, spread: spread,
		high: (positive + 1) / (positive + 2), low: 1 / (negative + 2)}
	a, b := 0.0, math.Log((positive+1)/(negative+1))
	loss, gradient, curvature := p.at(a, b)
	for range stepsMax {
		if math.Hypot(gradient[0], gradient[1]) < 1e-10*(positive+negative) {
			break
		}
		determinant := curvature[0]*curvature[2] - curvature[1]*curvature[1]
		da := -(curvature[2]*gradient[0] - curvature[1]*gradient[1]) / determinant
		db := -(curvature[0]*gradient[1] - curvature[1]*gradient[0]) / determinant
		step, moved := 1.0, false
		for range halvesMax {
			l, g, c := p.at(a+step*da, b+step*db)
			if l < loss {
				a, b, loss, gradient, curvature, moved = a+step*da, b+step*db, l, g, c, true
				break
			}
			step /= 2
		}
		if !moved { // no better point within rounding
			break
		}
	}
	return line{slope: a / spread, offset: b - a*centre/spread}
}

func moments(scores, weights []float32) (mean, deviation float64) {
	var total, sum, squares float64
	for i, s := range scores {
		w := weightOf(weights, i)
		total, sum = total+w, sum+w*float64(s)
	}
	mean = sum / total
	for i, s := range scores {
		d := float64(s) - mean
		squares += weightOf(weights, i) * d * d
	}
	if deviation = math.Sqrt(squares / total); deviation == 0 {
		deviation = 1
	}
	return mean, deviation
}

type platt struct {
	scores, labels, weights []float32
	centre, spread          float64
	high, low               float64 // what labels 1 and 0 are drawn in to
}

// at is the loss, its gradient, and its curvature (aa, ab, bb), which has a touch of a
// ridge so that it can be inverted where all scores are equal.
func (p *platt) at(a, b float64) (loss float64, gradient [2]float64, curvature [3]float64) {
	curvature[0], curvature[2] = 1e-12, 1e-12
	for i := range p.scores {
		x, w, target := (float64(p.scores[i])-p.centre)/p.spread, weightOf(p.weights, i), p.low
		if p.labels[i] == 1 {
			target = p.high
		}
		z := a*x + b
		q := logistic(z)
		loss += w * (max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) - target*z)
		d, h := w*(q-target), w*q*(1-q)
		gradient[0], gradient[1] = gradient[0]+d*x, gradient[1]+d
		curvature[0], curvature[1], curvature[2] = curvature[0]+h*x*x, curvature[1]+h*x, curvature[2]+h
	}
	return loss, gradient, curvature
}

// The inverse temperature lies between these.
const (
	inverseMin = 1e-3
	inverseMax = 1e3
)

// fitTemperature finds the inverse temperature by bisection of the slope of the loss, which
// is convex in it.
func fitTemperature(outputs int, raw, labels, weights []float32) float64 {
	low, high := math.Log(inverseMin), math.Log(inverseMax)
	row := make([]float64, outputs)
	for range 60 {
		middle := (low + high) / 2
		if temperatureSlope(outputs, raw, labels, weights, math.Exp(middle), row) > 0 {
			high = middle
		} else {
			low = middle
		}
	}
	return math.Exp((low + high) / 2)
}

// temperatureSlope is the derivative of the loss by the inverse temperature.
func temperatureSlope(outputs int, raw, labels, weights []float32, inverse float64, row []float64) float64 {
	slope := 0.0
	for i, y := range labels {
		if outputs == 1 {
			s := float64(raw[i])
			slope += weightOf(weights, i) * s * (logistic(s*inverse) - float64(y))
			continue
		}
		for k := range row {
			row[k] = float64(raw[i*outputs+k]) * inverse
		}
		total, expected := logSumExp(row), 0.0
		for k := range row {
			expected += math.Exp(row[k]-total) * float64(raw[i*outputs+k])
		}
		slope += weightOf(weights, i) * (expected - float64(raw[i*outputs+int(y)]))
	}
	return slope
}
