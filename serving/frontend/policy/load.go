// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// Load reads policy files and checks them against the feature definitions. The policies
// come in the order of the files. If anything is wrong it returns all mistakes, as
// definition.Errors, and no policy; a file that cannot be read is such a mistake.
func Load(c *definition.Catalog, files ...string) ([]*Policy, error) {
	l := newLoader(c)
	for _, name := range files {
		data, err := readFile(name)
		if err != nil {
			l.errs = append(l.errs, definition.Error{File: name, Message: err.Error()})
			continue
		}
		l.parse(name, data)
	}
	return l.done()
}

// Parse is Load of one file whose content is at hand; name is for messages.
func Parse(c *definition.Catalog, name string, data []byte) ([]*Policy, error) {
	l := newLoader(c)
	l.parse(name, data)
	return l.done()
}

// readFile reads one byte more than is allowed, which the parser then refuses.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		// The path is said already.
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileBytesMax+1))
}

type loader struct {
	c        *definition.Catalog
	policies []*Policy
	byName   map[string]*Policy
	errs     definition.Errors
}

func newLoader(c *definition.Catalog) *loader {
	if c == nil {
		c = &definition.Catalog{}
	}
	return &loader{c: c, byName: map[string]*Policy{}}
}

func (l *loader) parse(file string, data []byte) {
	r := &reader{file: file}
	if root := r.parse(data); root.there() {
		if b, ok := r.block(root, "decisions"); ok {
			if n, ok := b.need("decisions"); ok {
				l.decisions(r, n)
			}
		}
	} else if r.failures == 0 {
		r.failAt(1, 1, "", "decisions is missing")
	}
	slices.SortStableFunc(r.errs, func(a, b definition.Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	l.errs = append(l.errs, r.errs...)
}

func (l *loader) decisions(r *reader, n node) {
	list := r.entries(n, "decisions", decisionsMax)
	if len(list) == 0 && kindOf(n.ast) == "a map" {
		r.fail(n, "has no decision")
	}
	for _, e := range list {
		if !r.checkName(e.keyAt, e.key) {
			continue
		}
		if other := l.byName[e.key]; other != nil {
			r.fail(e.keyAt, "given twice, first in %s:%d", other.File, other.Line)
			continue
		}
		p := &Policy{Name: e.key, File: r.file, Unit: -1, Idempotency: -1, TTL: ttlDefault}
		p.Line, _ = place(e.keyAt.ast)
		l.byName[e.key] = p
		l.policies = append(l.policies, p)
		before := r.failures
		(&builder{r: r, c: l.c, p: p}).build(e.value)
		if r.failures == before {
			p.seal()
		}
	}
}

func (l *loader) done() ([]*Policy, error) {
	switch {
	case len(l.errs) >= errorsMax:
		return nil, append(l.errs[:errorsMax:errorsMax], definition.Error{File: l.errs[errorsMax-1].File, Message: "there may be more mistakes, which are not shown"})
	case len(l.errs) > 0:
		return nil, l.errs
	}
	return l.policies, nil
}
