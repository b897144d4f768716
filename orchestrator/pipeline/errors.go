// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Mistake is one mistake of a file.
type Mistake struct {
	File         string
	Line, Column int    // from 1; 0 where there is no place
	Path         string // of the field, such as pipelines.fraud.tasks.train.uses
	Message      string
}

func (m Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
	}
	b.WriteString(": ")
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Message)
	return b.String()
}

// Mistakes are all mistakes of a file, in its order. It is an ErrInvalid.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Is makes errors.Is(err, ErrInvalid) hold.
func (m Mistakes) Is(target error) bool { return target == ErrInvalid }

func notFound(what, name string, names []string) error {
	return fmt.Errorf("%s %q %w%s", what, name, ErrNotFound, hint(name, names))
}

// hint names what may have been meant.
func hint(name string, names []string) string {
	if len(names) == 0 {
		return ": there are none"
	}
	best, distance := "", len(name)/2+1
	for _, n := range names {
		if d := editDistance(name, n); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; is %q meant?", best)
	}
	some := slices.Sorted(slices.Values(names))
	if len(some) > 12 {
		some = append(some[:12], "...")
	}
	return "; there is " + strings.Join(some, ", ")
}

// editDistance is that of Levenshtein (1966).
func editDistance(a, b string) int {
	if max(len(a), len(b)) > 2*NameLengthMax {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
