// SPDX-License-Identifier: Apache-2.0

// Package window aggregates the events of one entity over time windows: how many
// payments a card made in the last 7 days, their mean, the share of frauds at a
// terminal in a window that ended a week ago. The same definition is computed online
// ([Aggregator.Update] and [Aggregator.Read] on a [State]), in backfill
// ([Aggregator.Series]) and in pieces ([Partial]), with the same bits as a result.
//
// # Windows
//
// A feature with window W, hop H and delay D, asked for at time t, covers the events
// whose time lies in
//
//	( floor_H(t-D-W), t-D ]
//
// where floor_H rounds down to a multiple of H since 1970 UTC: an exact head and a tail
// that moves in hops (a sawtooth window). Hops let a busy entity keep one partial result
// per hop in place of its events. With a hop no longer than the resolution of the times
// the window is exactly (t-D-W, t-D]. A delay keeps an event out until its value can be
// known: a label that takes 7 days may be set by [Aggregator.Amend] until then.
//
// All times are microseconds since 1970 UTC. An event carries when it happened and when it
// arrived; it counts at a query only if it had arrived by then.
//
// # Why the bits agree
//
// No result depends on the order in which events came or partial results were merged,
// so no order has to be agreed on. Sums and sums of squares are exact: every value is
// added to a wide fixed-point integer and rounded once, at the end (a superaccumulator;
// Kulisch 1976, Neal arXiv:1505.05571). Means and variances are computed from these
// exact sums. A variance is the population's; it is that of the mean rounded to a float64
// and so above the true one by at most (mean * 2^-53)^2, with no cancellation. Minimum,
// maximum, first and last (by time, then id) are order free. A distinct count is the
// number of distinct 64-bit hashes up to a stated bound, and a HyperLogLog estimate with
// 4096 registers above it (Flajolet 2007, the estimator of Ertl arXiv:1702.01284; standard
// error 1.6 %), both functions of the set alone. Quantiles come from a histogram with 64
// linear bins per power of two, within 0.8 % for magnitudes from 2^-32 to 2^64. A decayed
// sum is an exact sum of x*2^((time-edge)/half-life), of which only the factor is rounded; it
// alone depends on the processor, by the last bit of math.Exp2.
//
// # State
//
// A State is the memory of one entity in one view: its events, and tiles that stand for
// many, in one byte slice, newest last, read backwards. A read walks it once per
// distinct delay and emits each window's features where the window ends. Neighbouring
// events are folded into a tile once there are more than View.HeadEventsMax entries, and
// only where no edge of a window can ever again fall between them. Hence:
//
//	W1  Read at a time not before the newest arrival agrees with Series, bit for bit,
//	    as long as the state has not been coarsened (W3).
//	W2  A State never has more than View.EntriesMax entries or View.BytesMax bytes.
//	W3  What would break W2 is folded further: tiles up to 1/64 as long as they are old,
//	    or 1/32 and so on if that is not enough. Read then reports by how much time an edge
//	    was missed; it is zero whenever the result is exact.
//	W4  An event with the time and id of one that is still kept as an event is a duplicate.
//	    Events are kept so for View.DuplicateHorizon and for the last HeadEventsMax/2,
//	    unless W2 is at stake. An event that falls into a tile cannot be checked, and
//	    Update says so.
//	W5  The spans of entries do not overlap; events of one time are ordered by id.
//
// # Entries
//
// An entry of a State's body, little endian:
//
//	byte  0      bit 0 tile, bit 1 the difference is in seconds, else in microseconds
//	byte  1      low half bytes of the id, high half bytes of the difference
//	      ...    difference between this entry's newest time and that of the one before
//	event:       id; per column a compact float; per key column a length and the key
//	tile:        uvarint span (newest - oldest), the partial results of the view in the
//	             order of its primitives
//	trailer      one byte: bytes before it (< 128); or three bytes of it and 0xff
//
// A compact float is one byte (high half kind, low half payload bytes) and a payload:
// kind 0 null, 1-5 an integer over 10^0..10^4, 6-10 the same negative, 15 the IEEE bits.
//
// # Concurrency
//
// A [View] is immutable and shared. An [Aggregator] is scratch memory for one goroutine.
// A State is plain data: Read only looks at it, so many may read it at once, each with an
// Aggregator of its own; Update, Amend and Trim need it alone. There is no clock, no
// goroutine, no lock and no input or output here.
package window
