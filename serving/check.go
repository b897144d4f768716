// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// The checks of a request against its model, in the protocol's order and words:
// clients of the dialect match on them.

// prefix names the request in front of an error text.
func (r *request) prefix() string {
	if len(r.id) == 0 {
		return "[request id: <id_unknown>] "
	}
	return fmt.Sprintf("[request id: %s] ", r.id)
}

func (r *request) invalid(format string, args ...any) *Error {
	return &Error{codes.InvalidArgument, r.prefix() + fmt.Sprintf(format, args...)}
}

// check resolves a request against m: it binds the data of each input, counts
// rows, and finds the outputs asked for. Nothing is copied except typed contents.
func (r *request) check(m *servedModel) error {
	if r.params.bad != "" {
		return invalidArgument("%s", r.params.bad)
	}
	if err := r.checkDuplicates(); err != nil {
		return err
	}
	if err := r.attachData(m); err != nil {
		return err
	}
	if err := r.resolveOutputs(m); err != nil {
		return err
	}
	if err := r.matchInputs(m); err != nil {
		return err
	}
	if err := r.countRows(m); err != nil {
		return err
	}
	for i := range r.bound {
		if r.bound[i].present {
			if err := r.bindInput(m, i); err != nil {
				return err
			}
		}
	}
	r.Group = r.shapeClass(m)
	return nil
}

func (r *request) checkDuplicates() error {
	for i := range r.inputs {
		for j := range i {
			if string(r.inputs[i].name) == string(r.inputs[j].name) {
				return r.invalid("input '%s' already exists in request", r.inputs[i].name)
			}
		}
	}
	for i := range r.outputs {
		for j := range i {
			if string(r.outputs[i].name) == string(r.outputs[j].name) {
				return r.invalid("output '%s' already exists in request", r.outputs[i].name)
			}
		}
	}
	return nil
}

// attachData gives every input its bytes: the next raw entry, or its own typed
// contents. Raw entries left over are ignored, as the protocol's reference does.
func (r *request) attachData(m *servedModel) error {
	if len(r.raw) > 0 {
		return r.attachRaw(m)
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		if in.hasData {
			continue // from REST, already in the wire layout
		}
		if !in.hasContents {
			if r.emptyInput(in) {
				in.hasData = true
				continue
			}
			return invalidArgument("unable to find data for input tensor '%s' for model '%s' in request.", in.name, m.name)
		}
		data, err := r.typedContents(in)
		if err != nil {
			return contentsError(m, in, err)
		}
		in.data, in.hasData = data, true
	}
	return nil
}

func (r *request) attachRaw(m *servedModel) error {
	for i := range r.inputs {
		in := &r.inputs[i]
		if in.hasContents {
			return invalidArgument("contents field must not be specified when using raw_input_contents for '%s' for model '%s'", in.name, m.name)
		}
		if i >= len(r.raw) {
			return invalidArgument("unable to find data for input tensor '%s' for model '%s' in request.", in.name, m.name)
		}
		in.data, in.hasData = r.raw[i], true
	}
	return nil
}

// emptyInput reports whether an input was declared with no elements, for which no
// data needs to be sent.
func (r *request) emptyInput(in *requestInput) bool {
	for _, d := range r.shape(in) {
		if d == 0 {
			return true
		}
	}
	return false
}

func contentsError(m *servedModel, in *requestInput, err error) error {
	subject := fmt.Sprintf("unexpected explicit tensor data for input tensor '%s' for model '%s'", in.name, m.name)
	if other, ok := err.(errOtherContents); ok {
		return invalidArgument("%s of type '%s', expected datatype '%s'", subject, contentsDatatypes[other.field], in.datatypeName)
	}
	if err == errTwoContents {
		return invalidArgument("%s, binary data was already supplied.", subject)
	}
	return invalidArgument("%s: %v", subject, err)
}

