// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// rules are the differences between the two formats once they are trees.
type rules struct {
	// json takes names in lowerCamelCase, objects as maps, null as an unset field,
	// and numbers and enums in quotes; lists must be written as lists.
	json bool
}

var (
	textRules = rules{}
	jsonRules = rules{json: true}
)

// decoder fills structs from nodes by reflection on the structs' tags. It goes on
// after an error, to report them together.
type decoder struct {
	*source
	rules
	problems []error
}

func decode(s *source, root node, r rules) (*Config, error) {
	d := decoder{source: s, rules: r}
	config := new(Config)
	d.message(reflect.ValueOf(config).Elem(), root, "the configuration")
	if err := joinProblems(d.problems); err != nil {
		return nil, err
	}
	return config, nil
}

// full says that enough is wrong: one problem more than are listed. The rest is not
// looked at, since placing and explaining problems is not for free.
func (d *decoder) full() bool { return len(d.problems) > problemsMax }

func (d *decoder) fail(offset int, format string, args ...any) {
	if !d.full() {
		d.problems = append(d.problems, d.errorf(offset, format, args...))
	}
}

// message fills struct v. name is the field that holds it, for messages to people.
func (d *decoder) message(v reflect.Value, n node, name string) {
	if n.kind != messageNode {
		d.fail(n.offset, "%s takes a message in braces, not %s", name, n.kind)
		return
	}
	schema := schemaOf(v.Type())
	var seen singulars
	for _, f := range n.fields {
		field := schema.find(f.name, d.json)
		switch {
		case d.full():
			return
		case field == nil:
			d.fail(f.offset, "unknown field %q in %s%s", f.name, name, suggestion(f.name, schema.names()))
		case d.json && f.value.isWord("null"):
		default:
			target := v.Field(field.index)
			if clash := seen.add(field, d.json || !isRepeated(target.Kind())); clash != "" {
				d.fail(f.offset, "%s in %s %s", field.name, name, clash)
				continue
			}
			d.field(target, f.value, field.name)
		}
	}
}

func isRepeated(k reflect.Kind) bool { return k == reflect.Slice || k == reflect.Map }

func (n *node) isWord(word string) bool { return n.kind == wordNode && n.text == word }

// singulars remembers which fields of one message may not come again.
type singulars map[string]string

// add says what is wrong with one more occurrence of the field, "" if nothing.
func (s *singulars) add(f *schemaField, once bool) string {
	if *s == nil {
		*s = singulars{}
	}
	group := f.name
	if f.oneof != "" {
		group = "oneof " + f.oneof
	}
	previous, taken := (*s)[group]
	switch {
	case taken && previous != f.name:
		return "cannot be given together with " + previous
	case taken && once:
		return "is given more than once"
	}
	(*s)[group] = f.name
	return ""
}

func (d *decoder) field(v reflect.Value, n node, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.message(v.Elem(), n, name)
	case reflect.Slice:
		d.repeated(v, n, name)
	case reflect.Map:
		d.mapping(v, n, name)
	default:
		d.single(v, n, name)
	}
}

func (d *decoder) repeated(v reflect.Value, n node, name string) {
	if n.kind != listNode {
		if d.json {
			d.fail(n.offset, "%s takes a list, not %s", name, n.kind)
			return
		}
		n = node{kind: listNode, items: []node{n}}
	}
	for _, item := range n.items {
		element := reflect.New(v.Type().Elem()).Elem()
		d.single(element, item, name)
		v.Set(reflect.Append(v, element))
	}
}

// mapping fills a map: in JSON an object, in text messages with key and value.
func (d *decoder) mapping(v reflect.Value, n node, name string) {
	switch {
	case d.json && n.kind != messageNode:
		d.fail(n.offset, "%s takes an object, not %s", name, n.kind)
	case d.json:
		for _, f := range n.fields {
			// Keys are quoted in JSON whatever their type.
			d.entry(v, node{kind: stringNode, offset: f.offset, text: f.name}, f.value, name)
		}
	case n.kind == listNode:
		for _, item := range n.items {
			d.textEntry(v, item, name)
		}
	default:
		d.textEntry(v, n, name)
	}
}

