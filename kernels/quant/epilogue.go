// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"math"
)

// Activation is what is applied to each output after scale and bias.
type Activation uint8

// The activations.
const (
	None Activation = iota
	// Relu is max(y, 0).
	Relu
	// Clip is y between Epilogue.Alpha and Epilogue.Beta.
	Clip
)

// Epilogue is what happens to the integer sums of a product before they are stored:
//
//	y = activation(float32(sum + Bias32[j]) * (AScale * WScale[j]) + Bias[j])
//
// Each operation rounds to a float by itself, so that the result is that of the ONNX
// operators one after the other.
type Epilogue struct {
	// AScale is the scale of the activations.
	AScale float32
	// WScale is the scale of the weights: one, or one for each column.
	WScale []float32
	// Bias32 is added to the integer sums: nil, or one for each column.
	Bias32 []int32
	// Bias is added to the scaled sums: nil, or one for each column.
	Bias []float32
	// Activation comes last; Alpha and Beta are the bounds of Clip.
	Activation  Activation
	Alpha, Beta float32
}

// bounds are the lowest and highest output of the activation.
func (e *Epilogue) bounds() (lo, hi float32) {
	switch e.Activation {
	case Relu:
		return 0, float32(math.Inf(1))
	case Clip:
		return e.Alpha, e.Beta
	default:
		return float32(math.Inf(-1)), float32(math.Inf(1))
	}
}

// check panics unless the epilogue fits n columns.
func (e *Epilogue) check(n int) {
	switch {
	case len(e.WScale) != 1 && len(e.WScale) != n:
		panic(fmt.Sprintf("quant: %d scales for %d columns", len(e.WScale), n))
	case e.Bias != nil && len(e.Bias) != n:
		panic(fmt.Sprintf("quant: bias of %d for %d columns", len(e.Bias), n))
	case e.Bias32 != nil && len(e.Bias32) != n:
		panic(fmt.Sprintf("quant: integer bias of %d for %d columns", len(e.Bias32), n))
	case e.Activation > Clip:
		panic(fmt.Sprintf("quant: activation %d is not known", e.Activation))
	}
}
