// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// What floats are held to, which is stricter than what the cases ask for.
const (
	rtol = 1e-5
	atol = 1e-6
)

// rounded are the cases whose outputs are given in a few digits, so that only their own
// bounds can be met.
var rounded = []string{"node/test_averagepool_2d_ceil_last_window_starts_on_pad"}

// bounds are what floats of a case are held to.
func (e *example) bounds() (relative, absolute float64) {
	if slices.Contains(rounded, e.name) {
		return e.rtol, e.atol
	}
	return min(e.rtol, rtol), max(e.atol, atol)
}

// differ says how a tensor differs from what is wanted, "" where it does not.
func differ(got, want tensor.Tensor, rtol, atol float64) string {
	if got.Datatype != want.Datatype || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Sprintf("is %s%v, want %s%v", got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	at := floatAt(got.Datatype)
	if at == nil {
		if !bytes.Equal(got.Data, want.Data) {
			return fmt.Sprintf("holds % x, want % x", got.Data[:min(64, len(got.Data))], want.Data[:min(64, len(want.Data))])
		}
		return ""
	}
	if len(got.Data) != len(want.Data) {
		return fmt.Sprintf("has %d bytes, want %d", len(got.Data), len(want.Data))
	}
	for i := range len(got.Data) / got.Datatype.Size() {
		x, y := at(got.Data, i), at(want.Data, i)
		same := x == y || (math.IsNaN(x) && math.IsNaN(y))
		if !same && !(math.Abs(x-y) <= atol+rtol*math.Abs(y)) {
			return fmt.Sprintf("element %d is %.9g, want %.9g", i, x, y)
		}
	}
	return ""
}

// floatAt reads elements of a datatype, nil where they are compared exactly.
func floatAt(d tensor.Datatype) func(data []byte, i int) float64 {
	switch d {
	case tensor.FP32:
		return func(data []byte, i int) float64 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		}
	case tensor.FP64:
		return func(data []byte, i int) float64 {
			return math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
		}
	}
	return nil
}
