// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// Pin keeps the current version of a model current, also over reloads and restarts, until
// the next swap: for whoever is about to put a version into the repository that is not to
// serve yet. It returns that version.
func (r *Repository) Pin(ctx context.Context, name string) (number int64, err error) {
	err = r.operateVersions(ctx, name, func(_ context.Context, m *model) error {
		r.mu.Lock()
		number = m.current
		m.pinned = number
		r.mu.Unlock()
		if number == 0 {
			return r.explainMiss(name, "")
		}
		return nil
	})
	return number, err
}

// Unpin has the version policy choose the version of a model at the next start of a
// repository with that state file. It is for a version that was added while none runs.
func Unpin(stateFile, name string) error {
	saved, err := readStateFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state file %s: %w; repair or remove it", stateFile, err)
	}
	kept, known := saved.Models[name]
	if !known || kept.Pinned == 0 {
		return nil
	}
	kept.Pinned = 0
	saved.Models[name] = kept
	data, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(stateFile, append(data, '\n'))
}
