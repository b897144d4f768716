// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
)

// How much the server allocates between two garbage collections when it holds
// little itself: a share of the machine's memory, within bounds.
const (
	headroomShare = 16
	headroomMBMax = 512
	headroomMBMin = 16
	// headroomMBLimit bounds what can be asked for.
	headroomMBLimit = 1 << 16
	// headroomAuto asks for the share.
	headroomAuto = -1
)

// keepHeapHeadroom reserves memory until it is released and never touches it, so that
// it takes no room. The collector counts it as live and starts a cycle when the heap
// has doubled: not before that much again was allocated. A server's own heap is a few
// MiB, for which the collector would otherwise run dozens of times a second, each
// time for a millisecond or more that requests wait for.
//
// It leaves the collector alone where the environment already configures it.
func keepHeapHeadroom(megabytes int) (release func()) {
	if collectorConfigured() {
		return func() {}
	}
	if megabytes == headroomAuto {
		megabytes = defaultHeadroomMB(os.DirFS("/"))
	}
	headroom := make([]byte, megabytes<<20)
	return func() { runtime.KeepAlive(headroom) }
}

// defaultHeadroomMB is the headroom for the memory that the process may use.
func defaultHeadroomMB(system fs.FS) int {
	memory, known := usableMemory(system)
	if !known {
		return headroomMBMin
	}
	return int(min(max(memory/headroomShare/(1<<20), headroomMBMin), headroomMBMax))
}

// collectRarely is for a load generator, whose own collections would show up as
// latency of the server: it collects only when its heap has reached a bound.
func collectRarely() {
	if collectorConfigured() {
		return
	}
	const heapBytesMax = 2 << 30
	bound := int64(heapBytesMax)
	if memory, known := usableMemory(os.DirFS("/")); known {
		bound = min(bound, int64(memory/4))
	}
	debug.SetMemoryLimit(bound)
	debug.SetGCPercent(-1)
}

func collectorConfigured() bool {
	return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != ""
}
