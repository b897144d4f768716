// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// artifact is a version of a model that is being written: model.onnx, manifest.json and
// the card. It is staged beside its place and then renamed, so it is whole or not there.
type artifact struct {
	*builder
	result    *Result
	method    string
	scorer    *scorer
	model     []byte
	signature Signature
}

// stagePrefix begins the name of a folder that is not whole; model servers look at folders
// whose names are numbers.
const stagePrefix = ".staged-"

// stagedFor is how long a folder may be staged; one that is older was left by a process
// that was killed.
const stagedFor = 24 * time.Hour

// RemoveStaged removes what processes that were killed have left in a model's folder.
func RemoveStaged(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), stagePrefix) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // published since
		}
		if err == nil && now.Sub(info.ModTime()) > stagedFor {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *artifact) write(ctx context.Context) (err error) {
	if err := os.MkdirAll(a.Output, 0o755); err != nil {
		return err
	}
	if err := RemoveStaged(a.Output, time.Now()); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(a.Output, stagePrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(stage))
		}
	}()
	if err := os.Chmod(stage, 0o755); err != nil {
		return err
	}
	if err := writeDurably(filepath.Join(stage, modelFile), a.model); err != nil {
		return err
	}
	if err := a.check(ctx, a.model, a.scorer, stage); err != nil {
		return err
	}
	manifest := a.manifest(a.result, a.method)
	if err := manifest.seal(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := writeDurably(manifestPath(stage), append(text, '\n')); err != nil {
		return err
	}
	if err := a.writeCard(stage, manifest); err != nil {
		return err
	}
	if err := syncFolder(stage); err != nil {
		return err
	}
	a.result.Path, err = publish(stage, a.Output)
	return err
}

// versionsMax bounds the number of a version.
const versionsMax = 1 << 31

// publish gives a staged folder the next version's number. Renaming onto a version that
// somebody else has just written fails, and the next number is tried.
func publish(stage, output string) (string, error) {
	next, err := nextVersion(output)
	if err != nil {
		return "", err
	}
	for range 100 {
		path := filepath.Join(output, strconv.Itoa(next))
		if err = os.Rename(stage, path); err == nil {
			return path, syncFolder(output)
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		next++
	}
	return "", err
}

func nextVersion(output string) (int, error) {
	entries, err := os.ReadDir(output)
	if err != nil {
		return 0, err
	}
	last := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > last {
			last = n
		}
	}
	if last >= versionsMax {
		return 0, fmt.Errorf("%s: there is no version after %d", output, last)
	}
	return last + 1, nil
}

func writeDurably(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncFolder makes a rename durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
