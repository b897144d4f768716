// SPDX-License-Identifier: Apache-2.0

//go:build unix

package orchestrator

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a file's advisory lock, which the system gives back when the process ends,
// however it ends.
func lock(path string) (io.Closer, error) { return flock(path, os.O_CREATE|os.O_RDWR, unix.LOCK_EX) }

// lockShared takes the lock beside others that share it. It makes no file.
func lockShared(path string) (io.Closer, error) { return flock(path, os.O_RDONLY, unix.LOCK_SH) }

func flock(path string, flag, how int) (io.Closer, error) {
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &heldLock{f}, nil
}

// heldLock gives the lock back when it is closed.
type heldLock struct{ file *os.File }

// Close unlocks first: a program that is just being started has the file open until it
// begins, and would keep the lock for that long.
func (l *heldLock) Close() error {
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}
