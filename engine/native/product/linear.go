// SPDX-License-Identifier: Apache-2.0

package product

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// linear is a layer: the rows of its input times constant weights, plus bias and
// residual, through an activation.
type linear struct {
	weights    *weights
	bias       []float32
	activation activation
}

func buildLinear(n *op.Node) (op.Operator, error) {
	if err := n.Arity(2, 4, 1, 1); err != nil {
		return nil, err
	}
	a, err := activationOf(n)
	if err != nil {
		return nil, err
	}
	w, err := pack(n.In(1), n.Int(rewrite.AttrTransB, 0) != 0)
	if err != nil {
		return nil, err
	}
	o := &linear{weights: w, activation: a}
	if n.Has(2) {
		if o.bias, err = biasOf(n.In(2), w.n); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func biasOf(v *op.Value, n int) ([]float32, error) {
	if v == nil || v.Type != tensor.FP32 || v.Len() != n {
		return nil, op.Invalid("bias is not a constant of %d FP32", n)
	}
	return op.Floats(v), nil
}

func (o *linear) Infer(in, out []*op.Value) error {
	x := in[0]
	if err := op.Want(x, "input", tensor.FP32); err != nil {
		return err
	}
	if x.Rank() == 0 || x.Shape[x.Rank()-1] != int64(o.weights.k) {
		return op.Invalid("input of shape %v for weights of %d rows", x.Shape, o.weights.k)
	}
	shape := append(tensor.Shape{}, x.Shape...)
	shape[len(shape)-1] = int64(o.weights.n)
	if r := residual(in); r != nil && (r.Type != tensor.FP32 || r.Shape.String() != shape.String()) {
		return op.Invalid("residual %s %v for an output of shape %v", r.Type, r.Shape, shape)
	}
	return out[0].Set(tensor.FP32, shape...)
}

func residual(in []*op.Value) *op.Value {
	if len(in) > 3 {
		return in[3]
	}
	return nil
}

func (o *linear) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	e := o.activation.epilogue(o.bias)
	if r := residual(in); r != nil {
		if e == nil {
			e = &gemm.Epilogue{}
		}
		e.Add, e.LdAdd = op.Floats(r), o.weights.n
	}
	x, y := op.Floats(in[0]), op.Floats(out[0])
	return o.activation.withAfter(o.weights.bind(lead(in[0].Shape), x, y, e, s), y), nil
}

func (o *linear) Rowwise(in []*op.Value, carries []bool) bool {
	r := residual(in)
	return carries[0] && in[0].Rank() > 1 && (r == nil || carries[3])
}

// Releases implements op.Releaser: the weights are packed.
func (*linear) Releases() []int { return []int{1} }

// Cost implements op.Coster.
func (o *linear) Cost(in, _ []*op.Value) float64 { return o.weights.cost(lead(in[0].Shape)) }

// Describe implements op.Describer.
func (o *linear) Describe(in, _ []*op.Value) string {
	text := o.weights.describe()
	if o.bias != nil {
		text += " + bias"
	}
	if residual(in) != nil {
		text += " + residual"
	}
	if o.activation.name != "" {
		text += " + " + string(o.activation.name)
	}
	return text
}

// gemmNode is the standard's Gemm, alpha*A*B + beta*C, where the rewriting of the graph
// did not make a layer of it.
type gemmNode struct {
	alpha, beta    float32
	transA, transB bool
	weights        *weights // nil where B is not constant
}

func buildGemm(n *op.Node) (op.Operator, error) {
	o := &gemmNode{
		alpha: n.Float("alpha", 1), beta: n.Float("beta", 1),
		transA: n.Int("transA", 0) != 0, transB: n.Int("transB", 0) != 0,
	}
	if err := n.Arity(2, 3, 1, 1); err != nil {
		return nil, err
	}
	if b := n.In(1); b != nil && b.Type == tensor.FP32 && b.Rank() == 2 {
		var err error
		if o.weights, err = pack(b, o.transB); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *gemmNode) sizes(in []*op.Value) (m, k, n int, err error) {
	a, b := in[0], in[1]
	if a.Rank() != 2 || b.Rank() != 2 {
		return 0, 0, 0, op.Invalid("shapes %v and %v, want matrices", a.Shape, b.Shape)
	}
	m, k = int(a.Shape[0]), int(a.Shape[1])
	if o.transA {
		m, k = k, m
	}
	kb, n := int(b.Shape[0]), int(b.Shape[1])
	if o.transB {
		kb, n = n, kb
	}
	if k != kb {
		return 0, 0, 0, op.Invalid("shapes %v and %v cannot be multiplied", a.Shape, b.Shape)
	}
	return m, k, n, nil
}

func (o *gemmNode) Infer(in, out []*op.Value) error {
	m, _, n, err := o.sizes(in)
	if err != nil {
		return err
	}
	for _, v := range in {
		if v == nil {
			continue
		}
		if err := op.Want(v, "input", tensor.FP32, tensor.FP64); err != nil {
			return err
		}
		if v.Type != in[0].Type {
			return op.Invalid("inputs of types %s and %s", in[0].Type, v.Type)
		}
	}
	shape := tensor.Shape{int64(m), int64(n)}
	if len(in) > 2 && in[2] != nil {
		if b, err := op.Broadcast(in[2].Shape, shape); err != nil || b.String() != shape.String() {
			return op.Invalid("C of shape %v for an output of shape %v", in[2].Shape, shape)
		}
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *gemmNode) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	m, k, n, err := o.sizes(in)
	if err != nil {
		return nil, err
	}
	var c *op.Value
	if len(in) > 2 {
		c = in[2]
	}
	if in[0].Type == tensor.FP64 {
		return bindGemmLoop(o, in, out[0], c, m, k, n), nil
	}
	a, y := op.Floats(in[0]), op.Floats(out[0])
	var prepare func()
	if o.transA {
		rows := make([]float32, m*k)
		source := a
		prepare, a = func() { transpose(rows, source, k, m) }, rows
	}
	multiply := o.bindProduct(in[1], a, y, m, k, n, s)
	finish := addScaled(y, c, o.alpha, o.beta, m, n, o.weights != nil)
	return func() error {
		if prepare != nil {
			prepare()
		}
		multiply()
		finish()
		return nil
	}, nil
}

// bindProduct is y = a*b for packed weights, y = alpha*a*b otherwise.
func (o *gemmNode) bindProduct(b *op.Value, a, y []float32, m, k, n int, s *op.Scratch) func() {
	if o.weights != nil {
		return o.weights.bind(m, a, y, nil, s)
	}
	right, ldb := op.Floats(b), int(b.Shape[1])
	s.Gemm.ReserveMatMul(m, k)
	return func() {
		gemm.MatMul(m, n, k, o.alpha, a, k, right, ldb, o.transB, y, n, &s.Gemm)
	}
}

// transpose writes src, rows x cols, as cols x rows.
func transpose(dst, src []float32, rows, cols int) {
	for i := range rows {
		for j := range cols {
			dst[j*rows+i] = src[i*cols+j]
		}
	}
}

// addScaled finishes a Gemm: y is multiplied by alpha when scale is set, and beta*c,
// broadcast, is added.
func addScaled(y []float32, c *op.Value, alpha, beta float32, m, n int, scale bool) func() {
	if !scale {
		alpha = 1
	}
	var term []float32
	down, across := 0, 0
	if c != nil && beta != 0 {
		term = op.Floats(c)
		down, across = broadcastSteps(c.Shape)
	}
	return func() {
		if alpha != 1 {
			for i := range y {
				y[i] *= alpha
			}
		}
		for i := 0; i < m && term != nil; i++ {
			for j := range n {
				y[i*n+j] += beta * term[i*down+j*across]
			}
		}
	}
}

// broadcastSteps are how far apart neighbours of a matrix lie in a value that is
// broadcast to it.
func broadcastSteps(shape tensor.Shape) (down, across int) {
	if len(shape) > 0 && shape[len(shape)-1] != 1 {
		across = 1
	}
	if len(shape) > 1 && shape[0] != 1 {
		down = int(shape[1])
	}
	return down, across
}

func bindGemmLoop(o *gemmNode, in []*op.Value, out, c *op.Value, m, k, n int) op.Run {
	a, b, y := op.As[float64](in[0]), op.As[float64](in[1]), op.As[float64](out)
	aDown, aAcross, bDown, bAcross := k, 1, n, 1
	if o.transA {
		aDown, aAcross = 1, m
	}
	if o.transB {
		bDown, bAcross = 1, k
	}
	var term []float64
	down, across := 0, 0
	if c != nil && o.beta != 0 {
		term = op.As[float64](c)
		down, across = broadcastSteps(c.Shape)
	}
	return func() error {
		for i := range m {
			for j := range n {
				sum := 0.0
				for p := range k {
					sum += a[i*aDown+p*aAcross] * b[p*bDown+j*bAcross]
				}
				sum *= float64(o.alpha)
				if term != nil {
					sum += float64(o.beta) * term[i*down+j*across]
				}
				y[i*n+j] = sum
			}
		}
		return nil
	}
}

func (o *gemmNode) Rowwise(in []*op.Value, carries []bool) bool {
	if !carries[0] || carries[1] || o.transA {
		return false
	}
	c := len(in) > 2 && in[2] != nil
	return !c || (carries[2] && in[2].Rank() == 2) || (!carries[2] && (in[2].Rank() < 2 || in[2].Shape[0] == 1))
}

// Releases implements op.Releaser.
func (o *gemmNode) Releases() []int {
	if o.weights != nil {
		return []int{1}
	}
	return nil
}

// Cost implements op.Coster.
func (o *gemmNode) Cost(in, _ []*op.Value) float64 {
	m, k, n, _ := o.sizes(in)
	return callNanos + 2*float64(m)*float64(k)*float64(n)/flopsPerNano
}

// Describe implements op.Describer.
func (o *gemmNode) Describe(in, _ []*op.Value) string {
	switch {
	case in[0].Type == tensor.FP64:
		return "plain loop, FP64"
	case o.weights != nil:
		return o.weights.describe()
	}
	return "gemm f32, both sides unpacked"
}
