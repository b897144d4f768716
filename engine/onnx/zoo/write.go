// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Names of files in a model repository.
const (
	modelFile  = "model.onnx"
	configFile = "config.pbtxt"
)

// Write puts a model into a model repository as one version of a name:
// <repository>/<name>/<version>/model.onnx. A file that is there is replaced at
// once, so that a server reading it sees the old or the new one.
func Write(repository, name string, version int64, m *onnx.Model) error {
	data, err := m.Marshal()
	if err != nil {
		return fmt.Errorf("model %q version %d: %w", name, version, err)
	}
	return replace(filepath.Join(repository, name, strconv.FormatInt(version, 10)), modelFile, data)
}

// WriteConfig puts a model's config.pbtxt into a model repository.
func WriteConfig(repository, name, config string) error {
	return replace(filepath.Join(repository, name), configFile, []byte(config))
}

// Write puts the entry's configuration and all its versions into a model
// repository.
func (e Entry) Write(repository string) error {
	for i, version := range e.Versions {
		if err := Write(repository, e.Name, int64(i+1), version()); err != nil {
			return err
		}
	}
	return WriteConfig(repository, e.Name, e.Config)
}

// replace writes a file under a temporary name first, and makes its folder.
func replace(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temporary := filepath.Join(dir, "."+name+".new")
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, name))
}
