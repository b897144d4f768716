// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/millrace-ml/millrace/bench/loop/browser"
)

// consoleAfter is how long the demo turns before its console is measured: there are alarms,
// runs and tasks to show by then.
const consoleAfter = 50 * time.Second

// Console opens the console of a demo that runs at its default speed, in Chromium. The values
// are milliseconds: those of the slowest page until it is interactive (the median of its
// rounds), and the most of a key on the labelling page until the next task is there.
func Console(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	wait, rounds := consoleAfter, 5
	if l.Quick {
		wait, rounds = 10*time.Second, 1
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(l.Folder, "console-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(ctx, l.Binary, "demo", "--dir", filepath.Join(dir, "project"), "--http-port", port, "--grpc-port", "0", "--metrics-port", "0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
	}()
	if err := answers(ctx, "http://"+address+"/"); err != nil {
		return nil, nil, fmt.Errorf("%w\n%s", err, last(said.Bytes()))
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	r, err := browser.Measure(ctx, browser.Options{URL: "http://" + address, Rounds: rounds, LabelProject: "review", Tasks: 20, Progress: l.Progress})
	if err != nil {
		return nil, nil, err
	}
	if len(r.PageMillis) == 0 || len(r.KeyMillis) == 0 {
		return nil, nil, errors.New("there was nothing to open or to label")
	}
	slowest := 0.0
	for _, rounds := range r.PageMillis {
		rounds = slices.Sorted(slices.Values(rounds))
		slowest = max(slowest, rounds[len(rounds)/2])
	}
	return []float64{slowest, slices.Max(r.KeyMillis)}, r, nil
}

// freeAddress is one of this machine that nothing listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// answers waits until a page is there.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if a, err := http.DefaultClient.Do(q); err == nil {
			a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", url, ctx.Err())
		}
	}
}
