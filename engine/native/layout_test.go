// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// TestPlaceRandomStorages lays out storages of random sizes and lifetimes: two that are
// in use at the same time must not overlap, and memory must be shared.
func TestPlaceRandomStorages(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 6))
		var l layout
		total := 0
		for step := range 2 + r.IntN(60) {
			for range r.IntN(4) {
				s := storage{size: r.IntN(5000), first: step, last: step + r.IntN(10)*r.IntN(3)}
				l.storages, total = append(l.storages, s), total+max(s.size, 1)+op.Alignment
			}
		}
		l.place()
		if l.bytes > total {
			t.Errorf("seed %d: %d bytes for storages of %d", seed, l.bytes, total)
		}
		for i, a := range l.storages {
			if a.offset%op.Alignment != 0 || a.offset+a.size > l.bytes {
				t.Fatalf("seed %d: storage at %d of %d bytes in %d", seed, a.offset, a.size, l.bytes)
			}
			for _, b := range l.storages[:i] {
				atOnce := a.first <= b.last && b.first <= a.last
				if atOnce && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					t.Fatalf("seed %d: %+v overlaps %+v", seed, a, b)
				}
			}
		}
	}
}

// TestRandomGraphsKeepValues follows who wrote each piece of the arena last: a step must
// find what it reads as it was written, and inputs and outputs must be left at the end.
func TestRandomGraphsKeepValues(t *testing.T) {
	shared, places := 0, 0
	eachGraph(t, func(t *testing.T, model []byte, _ *grower, _ *rand.Rand) {
		m, err := onnx.Parse(model, onnx.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := programOf(m, "", &modelconfig.Config{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.infer(p.guessShapes(1), &op.Scratch{})
		if err == nil {
			err = b.plan(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		follow(t, b)
		places += len(b.layout.storages)
		for i := range b.layout.storages {
			for k := range i {
				if b.layout.storages[i].offset == b.layout.storages[k].offset {
					shared++
				}
			}
		}
	})
	if shared == 0 && *seedFlag == 0 {
		t.Errorf("none of %d storages shares its memory with another", places)
	}
}

// follow plays the steps of a bound on tags in the place of numbers.
func follow(t *testing.T, b *bound) {
	t.Helper()
	owner := make([]*op.Value, b.layout.bytes/op.Alignment+1)
	index, root := make(map[*op.Value]int), make(map[*op.Value]*op.Value)
	for i, v := range b.values {
		index[v], root[v] = i, v
	}
	each := func(v *op.Value, visit func(tag **op.Value)) {
		if v == nil || v.Const || v.Type == tensor.Bytes {
			return
		}
		s := b.layout.storages[b.layout.of[index[v]]]
		for at := s.offset / op.Alignment; at*op.Alignment < s.offset+s.size; at++ {
			visit(&owner[at])
		}
	}
	write := func(v *op.Value) { each(v, func(tag **op.Value) { *tag = v }) }
	read := func(v *op.Value, who string) {
		each(v, func(tag **op.Value) {
			if *tag != root[v] {
				t.Fatalf("%s reads %s, whose place belongs to another value", who, v.Name)
			}
		})
	}
	for _, v := range b.program.inputs {
		write(b.values[v])
	}
	for i := range b.steps {
		s := &b.steps[i]
		for _, v := range s.in {
			read(v, s.node.Title())
		}
		if isView(s.node.operator) && !s.in[0].Const {
			root[s.out[0]] = root[s.in[0]]
			continue
		}
		for _, v := range s.out {
			write(v)
		}
	}
	for _, v := range append(b.program.inputs[:len(b.program.inputs):len(b.program.inputs)], b.program.outputs...) {
		read(b.values[v], "the caller")
	}
}
