// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"fmt"
	"io"
)

// blockBytes is how much text is read at once.
const blockBytes = 1 << 20

// splitter cuts a stream of text where lines end, so that the pieces can be read by
// several goroutines. A piece is memory of its own.
type splitter struct {
	in     io.Reader
	quotes bool // a line break within quotes does not end a record
	rows   int  // of a piece, at most
	block  []byte
	at     int   // of block: what is before it was handed out
	line   int64 // of block[at]
	end    bool  // of in
}

func newSplitter(in io.Reader, rows int, quotes bool) *splitter {
	return &splitter{in: in, rows: rows, quotes: quotes, line: 1}
}

// text is a piece.
type text struct {
	bytes []byte
	line  int64 // of its first byte
}

// next returns some whole records; io.EOF at the end.
func (s *splitter) next() (text, error) {
	return s.take(s.rows)
}

func (s *splitter) take(rows int) (text, error) {
	for {
		n, lines := s.records(s.block[s.at:], rows)
		if n > 0 {
			piece := text{s.block[s.at : s.at+n : s.at+n], s.line}
			s.at, s.line = s.at+n, s.line+lines
			return piece, nil
		}
		if s.end {
			return text{}, io.EOF
		}
		if err := s.fill(); err != nil {
			return text{}, err
		}
	}
}

// records measures up to so many whole records at the start of b. A record that the
// input ends in is whole.
func (s *splitter) records(b []byte, rows int) (n int, lines int64) {
	quotes := s.quotes && bytes.IndexByte(b, '"') >= 0
	open, from, seen := false, 0, int64(0)
	for rows > 0 {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			break
		}
		if quotes {
			open = quotedAfter(b[from:from+i], open)
		}
		from += i + 1
		if seen++; !open {
			n, lines = from, seen
			rows--
		}
	}
	if rows > 0 && s.end && n < len(b) {
		return len(b), lines + 1
	}
	return n, lines
}

// quotedAfter says whether a line of CSV ends within quotes, as encoding/csv sees it: a
// quote counts at the start of a value alone, and a malformed record ends with its line.
func quotedAfter(line []byte, quoted bool) bool {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	for {
		if !quoted {
			if len(line) == 0 || line[0] != '"' {
				value, rest, more := bytes.Cut(line, []byte{','})
				if !more || bytes.IndexByte(value, '"') >= 0 {
					return false
				}
				line = rest
				continue
			}
			line = line[1:]
		}
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return true
		}
		line = line[i+1:]
		if len(line) == 0 || line[0] != '"' && line[0] != ',' {
			return false
		}
		quoted = line[0] == '"' // two are one within the value
		line = line[1:]
	}
}

// fill reads another block, behind what is left of this one.
func (s *splitter) fill() error {
	left := s.block[s.at:]
	if len(left) > LineBytesMax {
		hint := ""
		if s.quotes {
			hint = "; a quote that is not closed may be why"
		}
		return fmt.Errorf("%w: line %d: it is longer than %d bytes%s", ErrInput, s.line, LineBytesMax, hint)
	}
	block := make([]byte, max(blockBytes, 2*len(left)))
	copy(block, left)
	n, err := io.ReadFull(s.in, block[len(left):])
	s.block, s.at = block[:len(left)+n], 0
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		s.end, err = true, nil
	}
	return err
}
