// SPDX-License-Identifier: Apache-2.0

// Package featurestore is the featurizer: from events to features, one definition
// for real time, for backfill and for training sets.
//
//	definition   what a project defines, checked (YAML)
//	expression   the small language of filters and transforms
//	window       aggregations over time windows of one entity
//	plan         from an event to the entities it touches, from a request to a vector
//	online       the states of entities, in memory over Pebble, or in Redis
//	offline      the event log: append-only, bitemporal, Parquet
//	source       history from CSV, Parquet, JSON lines, PostgreSQL
//	dataset      training sets, point-in-time joins, history, verification
//	rpc          gRPC and Feast's HTTP API
//
// A Store binds them: Push logs an event and applies it to every entity it touches;
// Read computes vectors of a service for some entities.
//
// # Where an event is safe
//
// The event log is the write-ahead log of the online store, so there is one fsync. A
// push appends to the log and applies under the lock of the entities; it is readable
// at once, and acknowledged, unless the caller does not wait, when the log is
// durable. States reach Pebble in checkpoints. After a crash the states of the last
// checkpoint are loaded and the log is replayed from there; what was applied to an
// entity is known by the place in the log that its state carries.
//
// # Concurrency
//
// A Store may be used from many goroutines. Its goroutines are those of the log and
// the online store; they end with Close.
package featurestore
