// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"errors"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec is the server's message codec. Inference requests are decoded by hand
// without copying tensor bytes, and their answers, encoded by whoever ran the
// batch, pass through as they are. All other messages go to protobuf.
type codec struct {
	proto encoding.CodecV2
}

func newCodec() encoding.CodecV2 {
	return codec{proto: encoding.GetCodecV2(protocodec.Name)}
}

// Name is the content subtype; clients ask for "proto".
func (codec) Name() string { return protocodec.Name }

// Unmarshal decodes a message. The error of a malformed inference request is left
// in the request, so that the handler can answer it with a code of its own.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*request)
	if !ok {
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
		return c.proto.Marshal(v)
	}
	reply := r.reply
	r.reply = nil
	r.release()
	return mem.BufferSlice{mem.NewBuffer(reply, &buffers)}, nil
}

// malformed is what a client hears of a message that does not decode.
func malformed(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return invalidArgument("malformed ModelInferRequest: %v", err)
}
