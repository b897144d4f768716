// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"math"
	"math/big"
	"math/bits"
)

// Sum is an exact sum of finite numbers: a fixed-point number wide enough for any of them,
// in digits of 32 bits that may be off by carries. Sums are the same in any order. The zero
// value is 0.
type Sum struct {
	// Digits are by rising weight, from 2^(32*First-1074) on. Few are in use, as the
	// numbers of a column are of a kind.
	First  int
	Digits []int64
	// Pending counts what was added since carries were last propagated.
	Pending int
	// Beyond says that a number was not finite; the sum is then NaN.
	Beyond bool
}

// pendingMax keeps digits from overflowing: each number adds less than 2^32 to a digit.
const pendingMax = 1 << 29

// Add adds a number.
func (s *Sum) Add(x float64) {
	if x == 0 {
		return
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		s.Beyond = true
		return
	}
	word := math.Float64bits(x)
	exponent, mantissa := int(word>>52&0x7ff), word&(1<<52-1)
	if exponent == 0 {
		exponent = 1
	} else {
		mantissa |= 1 << 52
	}
	at, shift := (exponent-1)/32, uint(exponent-1)%32
	s.reach(at, at+3)
	high, low := bits.Mul64(mantissa, 1<<shift)
	sign := int64(1)
	if word>>63 == 1 {
		sign = -1
	}
	d := s.Digits[at-s.First:]
	d[0] += sign * int64(low&math.MaxUint32)
	d[1] += sign * int64(low>>32)
	d[2] += sign * int64(high)
	if s.Pending++; s.Pending >= pendingMax {
		s.carry()
	}
}

// reach makes room for the digits from..to.
func (s *Sum) reach(from, to int) {
	if len(s.Digits) == 0 {
		s.First = from
	}
	low, high := min(s.First, from), max(s.First+len(s.Digits), to)
	if low == s.First && high == s.First+len(s.Digits) {
		return
	}
	digits := make([]int64, high-low)
	copy(digits[s.First-low:], s.Digits)
	s.First, s.Digits = low, digits
}

// carry makes each digit but the last less than 2^32.
func (s *Sum) carry() {
	s.reach(s.First, s.First+len(s.Digits)+1)
	for i := range len(s.Digits) - 1 {
		s.Digits[i+1] += s.Digits[i] >> 32
		s.Digits[i] &= math.MaxUint32
	}
	s.Pending = 0
	// One form for each sum: the highest digit is neither 0 nor -1, which is borrowed back.
	for top := len(s.Digits) - 1; top > 0 && (s.Digits[top] == 0 || s.Digits[top] == -1); top-- {
		s.Digits[top-1] += s.Digits[top] << 32
		s.Digits = s.Digits[:top]
	}
}

// Merge adds another sum.
func (s *Sum) Merge(o *Sum) {
	s.Beyond = s.Beyond || o.Beyond
	if len(o.Digits) == 0 {
		return
	}
	if s.Pending+o.Pending+1 >= pendingMax && len(s.Digits) > 0 {
		s.carry()
	}
	s.reach(o.First, o.First+len(o.Digits))
	for i, d := range o.Digits {
		s.Digits[o.First-s.First+i] += d
	}
	s.Pending += o.Pending + 1
}

// whole is the sum in units of 2^-1074.
func (s *Sum) whole() *big.Int {
	total := new(big.Int)
	for i := len(s.Digits) - 1; i >= 0; i-- {
		total.Lsh(total, 32)
		total.Add(total, big.NewInt(s.Digits[i]))
	}
	return total.Lsh(total, uint(32*s.First))
}

// Float is the sum, rounded once; NaN if it is Beyond.
func (s *Sum) Float() float64 {
	if s.Beyond {
		return math.NaN()
	}
	f := new(big.Float).SetInt(s.whole())
	v, _ := f.SetMantExp(f, -1074).Float64()
	return v
}

// moments are the mean and the standard deviation, from exact sums: their difference does
// not lose digits.
func moments(sum, squares *Sum, count int64) (mean, sd float64) {
	if sum.Beyond || squares.Beyond {
		return sum.Float() / float64(count), math.NaN()
	}
	n := big.NewInt(count)
	whole := sum.whole()
	rest := new(big.Int).Mul(squares.whole(), n)
	rest.Lsh(rest, 1074) // both are in units of 2^-2148 then
	rest.Sub(rest, whole.Mul(whole, whole))
	f := new(big.Float).SetInt(rest)
	variance, _ := f.SetMantExp(f, -2148).Float64()
	return sum.Float() / float64(count), math.Sqrt(math.Max(0, variance)) / float64(count)
}
