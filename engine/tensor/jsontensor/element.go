// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// element reads the next element and appends it to out.
func (p *parser) element() error {
	var err error
	switch p.datatype {
	case tensor.Bool:
		err = p.boolean()
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		err = p.unsigned()
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		err = p.signed()
	case tensor.FP16, tensor.BF16, tensor.FP32, tensor.FP64:
		err = p.float()
	case tensor.Bytes:
		err = p.text()
	default:
		err = fmt.Errorf("datatype %v has no JSON form", p.datatype)
	}
	if err != nil {
		return fmt.Errorf("element %d: %w", p.index, err)
	}
	p.index++
	return nil
}

func (p *parser) boolean() error {
	switch {
	case p.literal("true"):
		p.out = append(p.out, 1)
	case p.literal("false"):
		p.out = append(p.out, 0)
	default:
		return p.wrongKind("true or false")
	}
	return nil
}

func (p *parser) unsigned() error {
	token, err := p.integer()
	if err != nil {
		return err
	}
	size := p.datatype.Size()
	v, err := strconv.ParseUint(token, 10, 8*size)
	if err != nil { // the token is a number: it is negative or too large
		return p.outOfRange(token)
	}
	p.appendBits(v, size)
	return nil
}

func (p *parser) signed() error {
	token, err := p.integer()
	if err != nil {
		return err
	}
	size := p.datatype.Size()
	v, err := strconv.ParseInt(token, 10, 8*size)
	if err != nil {
		return p.outOfRange(token)
	}
	p.appendBits(uint64(v), size)
	return nil
}

// integer reads a number without fraction and exponent.
func (p *parser) integer() (string, error) {
	token, whole, err := p.number()
	if err == nil && !whole {
		err = fmt.Errorf("%s is not written as an integer, want one for %v", excerpt(token), p.datatype)
	}
	return token, err
}

func (p *parser) float() error {
	v, err := p.floatValue()
	if err != nil {
		return err
	}
	bits := uint64(0)
	switch p.datatype {
	case tensor.FP32:
		bits = uint64(math.Float32bits(float32(v)))
	case tensor.FP64:
		bits = math.Float64bits(v)
	case tensor.FP16:
		bits, err = p.halfBits(v, formatFP16)
	case tensor.BF16:
		bits, err = p.halfBits(v, formatBF16)
	}
	p.appendBits(bits, p.datatype.Size())
	return err
}

func (p *parser) halfBits(v float64, format halfFormat) (uint64, error) {
	bits, ok := format.encode(v)
	if !ok {
		return 0, p.outOfRange(strconv.FormatFloat(v, 'g', -1, 64))
	}
	return uint64(bits), nil
}

// floatValue reads a number, or the name of one that is not finite. It is rounded
// to float32 for FP32, where rounding to float64 first could change the result.
func (p *parser) floatValue() (float64, error) {
	switch {
	case p.peek() != '"':
	case p.literal(jsonNaN):
		return math.NaN(), nil
	case p.literal(jsonInfinity):
		return math.Inf(1), nil
	case p.literal(jsonNegInfinity):
		return math.Inf(-1), nil
	}
	token, _, err := p.number()
	if err != nil {
		return 0, err
	}
	precision := 64
	if p.datatype == tensor.FP32 {
		precision = 32
	}
	v, err := strconv.ParseFloat(token, precision)
	if errors.Is(err, strconv.ErrRange) {
		return 0, p.outOfRange(token)
	}
	return v, err
}

// appendBits appends the low bytes of v.
func (p *parser) appendBits(v uint64, size int) {
	switch size {
	case 1:
		p.out = append(p.out, byte(v))
	case 2:
		p.out = binary.LittleEndian.AppendUint16(p.out, uint16(v))
	case 4:
		p.out = binary.LittleEndian.AppendUint32(p.out, uint32(v))
	default:
		p.out = binary.LittleEndian.AppendUint64(p.out, v)
	}
}

// wrongKind reports that something else than want comes next.
func (p *parser) wrongKind(want string) error {
	kind := ""
	switch p.peek() {
	case '"':
		kind = "string"
	case 't', 'f':
		kind = "boolean"
	case 'n':
		kind = "null"
	case '{':
		kind = "object"
	case '[':
		kind = "array"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		kind = "number"
	default:
		return p.unexpected(want)
	}
	return fmt.Errorf("%s at offset %d, want %s for %v", kind, p.at, want, p.datatype)
}

func (p *parser) outOfRange(token string) error {
	return fmt.Errorf("%s is out of range for %v", excerpt(token), p.datatype)
}
