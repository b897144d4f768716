// SPDX-License-Identifier: Apache-2.0

// Package rpc serves a feature store: millrace.v1.Features over gRPC, and the online
// read of Feast's feature server over HTTP (POST /get-online-features), so that
// clients of either read from it.
//
// A request is bound to columns of the definitions' types, in their order, without
// boxing a value; every mistake names the path of the field. Errors have the codes
// InvalidArgument (the request is wrong), NotFound (nothing of that name is defined),
// Unavailable (try again: the store of states or the disk is away, or the server
// stops) and ResourceExhausted (the log's queue is full).
//
// All of it may be used from many goroutines.
package rpc
