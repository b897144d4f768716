// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// Names in a model repository.
const (
	modelFile  = "model.onnx"
	configFile = "config.pbtxt"
	// smallBytesMax bounds the size of a configuration or a state file.
	smallBytesMax = 16 << 20
)

// signatureKey is the entry of an ONNX file's metadata that says which features its
// input has.
const signatureKey = "millrace.signature"

// signature is that entry.
type signature struct {
	Service  string `json:"service"`
	Features []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"features"`
	Classes []string `json:"classes"`
}

// place is where a model is.
type place struct {
	name, version string
	dir, file     string
	// folder says that the whole folder of the version is the model.
	folder bool
}

// locate finds a model: a file, a version's folder, a model's folder with or without
// @VERSION or @ALIAS.
func locate(path, stateFile string) (place, error) {
	if strings.HasSuffix(strings.ToLower(path), ".onnx") {
		info, err := os.Stat(path)
		if err != nil {
			return place{}, err
		}
		if !info.IsDir() {
			p := place{name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), dir: filepath.Dir(path), file: filepath.Base(path)}
			if version := filepath.Base(p.dir); isVersion(version) { // a file in a repository
				p.name, p.version = filepath.Base(filepath.Dir(p.dir)), version
			}
			return p, nil
		}
	}
	folder, version, asked := strings.Cut(filepath.Clean(path), "@")
	if !asked && isVersion(filepath.Base(folder)) {
		folder, version = filepath.Dir(folder), filepath.Base(folder)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return place{}, err
	}
	if !info.IsDir() {
		return place{}, fmt.Errorf("%s is neither a folder of a model repository nor an .onnx file", folder)
	}
	p := place{name: filepath.Base(folder), version: version, folder: true}
	if p.version == "" {
		if p.version, err = newest(folder); err != nil {
			return place{}, err
		}
	} else if !isVersion(p.version) {
		if p.version, err = aliased(stateFile, p.name, p.version); err != nil {
			return place{}, err
		}
	}
	p.dir = filepath.Join(folder, p.version)
	p.file, err = modelFileOf(folder, p.dir)
	return p, err
}

func isVersion(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && n > 0 && strconv.FormatInt(n, 10) == text
}

// newest is the highest version in a model's folder.
func newest(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	best := int64(0)
	for _, e := range entries {
		if isVersion(e.Name()) {
			n, _ := strconv.ParseInt(e.Name(), 10, 64)
			best = max(best, n)
		}
	}
	if best == 0 {
		return "", fmt.Errorf("%s has no folder of a version, such as %s", folder, filepath.Join(folder, "1", modelFile))
	}
	return strconv.FormatInt(best, 10), nil
}

// aliased is the version that an alias of a model stands for, by the state file of the
// server.
func aliased(stateFile, model, alias string) (string, error) {
	if stateFile == "" {
		return "", fmt.Errorf("%s@%s: an alias needs the state file of the server; or give a number", model, alias)
	}
	text, err := readSmall(stateFile)
	if err != nil {
		return "", err
	}
	var state struct {
		Models map[string]struct {
			Aliases map[string]int64 `json:"aliases"`
		} `json:"models"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return "", fmt.Errorf("%s: %w", stateFile, err)
	}
	n := state.Models[model].Aliases[alias]
	if n <= 0 {
		return "", fmt.Errorf("%s has no alias %s of the model %s", stateFile, alias, model)
	}
	return strconv.FormatInt(n, 10), nil
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > smallBytesMax {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", path, info.Size(), smallBytesMax)
	}
	return os.ReadFile(path)
}

// modelFileOf is the name of the model's file in its version's folder.
func modelFileOf(folder, dir string) (string, error) {
	name := modelFile
	text, err := readSmall(filepath.Join(folder, configFile))
	switch {
	case err == nil:
		config, err := modelconfig.ParseText(text)
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(folder, configFile), err)
		}
		if config.DefaultModelFilename != "" {
			name = config.DefaultModelFilename
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%s: default_model_filename %q leaves the folder", filepath.Join(folder, configFile), name)
	}
	if info, err := os.Stat(filepath.Join(dir, name)); err != nil {
		return "", err
	} else if info.IsDir() { // a folder of that name has the model with its external data
		name = filepath.Join(name, modelFile)
	}
	return name, nil
}

// loaded is a model that is ready to predict.
type loaded struct {
	place
	about report.Model
	sig   *signature
	model engine.Model
	spec  engine.Signature
	// columns are the features by input: one for each, or all of a matrix.
	columns [][]string
	// output is the place of the output with predictions.
	output int
}

// openModel loads a model. Errors wrap ErrModel.
func openModel(ctx context.Context, backend engine.Backend, path, stateFile string) (*loaded, error) {
	m, err := tryModel(ctx, backend, path, stateFile)
	if err != nil {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("%w: %s: %w", ErrModel, path, err))
	}
	return m, nil
}

