// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"errors"
	"strings"
	"testing"
)

// A file of as many messages as the bound would take seconds to read, so the count
// starts just below it.
func TestMessagesAreCounted(t *testing.T) {
	graph := []byte{0x3a, 4, 0x0a, 0, 0x0a, 0} // a graph of two nodes: three messages
	for already, wantErr := range map[int]bool{0: false, messagesMax - 3: false, messagesMax - 2: true} {
		d := decoder{messages: already}
		decodeModel(&cursor{d: &d, rest: graph}, new(Model))
		if (d.err != nil) != wantErr {
			t.Errorf("after %d messages: error %v, want one: %v", already, d.err, wantErr)
		}
		if wantErr && (!errors.Is(d.err, ErrCorrupt) || !strings.Contains(d.err.Error(), "graph.node: more than")) {
			t.Errorf("got error %v", d.err)
		}
		if len(d.path) != 0 {
			t.Errorf("path %v is left over", d.path)
		}
	}
}
