// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
)

// externalBytesMax bounds the weights outside the model file.
const externalBytesMax = 1 << 36

// Source is a model to optimize.
type Source struct {
	File  string
	Model *onnx.Model
	// Inputs are what a caller must give.
	Inputs []engine.TensorSpec
	// Bytes is the size of the file and of the data outside it.
	Bytes int64
}

// Read reads a model from a file, or from the folder of a model's version. Errors wrap
// engine.ErrInvalidModel.
func Read(path string) (*Source, error) {
	file, err := find(path)
	if err != nil {
		return nil, err
	}
	m, err := onnx.ReadFile(file, onnx.ReadOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	s := &Source{File: file, Model: m, Bytes: info.Size()}
	err = m.Check()
	if err == nil {
		s.Bytes += externalBytes(m)
		err = m.LoadExternal(filepath.Dir(file), externalBytesMax)
	}
	if err == nil {
		s.Inputs, err = modelfile.Inputs(m, &modelconfig.Config{})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", engine.ErrInvalidModel, file, err)
	}
	return s, nil
}

// find is the model file of a path: the file itself, model.onnx in a folder, or the
// only .onnx file there.
func find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return path, nil
	}
	if file, err := modelfile.Find(path, &modelconfig.Config{}); err == nil {
		return file, nil
	}
	files, err := filepath.Glob(filepath.Join(escape(path), "*.onnx"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("%s: the folder has no %s and %d other .onnx files: name the file", path, modelfile.DefaultName, len(files))
	}
	return files[0], nil
}

// escape keeps the characters of a path from being read as a pattern.
func escape(path string) string {
	var out []rune
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(out)
}

// externalBytes is the size of the initializers that are outside the file.
func externalBytes(m *onnx.Model) int64 {
	total := int64(0)
	for i := range m.Graph.Initializers {
		if x := m.Graph.Initializers[i].External; x != nil {
			total += max(0, x.Length)
		}
	}
	return total
}

// Write writes a model to a file, by another name first. A file that is there is an
// error, unless it may be replaced.
func Write(m *onnx.Model, file string, replace bool) (bytes int64, err error) {
	if err := CheckOutput(file, replace); err != nil {
		return 0, err
	}
	data, err := m.Marshal()
	if err != nil {
		return 0, err
	}
	folder := filepath.Dir(file)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, err
	}
	temporary, err := os.CreateTemp(folder, "."+filepath.Base(file)+".*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(temporary.Name()) // once renamed there is nothing to remove
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Chmod(0o644)
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = CheckOutput(file, replace) // it may have appeared meanwhile
	}
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	return int64(len(data)), err
}

// CheckOutput reports a file that Write will not write.
func CheckOutput(file string, replace bool) error {
	info, err := os.Lstat(file)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder: name the file to write", file)
	case !replace:
		return fmt.Errorf("%s exists: %w", file, os.ErrExist)
	}
	return nil
}
