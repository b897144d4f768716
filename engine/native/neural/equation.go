// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// label is an index of an Einsum: a letter, or a dimension of the ellipsis, which are
// ellipsisLabel and on, counted from the last one.
type label int

const (
	ellipsisLabel label = 256
	// ellipsisTerm stands for all of them until shapes are known.
	ellipsisTerm label = -1
	// labelsMax bounds how deep loops are.
	labelsMax = 64
)

// equation is an Einsum's terms.
type equation struct {
	inputs [][]label
	output []label
}

func parseEquation(text string) (*equation, error) {
	text = strings.ReplaceAll(text, " ", "")
	left, right, explicit := strings.Cut(text, "->")
	e := &equation{}
	for _, term := range strings.Split(left, ",") {
		labels, err := parseTerm(term)
		if err != nil {
			return nil, err
		}
		e.inputs = append(e.inputs, labels)
	}
	var err error
	if explicit {
		e.output, err = parseTerm(right)
	} else {
		e.output = e.implied()
	}
	if err != nil {
		return nil, err
	}
	return e, e.checkOutput()
}

func parseTerm(term string) ([]label, error) {
	var list []label
	for i := 0; i < len(term); i++ {
		c := term[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			list = append(list, label(c))
		case strings.HasPrefix(term[i:], "...") && !slices.Contains(list, ellipsisTerm):
			list = append(list, ellipsisTerm)
			i += 2
		default:
			return nil, op.Invalid("equation with the term %q", term)
		}
	}
	if len(list) > labelsMax {
		return nil, op.NotCovered("a term of %d letters", len(list))
	}
	return list, nil
}

// implied is the output of an equation that does not name one: the ellipsis, then the
// letters that are there once, in their order.
func (e *equation) implied() []label {
	counts := make(map[label]int)
	for _, term := range e.inputs {
		for _, l := range term {
			counts[l]++
		}
	}
	var list []label
	for l, n := range counts {
		if n == 1 && l != ellipsisTerm {
			list = append(list, l)
		}
	}
	slices.Sort(list)
	if counts[ellipsisTerm] > 0 {
		list = slices.Insert(list, 0, ellipsisTerm)
	}
	return list
}

func (e *equation) checkOutput() error {
	for i, l := range e.output {
		if slices.Contains(e.output[:i], l) {
			return op.Invalid("an output that names an index twice")
		}
		if l == ellipsisTerm {
			continue
		}
		if !slices.ContainsFunc(e.inputs, func(term []label) bool { return slices.Contains(term, l) }) {
			return op.Invalid("an output with the index %q that no input has", rune(l))
		}
	}
	return nil
}

// contraction is an equation on inputs of certain shapes: loops over labels, of which
// the first are the output's, with the strides of every input along each.
type contraction struct {
	labels  []label
	extents []int
	strides [][]int // by input, then label
	outputs int     // how many of the labels are the output's
	shape   tensor.Shape
	// has says which inputs name a label.
	has [][]bool
}

func (e *equation) contract(in []*op.Value) (*contraction, error) {
	if len(in) != len(e.inputs) {
		return nil, op.Invalid("%d inputs for an equation of %d", len(in), len(e.inputs))
	}
	c := &contraction{}
	numbers := make(map[label]int)
	add := func(l label) int {
		i, ok := numbers[l]
		if !ok {
			i = len(c.labels)
			numbers[l] = i
			c.labels, c.extents = append(c.labels, l), append(c.extents, 1)
		}
		return i
	}
	terms := make([][]label, len(in))
	for i, term := range e.inputs {
		var err error
		if terms[i], err = expand(term, in[i].Shape); err != nil {
			return nil, err
		}
	}
	for _, l := range expandTo(e.output, ellipsisRank(terms)) {
		add(l)
	}
	c.outputs = len(c.labels)
	for i, term := range terms {
		for axis, l := range term {
			number := add(l)
			d := int(in[i].Shape[axis])
			if c.extents[number] != 1 && d != 1 && c.extents[number] != d {
				return nil, op.Invalid("extents %d and %d of one index", c.extents[number], d)
			}
			if d != 1 {
				c.extents[number] = d
			}
		}
	}
	if len(c.labels) > labelsMax {
		return nil, op.NotCovered("an equation of %d indices", len(c.labels))
	}
	c.place(in, terms, numbers)
	return c, nil
}

// place finds the strides and the output's shape.
func (c *contraction) place(in []*op.Value, terms [][]label, numbers map[label]int) {
	for i, term := range terms {
		steps, has := make([]int, len(c.labels)), make([]bool, len(c.labels))
		step := 1
		for axis := len(term) - 1; axis >= 0; axis-- {
			number := numbers[term[axis]]
			has[number] = true
			if in[i].Shape[axis] != 1 {
				steps[number] += step // twice for a diagonal
			}
			step *= int(in[i].Shape[axis])
		}
		c.strides, c.has = append(c.strides, steps), append(c.has, has)
	}
	for _, d := range c.extents[:c.outputs] {
		c.shape = append(c.shape, int64(d))
	}
}

// expand replaces the ellipsis of a term by what it stands for in a shape.
func expand(term []label, shape tensor.Shape) ([]label, error) {
	rest := len(shape) - len(term)
	if slices.Contains(term, ellipsisTerm) {
		rest++
	}
	if rest < 0 || (rest > 0 && !slices.Contains(term, ellipsisTerm)) || rest > labelsMax {
		return nil, op.Invalid("an input of shape %v for %d indices", shape, len(term))
	}
	return expandTo(term, rest), nil
}

// expandTo replaces the ellipsis by so many dimensions.
func expandTo(term []label, rank int) []label {
	at := slices.Index(term, ellipsisTerm)
	if at < 0 {
		return term
	}
	list := slices.Clone(term[:at])
	for k := rank - 1; k >= 0; k-- {
		list = append(list, ellipsisLabel+label(k))
	}
	return append(list, term[at+1:]...)
}

// ellipsisRank is the most dimensions that any ellipsis stands for.
func ellipsisRank(terms [][]label) int {
	rank := 0
	for _, term := range terms {
		for _, l := range term {
			rank = max(rank, int(l-ellipsisLabel)+1)
		}
	}
	return rank
}
