// SPDX-License-Identifier: Apache-2.0

// Package rpc serves a front-end: millrace.v1.Decisions over gRPC, and as JSON over
// HTTP (POST /v1/decisions/{decision}, GET /v1/decisions).
//
// Codes: InvalidArgument (the request is wrong; the text has the path), NotFound (no
// such decision), Unavailable (nothing could answer; try again), DeadlineExceeded and
// Canceled (the client's). On a stream a refused request is answered with its error,
// and the stream goes on.
//
// All of it may be used from many goroutines.
package rpc
