// SPDX-License-Identifier: Apache-2.0

package raw

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
)

func TestRoundTripKeepsBytesAndReusesMemory(t *testing.T) {
	sent := &Message{Data: []byte("one two three")}
	wire, err := Codec{}.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	received := &Message{Data: make([]byte, 0, 64)}
	memory := &received.Data[:1][0]
	if err := (Codec{}).Unmarshal(wire, received); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(received.Data, sent.Data) {
		t.Errorf("received %q, sent %q", received.Data, sent.Data)
	}
	if &received.Data[0] != memory {
		t.Error("the receipt did not reuse the message's memory")
	}
}

func TestUnmarshalJoinsBuffers(t *testing.T) {
	wire := mem.BufferSlice{mem.SliceBuffer("ab"), mem.SliceBuffer(""), mem.SliceBuffer("cd")}
	var m Message
	if err := (Codec{}).Unmarshal(wire, &m); err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "abcd" {
		t.Errorf("joined %q, want abcd", m.Data)
	}
}

func TestOtherTypesAreRefused(t *testing.T) {
	if _, err := (Codec{}).Marshal("text"); err == nil {
		t.Error("sending a string was not refused")
	}
	if err := (Codec{}).Unmarshal(nil, new(string)); err == nil {
		t.Error("receiving into a string was not refused")
	}
}
