// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// sharedBytesMax is the largest constant that is compared with others.
const sharedBytesMax = 256

// merger finds nodes that compute the same. A node is known by its operator, its
// attributes and its inputs, which were merged before it.
type merger struct {
	r         *rewriter
	ids       map[*value]uint64
	constants map[string]*value
	seen      map[[sha256.Size]byte]*node
}

// mergeEqual replaces nodes of a graph that compute what another before them does.
func (r *rewriter) mergeEqual() {
	m := &merger{r: r, ids: make(map[*value]uint64), constants: make(map[string]*value)}
	m.graph(r.top)
}

func (m *merger) graph(g *graph) {
	// Nodes of one graph are compared with each other alone: those of a loop's body
	// must not be moved out, nor those of one branch into another.
	outer := m.seen
	m.seen = make(map[[sha256.Size]byte]*node)
	for n := g.first; n != nil; n = n.next {
		for i, in := range n.inputs {
			if same := m.shared(in); same != in {
				n.setInput(i, same)
			}
		}
		m.node(n)
		for _, inner := range n.graphs {
			m.graph(inner)
		}
	}
	m.seen = outer
}

// shared is the value to use in place of a small constant: the first equal one.
func (m *merger) shared(v *value) *value {
	if v == nil || v.tensor == nil || v.fallback != nil {
		return v
	}
	if n := elements(v); n < 0 || n > sharedBytesMax {
		return v
	}
	t, err := v.tensor.Value()
	if err != nil || len(t.Data) > sharedBytesMax {
		return v
	}
	key := fmt.Sprint(t.Datatype, t.Shape, string(t.Data))
	if first := m.constants[key]; first != nil {
		return first
	}
	m.constants[key] = v
	return v
}

func (m *merger) node(n *node) {
	if !n.known() || len(n.graphs) > 0 || slices.Contains(random, n.op) || n.int("training_mode", 0) != 0 {
		return
	}
	if n.op == "Dropout" { // may be random
		return
	}
	key, ok := m.key(n)
	if !ok {
		return
	}
	first := m.seen[key]
	if first == nil || first.gone {
		m.seen[key] = n
		return
	}
	for i, out := range n.outputs {
		if (out == nil) != (first.outputs[i] == nil) {
			return
		}
	}
	m.r.report.Merged++
	for i, out := range n.outputs {
		if out != nil {
			m.r.substitute(out, first.outputs[i], new(int))
		}
	}
	if !n.gone {
		m.r.remove(n, new(int))
	}
}

// key is what nodes that compute the same have in common. Large tensors among the
// attributes are not looked into: such a node is like no other.
func (m *merger) key(n *node) (key [sha256.Size]byte, ok bool) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d", n.op, n.overload, len(n.outputs))
	for _, in := range n.inputs {
		var id [8]byte
		binary.LittleEndian.PutUint64(id[:], m.id(in))
		h.Write(id[:])
	}
	attributes := slices.Clone(n.attributes)
	slices.SortFunc(attributes, func(a, b onnx.Attribute) int {
		return slices.Compare([]byte(a.Name), []byte(b.Name))
	})
	for i := range attributes {
		a := &attributes[i]
		if a.Tensor != nil || a.Tensors != nil || a.SparseTensor != nil || a.TypeProto != nil || a.TypeProtos != nil {
			return key, false
		}
		fmt.Fprintf(h, "%q %d %x %d %q %x %d %q", a.Name, a.Type, a.Float, a.Int, a.String, a.Floats, a.Ints, a.Strings)
	}
	return [sha256.Size]byte(h.Sum(nil)), true
}

// id numbers values; 0 is an input that is left out.
func (m *merger) id(v *value) uint64 {
	if v == nil {
		return 0
	}
	if m.ids[v] == 0 {
		m.ids[v] = uint64(len(m.ids) + 1)
	}
	return m.ids[v]
}
