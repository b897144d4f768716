// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// backgroundNice is how far loading steps back behind serving: at 10 a busy core
// gives it about a tenth.
const backgroundNice = 10

// atLowPriority runs f and waits for it, on a thread that yields to all others. The
// priority cannot be raised again without privileges, so the thread ends with f.
//
// f should spend its time outside Go code, as a library that opens a model does:
// there the thread holds nothing that others wait for. Go code of low priority would
// hold up the collector, and everything with it.
func atLowPriority(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err == nil && 20-raw < backgroundNice { // the system call answers 20 minus the value
			_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), backgroundNice)
		}
		f()
	}()
	<-done
}
