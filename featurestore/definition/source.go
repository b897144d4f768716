// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

const (
	// valuesMax bounds the texts that a field may be limited to.
	valuesMax = 1000
	// inputsMax bounds the inputs of a source.
	inputsMax = 1000
)

// Words that an expression reads in another way, so that no field can be called so.
var reservedWords = []string{"and", "contains", "else", "endsWith", "false", "if", "in", "let", "matches", "nil",
	"not", "null", "or", "startsWith", "true"}

// Columns that the event log has of its own in every stream.
var logColumns = []string{"id", "event_time", "arrival_time", "sequence"}

func (l *loader) entity(d *definition, path string) {
	o := l.object(d.value, path, d.at, vocabulary["entity"]...)
	e := &Entity{Name: d.name, Index: len(l.catalog.Entities)}
	if n := l.word(o.need("key", d.name+"_id"), path+".key"); n != nil && l.checkFieldName(n, path+".key", "a key") {
		e.Key = n.text
	}
	if n := o.need("type", "int64"); n != nil {
		e.Type = l.fieldType(n, path+".type")
		if e.Type != column.Invalid && e.Type != column.Int64 && e.Type != column.String {
			o.bad("type", "a key is int64 or string, not %s", e.Type)
		}
	}
	o.text("description")
	l.catalog.Entities = append(l.catalog.Entities, e)
}

// checkFieldName reports a name that no field can have.
func (l *loader) checkFieldName(n *node, path, what string) bool {
	if !l.checkName(n, path, what, fieldNameMax) {
		return false
	}
	if slices.Contains(reservedWords, n.text) {
		l.add(n.at, path, "%s is a word of expressions: choose another name", n.text)
		return false
	}
	return true
}

func (l *loader) source(d *definition, path string) {
	o := l.object(d.value, path, d.at, vocabulary["source"]...)
	s := &Source{Name: d.name, Index: len(l.catalog.Sources), ID: -1, Timestamp: -1, Arrival: -1, Push: o.truth("push")}
	s.Description = o.text("description")
	if n := o.need("fields", "{amount: float64}"); n != nil {
		s.Fields = l.fields(n, path+".fields", true)
	}
	s.Timestamp = l.timeField(s, o, "timestamp", o.need("timestamp", "event_timestamp"))
	s.Arrival = l.timeField(s, o, "arrival", o.get("arrival"))
	if n := o.word("id"); n != nil {
		s.ID = l.fieldNamed(s, n, path+".id")
		if s.ID >= 0 && s.Fields[s.ID].Type != column.Int64 && s.Fields[s.ID].Type != column.String {
			o.bad("id", "an id is int64 or string, not %s", s.Fields[s.ID].Type)
		}
	}
	l.checkRoles(s, o)
	s.FutureMax, _ = o.duration("future_max", 0)
	for i, n := range o.list("inputs") {
		if i == inputsMax {
			l.add(n.at, path+".inputs", "more than %d inputs", inputsMax)
			break
		}
		s.Inputs = append(s.Inputs, l.input(n, s, index(path+".inputs", i), d.folder))
	}
	if !s.Push && !o.has("inputs") {
		l.add(d.at, path, "the source has nothing to read: give it push: true or inputs")
	}
	l.catalog.Sources = append(l.catalog.Sources, s)
}

// timeField finds the field of a time, and adds it if only its role names it.
func (l *loader) timeField(s *Source, o *object, key string, n *node) int {
	n = l.word(n, o.path+"."+key)
	if n == nil {
		return -1
	}
	i := s.Field(n.text)
	if i < 0 {
		if !l.checkFieldName(n, o.path+"."+key, "a field") {
			return -1
		}
		l.checkLogName(n, o.path+"."+key, key == "arrival")
		s.Fields = append(s.Fields, Field{Name: n.text, Type: column.Timestamp, Min: math.NaN(), Max: math.NaN()})
		return len(s.Fields) - 1
	}
	if s.Fields[i].Type != column.Timestamp && s.Fields[i].Type != column.Invalid {
		o.bad(key, "the field %s is %s, it needs to be timestamp", n.text, s.Fields[i].Type)
	}
	return i
}

