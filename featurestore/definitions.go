// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// ErrBreaking says that new definitions would break what the old ones served.
var ErrBreaking = errors.New("definitions break what is served")

// The definitions last served are kept beside the store, so that a change that would
// break a model or a client is found when the store is opened, not by them.
func definitionsDir(o *Options) string { return filepath.Join(o.Dir, "definitions") }

// checkDefinitions refuses definitions that break the last ones.
func checkDefinitions(o *Options) error {
	if o.AcceptBreaking {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(definitionsDir(o), "*.yaml"))
	if err != nil || len(files) == 0 {
		return err
	}
	slices.Sort(files)
	last, err := definition.Load(files...)
	if err != nil {
		// What an older version took and this one does not cannot be compared.
		o.Logger.Warn("the definitions served last cannot be read; changes are not checked", "error", err)
		return nil
	}
	changes := definition.Compare(last, o.Catalog)
	if len(changes) == 0 {
		return nil
	}
	var text strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&text, "\n  %s", c)
	}
	return fmt.Errorf("%w:%s\nserve them under a new name, or accept the break with --accept-breaking", ErrBreaking, &text)
}

// saveDefinitions keeps the definition files. A crash in between leaves some of the
// last and some of the new ones, which at worst refuses a start with a reason.
func saveDefinitions(o *Options) error {
	dir := definitionsDir(o)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	kept := map[string]bool{}
	for i, file := range o.Catalog.Files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // parsed from memory: there is nothing to keep
		} else if err != nil {
			return err
		}
		name := fmt.Sprintf("%03d.yaml", i)
		kept[name] = true
		if err := os.WriteFile(filepath.Join(dir, name+".new"), data, 0o644); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if !kept[filepath.Base(file)] {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}
