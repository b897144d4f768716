// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

// conversion makes 8 elements of 8; both are in as many registers as they fill, the
// bytes of an element apart.
type conversion struct {
	name      string
	from, to  string
	bytesFrom int
	bytesTo   int
	convert   func(f *neon.Func, x []neon.Vec) []neon.Vec
}

var conversions = []conversion{
	{"f32ToF16", "float32", "uint16", 4, 2, narrowPair(neon.FCVTNH, neon.FCVTNHUpper)},
	{"f16ToF32", "uint16", "float32", 2, 4, widenOne(neon.FCVTLH, neon.FCVTLHUpper)},
	{"f32ToBF16", "float32", "uint16", 4, 2, toBF16},
	{"bf16ToF32", "uint16", "float32", 2, 4, fromBF16},
	{"int32ToF32", "int32", "float32", 4, 4, each(neon.SCVTF)},
	{"uint8ToF32", "uint8", "float32", 1, 4, fromBytes(neon.UXTL8H, neon.UXTL4S, neon.UXTL4SUpper)},
	{"int8ToF32", "int8", "float32", 1, 4, fromBytes(neon.SXTL8H, neon.SXTL4S, neon.SXTL4SUpper)},
	{"f32ToInt64", "float32", "int64", 4, 8, toInt64},
	{"f32ToInt32", "float32", "int32", 4, 4, toInt32},
	{"boolToF32", "uint8", "float32", 1, 4, fromBool},
	{"f32ToBool", "float32", "uint8", 4, 1, toBool},
	{"f64ToF32", "float64", "float32", 8, 4, narrowPair(neon.FCVTN, neon.FCVTNUpper)},
	{"f32ToF64", "float32", "float64", 4, 8, widenOne(neon.FCVTL, neon.FCVTLUpper)},
	{"int32ToInt64", "int32", "int64", 4, 8, widenOne(neon.SXTL2D, neon.SXTL2DUpper)},
	{"int64ToInt32", "int64", "int32", 8, 4, narrowPair(neon.XTN2S, neon.XTN4S)},
}

func writeConversions(f *neon.File) {
	for _, c := range conversions {
		c.write(f)
	}
}

// write writes a kernel for a multiple of 8 elements.
func (c conversion) write(f *neon.File) {
	signature := strings.NewReplacer("TO", c.to, "FROM", c.from).Replace("func(dst *TO, src *FROM, n int)")
	f.Func(c.name+"NEON", signature, "converts n elements, a multiple of 8.", func(f *neon.Func) {
		f.Table()
		dst, src, n := f.Arg("dst"), f.Arg("src"), f.Arg("n")
		f.GenImm("SUBS", n, n, 8)
		f.Branch("LT", "done")
		f.Label("loop")
		x := f.Vecs((c.bytesFrom + 1) / 2)
		switch c.bytesFrom {
		case 1:
			f.LoadDouble(x[0], src, 0)
		default:
			for i := range x {
				f.Load(x[i], src, i*vectorBytes)
			}
		}
		y := c.convert(f, x)
		switch c.bytesTo {
		case 1:
			f.StoreDouble(y[0], dst, 0)
		default:
			for i := range y {
				f.Store(y[i], dst, i*vectorBytes)
			}
		}
		f.GenImm("ADD", src, src, int64(8*c.bytesFrom))
		f.GenImm("ADD", dst, dst, int64(8*c.bytesTo))
		f.GenImm("SUBS", n, n, 8)
		f.Branch("GE", "loop")
		f.Label("done")
		f.Return()
	})
}

// each applies one instruction.
func each(op neon.Op) func(f *neon.Func, x []neon.Vec) []neon.Vec {
	return func(f *neon.Func, x []neon.Vec) []neon.Vec {
		for _, v := range x {
			f.Do(op, v, v)
		}
		return x
	}
}

// narrowPair makes one register of two: the lower half by one instruction, then the
// upper half.
func narrowPair(lower, upper neon.Op) func(f *neon.Func, x []neon.Vec) []neon.Vec {
	return func(f *neon.Func, x []neon.Vec) (out []neon.Vec) {
		for i := 0; i < len(x); i += 2 {
			y := f.Vec()
			f.Do(lower, y, x[i])
			f.Do(upper, y, x[i+1])
			out = append(out, y)
		}
		return out
	}
}

