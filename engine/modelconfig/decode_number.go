// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// The numbers of the formats. strconv alone takes more: underscores, a leading
// plus, binary, hexadecimal floats.
var (
	textInteger = regexp.MustCompile(`^-?(0|[1-9][0-9]*|0[0-7]+|0[xX][0-9a-fA-F]+)$`)
	textFloat   = regexp.MustCompile(`^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?[fF]?$`)
	jsonInteger = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	jsonFloat   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// integer fills an int32, int64, uint32 or uint64, checking its range.
func (d *decoder) integer(v reflect.Value, n node, name string) {
	text := n.text
	isInteger := n.kind == numberNode && textInteger.MatchString(text)
	if d.json {
		text = wholeNumber(text)
		isInteger = (n.kind == numberNode || n.kind == stringNode) && jsonInteger.MatchString(text)
	}
	if !isInteger {
		d.fail(n.offset, "%s takes a whole number, not %s", name, describe(n))
		return
	}
	bits := v.Type().Bits()
	if v.CanInt() {
		value, err := strconv.ParseInt(text, 0, bits)
		if err != nil {
			d.fail(n.offset, "%s is out of range: %s does not fit in %d bits with a sign", name, describe(n), bits)
		}
		v.SetInt(value)
		return
	}
	value, err := strconv.ParseUint(text, 0, bits)
	if err != nil {
		d.fail(n.offset, "%s is out of range: %s does not fit in %d bits without a sign", name, describe(n), bits)
	}
	v.SetUint(value)
}

// wholeNumber rewrites a JSON number such as 1e3 or 16.0 as an integer, and leaves
// every other text alone.
func wholeNumber(text string) string {
	const exactMax = 1 << 53
	if jsonInteger.MatchString(text) || !jsonFloat.MatchString(text) {
		return text
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value != math.Trunc(value) || math.Abs(value) > exactMax {
		return text
	}
	return strconv.FormatInt(int64(value), 10)
}

// float fills a float32 or float64.
func (d *decoder) float(v reflect.Value, n node, name string) {
	if value, ok := d.specialFloat(n); ok {
		v.SetFloat(value)
		return
	}
	text := n.text
	isFloat := n.kind == numberNode && textFloat.MatchString(text)
	if d.json {
		isFloat = (n.kind == numberNode || n.kind == stringNode) && jsonFloat.MatchString(text)
	} else {
		text = strings.TrimRight(text, "fF")
	}
	if !isFloat {
		d.fail(n.offset, "%s takes a number, not %s", name, describe(n))
		return
	}
	bits := v.Type().Bits()
	value, err := strconv.ParseFloat(text, bits)
	if err != nil {
		d.fail(n.offset, "%s is out of range: %s does not fit in a %d-bit float", name, describe(n), bits)
	}
	v.SetFloat(value)
}

// specialFloat reads infinities and NaN: words in text, strings in JSON.
func (d *decoder) specialFloat(n node) (value float64, ok bool) {
	if d.json {
		value, ok = map[string]float64{
			"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1),
		}[n.text]
		return value, ok && n.kind == stringNode
	}
	word, negative := strings.CutPrefix(strings.ToLower(n.text), "-")
	value, ok = map[string]float64{
		"nan": math.NaN(), "inf": math.Inf(1), "infinity": math.Inf(1),
	}[word]
	if negative {
		value = -value
	}
	return value, ok && n.kind == wordNode
}
