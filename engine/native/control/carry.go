// SPDX-License-Identifier: Apache-2.0

package control

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// fresh makes values like those given, for the inputs of a routine.
func fresh(like []*op.Value) ([]*op.Value, error) {
	list := make([]*op.Value, len(like))
	for i, v := range like {
		switch {
		case v == nil:
			return nil, op.Invalid("state %d is left out", i)
		case v.Sequence:
			return nil, op.NotCovered("state %d, a sequence of unknown length", i)
		case v.Type == tensor.Bytes:
			return nil, op.NotCovered("state %d of strings", i)
		}
		list[i] = &op.Value{Name: v.Name}
		if err := list[i].Set(v.Type, v.Shape...); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// checkStates reports states that a turn leaves with another type or shape.
func checkStates(before, after []*op.Value) error {
	for i, v := range before {
		if after[i].Sequence || after[i].Type != v.Type || !slices.Equal(after[i].Shape, v.Shape) {
			return op.NotCovered("state %d, which is %s%v before a turn and %s%v after it",
				i, v.Type, v.Shape, after[i].Type, after[i].Shape)
		}
	}
	return nil
}

// checkScans reports outputs of a turn that cannot be put together.
func checkScans(list []*op.Value) error {
	for i, v := range list {
		if v.Sequence || v.Type == tensor.Bytes {
			return op.NotCovered("scan output %d of strings or sequences", i)
		}
	}
	return nil
}

// carry takes the states from the end of a turn to the begin of the next.
type carry struct {
	moves []move
	// staged are copied twice: they lie where other states will be.
	staged []move
}

// move is a copy of a value, by way of another where that is set.
type move struct{ dst, by, src *op.Value }

// newCarry plans the copies, of values that have their memory.
func newCarry(args, results []*op.Value) carry {
	var c carry
	for i, src := range results {
		switch {
		case sameMemory(src, args[i]):
		case slices.ContainsFunc(args, func(v *op.Value) bool { return sameMemory(v, src) }):
			by := &op.Value{Type: src.Type, Shape: src.Shape}
			by.Allocate()
			c.staged = append(c.staged, move{args[i], by, src})
		default:
			c.moves = append(c.moves, move{dst: args[i], src: src})
		}
	}
	return c
}

// sameMemory reports whether two values begin at the same place, as views do.
func sameMemory(a, b *op.Value) bool {
	return len(a.Data) > 0 && len(b.Data) > 0 && &a.Data[0] == &b.Data[0]
}

func (c *carry) turn() {
	for i := range c.staged {
		copyAll(c.staged[i].by, c.staged[i].src)
	}
	for i := range c.moves {
		copyAll(c.moves[i].dst, c.moves[i].src)
	}
	for i := range c.staged {
		copyAll(c.staged[i].dst, c.staged[i].by)
	}
}

func copyList(dst, src []*op.Value) {
	for i, v := range dst {
		copyAll(v, src[i])
	}
}
