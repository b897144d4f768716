// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// demoTimeout bounds a run of the demo.
const demoTimeout = 8 * time.Minute

// Demo runs the demo at its default speed, as `make run` does, and stops it once it has put a
// challenger into service. The value is the seconds from the start of the program until then.
func Demo(ctx context.Context, l *Lab) ([]float64, any, error) {
	var args []string
	if l.Quick {
		args = []string{"--speed", "max", "--customers", "500"}
	}
	took, story, err := l.demo(ctx, args)
	return []float64{took.Seconds()}, map[string]any{"story": story}, err
}

// demo runs one until its first promotion of a challenger.
func (l *Lab) demo(ctx context.Context, args []string) (took time.Duration, story []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(l.Folder, "demo-")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	project := filepath.Join(dir, "project")
	cmd := exec.CommandContext(ctx, l.Binary, append([]string{"demo", "--dir", project, "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	var said, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &failed
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, which ctx ends
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			return 0, nil, fmt.Errorf("the demo ended before it promoted a challenger: %w\n%s\n%s", err, last(said.Bytes()), last(failed.Bytes()))
		case <-look.C:
			promoted, err := challengerPromoted(filepath.Join(project, "state", "promotions.jsonl"))
			if err != nil {
				cancel()
				<-ended
				return 0, nil, err
			}
			if promoted {
				took = time.Since(began)
				cancel()
				<-ended
				return took, lines(bytes.ReplaceAll(said.Bytes(), []byte(project), []byte("DIR"))), nil
			}
		}
	}
}

// challengerPromoted says whether a version took the place of another.
func challengerPromoted(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	for records := bufio.NewScanner(f); records.Scan(); {
		var r struct {
			Decision string `json:"decision"`
			Previous int64  `json:"previous"`
		}
		if json.Unmarshal(records.Bytes(), &r) == nil && r.Decision == "promoted" && r.Previous > 0 {
			return true, nil
		}
	}
	return false, nil
}

// last is the end of a text.
func last(text []byte) []byte { return text[max(0, len(text)-2000):] }

// lines are those of a text that are not rewritten in place.
func lines(text []byte) (all []string) {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line[bytes.LastIndexByte(line, '\r')+1:])
		if len(line) > 0 && len(all) < 100 {
			all = append(all, string(line))
		}
	}
	return all
}