// fieldNamed finds a field of a source, -1 after a mistake.
func (l *loader) fieldNamed(s *Source, n *node, path string) int {
	i := s.Field(n.text)
	if i < 0 {
		l.add(n.at, path, "the source %s has no field %q%s", s.Name, clip(n.text), suggest(n.text, s.fieldNames()))
	}
	return i
}

// checkRoles checks that id, timestamp and arrival are fields of their own that cannot
// be late, and that the log has room for the others' names.
func (l *loader) checkRoles(s *Source, o *object) {
	roles := []struct {
		key string
		i   int
	}{{"id", s.ID}, {"timestamp", s.Timestamp}, {"arrival", s.Arrival}}
	for a, role := range roles {
		if role.i < 0 {
			continue
		}
		if s.Fields[role.i].Late {
			o.bad(role.key, "the field %s is late: it is not known when the event comes", s.Fields[role.i].Name)
		}
		for _, other := range roles[:a] {
			if other.i == role.i {
				o.bad(role.key, "the field %s is the source's %s already", s.Fields[role.i].Name, other.key)
			}
		}
	}
	fields := o.get("fields")
	if fields == nil {
		return
	}
	for _, e := range fields.entries {
		l.checkLogName(e.key, o.path+".fields."+clip(e.key.text), s.Field(e.key.text) == s.Arrival)
	}
}

// checkLogName refuses a name of the event log's own columns; the arrival is stored there.
func (l *loader) checkLogName(n *node, path string, arrival bool) {
	if !arrival && slices.Contains(logColumns, n.text) {
		l.add(n.at, path, "the event log has a column %s of its own: choose another name, and give the one in the input with columns", n.text)
	}
}

// fields reads the fields of a source or of a request.
func (l *loader) fields(n *node, path string, late bool) []Field {
	entries := l.mapping(n, path)
	if n.kind == mappingKind && len(entries) == 0 {
		l.add(n.at, path, "there are no fields")
	}
	var list []Field
	for _, e := range entries {
		p := join(path, e.key.text)
		if len(list) == fieldsMax {
			l.add(e.key.at, path, "more than %d fields", fieldsMax)
			break
		}
		if l.checkFieldName(e.key, p, "the name of a field") {
			list = append(list, l.field(e, p, late))
		}
	}
	return list
}

// field reads a field: its type alone, or a mapping.
func (l *loader) field(e entry, path string, late bool) Field {
	f := Field{Name: e.key.text, Min: math.NaN(), Max: math.NaN()}
	if e.value.kind != mappingKind {
		f.Type = l.fieldType(e.value, path)
		return f
	}
	keys := vocabulary["request field"]
	if late {
		keys = vocabulary["field"]
	}
	o := l.object(e.value, path, e.key.at, keys...)
	if n := o.need("type", "float64"); n != nil {
		f.Type = l.fieldType(n, path+".type")
	}
	f.Description = o.text("description")
	f.Required, f.Late = o.truth("required"), o.truth("late")
	l.fieldBounds(o, &f)
	var given bool
	if f.KnownAfter, given = o.duration("known_after", time.Microsecond); given && !f.Late {
		o.bad("known_after", "is for late fields: add late: true")
	}
	if f.Late && !o.has("known_after") {
		l.add(o.at, path, "a late field needs known_after: how long after the event it is known, such as known_after: 7d")
	}
	if f.Late && f.Required {
		o.bad("required", "a late field is null at first and cannot be required")
	}
	return f
}

