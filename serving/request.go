// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"unicode/utf8"

	"google.golang.org/grpc/mem"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// request is one inference request on its way through the server: decoded without
// copying tensor bytes, checked against its model, queued, run, answered.
//
// Requests are pooled. A front (gRPC unary, gRPC stream, REST) takes one with
// newRequest, and whoever sends or drops the answer gives it back with release; a Call
// has one of its own. In between it has one owner at a time: the front, then the
// batcher from Do or Submit until the item is done, then the front again.
type request struct {
	batching.Item
	ready chan struct{} // one token when a streamed request is done
	requestState
}

// requestState is what a request forgets between two uses, but for the memory of
// its slices.
type requestState struct {
	// As received. Slices alias message where there is one.
	message   mem.Buffer
	modelName []byte
	version   []byte
	id        []byte
	params    requestParameters
	inputs    []requestInput
	outputs   []requestOutput
	raw       [][]byte
	dims      []int64 // the inputs' shapes, one after the other
	scratch   []byte  // typed contents, converted to the wire layout

	// As resolved against the model.
	model    *servedModel
	acquired *repository.Version
	bound    []boundInput // by the model's input order
	received int64        // on the clock of batching.Now

	// The answer.
	reply      *[]byte // an encoded ModelInferResponse, for gRPC
	stream     bool    // encode as a ModelStreamInferResponse
	wantValues bool    // leave values instead of an encoded reply, for REST and calls
	values     []tensor.Tensor
	replyDims  []int64 // the values' shapes
	valueBytes []byte  // the values' data, if they are wanted
	decodeErr  error
	outcome    *Error // why a streamed request failed, for its client
}

// requestInput is one tensor of a request as received.
type requestInput struct {
	name         []byte
	datatypeName []byte
	datatype     tensor.Datatype
	dimsFrom     int
	dimsTo       int
	contents     []byte // an encoded InferTensorContents, nil when there is none
	hasContents  bool
	data         []byte // raw, in the wire layout
	hasData      bool
}

// requestOutput is one requested output.
type requestOutput struct {
	name           []byte
	classification int64 // 0 when not asked for
	index          int   // in the model's outputs, once resolved
}

// boundInput is the data for one input of the model.
type boundInput struct {
	request int // the index in request.inputs
	data    []byte
	shape   tensor.Shape // as the model takes it, with the batch dimension
	present bool
}

// Limits on what one request may declare; all are far above real use.
const (
	requestTensorsMax = 4096
	tensorRankMax     = 64
)

var requestPool = sync.Pool{New: func() any { return &request{ready: make(chan struct{}, 1)} }}

func newRequest() *request { return requestPool.Get().(*request) }

// release gives the request, its message and its model back.
func (r *request) release() {
	r.reset()
	requestPool.Put(r)
}

// reset gives back what the request holds, and forgets the rest but for memory of a
// size that is worth keeping.
func (r *request) reset() {
	if r.acquired != nil {
		r.acquired.Release()
	}
	if r.message != nil {
		r.message.Free()
	}
	if r.reply != nil {
		buffers.Put(r.reply)
	}
	clear(r.inputs)
	clear(r.outputs)
	clear(r.raw)
	clear(r.bound)
	clear(r.values)
	r.requestState = requestState{
		inputs: r.inputs[:0], outputs: r.outputs[:0], raw: r.raw[:0], dims: r.dims[:0], scratch: keepable(r.scratch),
		bound: r.bound[:0], values: r.values[:0], replyDims: r.replyDims[:0], valueBytes: keepable(r.valueBytes),
	}
	r.Err, r.Deadline = nil, 0
}

// keepable is memory to use again, nil for more than memoryKeptMax.
func keepable(memory []byte) []byte {
	if cap(memory) > memoryKeptMax {
		return nil
	}
	return memory[:0]
}

// memoryKeptMax is the largest memory that a request keeps between two uses, for each
// kind of memory.
const memoryKeptMax = 1 << 20

// shape is the shape that input i was sent with.
func (r *request) shape(i *requestInput) tensor.Shape {
	return tensor.Shape(r.dims[i.dimsFrom:i.dimsTo])
}

// decode reads an encoded ModelInferRequest. It keeps a reference to the message,
// which release drops.
func (r *request) decode(data mem.BufferSlice) error {
	if len(data) == 1 {
		data[0].Ref()
		r.message = data[0]
	} else {
		r.message = data.MaterializeToBuffer(&buffers)
	}
	return r.decodeBytes(r.message.ReadOnlyData())
}

