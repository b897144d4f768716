// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"reflect"
	"strings"
	"sync"
)

// schema is what the tags of a struct say: the fields of one message.
type schema struct {
	fields []schemaField
}

// schemaField is one field of a message.
type schemaField struct {
	index int    // in the struct
	name  string // in the text format
	camel string // in JSON, besides name
	oneof string // of the fields with one oneof at most one is set
}

// schemas caches by type, of which there are a fixed few dozen.
var schemas sync.Map

// schemaOf is the schema of a struct type of this package.
func schemaOf(t reflect.Type) *schema {
	if s, ok := schemas.Load(t); ok {
		return s.(*schema)
	}
	s := &schema{}
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name := tag.Get("pb")
		s.fields = append(s.fields, schemaField{index: i, name: name, camel: lowerCamel(name), oneof: tag.Get("oneof")})
	}
	schemas.Store(t, s)
	return s
}

func lowerCamel(name string) string {
	head, rest, _ := strings.Cut(name, "_")
	var b strings.Builder
	b.WriteString(head)
	for part := range strings.SplitSeq(rest, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// find is the field a name stands for, nil for none.
func (s *schema) find(name string, camel bool) *schemaField {
	for i := range s.fields {
		if f := &s.fields[i]; f.name == name || camel && f.camel == name {
			return f
		}
	}
	return nil
}

func (s *schema) names() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// suggestion is "; did you mean X?" for the name closest to a wrong one, and
// otherwise the list of all names where it is short.
func suggestion(wrong string, names []string) string {
	const distanceMax, listMax = 3, 15
	best, bestDistance := "", distanceMax+1
	for _, name := range names {
		if d := editDistance(wrong, name); d < bestDistance && 2*d < len(name) {
			best, bestDistance = name, d
		}
	}
	switch {
	case best != "":
		return "; did you mean " + best + "?"
	case len(names) <= listMax:
		return "; known are " + strings.Join(names, ", ")
	}
	return ""
}

// editDistance counts the insertions, deletions and replacements between a and b.
// Names much longer than any of ours are not worth the work.
func editDistance(a, b string) int {
	const lengthMax = 64
	if len(a) > lengthMax {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
