// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
static void heap_limit(int arenas) { mallopt(M_ARENA_MAX, arenas); }
static void heap_trim(void) { malloc_trim(0); }
#else
static void heap_limit(int arenas) {}
static void heap_trim(void) {}
#endif
*/
import "C"

// heapArenas is how many heaps glibc may keep for this process's threads. With its
// default of eight per core every thread that ever loaded a model keeps the
// fragments of it. The library takes tensors from arenas of its own, so that few
// runs meet at these.
const heapArenas = 2

// limitHeap keeps the C heap from splitting up. It comes before the library's first
// allocation.
func limitHeap() { C.heap_limit(heapArenas) }

// trimHeap gives the C heap's free pages back to the system. Left alone, glibc holds
// on to what a closed session had, and a server that swaps models for weeks would
// only grow.
func trimHeap() { C.heap_trim() }
