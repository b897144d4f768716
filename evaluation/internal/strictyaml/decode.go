// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/featurestore/expression"
)

// shorthand is implemented by pointers to structs that a single word may stand for.
type shorthand interface{ SetText(text string) }

// decode reads a value into to. Mistakes are reported, and leave to as it is.
func (f *File) decode(n ast.Node, path string, to reflect.Value) {
	f.places[path] = place(n)
	n = f.resolve(n)
	if _, null := n.(*ast.NullNode); null && path != "" {
		f.Fail(path, "has no value")
		return
	}
	if own, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, is := textOf(n)
		if !is {
			f.Fail(path, "is %s, it takes a text", kindOf(n))
		} else if err := own.UnmarshalText([]byte(text)); err != nil {
			f.Fail(path, "%v", err)
		}
		return
	}
	switch to.Kind() {
	case reflect.Pointer:
		value := reflect.New(to.Type().Elem())
		before := f.count
		if f.decode(n, path, value.Elem()); f.count == before {
			to.Set(value)
		}
	case reflect.Struct:
		f.structure(n, path, to)
	case reflect.Slice:
		f.list(n, path, to)
	case reflect.Map:
		f.names(n, path, to)
	default:
		f.scalar(n, path, to)
	}
}

func (f *File) structure(n ast.Node, path string, to reflect.Value) {
	if short, ok := to.Addr().Interface().(shorthand); ok {
		if text, ok := textOf(n); ok {
			short.SetText(text)
			return
		}
	}
	fields := map[string]reflect.Value{}
	var known []string
	collect(to, fields, &known)
	for _, e := range f.entries(n, path, "settings") {
		at := child(path, e.key)
		field, ok := fields[e.key]
		switch {
		case ok:
			f.decode(e.value, at, field)
		case path == "" && strings.HasPrefix(e.key, "x-"):
		default:
			f.add(e.at, at, "unknown key%s", orOneOf(e.key, known))
		}
	}
}

// collect lists the fields of a struct and of those inlined in it.
func collect(v reflect.Value, fields map[string]reflect.Value, known *[]string) {
	for i := range v.NumField() {
		name, rest, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case rest == "inline":
			collect(v.Field(i), fields, known)
		case name != "" && name != "-":
			fields[name] = v.Field(i)
			*known = append(*known, name)
		}
	}
}

func orOneOf(name string, known []string) string {
	if c := expression.Closest(name, known); c != "" {
		return fmt.Sprintf("; did you mean %s?", c)
	}
	return "; it is one of " + strings.Join(known, ", ")
}

func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (f *File) list(n ast.Node, path string, to reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		f.Fail(path, "is %s, it takes a list", kindOf(n))
		return
	}
	if len(s.Values) > itemsMax {
		f.Fail(path, "has %d values, at most %d are allowed", len(s.Values), itemsMax)
		return
	}
	values := reflect.MakeSlice(to.Type(), len(s.Values), len(s.Values))
	for i, v := range s.Values {
		f.decode(v, fmt.Sprintf("%s[%d]", path, i), values.Index(i))
	}
	to.Set(values)
}

func (f *File) names(n ast.Node, path string, to reflect.Value) {
	to.Set(reflect.MakeMap(to.Type()))
	list := f.entries(n, path, "names")
	if len(list) > itemsMax {
		f.Fail(path, "has %d names, at most %d are allowed", len(list), itemsMax)
		return
	}
	for _, e := range list {
		value := reflect.New(to.Type().Elem()).Elem()
		f.decode(e.value, child(path, e.key), value)
		to.SetMapIndex(reflect.ValueOf(e.key), value)
	}
}

// entry is a key of a map and its value.
type entry struct {
	key   string
	at    [2]int
	value ast.Node
}

func (f *File) entries(n ast.Node, path, what string) []entry {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		f.Fail(path, "is %s, it takes a map of %s", kindOf(n), what)
		return nil
	}
	list := make([]entry, 0, len(values))
	seen := map[string]int{}
	for _, v := range values {
		at := place(v.Key)
		key, ok := textOf(v.Key)
		switch first, twice := seen[key]; {
		case v.Key.IsMergeKey():
			f.add(at, path, "merging by << is not understood: write the keys out")
		case !ok || key == "":
			f.add(at, path, "the key has to be a name")
		case twice:
			f.add(at, child(path, key), "given twice, first in line %d", first)
		default:
			seen[key] = at[0]
			list = append(list, entry{key, at, v.Value})
		}
	}
	return list
}

// textOf is a scalar as it is written.
func textOf(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func (f *File) scalar(n ast.Node, path string, to reflect.Value) {
	text, ok := textOf(n)
	if !ok {
		f.Fail(path, "is %s, it takes %s", kindOf(n), kindWanted(to.Kind()))
		return
	}
	var err error
	switch to.Kind() {
	case reflect.String:
		to.SetString(text)
	case reflect.Bool:
		b, is := n.(*ast.BoolNode)
		if ok = is; is {
			to.SetBool(b.Value)
		}
	case reflect.Int, reflect.Int64:
		var x int64
		if x, err = strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64); err == nil {
			to.SetInt(x)
		}
	case reflect.Uint64:
		var x uint64
		if x, err = strconv.ParseUint(strings.ReplaceAll(text, "_", ""), 10, 64); err == nil {
			to.SetUint(x)
		}
	case reflect.Float64:
		var x float64
		x, err = strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if ok = !math.IsNaN(x) && !math.IsInf(x, 0); err == nil && ok {
			to.SetFloat(x)
		}
	default:
		ok = false
	}
	if !ok || err != nil {
		f.Fail(path, "is %q, it takes %s", text, kindWanted(to.Kind()))
	}
}

func kindWanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float64:
		return "a number"
	}
	return "a text"
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.AliasNode:
		return "an alias of no anchor"
	case *ast.TagNode:
		return "a value with a tag"
	}
	if text, ok := textOf(n); ok {
		return strconv.Quote(text)
	}
	return "something else"
}
