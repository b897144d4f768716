// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// newAlarm sleeps on a timer file, with the precision of the kernel's timers. The
// runtime's own timers round up to a millisecond when the process is otherwise
// idle, which is ten requests at ten thousand per second.
func newAlarm(ctx context.Context) alarm {
	fallback := newRuntimeAlarm(ctx)
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fallback
	}
	file := os.NewFile(uintptr(fd), "timer")
	// Closing the file ends a read that waits on it.
	stop := context.AfterFunc(ctx, func() { file.Close() })
	sleep := func(d time.Duration) {
		if d > 0 && !sleepOnFile(file, d) {
			fallback.sleep(d)
		}
	}
	return alarm{sleep: sleep, close: func() {
		stop()
		file.Close()
		fallback.close()
	}}
}

// sleepOnFile reports false when the file cannot be waited on.
func sleepOnFile(file *os.File, d time.Duration) bool {
	conn, err := file.SyscallConn()
	if err != nil {
		return false
	}
	setting := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	armed := false
	if err := conn.Control(func(fd uintptr) {
		armed = unix.TimerfdSettime(int(fd), 0, &setting, nil) == nil
	}); err != nil || !armed {
		return false
	}
	var expirations [8]byte
	_, err = file.Read(expirations[:])
	return err == nil
}