// textEntry reads { key: K value: V }. A missing value is the zero value.
func (d *decoder) textEntry(v reflect.Value, n node, name string) {
	if n.kind != messageNode {
		d.fail(n.offset, "%s takes entries { key: .. value: .. }, not %s", name, n.kind)
		return
	}
	var key, value *node
	for i, f := range n.fields {
		switch {
		case f.name == "key" && key == nil:
			key = &n.fields[i].value
		case f.name == "value" && value == nil:
			value = &n.fields[i].value
		default:
			d.fail(f.offset, "unexpected %q in an entry of %s, which has one key and one value", f.name, name)
			return
		}
	}
	if key == nil {
		d.fail(n.offset, "an entry of %s has no key", name)
		return
	}
	if value == nil {
		value = zeroNode(v.Type().Elem().Kind(), n.offset)
	}
	d.entry(v, *key, *value, name)
}

// zeroNode stands for the value left out of a map's entry; values of maps are
// strings or messages.
func zeroNode(k reflect.Kind, offset int) *node {
	if k == reflect.Struct {
		return &node{kind: messageNode, offset: offset}
	}
	return &node{kind: stringNode, offset: offset}
}

func (d *decoder) entry(v reflect.Value, key, value node, name string) {
	k := reflect.New(v.Type().Key()).Elem()
	element := reflect.New(v.Type().Elem()).Elem()
	reported := len(d.problems)
	d.single(k, key, "the key of "+name)
	d.single(element, value, name)
	if len(d.problems) > reported {
		return
	}
	if v.MapIndex(k).IsValid() {
		d.fail(key.offset, "key %q is given more than once in %s", key.text, name)
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	v.SetMapIndex(k, element)
}

// single fills anything but a list or a map.
func (d *decoder) single(v reflect.Value, n node, name string) {
	if d.full() {
		return
	}
	if v.Type().Implements(enumType) {
		d.enum(v, n, name)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.message(v, n, name)
	case reflect.String:
		d.string(v, n, name)
	case reflect.Bool:
		d.bool(v, n, name)
	case reflect.Float32, reflect.Float64:
		d.float(v, n, name)
	default:
		d.integer(v, n, name)
	}
}

func (d *decoder) string(v reflect.Value, n node, name string) {
	switch {
	case n.kind != stringNode:
		d.fail(n.offset, "%s takes a string in quotes, not %s", name, describe(n))
	case !utf8.ValidString(n.text):
		d.fail(n.offset, "%s is not valid UTF-8", name)
	default:
		v.SetString(n.text)
	}
}

func (d *decoder) bool(v reflect.Value, n node, name string) {
	if n.kind == wordNode || n.kind == numberNode && !d.json {
		switch n.text {
		case "true":
			v.SetBool(true)
			return
		case "false":
			return
		}
		if value, ok := textBools[n.text]; ok && !d.json {
			v.SetBool(value)
			return
		}
	}
	d.fail(n.offset, "%s takes true or false, not %s", name, describe(n))
}

var textBools = map[string]bool{"True": true, "t": true, "1": true, "False": false, "f": false, "0": false}

func (d *decoder) enum(v reflect.Value, n node, name string) {
	names := v.Interface().(enum).enumNames()
	number := -1
	switch {
	case n.kind == wordNode, n.kind == stringNode && d.json:
		number = slices.Index(names, n.text)
	case n.kind == numberNode:
		if parsed, err := strconv.Atoi(n.text); err == nil && parsed < len(names) {
			number = parsed
		}
	}
	if number < 0 {
		d.fail(n.offset, "%s has no value %s%s", name, describe(n), suggestion(n.text, names))
		return
	}
	setEnumNumber(v, number)
}

// describe shows a wrong value, shortened.
func describe(n node) string {
	const shownMax = 60
	switch n.kind {
	case listNode, messageNode:
		return n.kind.String()
	}
	text := n.text
	if len(text) > shownMax {
		text = text[:shownMax] + "..."
	}
	if n.kind == stringNode {
		return strconv.Quote(text)
	}
	return text
}
