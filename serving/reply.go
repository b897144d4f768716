// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"encoding/binary"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Replies are encoded by the goroutine that ran the batch, straight from the
// instance's output memory into the message that is sent.

// Field numbers of ModelInferResponse and its parts.
const (
	replyModelName  = 1
	replyVersion    = 2
	replyID         = 3
	replyParameters = 4
	replyOutputs    = 5
	replyRaw        = 6

	outputName     = 1
	outputDatatype = 2
	outputShape    = 3

	streamError = 1
	streamReply = 2
)

// finalResponse is the parameter {"triton_final_response": true or false} that
// every response on a stream carries, as an entry of the parameters map.
func finalResponse(final bool) []byte {
	value := byte(0)
	if final {
		value = 1
	}
	entry := appendBytesField(nil, 1, "triton_final_response")
	entry = appendBytesField(entry, 2, []byte{boolParam<<3 | byte(wireVarint), value})
	return appendBytesField(nil, replyParameters, entry)
}

var (
	finalTrue  = finalResponse(true)
	finalFalse = finalResponse(false)
)

// encodeReply encodes outputs, already cut to the request's rows, into a pooled
// buffer. head is the model's name and version, already encoded; parameters is an
// encoded map or empty. With stream set the message is a ModelStreamInferResponse. A
// reply of more than bytesMax is refused, since the transport could not send it.
func encodeReply(head, id, parameters []byte, outputs []tensor.Tensor, stream bool, bytesMax int) (*[]byte, error) {
	size := len(head) + len(parameters)
	if len(id) > 0 {
		size += bytesFieldSize(len(id))
	}
	for i := range outputs {
		size += bytesFieldSize(outputSize(&outputs[i])) + bytesFieldSize(len(outputs[i].Data))
	}
	total := size
	if stream {
		total = bytesFieldSize(size)
	}
	if total > bytesMax {
		return nil, invalidArgument("Response has byte size %d which exceeds gRPC's byte size limit %d.", total, bytesMax)
	}
	buffer := buffers.Get(total)
	b := (*buffer)[:0]
	if stream {
		b = appendBytesHeader(b, streamReply, size)
	}
	b = append(b, head...)
	if len(id) > 0 {
		b = appendBytesField(b, replyID, id)
	}
	b = append(b, parameters...)
	for i := range outputs {
		b = appendOutput(b, &outputs[i])
	}
	for i := range outputs {
		b = appendBytesField(b, replyRaw, outputs[i].Data)
	}
	*buffer = b
	return buffer, nil
}

// outputSize is the size of an encoded InferOutputTensor.
func outputSize(t *tensor.Tensor) int {
	return bytesFieldSize(len(t.Name)) + bytesFieldSize(len(t.Datatype.String())) + bytesFieldSize(shapeSize(t.Shape))
}

func shapeSize(shape tensor.Shape) int {
	n := 0
	for _, d := range shape {
		n += varintSize(uint64(d))
	}
	return n
}

func appendOutput(b []byte, t *tensor.Tensor) []byte {
	b = appendBytesHeader(b, replyOutputs, outputSize(t))
	b = appendBytesField(b, outputName, t.Name)
	b = appendBytesField(b, outputDatatype, t.Datatype.String())
	b = appendBytesHeader(b, outputShape, shapeSize(t.Shape))
	for _, d := range t.Shape {
		b = binary.AppendUvarint(b, uint64(d))
	}
	return b
}

// appendTextField appends what a client sent, of which it may be told that it is no
// UTF-8. In a field of text that would make the whole message invalid.
func appendTextField(b []byte, number int, text []byte) []byte {
	return appendBytesField(b, number, bytes.ToValidUTF8(text, []byte("\uFFFD")))
}

// encodeStreamError encodes an error in band: the text, and an answer that names
// the request it belongs to.
func encodeStreamError(text string, head, id []byte) *[]byte {
	reply := append([]byte(nil), head...)
	if len(id) > 0 {
		reply = appendTextField(reply, replyID, id)
	}
	reply = append(reply, finalTrue...)
	b := appendTextField(nil, streamError, []byte(text))
	b = appendBytesField(b, streamReply, reply)
	buffer := buffers.Get(len(b))
	copy(*buffer, b)
	return buffer
}
