// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// bytesMax bounds a file and an array inside one.
const bytesMax = 1 << 32

// Extensions are the kinds of files that ReadFile reads.
var Extensions = []string{".csv", ".npy", ".npz"}

// ReadFile reads a file by its extension.
func ReadFile(path string, o Options) (*Data, error) {
	read, ok := map[string]func(*os.File, Options) (*Data, error){".csv": readCSV, ".npy": readNPY, ".npz": readNPZ}[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return nil, fmt.Errorf("%s: the extension is none of %s", path, strings.Join(Extensions, ", "))
	}
	info, err := os.Stat(path) // before opening, which may wait on a pipe for ever
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > bytesMax {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, int64(bytesMax))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := read(f, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func readNPY(f *os.File, o Options) (*Data, error) {
	if o.Label != "" && !o.LabelOptional {
		return nil, fmt.Errorf("an .npy file has one array and no %q: put inputs and labels into an .npz file", o.Label)
	}
	if len(o.Inputs) != 1 {
		return nil, fmt.Errorf("an .npy file has one array, the model has the inputs %s: put them into an .npz file", names(o.Inputs))
	}
	data, err := readLimited(f)
	if err != nil {
		return nil, err
	}
	a, err := parseArray(data)
	if err != nil {
		return nil, err
	}
	return fromArrays(map[string]*array{o.Inputs[0].Name: a}, o)
}

func readLimited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, bytesMax+1))
	if err == nil && len(data) > bytesMax {
		err = fmt.Errorf("more than %d bytes", int64(bytesMax))
	}
	return data, err
}

// fromArrays makes the model's inputs of arrays by name.
func fromArrays(arrays map[string]*array, o Options) (*Data, error) {
	var labels []string
	if a := arrays[o.Label]; o.Label != "" && (a != nil || !o.LabelOptional) {
		if a == nil {
			return nil, fmt.Errorf("no array %q for the labels; there are %s", o.Label, arrayNames(arrays))
		}
		var err error
		if labels, err = a.texts(); err != nil {
			return nil, fmt.Errorf("labels %q: %w", o.Label, err)
		}
		delete(arrays, o.Label)
	}
	var inputs []tensor.Tensor
	for _, spec := range o.Inputs {
		a := arrays[spec.Name]
		if a == nil && len(o.Inputs) == 1 && len(arrays) == 1 { // then its name does not matter
			for _, only := range arrays {
				a = only
			}
		}
		if a == nil {
			return nil, fmt.Errorf("no array for input %q; there are %s", spec.Name, arrayNames(arrays))
		}
		t, err := a.tensor(spec.Datatype, o.AllowNaN)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", spec.Name, err)
		}
		t.Name = spec.Name
		inputs = append(inputs, t)
	}
	return New(inputs, labels, o)
}

func arrayNames(arrays map[string]*array) string {
	var list []string
	for name := range arrays {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
