// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// depthMax bounds the nesting of data. Tensors of more dimensions are sent flat.
const depthMax = 32

// Parse appends the elements of a data array to dst in the layout of the wire.
// They must be as many as the shape has, in one flat array or nested exactly as
// the shape. Memory grows with the length of data, not with what shape claims.
// On an error, which names the element at fault, the result is nil.
func Parse(data json.RawMessage, datatype tensor.Datatype, shape tensor.Shape, dst []byte) ([]byte, error) {
	elements, err := shape.Elements()
	if err != nil {
		return nil, fmt.Errorf("shape %v: %w", shape, err)
	}
	p := parser{data: data, datatype: datatype, shape: shape}
	dims := []int64{elements}
	if len(shape) > 1 && p.startsNested() {
		p.nested, dims = true, shape
	}
	if len(dims) > depthMax {
		return nil, fmt.Errorf("nested data of %d dimensions, at most %d are supported: send it flat", len(dims), depthMax)
	}
	p.out = slices.Grow(dst, p.sizeHint(elements))
	if err := p.array(dims); err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.data) {
		return nil, p.unexpected("the end")
	}
	return p.out, nil
}

// parser reads one data array.
type parser struct {
	data     []byte
	at       int // what is before is read
	datatype tensor.Datatype
	shape    tensor.Shape
	nested   bool
	index    int64 // of the next element, in row-major order
	out      []byte
}

// startsNested looks ahead whether the first item of the array is itself an array.
func (p parser) startsNested() bool {
	for range 2 {
		if p.space(); p.peek() != '[' {
			return false
		}
		p.at++
	}
	return true
}

// sizeHint is the size of the elements on the wire where it can be known. It is
// bounded by the length of data, in which each element takes two bytes or more.
func (p *parser) sizeHint(elements int64) int {
	n := int(min(elements, int64(len(p.data)/2)))
	if p.datatype == tensor.Bytes {
		const lengthPrefix = 4
		return n*lengthPrefix + len(p.data)
	}
	return n * p.datatype.Size()
}

// array reads an array of arrays, as deep as dims, with elements in the innermost.
func (p *parser) array(dims []int64) error {
	if p.space(); p.peek() != '[' {
		return p.unexpected("'['")
	}
	p.at++
	for n := int64(0); ; n++ {
		more, err := p.more(n == 0)
		if err != nil {
			return err
		}
		if more != (n < dims[0]) {
			return p.extentError(n, more, dims)
		}
		if !more {
			return nil
		}
		if len(dims) > 1 {
			err = p.array(dims[1:])
		} else {
			err = p.element()
		}
		if err != nil {
			return err
		}
	}
}

// more goes to the next item of an array, or past the array's end.
func (p *parser) more(first bool) (bool, error) {
	p.space()
	switch c := p.peek(); {
	case c == ']':
		p.at++
		return false, nil
	case first && c != 0:
		return true, nil
	case c == ',':
		p.at++
		p.space()
		return true, nil
	}
	return false, p.unexpected("',' or ']'")
}

// extentError reports an array that ends after n items, or goes on after them,
// against its dims.
func (p *parser) extentError(n int64, more bool, dims []int64) error {
	found := fmt.Sprintf("%d", n)
	if more {
		found = fmt.Sprintf("more than %d", n)
	}
	if !p.nested {
		return fmt.Errorf("%s elements, want %d for shape %v", found, dims[0], p.shape)
	}
	return fmt.Errorf("array of %s items before element %d, want %d for dimension %d of shape %v",
		found, p.index, dims[0], len(p.shape)-len(dims), p.shape)
}

// space skips white space.
func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end. No token begins with a byte 0.
func (p *parser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *parser) unexpected(want string) error {
	if p.at >= len(p.data) {
		return fmt.Errorf("data ends at offset %d, want %s", p.at, want)
	}
	return fmt.Errorf("%q at offset %d, want %s", p.data[p.at], p.at, want)
}
