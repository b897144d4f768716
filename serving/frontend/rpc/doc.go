// SPDX-License-Identifier: Apache-2.0

// Package rpc serves a front-end: millrace.v1.Decisions over gRPC, and as JSON over
// HTTP (POST /v1/decisions/{decision}, GET /v1/decisions).
//
// A request has at most 1 MiB, over gRPC as in JSON. It is decoded and answered without
// generated messages (wire.go), as protobuf has it but for a second, different decision
// in one message, which is refused.
//
// Codes: InvalidArgument (the request is wrong; the text has the path), NotFound (no
// such decision), Unavailable (nothing could answer; try again), DeadlineExceeded and
// Canceled (the client's). On a stream a refused request is answered with its error,
// and the stream goes on.
//
// All of it may be used from many goroutines.
package rpc
