// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// mistake is what is wrong in a file of definitions, and where. It is ErrInvalid.
type mistake struct {
	file         string
	line, column int
	path         string // of the label, with a dot
	err          error  // begins with the path within it
}

func (m *mistake) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s%v", m.file, m.line, m.column, m.path, m.err)
}

func (m *mistake) Is(target error) bool { return target == ErrInvalid }

// placed finds the lines of mistakes in a file that parses, and joins them in that order.
func placed(text []byte, all []*mistake) error {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	for _, m := range all {
		m.line, m.column = 1, 1
		if err == nil && len(file.Docs) > 0 {
			within, _, _ := strings.Cut(m.err.Error(), ":")
			m.find(file.Docs[0].Body, m.path+within)
		}
	}
	slices.SortFunc(all, func(a, b *mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), strings.Compare(a.Error(), b.Error()))
	})
	joined := make([]error, len(all))
	for i, m := range all {
		joined[i] = m
	}
	return errors.Join(joined...)
}

// find goes down a path as far as the file has it. Names of labels may have dots, so keys
// are taken off the front of the path.
func (m *mistake) find(n ast.Node, path string) {
	for path != "" {
		var next ast.Node
		for _, v := range mappingValues(n) {
			key := v.Key.String()
			rest, ok := strings.CutPrefix(path, strings.Trim(key, `"'`))
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				if t := v.Key.GetToken(); t != nil && t.Position != nil {
					m.line, m.column = t.Position.Line, t.Position.Column
				}
				next, path = v.Value, strings.TrimPrefix(rest, ".")
				break
			}
		}
		if next == nil {
			return
		}
		n = next
	}
}

func mappingValues(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// MistakeAt is a mistake that the reader of a file finds after Parse, such as a decision
// that there is not: in a label, with a path within it that the error begins with.
func MistakeAt(file string, text []byte, label string, err error) error {
	return placed(text, []*mistake{{file: file, path: "labels." + label + ".", err: err}})
}
