// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
)

// entry is what a task made, in the cache.
type entry struct {
	Task    string                   `json:"task"`
	Run     string                   `json:"run"`
	Time    time.Time                `json:"time"`
	Outputs map[string]artifact.Info `json:"outputs"`
	Values  map[string]any           `json:"values,omitempty"`
}

// entryBytesMax bounds a file of the cache that is read.
const entryBytesMax = 1 << 20

// key is the cache key of a part of a task.
func (e *engine) key(ctx context.Context, w *work, p part) (string, error) {
	inputs, outputs := map[string]any{}, map[string]any{}
	for name := range w.inputs {
		inputs[name] = "input:" + name
	}
	for _, o := range w.outputs {
		outputs[o.Name] = "output:" + o.Name
	}
	with, err := w.expand(p, inputs, outputs)
	if err != nil {
		return "", err
	}
	fingerprint := ""
	if w.kind.Fingerprint != nil {
		fingerprint, err = w.kind.Fingerprint(ctx, &Fingerprint{With: with, Hash: func(ctx context.Context, path string) (string, error) {
			d, err := e.digests.Hash(ctx, path, e.options.Verify)
			return string(d), err
		}})
		if err != nil {
			return "", fmt.Errorf("fingerprint: %w", err)
		}
	}
	data, err := json.Marshal(struct {
		Format      int                        `json:"format"`
		Kind        string                     `json:"kind"`
		Version     string                     `json:"version"`
		With        json.RawMessage            `json:"with"`
		Inputs      map[string]artifact.Digest `json:"inputs"`
		Files       map[string]string          `json:"files"` // programs look at extensions
		Outputs     any                        `json:"outputs"`
		Item        any                        `json:"item"`
		Partition   Partition                  `json:"partition"`
		Fingerprint string                     `json:"fingerprint"`
	}{1, w.kind.Name, w.kind.Version, with, w.inputs, w.files, w.outputs, p.item, w.run.Partition, fingerprint})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

func (e *engine) entryPath(key string) string {
	return filepath.Join(e.options.Dir, "cache", key[:2], key[2:]+".json")
}

// lookup finds what a task made. What cannot be read, or is not whole, is not there.
func (e *engine) lookup(ctx context.Context, key string) (*entry, bool) {
	data, err := os.ReadFile(e.entryPath(key))
	if err != nil || len(data) > entryBytesMax {
		return nil, false
	}
	var found entry
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&found) != nil {
		return nil, false
	}
	found.Values = numbers(found.Values)
	for _, out := range found.Outputs {
		if !e.store.Has(out.Digest) {
			return nil, false
		}
		if !e.options.Verify {
			continue
		}
		if err := e.store.Verify(ctx, out.Digest); err != nil {
			if errors.Is(err, artifact.ErrCorrupt) {
				// Another attempt to put the same folder would find the damaged one in its place.
				_ = e.store.Remove(out.Digest) // what stays is found again
			}
			return nil, false
		}
	}
	return &found, true
}

// remember puts what a task made into the cache. It need not survive the machine: what is
// lost is made again.
func (e *engine) remember(key string, found entry) error {
	data, err := json.Marshal(found)
	if err != nil {
		return err
	}
	return writeFile(e.entryPath(key), data, false)
}

// writeFile puts a file in its place by one rename, and makes it durable if asked to.
func writeFile(path string, data []byte, durable bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if durable && err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(f.Name()))
	}
	if durable {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
