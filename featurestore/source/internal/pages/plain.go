// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/bits"
	"strconv"

	"github.com/parquet-go/parquet-go/format"
)

// plain decodes n values that stand one behind the other.
func (l *Leaf) plain(v *Values, body []byte, n int, s *Scratch) error {
	if size := l.size(); size > 0 {
		if len(body) < n*size {
			return io.ErrUnexpectedEOF
		}
		return l.fixed(v, body[:n*size], n)
	}
	if l.physical == format.Boolean {
		if len(body) < (n+7)/8 {
			return io.ErrUnexpectedEOF
		}
		s.bits = grow(s.bits, n)
		unpackBits(s.bits, body)
		numbers(v.Numbers, s.bits)
		return nil
	}
	ends, bytes, err := plainBytes(s.textEnds[:0], body, n, s)
	return l.joined(v, ends, bytes, err, s)
}

func numbers(dst []float64, bits []byte) {
	for i, b := range bits {
		dst[i] = float64(b)
	}
}

// bools decodes truth values in runs, behind the length of all.
func bools(dst []float64, body []byte, n int, s *Scratch) error {
	if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
		return io.ErrUnexpectedEOF
	}
	s.bits = grow(s.bits, n)
	if _, err := hybridBits(s.bits, body[4:4+binary.LittleEndian.Uint32(body)]); err != nil {
		return err
	}
	numbers(dst, s.bits)
	return nil
}

// fixed decodes values of fixed length; body has exactly n.
func (l *Leaf) fixed(v *Values, body []byte, n int) error {
	switch l.physical {
	case format.Int32:
		ints32(v.ints(l, n), body, l.logical == unsignedValue)
		l.meaning(v, n)
	case format.Int64:
		ints64(v.ints(l, n), body)
		l.meaning(v, n)
	case format.Int96:
		ints96(v.Ints[:n], body)
	case format.Float:
		for i := range n {
			v.Numbers[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:])))
		}
	case format.Double:
		for i := range n {
			v.Numbers[i] = math.Float64frombits(binary.LittleEndian.Uint64(body[8*i:]))
		}
	case format.FixedLenByteArray:
		for i := range n {
			l.bytes(v, i, body[i*l.length:(i+1)*l.length])
		}
	}
	return nil
}

// ints is where whole numbers are decoded to, also those that are decimals at last.
func (v *Values) ints(l *Leaf, n int) []int64 {
	if l.logical == decimalValue {
		v.Ints = grow(v.Ints, n)
	}
	return v.Ints[:n]
}

func ints32(dst []int64, body []byte, unsigned bool) {
	for i := range dst {
		dst[i] = int64(int32(binary.LittleEndian.Uint32(body[4*i:])))
	}
	if unsigned {
		for i := range dst {
			dst[i] = int64(uint32(dst[i]))
		}
	}
}

func ints64(dst []int64, body []byte) {
	for i := range dst {
		dst[i] = int64(binary.LittleEndian.Uint64(body[8*i:]))
	}
}

const (
	dayMicros  = 86_400_000_000
	julianUnix = 2_440_588 // the Julian day of 1970-01-01
)

// ints96 decodes the legacy time: nanoseconds of the day, then the Julian day.
func ints96(dst []int64, body []byte) {
	for i := range dst {
		nanos := int64(binary.LittleEndian.Uint64(body[12*i:]))
		day := int64(binary.LittleEndian.Uint32(body[12*i+8:])) - julianUnix
		dst[i] = BadTime
		if micros, ok := multiply(day, dayMicros); ok && nanos >= 0 && nanos < 1000*dayMicros {
			dst[i] = micros + nanos/1000
		}
	}
}

// multiply reports whether the product fits, with a day to spare.
func multiply(a, b int64) (int64, bool) {
	high, low := bits.Mul64(uint64(max(a, -a)), uint64(b))
	if high != 0 || low > math.MaxInt64-dayMicros || a == math.MinInt64 {
		return 0, false
	}
	return a * b, true
}

// meaning turns whole numbers into times or decimals where they are that.
func (l *Leaf) meaning(v *Values, n int) {
	switch {
	case l.logical == dateValue:
		scaleUp(v.Ints[:n], dayMicros)
	case l.logical == timeValue && l.perMicro < 0:
		scaleUp(v.Ints[:n], -l.perMicro)
	case l.logical == timeValue && l.perMicro > 1:
		for i, x := range v.Ints[:n] {
			q := x / l.perMicro
			if x%l.perMicro < 0 {
				q-- // down, also before 1970
			}
			v.Ints[i] = q
		}
	case l.logical == decimalValue:
		for i, x := range v.Ints[:n] {
			v.Numbers[i] = decimal(x, l.scale)
		}
		v.Ints = v.Ints[:0]
	}
}

