// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// binding says how the vector of a service becomes the inputs of one model version,
// and where the score is in its outputs.
type binding struct {
	model   string
	version int64
	tensors *Tensor // the first input, by which the loaded version is known again
	inputs  []boundInput
	output  int
	class   int
	width   int // of a row of the output: classes; below 0 where it varies
	score   tensor.Datatype

	// attributor is set by explainers, once it is wanted.
	attributor atomic.Pointer[attributor]
	wanted     atomic.Bool
}

// boundInput is an input and the features that fill its row, in order.
type boundInput struct {
	name     string
	datatype tensor.Datatype
	features []int
	texts    []int // places among the text features, for BYTES
}

// newBinding binds a version. A model with one input takes all features in order; one
// with several has an input for each feature, by name.
func newBinding(s *definition.Service, m *policy.Model, call Call) (*binding, error) {
	b := &binding{model: m.Name, version: call.Version()}
	var err error
	inputs := call.Inputs()
	if len(inputs) == 0 {
		return nil, fmt.Errorf("model %s version %d takes no input", m.Name, b.version)
	}
	b.tensors = &inputs[0]
	if len(inputs) == 1 && (inputs[0].Width == len(s.Features) || inputs[0].Width < 0) && len(s.Features) > 1 {
		if err = checkSignature(s, call); err == nil {
			err = b.bindVector(s, inputs[0])
		}
	} else {
		err = b.bindNamed(s, inputs)
	}
	if err == nil {
		err = b.bindScore(m, call.Outputs())
	}
	if err != nil {
		return nil, fmt.Errorf("model %s version %d does not fit service %s: %w", m.Name, b.version, s.Name, err)
	}
	return b, nil
}

// fits reports whether the call holds the version that was bound: a version that was
// loaded again has other tensors under the same number.
func (b *binding) fits(call Call) bool {
	inputs := call.Inputs()
	return b.version == call.Version() && len(inputs) > 0 && b.tensors == &inputs[0]
}

func (b *binding) bindVector(s *definition.Service, in Tensor) error {
	bound := boundInput{name: in.Name, datatype: in.Datatype}
	for i := range s.Features {
		text := s.Features[i].Type == column.String
		if text != (in.Datatype == tensor.Bytes) {
			return fmt.Errorf("feature %s of type %s cannot be part of input %s of type %s", s.Features[i].Name, s.Features[i].Type, in.Name, in.Datatype)
		}
		bound.features = append(bound.features, i)
		if text {
			bound.texts = append(bound.texts, len(bound.texts))
		}
	}
	b.inputs = []boundInput{bound}
	return checkDatatype(in)
}

func (b *binding) bindNamed(s *definition.Service, inputs []Tensor) error {
	var missing []string
	for _, in := range inputs {
		i := slices.IndexFunc(s.Features, func(f definition.Feature) bool { return f.Name == in.Name })
		if i < 0 {
			missing = append(missing, in.Name)
			continue
		}
		if in.Width > 1 {
			return fmt.Errorf("input %s takes %d values a row; a feature is one", in.Name, in.Width)
		}
		text := s.Features[i].Type == column.String
		if text != (in.Datatype == tensor.Bytes) {
			return fmt.Errorf("feature %s is of type %s and the input of that name of %s", in.Name, s.Features[i].Type, in.Datatype)
		}
		if err := checkDatatype(in); err != nil {
			return err
		}
		bound := boundInput{name: in.Name, datatype: in.Datatype, features: []int{i}}
		if text {
			bound.texts = []int{textsBefore(s, i)}
		}
		b.inputs = append(b.inputs, bound)
	}
	if len(missing) > 0 {
		return fmt.Errorf("no feature is called %s, which the model takes; with one input of %d values it would take the vector as a whole", strings.Join(missing, ", "), len(s.Features))
	}
	return nil
}

func textsBefore(s *definition.Service, feature int) int {
	n := 0
	for _, f := range s.Features[:feature] {
		if f.Type == column.String {
			n++
		}
	}
	return n
}

func checkDatatype(in Tensor) error {
	switch in.Datatype {
	case tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32, tensor.Bool, tensor.Bytes:
		return nil
	}
	return fmt.Errorf("input %s is of type %s; a feature becomes FP32, FP64, INT64, INT32, BOOL or BYTES", in.Name, in.Datatype)
}

