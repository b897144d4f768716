// SPDX-License-Identifier: Apache-2.0

package jsontensor

import "math"

// halfFormat is a floating-point format of 16 bits: a sign, an exponent, a fraction.
type halfFormat struct{ exponentBits, fractionBits int }

var (
	formatFP16 = halfFormat{exponentBits: 5, fractionBits: 10}
	formatBF16 = halfFormat{exponentBits: 8, fractionBits: 7}
)

// infinity is the encoding of positive infinity. All below it are finite.
func (f halfFormat) infinity() uint16 {
	return (1<<f.exponentBits - 1) << f.fractionBits
}

// encode rounds v to the nearest value of the format, ties to even. ok is false
// where v is finite and its nearest value is not.
func (f halfFormat) encode(v float64) (encoded uint16, ok bool) {
	sign := uint16(math.Float64bits(v)>>48) & 0x8000
	switch {
	case v == 0:
		return sign, true
	case math.IsInf(v, 0):
		return sign | f.infinity(), true
	case v != v:
		return sign | f.infinity() | 1<<(f.fractionBits-1), true
	}
	// Below the least normal exponent the spacing of values stays the same.
	exponentMin := 2 - 1<<(f.exponentBits-1)
	_, exponent := math.Frexp(math.Abs(v))
	exponent = max(exponent-1, exponentMin)
	units := int(math.RoundToEven(math.Ldexp(math.Abs(v), f.fractionBits-exponent)))
	// The leading one of a normal value adds the 1 that its exponent field starts
	// from, and rounding up to the next power of two carries into it.
	magnitude := (exponent-exponentMin)<<f.fractionBits + units
	if magnitude >= int(f.infinity()) {
		return sign | f.infinity(), false
	}
	return sign | uint16(magnitude), true
}
