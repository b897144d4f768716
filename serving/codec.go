// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"errors"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Message is a message that decodes and encodes itself, in the wire format of protobuf:
// the handlers of Options.Services may use such messages in place of generated ones.
type Message interface {
	// UnmarshalWire reads the message. The bytes are good until it returns.
	UnmarshalWire(data []byte) error
	// MarshalWire appends the message to a buffer, and ends the use of the message.
	MarshalWire(to []byte) []byte
}

// codec is the server's message codec. Inference requests are decoded by hand
// without copying tensor bytes, and their answers, encoded by whoever ran the
// batch, pass through as they are. A Message does it itself. All other messages go to
// protobuf.
type codec struct {
	proto encoding.CodecV2
}

// Codec is the codec of the server, for other gRPC servers that offer services whose
// handlers use a Message.
func Codec() encoding.CodecV2 {
	return codec{proto: encoding.GetCodecV2(protocodec.Name)}
}

// Name is the content subtype; clients ask for "proto".
func (codec) Name() string { return protocodec.Name }

// Unmarshal decodes a message. The error of a malformed inference request is left
// in the request, so that the handler can answer it with a code of its own.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*request)
	if !ok {
		if m, own := v.(Message); own {
			return unmarshalMessage(data, m)
		}
		return c.proto.Unmarshal(data, v)
	}
	if err := r.decode(data); err != nil {
		r.decodeErr = malformed(err)
	}
	return nil
}

// Marshal encodes a message. An answered request hands its reply over and is
// released: the transport sends the buffer and gives it back to the pool.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*request)
	if !ok {
		if m, own := v.(Message); own {
			buffer := buffers.Get(messageBytes)
			*buffer = m.MarshalWire((*buffer)[:0])
			return mem.BufferSlice{mem.NewBuffer(buffer, &buffers)}, nil
		}
		return c.proto.Marshal(v)
	}
	reply := r.reply
	r.reply = nil
	r.release()
	return mem.BufferSlice{mem.NewBuffer(reply, &buffers)}, nil
}

// messageBytes is room for most answers of other services.
const messageBytes = 512

// unmarshalMessage decodes a message from one piece of memory.
func unmarshalMessage(data mem.BufferSlice, m Message) error {
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	return m.UnmarshalWire(whole.ReadOnlyData())
}

// malformed is what a client hears of a message that does not decode.
func malformed(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return invalidArgument("malformed ModelInferRequest: %v", err)
}
