// SPDX-License-Identifier: Apache-2.0

// Package rpc serves a collector: millrace.v1.Feedback over gRPC, and as JSON over HTTP.
//
//	POST /v1/feedback               a batch: {"items": [...]}, one piece, or a list
//	GET  /v1/feedback               ?prediction_id= or ?feedback_id=, from, to, as_of
//	POST /seldon/feedback           Seldon Core v1's SendFeedback: by meta.puid
//
// A post from a browser that is on a page of another site is refused. A body has at most 8 MiB, a batch 10,000 items. An answer has a result for each item,
// in their order: one that is refused says why, and whether to send it again. The status
// of an HTTP answer is 200 if all were taken, else 207, and for a single piece that of
// its result.
//
// Of a stream, requests that wait are stored together, RequestsMax and 10,000 items at
// most, so a client that sends ahead pays one fsync for many; more than that it may not
// have in flight, and gRPC's flow control tells it to wait.
//
// Codes: InvalidArgument (wrong: correct it), Unavailable (not stored: send it again),
// DeadlineExceeded and Canceled (the client's).
//
// All of it may be used from many goroutines.
package rpc
