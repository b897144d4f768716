// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// guesses are extents to try for dimensions that the model leaves open.
var guesses = []int64{1, 16, 2, 64}

// tryOut binds the program once, since only that shows whether the operators take the
// types they get. Dimensions that the model leaves open are guessed; the model is
// refused when no guess works.
func (p *program) tryOut() error {
	var first error
	for _, guess := range guesses {
		b, err := p.infer(p.guessShapes(guess), &op.Scratch{})
		if err == nil {
			err = b.plan(nil)
		}
		if err == nil && b.layout.bytes+b.textBytes() <= constBytesMax {
			err = b.attach(op.AlignedBytes(b.layout.bytes), &op.Scratch{})
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		if p.known() {
			break
		}
	}
	return fmt.Errorf("a run on inputs of shapes %v: %w", p.guessShapes(guesses[0]), first)
}

// guessShapes are the input shapes with one row and a guess in place of other extents
// that are open.
func (p *program) guessShapes(guess int64) []tensor.Shape {
	var shapes []tensor.Shape
	for _, in := range p.signature.Inputs {
		shape := slices.Clone(in.Shape)
		for axis, extent := range shape {
			if extent < 0 {
				shape[axis] = guess
			}
			if extent < 0 && axis == 0 {
				shape[axis] = 1
			}
		}
		if shape == nil {
			shape = tensor.Shape{}
		}
		shapes = append(shapes, shape)
	}
	return shapes
}

// known reports whether no dimension beyond the first is open.
func (p *program) known() bool {
	for _, in := range p.signature.Inputs {
		if len(in.Shape) > 1 && !in.Shape[1:].Known() {
			return false
		}
	}
	return true
}
