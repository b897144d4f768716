// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// oneHotEncoder writes, for each element, a one at the place of its category.
type oneHotEncoder struct {
	carriesRows
	texts   map[string]int
	numbers map[int64]int
	// zeros leaves elements of no category all zeros; else they are errors.
	zeros bool
	n     int
}

func buildOneHotEncoder(n *op.Node) (op.Operator, error) {
	o := &oneHotEncoder{zeros: n.Int("zeros", 1) != 0, texts: map[string]int{}, numbers: map[int64]int{}}
	texts, numbers := n.Texts("cats_strings"), n.Ints("cats_int64s")
	if (len(texts) > 0) == (len(numbers) > 0) {
		return nil, op.Invalid("exactly one of cats_strings and cats_int64s must be set")
	}
	for i, text := range texts {
		o.texts[string(text)] = i
	}
	for i, number := range numbers {
		o.numbers[number] = i
	}
	o.n = max(len(texts), len(numbers))
	return o, n.Arity(1, 1, 1, 1)
}

func (o *oneHotEncoder) Infer(in, out []*op.Value) error {
	types := numeric
	if len(o.texts) > 0 {
		types = []tensor.Datatype{tensor.Bytes}
	}
	if err := op.Want(in[0], "input", types...); err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, append(append([]int64{}, in[0].Shape...), int64(o.n))...)
}

func (o *oneHotEncoder) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	y, v := op.Floats(out[0]), in[0]
	if v.Type == tensor.Bytes {
		return func() error {
			clear(y)
			for i, text := range v.Strings {
				at, ok := o.texts[string(text)]
				if err := o.set(y, i, at, ok); err != nil {
					return fmt.Errorf("element %d is %.40q, which is no category", i, text)
				}
			}
			return nil
		}, nil
	}
	read := integers(v)
	return func() error {
		clear(y)
		for i := range v.Len() {
			number := read(i)
			at, ok := o.numbers[number]
			if err := o.set(y, i, at, ok); err != nil {
				return fmt.Errorf("element %d is %d, which is no category", i, number)
			}
		}
		return nil
	}, nil
}

func (o *oneHotEncoder) set(y []float32, i, at int, ok bool) error {
	switch {
	case ok:
		y[i*o.n+at] = 1
	case !o.zeros:
		return op.ErrInvalid
	}
	return nil
}

// integers reads elements of any numeric type, rounded towards zero.
func integers(v *op.Value) func(i int) int64 {
	switch v.Type {
	case tensor.FP32:
		x := op.Floats(v)
		return func(i int) int64 { return int64(x[i]) }
	case tensor.FP64:
		x := op.As[float64](v)
		return func(i int) int64 { return int64(x[i]) }
	case tensor.Int32:
		x := op.As[int32](v)
		return func(i int) int64 { return int64(x[i]) }
	}
	x := op.As[int64](v)
	return func(i int) int64 { return x[i] }
}

// list is the keys or the values of a label encoder: of one type, in memory.
type list struct {
	datatype tensor.Datatype
	texts    [][]byte
	numbers  []int64
	floats   []float64 // of FP32 and FP64
}

func (l *list) len() int { return max(len(l.texts), len(l.numbers), len(l.floats)) }

// listOf reads keys_* or values_*, whichever type is set.
func listOf(n *op.Node, name string) (*list, error) {
	l := &list{texts: n.Texts(name + "_strings"), numbers: n.Ints(name + "_int64s"), floats: wide(n.Floats(name + "_floats"))}
	set := 0
	if l.texts != nil {
		l.datatype, set = tensor.Bytes, set+1
	}
	if l.numbers != nil {
		l.datatype, set = tensor.Int64, set+1
	}
	if l.floats != nil {
		l.datatype, set = tensor.FP32, set+1
	}
	switch set {
	case 0:
		return listOfTensor(n.TensorValue(name+"_tensor"), name)
	case 1:
		return l, nil
	}
	return nil, op.Invalid("%s of %d types", name, set)
}

func listOfTensor(v *op.Value, name string) (*list, error) {
	if v == nil {
		return nil, op.Invalid("there are no %s", name)
	}
	l := &list{datatype: v.Type}
	switch v.Type {
	case tensor.Bytes:
		l.texts = v.Strings
	case tensor.Int64:
		l.numbers = op.As[int64](v)
	case tensor.Int32, tensor.Int16:
		return nil, op.NotCovered("%s of type %s", name, v.Type)
	case tensor.FP32:
		l.floats = wide(op.Floats(v))
	case tensor.FP64:
		l.floats = op.As[float64](v)
	default:
		return nil, op.NotCovered("%s of type %s", name, v.Type)
	}
	return l, nil
}

// labelEncoder maps elements to others by a table.
type labelEncoder struct {
	from, to tensor.Datatype
	texts    map[string]int32
	numbers  map[int64]int32
	floats   map[float64]int32
	nan      int32 // the entry for NaN
	values   *list // with the default as the last entry
}

func buildLabelEncoder(n *op.Node) (op.Operator, error) {
	keys, err := listOf(n, "keys")
	if err != nil {
		return nil, err
	}
	values, err := listOf(n, "values")
	if err != nil {
		return nil, err
	}
	if keys.len() != values.len() {
		return nil, op.Invalid("%d keys for %d values", keys.len(), values.len())
	}
	if fallback := n.TensorValue("default_tensor"); fallback != nil {
		last, err := listOfTensor(fallback, "default_tensor")
		if err != nil || last.datatype != values.datatype || last.len() != 1 {
			return nil, op.Invalid("default_tensor is not one element of type %s", values.datatype)
		}
		values.append(last)
	} else {
		values.append(&list{
			texts:   [][]byte{[]byte(n.Text("default_string", "_Unused"))},
			numbers: []int64{n.Int("default_int64", -1)},
			floats:  []float64{float64(n.Float("default_float", float32(math.Copysign(0, -1))))},
		})
	}
	return newLabelEncoder(keys, values), n.Arity(1, 1, 1, 1)
}

