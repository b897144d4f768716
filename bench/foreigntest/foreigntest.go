// SPDX-License-Identifier: Apache-2.0

// Package foreigntest lets tests run software that others wrote against the real
// server: Python packages, npm packages and Go programs, in pinned versions, and
// the millrace binary as a process of its own.
//
// What is fetched is kept below .millrace/foreign in the module's folder, in one
// folder for each set of pins, so later runs need no network. A folder appears only
// when it is complete. What a machine cannot have skips the test that asks for it,
// with the reason; a server that does not start fails it.
//
// All functions must be called from the goroutine of the test.
package foreigntest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// fetchTimeout bounds all that one test process fetches, so that a network that
	// answers nothing ends in skipped tests and not in the time limit of go test.
	fetchTimeout = 5 * time.Minute
	// endTimeout is how long programs that a killed one started may keep its output open.
	endTimeout = 10 * time.Second
)

// fetching is how long the fetches of this process took.
var fetching time.Duration

// ModuleRoot is the nearest folder above the test that holds a go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test's folder")
		}
		folder = parent
	}
}

// Run runs a program to its end and returns what it wrote to standard output. The
// program ends with the test; one that fails, fails the test with all that it wrote. It
// reaches servers of this machine without the proxy that the environment may name.
func Run(t testing.TB, cmd *exec.Cmd) []byte {
	t.Helper()
	cmd.Env = append(cmd.Environ(), "NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost")
	stdout, stderr, err := run(cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(cmd.Path), err, stdout, stderr)
	}
	return stdout
}

func run(cmd *exec.Cmd) (stdout, stderr []byte, err error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.Bytes(), errOut.Bytes(), err
}

// fetched returns the folder of what pins name, which fill makes when it is not
// there yet. Tests of several processes may do so at once: the first to finish
// wins, the others throw theirs away.
func fetched(t testing.TB, kind string, pins []byte, fill func(ctx context.Context, folder string) error) string {
	t.Helper()
	sum := sha256.Sum256(pins)
	cache := filepath.Join(ModuleRoot(t), ".millrace", "foreign")
	folder := filepath.Join(cache, kind+"-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	t.Logf("fetching %s packages into %s", kind, folder)
	ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout-fetching)
	defer cancel()
	began := time.Now()
	err = fill(ctx, work)
	fetching += time.Since(began)
	if err != nil {
		t.Skipf("%s packages cannot be had: %v", kind, err)
	}
	if err := os.Rename(work, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return folder
}

// fetch runs a program that fetches something.
func fetch(cmd *exec.Cmd) error {
	cmd.WaitDelay = endTimeout
	if _, stderr, err := run(cmd); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLine(stderr))
	}
	return nil
}

// lookPath finds a program or skips the test.
func lookPath(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// lastLine is where most programs say what went wrong.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
