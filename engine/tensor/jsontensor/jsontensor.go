// SPDX-License-Identifier: Apache-2.0

// Package jsontensor converts tensors between the layout of the wire and the "data"
// arrays of the REST protocol.
//
// What is read may be flat or nested as the shape; what is written is flat, in
// row-major order. Values are exact: integers of 64 bits keep all their digits, a
// number out of its datatype's range is an error, and a float is written with the
// fewest digits that read back as the same value. FP16 and BF16, which the protocol
// leaves out of JSON, are numbers too.
//
//	BOOL               true, false
//	UINT8 ... INT64    numbers without fraction and exponent
//	FP16, BF16         numbers, read as float64, then rounded to the nearest, ties to even
//	FP32, FP64         numbers, rounded to the nearest
//	BYTES              strings in valid UTF-8
//
// JSON has no number for the floats that are not finite. They are the strings "NaN",
// "Infinity" and "-Infinity", as in the JSON form of protocol buffers, which
// number constructors of JavaScript, Python and NumPy take as they are.
//
// The functions keep nothing between calls.
package jsontensor

import "errors"

// ErrNotText reports a BYTES element that no JSON string can carry. The client
// must use gRPC, or REST with binary data, for this tensor.
var ErrNotText = errors.New("not valid UTF-8")

// The floats that are not finite, as JSON.
const (
	jsonNaN         = `"NaN"`
	jsonInfinity    = `"Infinity"`
	jsonNegInfinity = `"-Infinity"`
)
