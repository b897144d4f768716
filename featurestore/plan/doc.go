// SPDX-License-Identifier: Apache-2.0

// Package plan turns definitions into paths that are ready to run: from an event of
// a source to the updates of the tables it touches (Router), and from a request to
// the vector of a feature service (Assembler). Everything that computes features
// goes through it: pushes, recovery, backfill, reads, training sets and tests.
//
//	record ── Router ──► updates of entities ──► a store's states
//	inputs ── Assembler ──► refs ──► a Reader ──► vectors
//
// A table is the memory of one view or lookup, a key the encoded keys of its
// entities. What is served is logged with all that is needed to compute it again
// from the log alone (vectorlog.go).
//
// Router and Assembler are immutable and shared. A Scratch, and the memory of an
// Assembler's call, is for one goroutine at a time.
package plan
