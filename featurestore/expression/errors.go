// SPDX-License-Identifier: Apache-2.0

package expression

import "fmt"

// Error says what is wrong with an expression, and where.
type Error struct {
	// Offset counts the characters before the place, from 0.
	Offset int
	// Message says what is wrong and what would be right.
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("character %d: %s", e.Offset+1, e.Message) }

// errorAt makes an error about a place.
func errorAt(offset int, format string, args ...any) *Error {
	return &Error{Offset: offset, Message: fmt.Sprintf(format, args...)}
}

// Closest returns the name that a mistyped one is nearest to, "" if none is near: at most
// a third of its letters differ.
func Closest(name string, known []string) string {
	best, distance := "", (len(name)+1)/3
	if len(name) > closestMax {
		return ""
	}
	for _, k := range known {
		if len(k) > closestMax {
			continue
		}
		if d := editDistance(name, k); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// closestMax bounds the names that are compared.
const closestMax = 128

// editDistance is the number of letters to put in, leave out, change or swap with the
// next to make b of a (optimal string alignment).
func editDistance(a, b string) int {
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(last[j]+cost, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}

// suggest is the end of a message about an unknown name.
func suggest(name string, known []string) string {
	if c := Closest(name, known); c != "" {
		return fmt.Sprintf("; did you mean %s?", c)
	}
	return ""
}