func (b *binding) bindScore(m *policy.Model, outputs []Tensor) error {
	b.output = slices.IndexFunc(outputs, func(t Tensor) bool { return t.Name == m.Output })
	if m.Output == "" && len(outputs) == 1 {
		b.output = 0
	}
	if b.output < 0 {
		var names []string
		for _, t := range outputs {
			names = append(names, t.Name)
		}
		return fmt.Errorf("name one of its outputs (%s) as output", strings.Join(names, ", "))
	}
	out := outputs[b.output]
	b.class, b.width, b.score = m.Class, out.Width, out.Datatype
	if b.class < 0 {
		if out.Width > 1 {
			return fmt.Errorf("output %s has %d values a row; name the score's place as class", out.Name, out.Width)
		}
		b.class = 0
	}
	if out.Width >= 0 && b.class >= max(out.Width, 1) {
		return fmt.Errorf("output %s has %d values a row and no class %d", out.Name, out.Width, b.class)
	}
	switch out.Datatype {
	case tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32:
		return nil
	}
	return fmt.Errorf("output %s of type %s is no score", out.Name, out.Datatype)
}

// fill writes one row of vectors into the call's inputs. A null is NaN in a float, and
// cannot be put into an integer.
func (b *binding) fill(call Call, s *definition.Service, v *plan.Vectors, texts []string) error {
	numbers := v.Row(0)
	for i := range b.inputs {
		in := &b.inputs[i]
		if in.datatype == tensor.Bytes {
			texts = texts[:0]
			for _, t := range in.texts {
				texts = append(texts, v.TextRow(0)[t])
			}
			if err := call.InputTexts(i, texts); err != nil {
				return err
			}
			continue
		}
		raw, err := call.Input(i, 1)
		if err != nil {
			return err
		}
		if err := in.write(raw, s, numbers); err != nil {
			return err
		}
	}
	return nil
}

func (in *boundInput) write(raw []byte, s *definition.Service, numbers []float64) error {
	switch in.datatype {
	case tensor.FP32:
		for k, f := range in.features {
			binary.LittleEndian.PutUint32(raw[4*k:], math.Float32bits(float32(numbers[f])))
		}
		return nil
	case tensor.FP64:
		for k, f := range in.features {
			binary.LittleEndian.PutUint64(raw[8*k:], math.Float64bits(numbers[f]))
		}
		return nil
	}
	for k, f := range in.features {
		x := numbers[f]
		if x != math.Trunc(x) {
			return fmt.Errorf("feature %s is %v, its input takes whole numbers; give it a default", s.Features[f].Name, x)
		}
		switch in.datatype {
		case tensor.Int64:
			if x < math.MinInt64 || x >= 1<<63 {
				return fmt.Errorf("feature %s is %v, beyond what INT64 holds", s.Features[f].Name, x)
			}
			binary.LittleEndian.PutUint64(raw[8*k:], uint64(int64(x)))
		case tensor.Int32:
			if x < math.MinInt32 || x > math.MaxInt32 {
				return fmt.Errorf("feature %s is %v, beyond what INT32 holds", s.Features[f].Name, x)
			}
			binary.LittleEndian.PutUint32(raw[4*k:], uint32(int32(x)))
		case tensor.Bool:
			raw[k] = 0
			if x != 0 {
				raw[k] = 1
			}
		}
	}
	return nil
}

// read takes the score out of the outputs.
func (b *binding) read(call Call) (float64, error) {
	raw, err := call.Output(b.output)
	if err != nil {
		return math.NaN(), err
	}
	size := b.score.Size()
	if len(raw) < (b.class+1)*size {
		return math.NaN(), fmt.Errorf("the output has %d values and no class %d", len(raw)/size, b.class)
	}
	raw = raw[b.class*size:]
	switch b.score {
	case tensor.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), nil
	case tensor.FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(raw)), nil
	case tensor.Int32:
		return float64(int32(binary.LittleEndian.Uint32(raw))), nil
	}
	return float64(int64(binary.LittleEndian.Uint64(raw))), nil
}
