// SPDX-License-Identifier: Apache-2.0

// Package expression is the small language of feature definitions: filters of events,
// columns computed from an event, features computed from a request.
//
//	amount > 100 and channel in ["web", "pos"] ? log1p(amount) : 0
//
// Texts are parsed by github.com/expr-lang/expr and checked and compiled here, to
// closures over a [Row] that evaluate without allocation, but for texts that an
// expression builds (+, lower, upper of texts that change). There are no loops, no
// closures, no maps; nothing depends on the clock or the machine.
//
// # Types
//
// bool, int64, float64, string, timestamp. The first three mix as numbers, false 0 and
// true 1. A time minus a time is a number of seconds; a time plus or minus a number is
// moved by that many seconds.
//
// # Nulls
//
//	E1  Every operator and function gives null if an operand is null, except those below.
//	E2  a and b is false if either is false; a or b is true if either is true, as in SQL.
//	E3  A null condition of ? : takes the second branch.
//	E4  a ?? b is b where a is null. is_null(a) is true or false.
//	E5  What has no finite value is null: division by zero, the logarithm of 0, the root
//	    of a negative, an overflow; also a computed integer or time of 2^53 or more, up to
//	    which a float64 is exact. An infinity is never computed.
//	E6  Program.True takes null for false.
//
// # Bounds
//
// A text has at most 4 KiB, 512 nodes and 64 levels of nesting; what cannot be kept in
// them is refused with its place.
//
// A Program is immutable and may be run by many goroutines, each with a Row of its own.
package expression
