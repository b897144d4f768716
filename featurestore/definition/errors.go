// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// errorsMax bounds the mistakes that are reported at once.
const errorsMax = 50

// Error is one mistake in a definition.
type Error struct {
	// File is the name of the file, as it was given.
	File string
	// Line and Column are where the mistake is, from 1; 0 if it is no place in a file.
	Line, Column int
	// Path names what is defined there, such as views.customer_payments.windows; it may be
	// empty.
	Path string
	// Message says what is wrong and what would be right.
	Message string
}

func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	for _, part := range []string{e.Path, e.Message} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// Errors are the mistakes of a set of definitions, at least one, by place.
type Errors []Error

// Error has a line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// collector gathers mistakes.
type collector struct {
	errors  Errors
	dropped int
	// total counts all that was wrong, also what was told before or follows from it.
	total int
	files map[string]int // their order
}

func (c *collector) add(at place, path, format string, args ...any) {
	c.total++
	e := Error{File: at.file, Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)}
	if slices.Contains(c.errors, e) {
		return
	}
	if len(c.errors) >= errorsMax {
		c.dropped++
		return
	}
	c.errors = append(c.errors, e)
}

// result is nil if there is no mistake.
func (c *collector) result() error {
	if len(c.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(c.errors, func(a, b Error) int {
		return cmp.Or(cmp.Compare(c.files[a.File], c.files[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if c.dropped > 0 {
		c.errors = append(c.errors, Error{File: c.errors[len(c.errors)-1].File,
			Message: fmt.Sprintf("%d more mistakes are not shown", c.dropped)})
	}
	return c.errors
}

// place is where something is defined.
type place struct {
	file         string
	line, column int
}

func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }
