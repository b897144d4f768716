// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

var (
	// ErrInput means that an input is not what its definition says: a file or a column is
	// missing, or a type does not suit. Correct the definition or the input.
	ErrInput = errors.New("input does not match its definition")
	// ErrBadRows means that there were more bad rows than Options.BadRowsMax. It comes
	// with the first of them, a *RowError.
	ErrBadRows = errors.New("too many bad rows")
	// ErrConnect means that a database could not be reached or asked. Trying again later
	// may help.
	ErrConnect = errors.New("database is not available")
	// ErrCorrupt means that a Parquet file is not what the format or its checksums say:
	// restore it.
	ErrCorrupt = pages.ErrCorrupt
	// ErrUnsupported means that a Parquet file is stored in a way that is not read, such
	// as encrypted: write it anew.
	ErrUnsupported = pages.ErrUnsupported
)

// RowError says what is wrong with a row.
type RowError struct {
	// Input is the file or the database.
	Input string
	// Row counts from 1: lines of a text file, rows of others.
	Row int64
	// IsLine says that Row is a line.
	IsLine bool
	// Field is empty if the row as a whole is malformed.
	Field string
	// Message says what is wrong.
	Message string
}

// Error names input, row and field.
func (e *RowError) Error() string {
	unit, field := "row", ""
	if e.IsLine {
		unit = "line"
	}
	if e.Field != "" {
		field = ", field " + e.Field
	}
	return fmt.Sprintf("%s: %s %d%s: %s", e.Input, unit, e.Row, field, e.Message)
}

// clip shortens what a message quotes.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && text[cut]&0xC0 == 0x80 { // not within a character
		cut--
	}
	return text[:cut] + "…"
}