func scaleUp(ints []int64, by int64) {
	for i, x := range ints {
		micros, ok := multiply(x, by)
		if !ok {
			micros = BadTime
		}
		ints[i] = micros
	}
}

// powers of ten that a float64 holds exactly.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// decimal is x * 10^-scale, rounded once.
func decimal(x int64, scale int) float64 {
	if x > -1<<53 && x < 1<<53 && scale < len(powers) {
		return float64(x) / powers[scale]
	}
	return parseDecimal(strconv.FormatInt(x, 10), scale)
}

func parseDecimal(digits string, scale int) float64 {
	f, err := strconv.ParseFloat(digits+"e-"+strconv.Itoa(scale), 64)
	if err != nil && !math.IsInf(f, 0) {
		return math.NaN() // digits are digits, so this does not happen
	}
	return f
}

// decimalBytesMax are the bytes of the widest decimals in use.
const decimalBytesMax = 32

// plainBytes finds values that each follow their length.
func plainBytes(ends []int, body []byte, n int, s *Scratch) ([]int, []byte, error) {
	joined := s.joined[:0]
	for range n {
		if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
			return nil, nil, io.ErrUnexpectedEOF
		}
		length := binary.LittleEndian.Uint32(body)
		joined = append(joined, body[4:4+length]...)
		body = body[4+length:]
		ends = append(ends, len(joined))
	}
	s.joined = joined
	return ends, joined, nil
}

// joined takes values that lie in bytes, by their ends. Texts share one string.
func (l *Leaf) joined(v *Values, ends []int, bytes []byte, err error, s *Scratch) error {
	if err != nil {
		return err
	}
	s.textEnds = ends
	if l.physical == format.FixedLenByteArray || l.logical != plainValue {
		from := 0
		for i, end := range ends {
			if l.physical == format.FixedLenByteArray && end-from != l.length {
				return fmt.Errorf("a value of %d bytes, not %d", end-from, l.length)
			}
			if end-from > decimalBytesMax {
				return fmt.Errorf("a decimal of %d bytes", end-from)
			}
			l.bytes(v, i, bytes[from:end])
			from = end
		}
		return nil
	}
	size := 0
	if len(ends) > 0 {
		size = ends[len(ends)-1]
	}
	all, from := string(bytes[:size]), 0
	for i, end := range ends {
		v.Texts[i] = all[from:end]
		from = end
	}
	return nil
}

// bytes takes a value whose meaning is in its bytes.
func (l *Leaf) bytes(v *Values, i int, b []byte) {
	switch l.logical {
	case uuidValue:
		v.Texts[i] = uuid(b)
	case halfValue:
		v.Numbers[i] = half(binary.LittleEndian.Uint16(b))
	case decimalValue:
		v.Numbers[i] = bigDecimal(b, l.scale)
	}
}

// uuid is the text form of RFC 9562.
func uuid(b []byte) string {
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// half is a float of 16 bits (IEEE 754 binary16).
func half(x uint16) float64 {
	exponent, fraction := int(x>>10&31), float64(x&1023)
	v := math.Ldexp(1024+fraction, exponent-25)
	switch exponent {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 31:
		v = math.Inf(1)
		if fraction != 0 {
			return math.NaN()
		}
	}
	if x>>15 != 0 {
		return -v
	}
	return v
}

// bigDecimal is a decimal whose digits are a big-endian number in two's complement.
func bigDecimal(b []byte, scale int) float64 {
	if len(b) <= 8 {
		var x int64
		for i, c := range b {
			if i == 0 {
				x = int64(int8(c))
				continue
			}
			x = x<<8 | int64(c)
		}
		return decimal(x, scale)
	}
	x := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return parseDecimal(x.String(), scale)
}

// deltas decodes whole numbers stored as differences.
func (l *Leaf) deltas(v *Values, body []byte, n int, s *Scratch) error {
	ints := v.ints(l, n)
	if _, err := deltas(ints, body); err != nil {
		return err
	}
	if l.physical == format.Int32 {
		for i, x := range ints {
			ints[i] = int64(int32(x))
			if l.logical == unsignedValue {
				ints[i] = int64(uint32(x))
			}
		}
	}
	l.meaning(v, n)
	return nil
}
