// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// exerciseBytesMax keeps what a test of bad models runs small: that a run is refused or
// fits its bound is seen from its layout.
const exerciseBytesMax = 1 << 24

// exercise opens a model as Load does and runs it on made-up inputs of a few shapes.
func exercise(model []byte, seed uint64) error {
	m, err := onnx.Parse(model, onnx.ReadOptions{})
	if err == nil {
		err = m.Check()
	}
	if err == nil {
		m, _, err = rewrite.Apply(m, rewrite.Options{DropZipMap: true})
	}
	if err != nil {
		return err
	}
	p, err := programOf(m, filepath.Join(os.TempDir(), "model.onnx"), &modelconfig.Config{})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 3))
	for _, guess := range []int64{1, 3, 0} {
		if err := p.exercise(r, p.guessShapes(guess), guess); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) exercise(r *rand.Rand, shapes []tensor.Shape, rows int64) error {
	for i, in := range p.signature.Inputs {
		if len(in.Shape) > 0 && in.Shape[0] < 0 {
			shapes[i][0] = rows
		}
	}
	scratch := &op.Scratch{}
	b, err := p.infer(shapes, scratch)
	if err != nil {
		return err
	}
	if err := b.plan(nil); err != nil || b.layout.bytes+b.textBytes() > exerciseBytesMax {
		return err
	}
	if err := b.attach(op.AlignedBytes(b.layout.bytes), scratch); err != nil {
		return err
	}
	fillRandom(r, b.Inputs)
	return b.run()
}

// loadAndRun loads a model from a folder and runs it once on made-up inputs of one row.
func loadAndRun(t testing.TB, model []byte, fill func(inputs []tensor.Tensor)) (err error) {
	t.Helper()
	defer func() {
		if problem := recover(); problem != nil {
			t.Errorf("panic: %v", problem)
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	m, err := Backend{}.Load(context.Background(), writeModel(t, model), &modelconfig.Config{})
	if err != nil {
		return err
	}
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return err
	}
	defer in.Close()
	var shapes []tensor.Shape
	for _, spec := range m.Signature().Inputs {
		shape := append(tensor.Shape{}, spec.Shape...)
		for axis, d := range shape {
			if d < 0 {
				shape[axis] = 1
			}
		}
		shapes = append(shapes, shape)
	}
	b, err := in.Bind(shapes)
	if err != nil {
		return err
	}
	fill(b.Inputs)
	return in.Run(context.Background(), b)
}