func (r *request) decodeBytes(message []byte) error {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return err
		}
		message = rest
		if f.kind != wireBytes {
			continue // unknown: every known field is length-delimited
		}
		switch f.number {
		case 1:
			r.modelName = f.bytes
		case 2:
			r.version = f.bytes
		case 3:
			r.id = f.bytes
		case 4:
			err = r.params.decodeEntry(f.bytes)
		case 5:
			err = r.decodeInput(f.bytes)
		case 6:
			err = r.decodeOutput(f.bytes)
		case 7:
			r.raw = append(r.raw, f.bytes)
		}
		if err != nil {
			return fieldError(f.number, err)
		}
	}
	if !utf8.Valid(r.id) {
		return fmt.Errorf("id is not valid UTF-8: %q", r.id)
	}
	if !utf8.Valid(r.modelName) {
		return fmt.Errorf("model_name is not valid UTF-8: %q", r.modelName)
	}
	return nil
}

var requestFieldNames = [...]string{4: "parameters", 5: "inputs", 6: "outputs", 7: "raw_input_contents"}

func fieldError(number int, err error) error {
	return fmt.Errorf("%s: %w", requestFieldNames[number], err)
}

func (r *request) decodeInput(message []byte) error {
	if len(r.inputs) == requestTensorsMax {
		return fmt.Errorf("more than %d inputs", requestTensorsMax)
	}
	in := requestInput{dimsFrom: len(r.dims)}
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return err
		}
		message = rest
		switch {
		case f.number == 1 && f.kind == wireBytes:
			in.name = f.bytes
		case f.number == 2 && f.kind == wireBytes:
			in.datatypeName = f.bytes
		case f.number == 3:
			err = r.decodeDims(f)
		case f.number == 4 && f.kind == wireBytes:
			err = checkInputParameter(f.bytes)
		case f.number == 5 && f.kind == wireBytes:
			// Parts of one message are merged by joining them.
			if in.hasContents {
				in.contents = slices.Concat(in.contents, f.bytes)
			} else {
				in.contents, in.hasContents = f.bytes, true
			}
		}
		if err != nil {
			return err
		}
		if len(r.dims)-in.dimsFrom > tensorRankMax {
			return fmt.Errorf("input %q has more than %d dimensions", in.name, tensorRankMax)
		}
	}
	in.dimsTo = len(r.dims)
	in.datatype = parseDatatype(in.datatypeName)
	r.inputs = append(r.inputs, in)
	return nil
}

// decodeDims reads shape values, packed or one by one.
func (r *request) decodeDims(f field) error {
	if f.kind == wireVarint {
		r.dims = append(r.dims, int64(f.varint))
		return nil
	}
	for packed := f.bytes; len(packed) > 0; {
		v, rest, err := nextVarint(packed)
		if err != nil {
			return err
		}
		if len(r.dims) > requestTensorsMax*tensorRankMax {
			return fmt.Errorf("more dimensions than any request may have")
		}
		r.dims, packed = append(r.dims, int64(v)), rest
	}
	return nil
}

func (r *request) decodeOutput(message []byte) error {
	if len(r.outputs) == requestTensorsMax {
		return fmt.Errorf("more than %d outputs", requestTensorsMax)
	}
	var out requestOutput
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return err
		}
		message = rest
		switch {
		case f.number == 1 && f.kind == wireBytes:
			out.name = f.bytes
		case f.number == 2 && f.kind == wireBytes:
			if err := out.decodeParameter(f.bytes); err != nil {
				return err
			}
		}
	}
	r.outputs = append(r.outputs, out)
	return nil
}

// parseDatatype is tensor.ParseDatatype without a conversion for the most common.
func parseDatatype(name []byte) tensor.Datatype {
	if string(name) == "FP32" {
		return tensor.FP32
	}
	return tensor.ParseDatatype(string(name))
}

