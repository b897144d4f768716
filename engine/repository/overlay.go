// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync/atomic"
)

// overlayFilesMax bounds the files sent with one load.
const overlayFilesMax = 10_000

// LoadOverride is what a load brings along instead of what the repository has. The
// next load without it goes back to the repository's files.
type LoadOverride struct {
	// ConfigJSON takes the place of the model's config.pbtxt.
	ConfigJSON string
	// Files takes the place of the model's folder, which then need not exist. Keys
	// are slash-separated paths within it, such as 1/model.onnx. It takes ConfigJSON
	// with it.
	Files map[string][]byte
}

// overlay is a private folder with files sent by a client. It is removed when the
// last version that was loaded from it is closed.
type overlay struct {
	dir  string
	refs atomic.Int32
}

// retain counts a user in. A nil overlay has none.
func (o *overlay) retain() *overlay {
	if o != nil {
		o.refs.Add(1)
	}
	return o
}

func (o *overlay) release() error {
	if o == nil || o.refs.Add(-1) > 0 {
		return nil
	}
	return os.RemoveAll(o.dir)
}

// openOverlay writes the files of an override to a new folder. The source holds
// it until it is closed.
func openOverlay(model string, override LoadOverride) (*source, error) {
	if override.ConfigJSON == "" {
		return nil, fmt.Errorf("model %q: files are sent without the model's configuration; send it as the parameter 'config'", model)
	}
	if len(override.Files) > overlayFilesMax {
		return nil, fmt.Errorf("model %q: more than %d files are sent", model, overlayFilesMax)
	}
	dir, err := os.MkdirTemp("", "millrace-model-")
	if err != nil {
		return nil, fmt.Errorf("model %q: folder for the files sent: %w", model, err)
	}
	folder := (&overlay{dir: dir}).retain()
	if err := writeOverlay(dir, override.Files); err != nil {
		return nil, fmt.Errorf("model %q: %w", model, errors.Join(err, folder.release()))
	}
	src, err := openSource(model, dir, override.ConfigJSON)
	if err != nil {
		return nil, errors.Join(err, folder.release())
	}
	src.folder = folder
	return src, nil
}

func writeOverlay(dir string, files map[string][]byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, data := range files {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("file path %q is not allowed: it must be relative and stay inside the model's folder", name)
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return err
		}
		if err := root.WriteFile(name, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
