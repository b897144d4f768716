// SPDX-License-Identifier: Apache-2.0

package native

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// arenaBytesMax bounds the memory of one run, whose extents may come from a request.
const arenaBytesMax = 1 << 32

// storage is memory that one value lives in, or several that are views of each other
// or take each other's place.
type storage struct {
	size int
	// first and last are the steps between which the memory is in use. Inputs are in
	// use from before the first step, inputs and outputs to the end.
	first, last int
	offset      int
	// given is memory outside the arena, nil where there is none.
	given []byte
}

// layout says where each value of a bound program lies. Values that are never in use
// at the same time share memory.
type layout struct {
	bytes    int
	storages []storage
	// of is each value's storage, none for constants and strings.
	of []int
	// index finds values while they are laid out.
	index map[*op.Value]int
}

const none = -1

// plan lays out the values of an inferred program. given holds, by value, the memory
// of inputs and outputs that is not to be in the arena.
func (b *bound) plan(given map[int][]byte) error {
	l := &b.layout
	b.values, b.inlined = append(b.values, b.inlined...), nil
	l.of = slices.Repeat([]int{none}, len(b.values))
	l.index = make(map[*op.Value]int, len(b.values))
	for i, v := range b.values {
		if v != nil {
			l.index[v] = i
		}
	}
	l.addConstants(b)
	lastUse := l.lastUses(b)
	for _, v := range b.program.inputs {
		l.add(v, b.values[v], none, lastUse[v])
	}
	for _, v := range b.captured {
		l.add(v, b.values[v], none, lastUse[v])
	}
	for at := range b.steps {
		l.step(&b.steps[at], at, lastUse)
	}
	for v, memory := range given {
		if s := l.of[v]; s != none {
			l.storages[s].given = memory
		}
	}
	l.place()
	l.index = nil
	if bytes := l.bytes + b.textBytes(); bytes > arenaBytesMax {
		return op.NotCovered("a run that takes %d bytes, most of them for %s", bytes, b.largest())
	}
	return nil
}

// textBytes is the memory of the lists of all BYTES values, which are not in the arena.
func (b *bound) textBytes() int {
	n := 0
	for _, v := range b.values {
		if v != nil && !v.Const && v.Type == tensor.Bytes {
			n += v.Len() * elementBytes(v)
		}
	}
	return n
}

// addConstants lists the constants that only an operator which expanded has made.
func (l *layout) addConstants(b *bound) {
	for i := range b.steps {
		for _, v := range b.steps[i].in {
			if v == nil {
				continue
			}
			if _, listed := l.index[v]; !listed {
				l.index[v] = len(b.values)
				b.values, l.of = append(b.values, v), append(l.of, none)
			}
		}
	}
}

// largest names the value that takes the most memory.
func (b *bound) largest() string {
	name, most := "", -1
	for i := range b.steps {
		for _, v := range b.steps[i].out {
			if v != nil && v.Len()*elementBytes(v) > most {
				name, most = v.Name, v.Len()*elementBytes(v)
			}
		}
	}
	return name
}

// lastUses is, for each value, the last step that reads it or a view of it.
func (l *layout) lastUses(b *bound) []int {
	last := slices.Repeat([]int{none}, len(b.values))
	for _, v := range slices.Concat(b.program.inputs, b.program.outputs, b.captured) {
		last[v] = len(b.steps)
	}
	for at := len(b.steps) - 1; at >= 0; at-- {
		s := &b.steps[at]
		for i, v := range s.in {
			if v == nil {
				continue
			}
			use := at
			if i == 0 && isView(s.node.operator) {
				use = max(use, last[l.index[s.out[0]]])
			}
			last[l.index[v]] = max(last[l.index[v]], use)
		}
	}
	return last
}

// add gives a value a storage of its own.
func (l *layout) add(index int, v *op.Value, first, last int) {
	if v == nil || v.Const || v.Type == tensor.Bytes || l.of[index] != none {
		return
	}
	l.of[index] = len(l.storages)
	l.storages = append(l.storages, storage{size: v.Len() * v.Type.Size(), first: first, last: max(first, last)})
}

// step gives the outputs of a step their storages.
func (l *layout) step(s *step, at int, lastUse []int) {
	for i, v := range s.out {
		if v == nil {
			continue
		}
		index := l.index[v]
		if i == 0 {
			if from := l.takesOver(s, at); from != none {
				l.of[index] = from
				l.storages[from].last = max(l.storages[from].last, lastUse[index])
				continue
			}
		}
		l.add(index, v, at, lastUse[index])
	}
}

// takesOver is the storage that the first output of a step shares with an input.
func (l *layout) takesOver(s *step, at int) int {
	if isView(s.node.operator) {
		return l.of[l.index[s.in[0]]]
	}
	in, ok := s.node.operator.(op.InPlacer)
	if !ok || s.out[0].Type == tensor.Bytes {
		return none
	}
	for _, i := range in.InPlace() {
		if i >= len(s.in) || s.in[i] == nil || s.in[i].Type != s.out[0].Type || s.in[i].Len() != s.out[0].Len() {
			continue
		}
		from := l.of[l.index[s.in[i]]]
		if from != none && l.storages[from].last == at && l.storages[from].size == s.out[0].Len()*s.out[0].Type.Size() {
			return from
		}
	}
	return none
}

// place gives the storages their offsets: in order of their first use, each at the
// lowest offset where nothing that is in use at the same time lies.
func (l *layout) place() {
	type span struct{ from, to, last int }
	var used []span // by offset
	for i := range l.storages {
		s := &l.storages[i]
		if s.given != nil {
			continue
		}
		size := (max(s.size, 1) + op.Alignment - 1) / op.Alignment * op.Alignment
		used = slices.DeleteFunc(used, func(u span) bool { return u.last < s.first })
		at, offset := 0, 0
		for at < len(used) && used[at].from-offset < size {
			offset = used[at].to
			at++
		}
		s.offset = offset
		used = slices.Insert(used, at, span{offset, offset + size, s.last})
		l.bytes = max(l.bytes, offset+size)
	}
}

// attach points the values at their memory.
func (l *layout) attach(b *bound, arena []byte) {
	for i, v := range b.values {
		switch {
		case v == nil || v.Const || v.Sequence || slices.Contains(b.captured, i):
		case v.Type == tensor.Bytes:
			v.Strings = make([][]byte, v.Len())
		case l.of[i] != none:
			v.Data = l.storages[l.of[i]].memory(arena)
		}
	}
}

func (s *storage) memory(arena []byte) []byte {
	if s.given != nil {
		return s.given
	}
	return arena[s.offset : s.offset+s.size : s.offset+s.size]
}
