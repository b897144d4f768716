// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/internal/strictyaml"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// file is what evaluation.yaml holds.
type file struct {
	Evaluations map[string]Spec `yaml:"evaluations"`
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// LoadSpecs reads a file of evaluations, by name. What is wrong in it is returned at once,
// as definition.Errors. Relative paths in it are joined to its folder. Model, data and label
// may be missing still.
func LoadSpecs(name string) (map[string]Spec, error) {
	var content file
	f, err := strictyaml.Read(name, &content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if content.Evaluations == nil && f.Err() == nil {
		f.Fail("", "evaluations is missing")
	}
	for _, key := range slices.Sorted(maps.Keys(content.Evaluations)) {
		s := content.Evaluations[key]
		path := "evaluations." + key
		if !namePattern.MatchString(key) {
			f.Fail(path, "the name has other characters than letters, digits, _ . and -, or more than 64")
		}
		s.Name = key
		s.join(filepath.Dir(name))
		checked := s
		checked.EnsureDefaults()
		for _, m := range checked.mistakes(false) {
			f.Fail(path+"."+m.path, "%v", m.err)
		}
		content.Evaluations[key] = s
	}
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrSpec, err)
	}
	return content.Evaluations, nil
}

// join makes the paths relative to the working directory that are relative to a folder.
func (s *Spec) join(folder string) {
	for _, path := range []*string{&s.Data, &s.Model, &s.Against, &s.Leakage.Train} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}

// LoadSpec reads one evaluation of a file. An empty name is the only one there is.
func LoadSpec(path, name string) (*Spec, error) {
	all, err := LoadSpecs(path)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(all))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	s, ok := all[name]
	switch {
	case ok:
		return &s, nil
	case name == "":
		return nil, fmt.Errorf("%w: %s has several evaluations: name one of %s", ErrSpec, path, strings.Join(names, ", "))
	}
	hint := "; it has " + strings.Join(names, ", ")
	if c := expression.Closest(name, names); c != "" {
		hint = "; did you mean " + c + "?"
	}
	return nil, fmt.Errorf("%w: %s has no evaluation %q%s", ErrSpec, path, name, hint)
}
