// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// CheckExternal reports the first tensor whose external data is not to be had from
// dir, the folder of the model file: its path leads out of the folder (absolute,
// through "..", or by a symbolic link), or the file is missing or too short. Errors
// wrap ErrExternalData and name the tensor.
//
// What is checked can change before a runtime opens the files by itself.
func (m *Model) CheckExternal(dir string) error {
	return m.eachExternal(dir, func(*Tensor, *os.File, int64) error { return nil })
}

// LoadExternal reads all external data, after the checks of CheckExternal, into
// the raw data of its tensors. It takes at most bytesMax bytes of memory, however
// often tensors share a range of a file, and fails when more is needed. After a
// failure some tensors are loaded and the others still external.
func (m *Model) LoadExternal(dir string, bytesMax int64) error {
	left := bytesMax
	return m.eachExternal(dir, func(t *Tensor, f *os.File, length int64) error {
		if left -= length; left < 0 {
			return fmt.Errorf("all external data takes more than the %d bytes allowed", bytesMax)
		}
		raw := make([]byte, length)
		if _, err := io.ReadFull(io.NewSectionReader(f, t.External.Offset, length), raw); err != nil {
			return err
		}
		t.Raw, t.External = raw, nil
		return nil
	})
}

// eachExternal opens the file of each external tensor and calls visit with it and
// with the length of the tensor's range, which lies inside the file.
func (m *Model) eachExternal(dir string, visit func(t *Tensor, f *os.File, length int64) error) error {
	found := m.externalTensors()
	if len(found) == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("%w: model folder: %w", ErrExternalData, err)
	}
	defer root.Close()
	for _, x := range found {
		if err := visitExternal(root, x.tensor, visit); err != nil {
			return fmt.Errorf("%w: %s: file %.200q: %w", ErrExternalData, x.label, x.tensor.External.Location, err)
		}
	}
	return nil
}

func visitExternal(root *os.Root, t *Tensor, visit func(*Tensor, *os.File, int64) error) error {
	f, size, err := openInside(root, t.External.Location)
	if err != nil {
		return err
	}
	defer f.Close()
	length, err := t.externalLength(size)
	if err != nil {
		return err
	}
	return visit(t, f, length)
}

// openInside opens a regular file of the folder. os.Root refuses what leads out of
// it; ".." is refused even where it would come back.
func openInside(root *os.Root, location string) (*os.File, int64, error) {
	if filepath.IsAbs(location) {
		return nil, 0, errors.New("path is absolute, it must be relative to the model's folder")
	}
	if slices.Contains(strings.Split(filepath.ToSlash(location), "/"), "..") {
		return nil, 0, errors.New(`path has "..", it must stay in the model's folder`)
	}
	info, err := root.Stat(location) // before opening, which may wait on a pipe for ever
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	f, err := root.Open(location)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// externalLength is the length of the tensor's range in a file of the given size.
func (t *Tensor) externalLength(size int64) (int64, error) {
	need, err := t.rawSize()
	if err != nil {
		return 0, err
	}
	x := t.External
	if x.Length >= 0 && x.Length != need {
		return 0, fmt.Errorf("length is %d, dims %v of %s need %d bytes", x.Length, t.Dims, t.Elem, need)
	}
	if need > size || x.Offset > size-need {
		return 0, fmt.Errorf("too short: it has %d bytes, the tensor needs %d at offset %d", size, need, x.Offset)
	}
	return need, nil
}

// externalTensor is a tensor of a model with words that tell it from others.
type externalTensor struct {
	label  string
	tensor *Tensor
}

// externalTensors finds the tensors of a model, those of nodes and of graphs inside
// nodes included, whose data is external.
func (m *Model) externalTensors() []externalTensor {
	var s externalSearch
	for i := range m.Functions {
		s.nodes(m.Functions[i].Nodes)
		s.attributes(m.Functions[i].Defaults)
	}
	s.graphs = append(s.graphs, m.Graph)
	for len(s.graphs) > 0 {
		g := s.graphs[len(s.graphs)-1]
		s.graphs = s.graphs[:len(s.graphs)-1]
		s.tensors(g.Initializers)
		s.sparse(g.SparseInitializers)
		s.nodes(g.Nodes)
	}
	return s.found
}

// externalSearch is the state of a search: what was found, and the graphs still to
// be searched.
type externalSearch struct {
	found  []externalTensor
	graphs []*Graph
}

func (s *externalSearch) tensor(kind, name string, t *Tensor) {
	if t != nil && t.External != nil {
		s.found = append(s.found, externalTensor{fmt.Sprintf("%s %.100q", kind, name), t})
	}
}

func (s *externalSearch) tensors(list []Tensor) {
	for i := range list {
		s.tensor("tensor", list[i].Name, &list[i])
	}
}

func (s *externalSearch) sparse(list []SparseTensor) {
	for i := range list {
		s.tensor("values of sparse tensor", list[i].Values.Name, &list[i].Values)
		s.tensor("indices of sparse tensor", list[i].Values.Name, &list[i].Indices)
	}
}

func (s *externalSearch) nodes(nodes []Node) {
	for i := range nodes {
		s.attributes(nodes[i].Attributes)
	}
}

func (s *externalSearch) attributes(attributes []Attribute) {
	for i := range attributes {
		a := &attributes[i]
		s.tensor("tensor of attribute", a.Name, a.Tensor)
		s.tensors(a.Tensors)
		if a.SparseTensor != nil {
			s.tensor("values of attribute", a.Name, &a.SparseTensor.Values)
			s.tensor("indices of attribute", a.Name, &a.SparseTensor.Indices)
		}
		s.sparse(a.SparseTensors)
		s.graphs = append(s.graphs, a.subgraphs()...)
	}
}
