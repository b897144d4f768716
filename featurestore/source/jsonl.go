// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/parquet-go/jsonlite"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// jsonDepthMax bounds how deep values may lie in one another.
const jsonDepthMax = 100

// jsonFile is an open file of JSON lines.
type jsonFile struct {
	part    *part
	stream  *stream
	split   *splitter
	bound   []binding      // column is the place in names
	names   map[string]int // of the keys that are read
	missing []bool
}

func openJSON(sh *shape, p *part, rows int) (*jsonFile, error) {
	f := &jsonFile{part: p, names: map[string]int{}}
	var err error
	// Lines need not all have the same keys, so every name is found.
	f.bound, f.missing, err = sh.bind(p, func(name string) (int, string) {
		if _, unit, _ := columnName("", map[string]string{"": name}); unit != 0 {
			return -1, ""
		}
		if _, ok := f.names[name]; !ok {
			f.names[name] = len(f.names)
		}
		return f.names[name], ""
	})
	if err != nil {
		return nil, err
	}
	if f.stream, err = openStream(p.path); err != nil {
		return nil, err
	}
	f.split = newSplitter(f.stream, rows, false)
	return f, nil
}

func (f *jsonFile) next() (piece, error) {
	t, err := f.split.next()
	if err != nil {
		return nil, err
	}
	return &jsonPiece{file: f, text: t}, nil
}

func (f *jsonFile) progress() float64 {
	return float64(f.stream.read.Load()) / float64(max(f.part.size, 1))
}
func (f *jsonFile) absent() []bool { return f.missing }
func (f *jsonFile) close() error   { return f.stream.Close() }

type jsonPiece struct {
	file *jsonFile
	text text
}

// jsonValue is a value of a line; the zero value is null.
type jsonValue struct {
	kind jsonlite.Kind
	text string // of a number or a string
}

func (p *jsonPiece) fill(b *column.Batch, w *worker) error {
	f, bad, line := p.file, &w.rejects, p.text.line
	bad.reset(f.part.name, true, line)
	w.json = append(w.json[:0], make([]jsonValue, len(f.names))...)
	all := p.text.bytes
	if line == 1 {
		all = bytes.TrimPrefix(all, byteOrderMark)
	}
	// One string for the piece: values that have no escapes are parts of it.
	for rest := string(all); rest != ""; line++ {
		var one string
		one, rest = cutLine(rest)
		if blank(one) {
			continue
		}
		if fault := f.object(one, w.json); fault != "" {
			bad.line(line, fault)
			continue
		}
		bad.lines = append(bad.lines, line)
		for _, bound := range f.bound {
			c := &b.Columns[bound.field]
			if fault := appendJSON(c, w.json[bound.column], bound.unit); fault != "" {
				bad.row(b.Rows, c.Name, fault)
			}
		}
		b.Rows++
	}
	return nil
}

func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return line, rest
}

func blank(line string) bool {
	for i := range len(line) {
		if c := line[i]; c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// object reads the values of a line by the places of their names; what is wrong with it
// otherwise.
func (f *jsonFile) object(line string, values []jsonValue) (fault string) {
	clear(values)
	if tooDeep(line) {
		return fmt.Sprintf("values lie more than %d deep in one another", jsonDepthMax)
	}
	v, err := jsonlite.Parse(line)
	if err != nil {
		return "is not JSON: " + clip(err.Error())
	}
	if v.Kind() != jsonlite.Object {
		return fmt.Sprintf("%s is not an object", clip(line))
	}
	for key, value := range v.Object {
		if place, ok := f.names[key]; ok {
			values[place] = jsonValue{value.Kind(), ""}
			if k := value.Kind(); k == jsonlite.Number || k == jsonlite.String {
				values[place].text = value.String()
			}
		}
	}
	return ""
}

// tooDeep looks before the parser does, which takes stack for each level.
func tooDeep(line string) bool {
	if strings.Count(line, "{")+strings.Count(line, "[") <= jsonDepthMax {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > jsonDepthMax {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// appendJSON appends what a value means for a field; what is wrong otherwise.
func appendJSON(c *column.Column, v jsonValue, unit epoch) (fault string) {
	switch v.kind {
	case jsonlite.Null:
		c.AppendNull()
		return ""
	case jsonlite.True, jsonlite.False:
		if c.Type == column.Bool {
			truth := 0.0
			if v.kind == jsonlite.True {
				truth = 1
			}
			c.AppendNumber(truth)
			return ""
		}
	case jsonlite.Number:
		if c.Type == column.Int64 || c.Type == column.Float64 || c.Type == column.Timestamp {
			if err := appendText(c, v.text, unit); err != nil {
				return v.text + " " + err.Error()
			}
			return ""
		}
	case jsonlite.String:
		if c.Type == column.String {
			c.AppendText(v.text)
			return ""
		}
		if c.Type == column.Timestamp && v.text != "" {
			if err := appendText(c, v.text, 0); err != nil {
				return fmt.Sprintf("%q %v", clip(v.text), err)
			}
			return ""
		}
	}
	c.AppendNull()
	return fmt.Sprintf("is %s, and the field is %s", jsonKinds[v.kind], c.Type)
}

var jsonKinds = map[jsonlite.Kind]string{
	jsonlite.True: "a truth value", jsonlite.False: "a truth value", jsonlite.Number: "a number",
	jsonlite.String: "a text", jsonlite.Object: "an object", jsonlite.Array: "a list",
}
