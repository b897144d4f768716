// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// backgroundNice is how far loading steps back behind serving: at 10 a busy core
// gives it about a tenth.
const backgroundNice = 10

// lowerPriority makes the calling goroutine's work yield to that of other threads.
// It cannot be undone without privileges, so the goroutine keeps its thread to
// itself, and the thread ends with it. Without permission nothing changes, which
// costs latency and nothing else.
func lowerPriority() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), backgroundNice)
}