// widenOne makes two registers of one.
func widenOne(lower, upper neon.Op) func(f *neon.Func, x []neon.Vec) []neon.Vec {
	return func(f *neon.Func, x []neon.Vec) (out []neon.Vec) {
		for _, v := range x {
			y := f.Vecs(2)
			f.Do(lower, y[0], v)
			f.Do(upper, y[1], v)
			out = append(out, y...)
		}
		return out
	}
}

// toBF16 adds half a unit less one, and the last bit for ties; of NaN it keeps the
// upper half and makes it quiet.
func toBF16(f *neon.Func, x []neon.Vec) []neon.Vec {
	for _, v := range x {
		number, last, quiet := f.Vec(), f.Vec(), f.Vec()
		f.Do(neon.FCMEQ, number, v, v)
		f.Do(neon.ORR, quiet, v, f.Constant(neon.Words(0x400000)))
		f.ShiftRight(last, v, 32, 16)
		f.Do(neon.AND, last, last, f.Constant(neon.Words(1)))
		f.Do(neon.ADD, last, last, f.Constant(neon.Words(0x7fff)))
		f.Do(neon.ADD, v, v, last)
		f.Do(neon.BIF, v, quiet, number)
	}
	out := f.Vec()
	f.Do(neon.UZP2H, out, x[0], x[1])
	return []neon.Vec{out}
}

func fromBF16(f *neon.Func, x []neon.Vec) []neon.Vec {
	zero, y := f.Vec(), f.Vecs(2)
	f.Zero(zero)
	f.Do(neon.ZIP1H, y[0], zero, x[0])
	f.Do(neon.ZIP2H, y[1], zero, x[0])
	return y
}

func fromBytes(to16, lower, upper neon.Op) func(f *neon.Func, x []neon.Vec) []neon.Vec {
	return func(f *neon.Func, x []neon.Vec) []neon.Vec {
		f.Do(to16, x[0], x[0])
		y := widenOne(lower, upper)(f, x)
		return each(neon.SCVTF)(f, y)
	}
}

func fromBool(f *neon.Func, x []neon.Vec) []neon.Vec {
	y := fromBytes(neon.UXTL8H, neon.UXTL4S, neon.UXTL4SUpper)(f, x)
	zero := f.Vec()
	f.Zero(zero)
	for _, v := range y {
		f.Do(neon.FCMGT, v, v, zero)
		f.Do(neon.AND, v, v, f.Constant(neon.Floats(1)))
	}
	return y
}

func toBool(f *neon.Func, x []neon.Vec) []neon.Vec {
	zero := f.Vec()
	f.Zero(zero)
	for _, v := range x {
		f.Do(neon.FCMEQ, v, v, zero)
	}
	y := narrowPair(neon.XTN4H, neon.XTN8H)(f, x)
	f.Do(neon.XTN8B, y[0], y[0])
	f.Do(neon.BIC, y[0], f.Constant(neon.Words(0x01010101)), y[0])
	return y
}

// toInt32 replaces what is too large, and NaN, by the smallest integer; what is too
// small becomes it anyway.
func toInt32(f *neon.Func, x []neon.Vec) []neon.Vec {
	for _, v := range x {
		fits, whole := f.Vec(), f.Vec()
		f.Do(neon.FCMGT, fits, f.Constant(neon.Floats(1<<31)), v)
		f.Do(neon.FCVTZS, whole, v)
		f.Do(neon.BSL, fits, whole, f.Constant(neon.Words(1<<31)))
		f.Copy(v, fits)
	}
	return x
}

// toInt64 goes by way of float64.
func toInt64(f *neon.Func, x []neon.Vec) []neon.Vec {
	y := widenOne(neon.FCVTL, neon.FCVTLUpper)(f, x)
	for _, v := range y {
		fits, whole := f.Vec(), f.Vec()
		f.Do(neon.FCMGT2D, fits, f.Constant([4]uint32{0, 0x43e00000, 0, 0x43e00000}), v) // 2^63
		f.Do(neon.FCVTZS2D, whole, v)
		f.Do(neon.BSL, fits, whole, f.Constant([4]uint32{0, 1 << 31, 0, 1 << 31}))
		f.Copy(v, fits)
	}
	return y
}
