// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
)

// transform is what is done to the scores of a row last.
type transform uint8

const (
	transformNone transform = iota
	transformSoftmax
	transformLogistic
	transformSoftmaxZero
	transformProbit
)

// transformOf reads the attribute post_transform.
func transformOf(n *op.Node) (transform, error) {
	names := map[string]transform{
		"NONE": transformNone, "SOFTMAX": transformSoftmax, "LOGISTIC": transformLogistic,
		"SOFTMAX_ZERO": transformSoftmaxZero, "PROBIT": transformProbit,
	}
	t, ok := names[n.Text("post_transform", "NONE")]
	if !ok {
		return 0, op.Invalid("post_transform %q", n.Text("post_transform", ""))
	}
	return t, nil
}

// apply transforms the scores of one row in place. Functions are computed in float64
// and rounded, which gives the bits of a correctly rounded float32 library.
func (t transform) apply(scores []float32) {
	switch t {
	case transformLogistic:
		for i, x := range scores {
			scores[i] = logistic(x)
		}
	case transformSoftmax:
		softmax(scores)
	case transformSoftmaxZero:
		softmaxZero(scores)
	case transformProbit:
		for i, x := range scores {
			scores[i] = probit(x)
		}
	}
}

// finish labels each row by its scores, and then transforms them.
func (t transform) finish(scores []float32, classes int, label func(row, class int), class func(scores []float32) int) {
	for i := range len(scores) / classes {
		row := scores[i*classes : (i+1)*classes]
		label(i, class(row))
		t.apply(row)
	}
}

// logistic is 1/(1+exp(-x)), as one minus that of -x where x is negative.
func logistic(x float32) float32 {
	e := exp(float32(-math.Abs(float64(x))))
	v := 1 / (1 + e)
	if x < 0 {
		return 1 - v
	}
	return v
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }

func softmax(scores []float32) {
	largest, sum := float32(math.Inf(-1)), float32(0)
	for _, x := range scores {
		largest = max(largest, x)
	}
	for i, x := range scores {
		scores[i] = exp(x - largest)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// softmaxZero is softmax in which scores of 0 stay 0, or as good as.
func softmaxZero(scores []float32) {
	const nothing = 1e-7
	largest, sum := float32(math.Inf(-1)), float32(0)
	for _, x := range scores {
		largest = max(largest, x)
	}
	for i, x := range scores {
		if x > nothing || x < -nothing {
			scores[i] = exp(x - largest)
			sum += scores[i]
		} else {
			scores[i] = x * exp(-largest)
		}
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// probit is the inverse of the normal distribution.
func probit(p float32) float32 {
	return float32(math.Sqrt2 * math.Erfinv(2*float64(p)-1))
}
