// SPDX-License-Identifier: Apache-2.0

// Package raw carries messages that are already encoded through grpc-go.
//
// The load generator and the bare echo peer both use it, so that neither side of
// a comparison pays for encoding or decoding messages.
//
// A Message may be sent from many goroutines at once while nobody changes it, and
// received into by one goroutine at a time.
package raw

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// Message is one encoded protobuf message.
type Message struct {
	// Data is sent as it is. On receipt it is overwritten from its start, so a
	// message used for many receipts soon stops allocating.
	Data []byte
}

// Codec is an encoding.CodecV2 for *Message. It calls itself "proto", because
// what it carries is: the peer uses whatever protobuf codec it has.
type Codec struct{}

// Name is the content subtype on the wire.
func (Codec) Name() string { return "proto" }

// Marshal hands the message's bytes over without a copy. They must not change
// while the call is in progress.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	if !ok {
		return nil, fmt.Errorf("raw codec: cannot send a %T, only *raw.Message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.Data)}, nil
}

// Unmarshal copies the received bytes into the message.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	if !ok {
		return fmt.Errorf("raw codec: cannot receive into a %T, only *raw.Message", v)
	}
	m.Data = m.Data[:0]
	for _, buffer := range data {
		m.Data = append(m.Data, buffer.ReadOnlyData()...)
	}
	return nil
}