func (l *loader) fieldBounds(o *object, f *Field) {
	for _, b := range []struct {
		key   string
		bound *float64
	}{{"min", &f.Min}, {"max", &f.Max}} {
		if x, ok := o.number(b.key); ok {
			*b.bound = x
		}
		if o.has(b.key) && f.Type != column.Int64 && f.Type != column.Float64 && f.Type != column.Invalid {
			o.bad(b.key, "bounds are for int64 and float64, not for %s", f.Type)
		}
	}
	if f.Min > f.Max {
		o.bad("max", "max is less than min")
	}
	if o.has("values") && f.Type != column.String && f.Type != column.Invalid {
		o.bad("values", "values are for string, not for %s", f.Type)
	}
	for i, n := range o.list("values") {
		p := index(o.path+".values", i)
		switch {
		case n.kind == listKind || n.kind == mappingKind || n.kind == nullKind:
			o.l.add(n.at, p, "needs a text, this is %s", kindNames[n.kind])
		case slices.Contains(f.Values, n.text):
			o.l.add(n.at, p, "%q is there twice", clip(n.text))
		case len(f.Values) == valuesMax:
			o.l.add(n.at, o.path+".values", "more than %d values", valuesMax)
			return
		default:
			f.Values = append(f.Values, n.text)
		}
	}
}

var (
	formats  = map[string]Format{"csv": CSV, "parquet": Parquet, "jsonl": JSONLines, "postgres": PostgreSQL}
	variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

func (f Format) String() string {
	for name, g := range formats {
		if f == g {
			return name
		}
	}
	return "unknown format"
}

func (l *loader) input(n *node, s *Source, path, folder string) Input {
	o := l.object(n, path, n.at, vocabulary["input"]...)
	in := Input{Line: n.at.line, File: n.at.file}
	o.text("description")
	if f := o.need("format", "parquet"); f != nil {
		names := []string{"csv", "parquet", "jsonl", "postgres"}
		if in.Format = formats[f.text]; in.Format == 0 {
			o.bad("format", "no format %s%s", shown(f), suggest(f.text, names))
		}
	}
	switch in.Format {
	case 0:
	case PostgreSQL:
		l.query(o, &in)
	default:
		if p := o.need("path", "data/events."+in.Format.String()); p != nil {
			in.Path = l.inputPath(o, folder)
		}
		for _, key := range []string{"url", "query"} {
			if o.has(key) {
				o.bad(key, "is for postgres; %s has a path", in.Format)
			}
		}
	}
	if c := o.get("columns"); c != nil {
		in.Columns = l.columns(c, s, path+".columns")
	}
	return in
}

func (l *loader) inputPath(o *object, folder string) string {
	path := o.text("path")
	if path == "" {
		o.bad("path", "the path is empty")
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	if _, err := filepath.Match(path, ""); err != nil {
		o.bad("path", "the pattern is malformed: a [ needs its ]")
	}
	return path
}

// query reads url and query. Variables that are not set are kept for when the input is
// read: files may be checked where there is no database.
func (l *loader) query(o *object, in *Input) {
	if o.need("url", `"${PAYMENTS_URL}"`) != nil {
		in.URL = variable.ReplaceAllStringFunc(o.text("url"), func(v string) string {
			name := v[2 : len(v)-1]
			if value, ok := l.environment(name); ok {
				return value
			}
			if !slices.Contains(in.Unset, name) {
				in.Unset = append(in.Unset, name)
			}
			return v
		})
	}
	if o.need("query", `"select * from payments"`) != nil {
		in.Query = o.text("query")
	}
	if o.has("path") {
		o.bad("path", "is for files; postgres has a url and a query")
	}
}

// columns reads which field has which name in the input.
func (l *loader) columns(n *node, s *Source, path string) map[string]string {
	names := map[string]string{}
	for _, e := range l.mapping(n, path) {
		p := join(path, e.key.text)
		if l.fieldNamed(s, e.key, p) < 0 {
			continue
		}
		if e.value.kind == listKind || e.value.kind == mappingKind || e.value.kind == nullKind || e.value.text == "" {
			l.add(e.value.at, p, "needs the name that the field has in the input")
			continue
		}
		names[e.key.text] = e.value.text
	}
	return names
}

// Field is the place of the field of that name, or -1.
func (s *Source) Field(name string) int {
	return slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
}

// Env are the fields as expressions over the source's events see them.
func (s *Source) Env() []expression.Field { return environment(s.Fields) }

func environment(fields []Field) []expression.Field {
	env := make([]expression.Field, len(fields))
	for i, f := range fields {
		env[i] = expression.Field{Name: f.Name, Type: f.Type}
	}
	return env
}

func (s *Source) fieldNames() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}