// resolveOutputs finds the outputs asked for; none asked for means all.
func (r *request) resolveOutputs(m *servedModel) error {
	for i := range r.outputs {
		out := &r.outputs[i]
		if out.index = m.outputIndex(out.name); out.index < 0 {
			return invalidArgument("unexpected inference output '%s' for model '%s'", out.name, m.name)
		}
		if out.classification > 0 && m.outputs[out.index].Datatype == tensor.Bytes {
			return r.invalid("classification is not possible for output '%s' for model '%s': its datatype is BYTES", out.name, m.name)
		}
	}
	return nil
}

// matchInputs puts the request's inputs in the model's order, in r.bound, and
// refuses missing and surplus ones.
func (r *request) matchInputs(m *servedModel) error {
	r.bound = append(r.bound[:0], m.noInputs...)
	if len(r.inputs) < m.inputsRequired || len(r.inputs) > len(m.inputs) {
		return r.inputCountError(m)
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		index := m.inputIndex(in.name, i)
		if index < 0 {
			return invalidArgument("unexpected inference input '%s' for model '%s'", in.name, m.name)
		}
		r.bound[index].present = true
		r.bound[index].request = i
	}
	for i := range m.inputs {
		if !r.bound[i].present && !m.inputs[i].optional {
			return r.inputCountError(m)
		}
	}
	return nil
}

func (r *request) inputCountError(m *servedModel) error {
	var got, missing []string
	for i := range r.inputs {
		got = append(got, "'"+string(r.inputs[i].name)+"'")
	}
	for i := range m.inputs {
		if m.inputs[i].optional || r.hasInput(m.inputs[i].name) {
			continue
		}
		missing = append(missing, "'"+m.inputs[i].name+"'")
	}
	expected := fmt.Sprintf("expected %d inputs", len(m.inputs))
	if m.inputsRequired < len(m.inputs) {
		expected = fmt.Sprintf("expected number of inputs between %d and %d", m.inputsRequired, len(m.inputs))
	}
	text := fmt.Sprintf("%s but got %d inputs for model '%s'.", expected, len(r.inputs), m.name)
	if len(got) > 0 {
		text += fmt.Sprintf(" Got input(s) [%s]", strings.Join(got, ","))
		if len(missing) > 0 {
			text += fmt.Sprintf(", but missing required input(s) [%s]. Please provide all required input(s).", strings.Join(missing, ","))
		} else {
			text += "."
		}
	} else if len(missing) > 0 {
		text += fmt.Sprintf(" Missing required input(s) [%s]. Please provide all required input(s).", strings.Join(missing, ","))
	}
	return r.invalid("%s", text)
}

func (r *request) hasInput(name string) bool {
	for i := range r.inputs {
		if string(r.inputs[i].name) == name {
			return true
		}
	}
	return false
}

// countRows reads the batch dimension, which all inputs share.
func (r *request) countRows(m *servedModel) error {
	r.Rows = 1
	if m.maxBatchSize == 0 {
		return nil
	}
	if len(r.inputs) == 0 {
		return nil // no input says otherwise: one row
	}
	rows := int64(0)
	for i := range r.inputs {
		in := &r.inputs[i]
		shape := r.shape(in)
		if len(shape) == 0 {
			return r.invalid("input '%s' has no shape but model requires batch dimension for '%s'", in.name, m.name)
		}
		if i == 0 {
			rows = shape[0]
		} else if shape[0] != rows {
			return r.invalid("input '%s' batch size does not match other inputs for '%s'", in.name, m.name)
		}
	}
	if rows > int64(m.maxBatchSize) {
		return r.invalid("inference request batch-size must be <= %d for '%s'", m.maxBatchSize, m.name)
	}
	if rows < 1 {
		return r.invalid("inference request batch-size must be >= 1 for '%s', got %d", m.name, rows)
	}
	r.Rows = int(rows)
	return nil
}

