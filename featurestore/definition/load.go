// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/expression"
)

// Limits of a catalogue.
const (
	// entitiesMax bounds the entities.
	entitiesMax = 64
	// sourcesMax bounds the sources; each is a stream of the event log, which has room
	// for others too.
	sourcesMax = 200
	// kindMax bounds the views, the lookups and the services.
	kindMax = 1000
	// fieldsMax bounds the fields of a source, and of a request.
	fieldsMax = 1000
	// featuresMax bounds the features of a service.
	featuresMax = 4096
	// nameMax is the longest name of an entity, a source, a view, a lookup or a service.
	nameMax = 48
	// fieldNameMax is the longest name of a field or a feature of a view, its window's
	// suffix not counted.
	fieldNameMax = 64
	// featureNameMax is the longest name of a feature of a service.
	featureNameMax = 128
)

// Load reads definition files, which together make one catalogue. Errors in them are of
// the type Errors.
func Load(files ...string) (*Catalog, error) {
	if len(files) == 0 || len(files) > filesMax {
		return nil, fmt.Errorf("%d definition files, 1 to %d are needed", len(files), filesMax)
	}
	l := newLoader()
	for _, name := range files {
		data, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		l.take(name, data)
	}
	return l.build()
}

// Parse is Load for the content of one file; name stands for it in messages, and
// relative paths in it are joined to its folder.
func Parse(name string, data []byte) (*Catalog, error) {
	l := newLoader()
	l.take(name, data)
	return l.build()
}

// readFile reads no more than is needed to find that a file is too long.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileBytesMax+1))
}

// definition is a named thing that was found in a file.
type definition struct {
	name   string
	at     place
	value  *node
	folder string
}

// section is all definitions of a kind, in the order found.
type section struct {
	title string // such as views
	one   string // such as view
	max   int
	list  []definition
	full  bool // and told so
}

func (s *section) find(name string) *definition {
	if i := slices.IndexFunc(s.list, func(d definition) bool { return d.name == name }); i >= 0 {
		return &s.list[i]
	}
	return nil
}

// loader builds a catalogue. Things with mistakes are left out of it but stay known by
// name, so that one mistake is not reported again wherever the thing is used.
type loader struct {
	collector
	nodes                                       int
	entities, sources, views, lookups, services section
	broken                                      map[string]bool // kind and name
	environment                                 func(string) (string, bool)
	catalog                                     *Catalog
}

func newLoader() *loader {
	return &loader{collector: collector{files: map[string]int{}},
		entities:    section{title: "entities", one: "entity", max: entitiesMax},
		sources:     section{title: "sources", one: "source", max: sourcesMax},
		views:       section{title: "views", one: "view", max: kindMax},
		lookups:     section{title: "lookups", one: "lookup", max: kindMax},
		services:    section{title: "services", one: "service", max: kindMax},
		broken:      map[string]bool{},
		environment: os.LookupEnv,
		catalog:     &Catalog{},
	}
}

func (l *loader) sections() []*section {
	return []*section{&l.entities, &l.sources, &l.views, &l.lookups, &l.services}
}

// take finds the definitions of a file.
func (l *loader) take(name string, data []byte) {
	if _, again := l.files[name]; again {
		l.add(place{file: name}, "", "the file is given twice")
		return
	}
	l.files[name] = len(l.files)
	l.catalog.Files = append(l.catalog.Files, name)
	for _, document := range l.parseFile(name, data) {
		l.document(document, filepath.Dir(name))
	}
}

func (l *loader) document(n *node, folder string) {
	var titles []string
	for _, s := range l.sections() {
		titles = append(titles, s.title)
	}
	if n.kind == nullKind {
		return
	}
	var kept node
	kept.kind, kept.at = n.kind, n.at
	for _, e := range n.entries { // keys x-... are free for notes and anchors
		if !strings.HasPrefix(e.key.text, "x-") {
			kept.entries = append(kept.entries, e)
		}
	}
	top := l.object(&kept, "", kept.at, titles...)
	for _, s := range l.sections() {
		value := top.get(s.title)
		if value == nil {
			continue
		}
		for _, e := range l.mapping(value, s.title) {
			l.define(s, e, folder)
		}
	}
}

// define adds a definition to its section.
func (l *loader) define(s *section, e entry, folder string) {
	name, path := e.key.text, s.title+"."+e.key.text
	if !l.checkName(e.key, path, "the name of "+article(s.one), nameMax) {
		return
	}
	if other := s.find(name); other != nil {
		l.add(e.key.at, path, "defined before at %v", other.at)
		return
	}
	rival := map[*section]*section{&l.views: &l.lookups, &l.lookups: &l.views}[s] // both name what features come from
	if rival != nil && rival.find(name) != nil {
		l.add(e.key.at, path, "a view and a lookup may not have the same name; see %v", rival.find(name).at)
		return
	}
	if len(s.list) == s.max {
		if !s.full {
			l.add(e.key.at, s.title, "more than %d %s", s.max, s.title)
		}
		s.full = true
		return
	}
	s.list = append(s.list, definition{name, e.key.at, e.value, folder})
}

func article(noun string) string {
	if noun == "entity" {
		return "an entity"
	}
	return "a " + noun
}

// build makes the catalogue of what was found.
func (l *loader) build() (*Catalog, error) {
	for i := range l.entities.list {
		l.buildOne(&l.entities, i, l.entity)
	}
	for i := range l.sources.list {
		l.buildOne(&l.sources, i, l.source)
	}
	for i := range l.views.list {
		l.buildOne(&l.views, i, l.view)
	}
	for i := range l.lookups.list {
		l.buildOne(&l.lookups, i, l.lookup)
	}
	for i := range l.services.list {
		l.buildOne(&l.services, i, l.service)
	}
	if l.total == 0 && len(l.entities.list) == 0 {
		l.add(place{file: strings.Join(l.catalog.Files, ", ")}, "", "nothing is defined; a catalogue has at least an entity")
	}
	if err := l.result(); err != nil {
		return nil, err
	}
	l.catalog.Hash = l.catalog.hash()
	return l.catalog, nil
}

// buildOne makes one thing and remembers it as broken if it has mistakes or uses what has.
func (l *loader) buildOne(s *section, i int, make func(*definition, string)) {
	before := l.total
	make(&s.list[i], s.title+"."+s.list[i].name)
	if l.total > before {
		l.broken[s.one+" "+s.list[i].name] = true
	}
}

// unknown reports a reference to something that is not there, unless it is broken.
func (l *loader) unknown(s *section, n *node, path string) {
	if l.broken[s.one+" "+n.text] {
		l.total++
		return
	}
	var known []string
	for _, d := range s.list {
		known = append(known, d.name)
	}
	l.add(n.at, path, "no %s %q%s", s.one, n.text, suggest(n.text, known))
}

// suggest ends a message about an unknown word.
func suggest(word string, known []string) string {
	if c := expression.Closest(word, known); c != "" {
		return fmt.Sprintf("; did you mean %s?", c)
	}
	if len(known) > 0 && len(known) <= 12 {
		return "; known: " + strings.Join(known, ", ")
	}
	return ""
}

var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// checkName reports a name that cannot be one.
func (l *loader) checkName(n *node, path, what string, longest int) bool {
	switch {
	case !namePattern.MatchString(n.text):
		l.add(n.at, path, "%q cannot be %s: that begins with a letter or _ and has letters, digits and _ only", clip(n.text), what)
	case len(n.text) > longest:
		l.add(n.at, path, "%s has %d characters, at most %d are allowed", what, len(n.text), longest)
	default:
		return true
	}
	return false
}

// clip shortens a text for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}
