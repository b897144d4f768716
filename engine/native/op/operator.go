// SPDX-License-Identifier: Apache-2.0

package op

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
	"github.com/millrace-ml/millrace/kernels/quant"
)

// Errors that plans branch on.
var (
	// ErrNotCovered says that an operator exists but not for these types or
	// attributes: another backend may run the model.
	ErrNotCovered = errors.New("not covered by the native backend")
	// ErrInvalid says that the graph is at fault.
	ErrInvalid = errors.New("invalid graph")
)

// Run computes a bound operator's outputs. Errors are about the contents of the
// inputs, such as an index out of range.
type Run func() error

// Operator is a node of a model, ready to be bound. Left-out optional inputs and
// outputs are nil in all lists.
type Operator interface {
	// Infer sets Type and Shape of the outputs. Const inputs have contents. Errors
	// wrap ErrNotCovered or ErrInvalid.
	Infer(in, out []*Value) error
	// Bind makes the function of a run. All memory is fixed and does not overlap,
	// but for InPlace. A nil Run says that there is nothing to do.
	Bind(in, out []*Value, s *Scratch) (Run, error)
}

// Viewer is an operator whose first output is the memory of its first input under
// another shape.
type Viewer interface{ View() bool }

// InPlacer is an operator whose first output may take the memory of the inputs listed,
// where type and size are the same.
type InPlacer interface{ InPlace() []int }

// Rowwiser is an operator that may treat the first dimension as rows: row i of every
// output then depends on row i of the inputs that have rows, and on all of the others.
// carries says which inputs have the batch's rows as their first dimension.
type Rowwiser interface {
	Rowwise(in []*Value, carries []bool) bool
}

// Coster estimates the nanoseconds that a run takes on one core.
type Coster interface {
	Cost(in, out []*Value) float64
}

// Describer names the kernel that a bound operator uses, for `models explain`.
type Describer interface {
	Describe(in, out []*Value) string
}

// Releaser is an operator that keeps what it needs of some constant inputs, by index, in
// a form of its own. Their contents are given up when nobody else reads them; Infer and
// Bind then see type and shape only.
type Releaser interface{ Releases() []int }

// Sealer is an operator that can give up what it needs only to be bound for the first
// time. Seal is called once, when the model has been bound and all types are known.
type Sealer interface{ Seal() }

// ShapeOnly is an operator whose outputs depend on the shapes of its inputs alone, so
// that they are known before the run.
type ShapeOnly interface{ ShapeOnly() }

// Definition says how nodes of one operator are built. Since and Until are the first
// and the last version of the domain's operator set that it is for; Until 0 is no end.
type Definition struct {
	Domain, Name string
	Since, Until int64
	// Build reads and checks the attributes. Inputs of the node that are constant are
	// there with contents, all others only as names. Errors wrap ErrNotCovered or
	// ErrInvalid.
	Build func(n *Node) (Operator, error)
}

// Scratch is what the operators of one instance keep between runs.
type Scratch struct {
	Gemm  gemm.Scratch
	Quant quant.Scratch
	kept  map[any]any
}

// Keep gives what make returned for key in this instance, which it calls the first
// time. Operators use themselves as key.
func Keep[T any](s *Scratch, key any, create func() T) T {
	if kept, ok := s.kept[key].(T); ok {
		return kept
	}
	if s.kept == nil {
		s.kept = make(map[any]any)
	}
	created := create()
	s.kept[key] = created
	return created
}

// Set gives an output its type and shape, which it checks and copies.
func (v *Value) Set(datatype tensor.Datatype, shape ...int64) error {
	if v == nil {
		return nil
	}
	for axis, extent := range shape {
		if extent < 0 {
			return fmt.Errorf("%w: output of shape %v: extent %d at axis %d", ErrInvalid, tensor.Shape(shape), extent, axis)
		}
	}
	if !bounded(shape) {
		return fmt.Errorf("%w: output of shape %v is too large", ErrInvalid, tensor.Shape(shape))
	}
	v.Type = datatype
	v.Shape = append(tensor.Shape{}, shape...)
	return nil
}

// elementsMax bounds one value, so that offsets stay far from overflow.
const elementsMax = 1 << 34

// bounded reports whether a value may have a shape. Dimensions of 0 count as 1, since
// operators count along the others.
func bounded(shape []int64) bool {
	n := int64(1)
	for _, d := range shape {
		if d > elementsMax/n {
			return false
		}
		n *= max(d, 1)
	}
	return true
}

// NotCovered is an error that wraps ErrNotCovered.
func NotCovered(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNotCovered, fmt.Errorf(format, args...))
}

// Invalid is an error that wraps ErrInvalid.
func Invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// Want reports an input whose type is none of those listed.
func Want(v *Value, what string, types ...tensor.Datatype) error {
	if v == nil {
		return Invalid("%s is missing", what)
	}
	for _, t := range types {
		if v.Type == t {
			return nil
		}
	}
	return NotCovered("%s of type %s", what, v.Type)
}

// Axis makes an axis of a value of the given rank, counted from the end where it is
// negative, one from 0.
func Axis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, Invalid("axis %d of a value with %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// Broadcast is the shape of an elementwise operation on values of shapes a and b, by
// the rules that ONNX shares with NumPy.
func Broadcast(a, b tensor.Shape) (tensor.Shape, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	shape := append(tensor.Shape{}, a...)
	skip := len(a) - len(b)
	for i, d := range b {
		switch have := shape[skip+i]; {
		case have == d, d == 1:
		case have == 1:
			shape[skip+i] = d
		default:
			return nil, Invalid("shapes %v and %v cannot be broadcast", a, b)
		}
	}
	return shape, nil
}
