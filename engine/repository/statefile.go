// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

const (
	stateFormat   = 1
	stateBytesMax = 16 << 20
)

// savedState is the content of the state file: the choices made by hand.
type savedState struct {
	Format int                   `json:"format"`
	Models map[string]savedModel `json:"models"`
}

type savedModel struct {
	Pinned   int64            `json:"pinned,omitempty"`
	Previous int64            `json:"previous,omitempty"`
	Aliases  map[string]int64 `json:"aliases,omitempty"`
}

// readState takes up what writeState kept. A file that does not exist is an empty
// one.
func (r *Repository) readState() error {
	if r.opts.StateFile == "" {
		return nil
	}
	saved, err := readStateFile(r.opts.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state file %s: %w; repair or remove it", r.opts.StateFile, err)
	}
	for name, kept := range saved.Models {
		m := newModel(name)
		m.pinned, m.previous = kept.Pinned, kept.Previous
		maps.Copy(m.aliases, kept.Aliases)
		r.mu.models[name] = m
	}
	return nil
}

func readStateFile(path string) (*savedState, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var saved savedState
	decoder := json.NewDecoder(io.LimitReader(file, stateBytesMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&saved); err != nil {
		return nil, err
	}
	if saved.Format != stateFormat {
		return nil, fmt.Errorf("format %d is not known, expected %d", saved.Format, stateFormat)
	}
	for name, kept := range saved.Models {
		if err := checkSaved(name, kept); err != nil {
			return nil, fmt.Errorf("model %q: %w", name, err)
		}
	}
	return &saved, nil
}

func checkSaved(name string, kept savedModel) error {
	if err := checkName(name); err != nil {
		return err
	}
	if kept.Pinned < 0 || kept.Previous < 0 || len(kept.Aliases) > aliasesMax {
		return errors.New("negative version or too many aliases")
	}
	for alias, version := range kept.Aliases {
		if !aliasPattern.MatchString(alias) || version < 1 {
			return fmt.Errorf("alias %q of version %d is not allowed", alias, version)
		}
	}
	return nil
}

// writeState replaces the state file, whole or not at all.
func (r *Repository) writeState() error {
	if r.opts.StateFile == "" {
		return nil
	}
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	data, err := json.MarshalIndent(r.stateToSave(), "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(r.opts.StateFile, append(data, '\n'))
}

func (r *Repository) stateToSave() savedState {
	r.mu.Lock()
	defer r.mu.Unlock()
	saved := savedState{Format: stateFormat, Models: make(map[string]savedModel)}
	for name, m := range r.mu.models {
		if m.pinned != 0 || m.previous != 0 || len(m.aliases) > 0 {
			saved.Models[name] = savedModel{Pinned: m.pinned, Previous: m.previous, Aliases: maps.Clone(m.aliases)}
		}
	}
	return saved
}

// replaceFile writes a file beside path, makes it durable and puts it in place.
func replaceFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