// append adds the first entry of the list of l's type in last.
func (l *list) append(last *list) {
	switch l.datatype {
	case tensor.Bytes:
		l.texts = append(l.texts[:len(l.texts):len(l.texts)], last.texts[0])
	case tensor.Int64:
		l.numbers = append(l.numbers[:len(l.numbers):len(l.numbers)], last.numbers[0])
	default:
		l.floats = append(l.floats[:len(l.floats):len(l.floats)], last.floats[0])
	}
}

// newLabelEncoder indexes the keys; of equal ones the last counts.
func newLabelEncoder(keys, values *list) *labelEncoder {
	missing := int32(values.len() - 1)
	o := &labelEncoder{from: keys.datatype, to: values.datatype, values: values, nan: missing,
		texts: map[string]int32{}, numbers: map[int64]int32{}, floats: map[float64]int32{}}
	for i, key := range keys.texts {
		o.texts[string(key)] = int32(i)
	}
	for i, key := range keys.numbers {
		o.numbers[key] = int32(i)
	}
	for i, key := range keys.floats {
		if math.IsNaN(key) {
			o.nan = int32(i)
			continue
		}
		o.floats[key] = int32(i)
	}
	return o
}

func (o *labelEncoder) Infer(in, out []*op.Value) error {
	if in[0].Type != o.from {
		return op.NotCovered("input of type %s for keys of type %s", in[0].Type, o.from)
	}
	return out[0].Set(o.to, in[0].Shape...)
}

func (o *labelEncoder) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	find, write := o.finder(in[0]), o.writer(out[0])
	n := in[0].Len()
	return func() error {
		for i := range n {
			write(i, find(i))
		}
		return nil
	}, nil
}

// finder gives the entry for an element.
func (o *labelEncoder) finder(v *op.Value) func(i int) int32 {
	missing := int32(o.values.len() - 1)
	float := func(x float64) int32 {
		if math.IsNaN(x) {
			return o.nan
		}
		return lookUp(o.floats, x, missing)
	}
	switch v.Type {
	case tensor.Bytes:
		return func(i int) int32 {
			if at, ok := o.texts[string(v.Strings[i])]; ok {
				return at
			}
			return missing
		}
	case tensor.Int64:
		x := op.As[int64](v)
		return func(i int) int32 { return lookUp(o.numbers, x[i], missing) }
	case tensor.FP32:
		x := op.Floats(v)
		return func(i int) int32 { return float(float64(x[i])) }
	}
	x := op.As[float64](v)
	return func(i int) int32 { return float(x[i]) }
}

func lookUp[K comparable](table map[K]int32, key K, missing int32) int32 {
	if at, ok := table[key]; ok {
		return at
	}
	return missing
}

// writer writes an entry as an element.
func (o *labelEncoder) writer(v *op.Value) func(i int, entry int32) {
	switch v.Type {
	case tensor.Bytes:
		return func(i int, entry int32) { v.Strings[i] = o.values.texts[entry] }
	case tensor.Int64:
		y := op.As[int64](v)
		return func(i int, entry int32) { y[i] = o.values.numbers[entry] }
	case tensor.FP32:
		y := op.Floats(v)
		return func(i int, entry int32) { y[i] = float32(o.values.floats[entry]) }
	}
	y := op.As[float64](v)
	return func(i int, entry int32) { y[i] = o.values.floats[entry] }
}

func (*labelEncoder) Rowwise(in []*op.Value, carries []bool) bool {
	return carries[0] && in[0].Rank() > 0
}

// mapper is LabelEncoder of version 1 and CategoryMapper: texts to numbers or numbers
// to texts, by which of the two the input is.
type mapper struct{ forward, back *labelEncoder }

func buildLabelEncoder1(n *op.Node) (op.Operator, error) {
	texts := n.Texts("classes_strings")
	numbers := make([]int64, len(texts))
	for i := range numbers {
		numbers[i] = int64(i)
	}
	return newMapper(n, texts, numbers)
}

func buildCategoryMapper(n *op.Node) (op.Operator, error) {
	return newMapper(n, n.Texts("cats_strings"), n.Ints("cats_int64s"))
}

func newMapper(n *op.Node, texts [][]byte, numbers []int64) (op.Operator, error) {
	if len(texts) != len(numbers) {
		return nil, op.Invalid("%d texts for %d numbers", len(texts), len(numbers))
	}
	byText := func() *list { return &list{datatype: tensor.Bytes, texts: texts} }
	byNumber := func() *list { return &list{datatype: tensor.Int64, numbers: numbers} }
	toNumber, toText := byNumber(), byText()
	toNumber.append(&list{numbers: []int64{n.Int("default_int64", -1)}})
	toText.append(&list{texts: [][]byte{[]byte(n.Text("default_string", "_Unused"))}})
	return &mapper{newLabelEncoder(byText(), toNumber), newLabelEncoder(byNumber(), toText)}, n.Arity(1, 1, 1, 1)
}

func (o *mapper) of(in *op.Value) *labelEncoder {
	if in.Type == tensor.Bytes {
		return o.forward
	}
	return o.back
}

func (o *mapper) Infer(in, out []*op.Value) error { return o.of(in[0]).Infer(in, out) }

func (o *mapper) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	return o.of(in[0]).Bind(in, out, s)
}