func tryModel(ctx context.Context, backend engine.Backend, path, stateFile string) (*loaded, error) {
	p, err := locate(path, stateFile)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.dir, p.file)
	parsed, err := onnx.ReadFile(file, onnx.ReadOptions{SkipTensorData: true})
	if err != nil {
		return nil, err
	}
	m := &loaded{place: p, about: report.Model{Name: p.name, Version: p.version, Path: path}}
	if m.sig, err = signatureOf(parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	config := &modelconfig.Config{Name: p.name, DefaultModelFilename: p.file}
	used := backend
	if resolver, ok := backend.(engine.Resolver); ok {
		if used, err = resolver.Resolve(ctx, p.dir, config); err != nil {
			return nil, err
		}
	}
	if m.model, err = used.Load(ctx, p.dir, config); err != nil {
		return nil, err
	}
	m.spec, m.about.Backend = m.model.Signature(), used.Name()
	if err := m.weigh(ctx, file); err != nil {
		return nil, errors.Join(err, m.model.Close())
	}
	return m, nil
}

// weigh hashes the file and adds up the sizes of all that belongs to the model.
func (m *loaded) weigh(ctx context.Context, file string) error {
	sum, size, err := source.HashFile(ctx, file)
	if err != nil {
		return err
	}
	m.about.SHA256, m.about.Bytes = hex.EncodeToString(sum[:]), size
	if !m.folder {
		return nil
	}
	m.about.Bytes = 0
	return filepath.WalkDir(m.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			m.about.Bytes += info.Size()
		}
		return err
	})
}

func signatureOf(m *onnx.Model) (*signature, error) {
	for _, p := range m.Metadata {
		if p.Key == signatureKey {
			s := new(signature)
			if err := json.Unmarshal([]byte(p.Value), s); err != nil {
				return nil, fmt.Errorf("metadata %s: %w", signatureKey, err)
			}
			return s, nil
		}
	}
	return nil, nil
}

// bind says which columns the inputs take. features are those the spec lists, manifest
// those of the data's manifest. A matrix takes them in order, single inputs by name.
func (m *loaded) bind(features, manifest []string) error {
	m.columns = nil
	if in := m.matrix(len(features)); in != nil {
		names, from := m.features(features, manifest)
		width := in.Shape[1]
		switch {
		case names == nil:
			return fmt.Errorf("input %q takes %d features, and nothing says which columns they are: give features, in order; neither the model's metadata nor a manifest beside the data has them", in.Name, width)
		case width >= 0 && int(width) != len(names):
			return fmt.Errorf("input %q takes %d features, %s has %d: give features, in order", in.Name, width, from, len(names))
		}
		m.columns = [][]string{names}
		return nil
	}
	for _, in := range m.spec.Inputs {
		if len(in.Shape) > 2 || len(in.Shape) == 2 && in.Shape[1] != 1 && in.Shape[1] != -1 || len(in.Shape) == 0 {
			return fmt.Errorf("input %q has shape %v: evaluated are models with a matrix of features, or an input of one column for each", in.Name, in.Shape)
		}
		if in.Datatype == tensor.FP16 || in.Datatype == tensor.BF16 {
			return fmt.Errorf("input %q is %s, which columns are not turned into", in.Name, in.Datatype)
		}
		m.columns = append(m.columns, []string{in.Name})
	}
	return nil
}

// matrix is the only input, if it takes several columns; or one, of another name than its
// own, as so many features that are listed or its metadata say.
func (m *loaded) matrix(listed int) *engine.TensorSpec {
	if len(m.spec.Inputs) != 1 {
		return nil
	}
	in := &m.spec.Inputs[0]
	if len(in.Shape) != 2 || in.Datatype == tensor.Bytes {
		return nil
	}
	if in.Shape[1] == 1 && listed != 1 && (m.sig == nil || len(m.sig.Features) != 1) {
		return nil
	}
	return in
}

func (m *loaded) features(features, manifest []string) (names []string, from string) {
	switch {
	case features != nil:
		return features, "the list"
	case m.sig != nil && m.sig.Features != nil:
		for _, f := range m.sig.Features {
			names = append(names, f.Name)
		}
		return names, "the model's metadata"
	}
	return manifest, "the manifest beside the data"
}

// choose finds the output with predictions.
func (m *loaded) choose(name string) error {
	first := -1
	for i, out := range m.spec.Outputs {
		floating := out.Datatype == tensor.FP32 || out.Datatype == tensor.FP64
		switch {
		case name != "" && out.Name != name:
		case name != "" && !floating && out.Datatype != tensor.Int64:
			return fmt.Errorf("output %q is %s, predictions are FP32, FP64 or INT64", name, out.Datatype)
		case name != "" || out.Name == "probabilities" && floating:
			m.output = i
			return nil
		case first < 0 && floating:
			first = i
		}
	}
	switch {
	case name != "":
		return fmt.Errorf("there is no output %q; there are %s", name, strings.Join(m.outputNames(), ", "))
	case first < 0:
		return fmt.Errorf("none of the outputs %s has numbers with a fraction: name one by output", strings.Join(m.outputNames(), ", "))
	}
	m.output = first
	return nil
}

func (m *loaded) outputNames() (names []string) {
	for _, out := range m.spec.Outputs {
		names = append(names, out.Name)
	}
	return names
}

// all lists the columns of all inputs.
func (m *loaded) all() []string { return slices.Concat(m.columns...) }