// typedContents converts an InferTensorContents to the wire layout of datatype.
// Elements of one packed field of fixed size already have it, and are not copied.
// A nil result with no error means that there are no elements.
func (r *request) typedContents(in *requestInput) ([]byte, error) {
	want, seen := contentsField(in.datatype), 0
	var whole []byte
	from := len(r.scratch)
	for message := in.contents; len(message) > 0; {
		f, rest, err := nextField(message)
		if err != nil {
			return nil, err
		}
		message = rest
		if f.number < 1 || f.number > 8 {
			continue
		}
		if seen != 0 && f.number != seen {
			return nil, errTwoContents
		}
		if seen = f.number; seen != want {
			return nil, errOtherContents{seen}
		}
		if fixedContents(want) && f.kind == wireBytes && whole == nil && len(r.scratch) == from {
			whole = f.bytes
			continue
		}
		if whole != nil {
			r.scratch, whole = append(r.scratch, whole...), nil
		}
		if r.scratch, err = appendContents(r.scratch, in.datatype, f); err != nil {
			return nil, err
		}
	}
	if whole != nil {
		return whole, nil
	}
	return r.scratch[from:len(r.scratch):len(r.scratch)], nil
}

// errTwoContents reports typed contents in the fields of two types.
var errTwoContents = errors.New("contents of two datatypes")

// errOtherContents reports that typed contents are in the field of another type.
type errOtherContents struct{ field int }

func (e errOtherContents) Error() string {
	return "contents are of datatype " + contentsDatatypes[e.field].String()
}

// contentsDatatypes is the datatype that each field of InferTensorContents stands
// for in error messages.
var contentsDatatypes = [...]tensor.Datatype{
	1: tensor.Bool, 2: tensor.Int32, 3: tensor.Int64, 4: tensor.Uint32,
	5: tensor.Uint64, 6: tensor.FP32, 7: tensor.FP64, 8: tensor.Bytes,
}

// contentsField is the field of InferTensorContents that holds a datatype, 0 for
// FP16 and BF16, which have none.
func contentsField(d tensor.Datatype) int {
	switch d {
	case tensor.Bool:
		return 1
	case tensor.Int8, tensor.Int16, tensor.Int32:
		return 2
	case tensor.Int64:
		return 3
	case tensor.Uint8, tensor.Uint16, tensor.Uint32:
		return 4
	case tensor.Uint64:
		return 5
	case tensor.FP32:
		return 6
	case tensor.FP64:
		return 7
	case tensor.Bytes:
		return 8
	}
	return 0
}

// fixedContents reports whether the field is packed in the layout of its datatype.
func fixedContents(number int) bool { return number == 6 || number == 7 }

// appendContents appends the elements of one field in the layout of datatype.
func appendContents(dst []byte, datatype tensor.Datatype, f field) ([]byte, error) {
	if datatype == tensor.Bytes {
		if f.kind != wireBytes {
			return nil, errTruncated
		}
		return tensor.AppendBytes(dst, f.bytes), nil
	}
	if f.kind != wireBytes {
		return appendElement(dst, datatype, f.varint)
	}
	if fixedContents(f.number) {
		return append(dst, f.bytes...), nil
	}
	for packed := f.bytes; len(packed) > 0; {
		v, rest, err := nextVarint(packed)
		if err != nil {
			return nil, err
		}
		if dst, err = appendElement(dst, datatype, v); err != nil {
			return nil, err
		}
		packed = rest
	}
	return dst, nil
}

// appendElement appends one integer, or the bits of one float. Integers that the
// datatype cannot hold are refused rather than cut.
func appendElement(dst []byte, datatype tensor.Datatype, v uint64) ([]byte, error) {
	if !fits(datatype, v) {
		return nil, fmt.Errorf("element %d does not fit in %s", int64(v), datatype)
	}
	switch datatype.Size() {
	case 1:
		if datatype == tensor.Bool && v != 0 {
			v = 1
		}
		return append(dst, byte(v)), nil
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(v)), nil
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(v)), nil
	default:
		return binary.LittleEndian.AppendUint64(dst, v), nil
	}
}

func fits(datatype tensor.Datatype, v uint64) bool {
	signed := int64(v)
	switch datatype {
	case tensor.Int8:
		return signed >= math.MinInt8 && signed <= math.MaxInt8
	case tensor.Int16:
		return signed >= math.MinInt16 && signed <= math.MaxInt16
	case tensor.Int32:
		// int32 is encoded as a varint of 64 bits, sign extended.
		return signed >= math.MinInt32 && signed <= math.MaxInt32
	case tensor.Uint8:
		return v <= math.MaxUint8
	case tensor.Uint16:
		return v <= math.MaxUint16
	case tensor.Uint32:
		return v <= math.MaxUint32
	}
	return true
}
