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
	path         string
	message      string
}

// newMistake takes an error that begins with a path within a label.
func newMistake(file, label string, err error) *mistake {
	within, message, _ := strings.Cut(err.Error(), ": ")
	return &mistake{file: file, path: "labels." + label + "." + within, message: message}
}

func (m *mistake) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s: %s", m.file, m.line, m.column, m.path, m.message)
}

func (m *mistake) Is(target error) bool { return target == ErrInvalid }

// placed finds the lines of mistakes in a file that parses, and joins them in that order.
func placed(text []byte, all []*mistake) error {
	locate(text, all)
	slices.SortFunc(all, func(a, b *mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), strings.Compare(a.Error(), b.Error()))
	})
	joined := make([]error, len(all))
	for i, m := range all {
		joined[i] = m
	}
	return errors.Join(joined...)
}

// locate finds the places. A fault of the parser, which is not ours, leaves the rest at the
// beginning of the file.
func locate(text []byte, all []*mistake) {
	for _, m := range all {
		m.line, m.column = 1, 1
	}
	defer func() { _ = recover() }()
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil || len(file.Docs) == 0 {
		return
	}
	for _, m := range all {
		m.find(file.Docs[0].Body, m.path)
	}
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
// that there is not, at a path such as labels.fraud.decision.
func MistakeAt(file string, text []byte, path, message string) error {
	return placed(text, []*mistake{{file: file, path: path, message: message}})
}