// bindInput checks datatype, shape and byte size of the model's i-th input.
func (r *request) bindInput(m *servedModel, i int) error {
	info := &m.inputs[i]
	in := &r.inputs[r.bound[i].request]
	if in.datatype != info.datatype {
		return r.invalid("inference input '%s' data-type is '%s', but model '%s' expects '%s'", in.name, in.datatypeName, m.name, info.datatype)
	}
	shape := r.shape(in)
	for _, d := range shape {
		if d < 0 {
			return r.invalid("All input dimensions should be specified for input '%s' for model '%s', got %s", in.name, m.name, shape)
		}
	}
	if !info.shape.Matches(shape) {
		return r.shapeError(m, info, shape)
	}
	elements, err := shape.Elements()
	if err != nil {
		return r.invalid("input '%s' for model '%s' has shape %s, whose %v", in.name, m.name, shape, err)
	}
	if err := r.checkByteSize(m, in, info.datatype, elements); err != nil {
		return err
	}
	r.bound[i].data = in.data
	r.bound[i].shape = info.modelShape(shape, &r.dims)
	return nil
}

func (r *request) shapeError(m *servedModel, info *inputInfo, shape tensor.Shape) error {
	text := fmt.Sprintf("unexpected shape for input '%s' for model '%s'. Expected %s, got %s. ", info.name, m.name, info.shape, shape)
	if m.maxBatchSize > 0 {
		text += "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
	}
	return r.invalid("%s", text)
}

func (r *request) checkByteSize(m *servedModel, in *requestInput, datatype tensor.Datatype, elements int64) error {
	if datatype == tensor.Bytes {
		return r.checkStrings(m, in, elements)
	}
	size := int64(datatype.Size())
	if elements > (1<<62)/size || int64(len(in.data)) != elements*size {
		return r.invalid("input byte size mismatch for input '%s' for model '%s'. Expected %d, got %d", in.name, m.name, elements*size, len(in.data))
	}
	return nil
}

// checkStrings walks the elements of a BYTES input once.
func (r *request) checkStrings(m *servedModel, in *requestInput, elements int64) error {
	rest, got := in.data, int64(0)
	for len(rest) > 0 {
		if got == elements {
			return r.invalid("unexpected number of string elements %d for inference input '%s' for model '%s', expecting %d", got+1, in.name, m.name, elements)
		}
		_, tail, err := tensor.NextBytes(rest)
		if err != nil {
			return r.truncatedString(m, in, rest, elements, got)
		}
		rest = tail
		got++
	}
	if got != elements {
		return r.invalid("expected %d string elements for inference input '%s' for model '%s', got %d", elements, in.name, m.name, got)
	}
	return nil
}

func (r *request) truncatedString(m *servedModel, in *requestInput, rest []byte, elements, got int64) error {
	if len(rest) < 4 {
		return r.invalid("incomplete string length indicator for inference input '%s' for model '%s', expecting %d bytes but only %d bytes available. Please make sure the string length indicator is in one buffer.", in.name, m.name, 4, len(rest))
	}
	return r.invalid("incomplete string data for inference input '%s' for model '%s': element %d of %d is longer than the data that is left", in.name, m.name, got+1, elements)
}

// shapeClass is equal for requests whose rows can share a batch. Models without
// variable dimensions and optional inputs have one class. Different shapes may in
// theory share a class by chance; the batch is then split when it is run.
func (r *request) shapeClass(m *servedModel) uint64 {
	if m.uniform {
		return 0
	}
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range r.bound {
		h = (h ^ uint64(i)) * prime
		if !r.bound[i].present {
			continue
		}
		for _, d := range r.bound[i].inner(m) {
			h = (h ^ uint64(d)) * prime
		}
	}
	return h | 1
}

// inner is the shape without the batch dimension.
func (b *boundInput) inner(m *servedModel) tensor.Shape {
	if m.maxBatchSize > 0 {
		return b.shape[1:]
	}
	return b.shape
}
