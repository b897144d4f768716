// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a filter.
const (
	filterBytesMax = 4096
	filterTermsMax = 64
	filterDepthMax = 32
)

// Filter is a condition on runs that was read.
type Filter struct {
	sql    string
	values []any
}

// ParseFilter reads a condition such as
//
//	metrics.roc_auc > 0.8 and (params.max_depth = 6 or tags.team in ("risk", "growth"))
//
// It compares metrics.NAME, params.NAME, tags.NAME or experiment, name, status, method,
// parent, id, seed, data_hash, git_commit with a number, a text in quotes, true or false, by
// = != < <= > >= or in (...). A name with other signs than letters, digits and _ . @ / : - is
// written in backquotes, such as metrics.`f1 (macro)`. Conditions are joined by and, or, not
// and brackets. A comparison with what a run lacks is false, != included. Errors wrap
// ErrQuery and say where.
func ParseFilter(text string) (*Filter, error) {
	if len(text) > filterBytesMax {
		return nil, fmt.Errorf("%w: the filter has %d bytes; at most %d", ErrQuery, len(text), filterBytesMax)
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, fmt.Errorf("%w: the filter is not UTF-8 text", ErrQuery)
	}
	p := &filterParser{text: text}
	err := p.next()
	if err == nil {
		err = p.or(0)
	}
	if err == nil && p.kind != tokenEnd {
		err = p.unexpected("and, or, or the end")
	}
	if err != nil {
		return nil, err
	}
	return &Filter{p.sql.String(), p.values}, nil
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenNumber
	tokenText
	tokenSign
)

// filterParser reads a filter by recursive descent and writes its SQL meanwhile.
type filterParser struct {
	text  string
	at    int // behind the current token
	start int // of the current token
	kind  tokenKind
	token string // without quotes
	// backquoted names are no keywords.
	backquoted bool
	sql        strings.Builder
	values     []any
	terms      int
}

func (p *filterParser) fault(format string, values ...any) error {
	return fmt.Errorf("%w: column %d of %q: %s", ErrQuery, p.start+1, p.text, fmt.Sprintf(format, values...))
}

func (p *filterParser) unexpected(wanted string) error {
	if p.kind == tokenEnd {
		return p.fault("it ends where %s is expected", wanted)
	}
	return p.fault("%q where %s is expected", p.token, wanted)
}

func nameByte(c byte) bool {
	return c == '_' || c == '.' || c == '@' || c == '/' || c == ':' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= utf8.RuneSelf
}

// next reads a token.
func (p *filterParser) next() error {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	p.start, p.backquoted = p.at, false
	if p.at == len(p.text) {
		p.kind, p.token = tokenEnd, ""
		return nil
	}
	c := p.text[p.at]
	switch {
	case c == '"' || c == '\'':
		return p.quoted(c)
	case '0' <= c && c <= '9' || (c == '-' || c == '+' || c == '.') && p.at+1 < len(p.text) && strings.IndexByte("0123456789.", p.text[p.at+1]) >= 0:
		p.kind = tokenNumber
		p.take(func(c byte) bool { return nameByte(c) || c == '+' })
	case nameByte(c):
		p.kind = tokenName
		p.take(nameByte)
		if strings.HasSuffix(p.token, ".") && p.at < len(p.text) && p.text[p.at] == '`' {
			return p.backquote()
		}
	default:
		p.kind = tokenSign
		p.token = p.text[p.at : p.at+1]
		if two := p.text[p.at:min(p.at+2, len(p.text))]; slices.Contains([]string{"<=", ">=", "!=", "==", "<>"}, two) {
			p.token = two
		}
		p.at += len(p.token)
	}
	return nil
}

func (p *filterParser) take(is func(byte) bool) {
	for p.at < len(p.text) && is(p.text[p.at]) {
		p.at++
	}
	p.token = p.text[p.start:p.at]
}

// quoted reads a text in quotes; a quote within it is doubled.
func (p *filterParser) quoted(quote byte) error {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		if p.text[i] != quote {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		p.kind, p.token, p.at = tokenText, b.String(), i+1
		return nil
	}
	return p.fault("the quote is not closed")
}

func (p *filterParser) backquote() error {
	end := strings.IndexByte(p.text[p.at+1:], '`')
	if end < 0 {
		return p.fault("the backquote is not closed")
	}
	p.token += p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	p.backquoted = true
	return nil
}

// word reports whether the token is that keyword.
func (p *filterParser) word(keyword string) bool {
	return p.kind == tokenName && !p.backquoted && strings.EqualFold(p.token, keyword)
}

func (p *filterParser) sign(sign string) bool { return p.kind == tokenSign && p.token == sign }

func (p *filterParser) or(depth int) error  { return p.joined(depth, "or", p.and) }
func (p *filterParser) and(depth int) error { return p.joined(depth, "and", p.not) }

func (p *filterParser) joined(depth int, keyword string, part func(int) error) error {
	p.sql.WriteByte('(')
	for {
		if err := part(depth); err != nil {
			return err
		}
		if !p.word(keyword) {
			p.sql.WriteByte(')')
			return nil
		}
		p.sql.WriteString(" " + strings.ToUpper(keyword) + " ")
		if err := p.next(); err != nil {
			return err
		}
	}
}

func (p *filterParser) not(depth int) error {
	if depth > filterDepthMax {
		return p.fault("more than %d brackets deep", filterDepthMax)
	}
	switch {
	case p.word("not"):
		p.sql.WriteString("NOT ")
		if err := p.next(); err != nil {
			return err
		}
		return p.not(depth + 1)
	case p.sign("("):
		if err := p.next(); err != nil {
			return err
		}
		if err := p.or(depth + 1); err != nil {
			return err
		}
		if !p.sign(")") {
			return p.unexpected("a closing bracket")
		}
		return p.next()
	}
	return p.comparison()
}

// columnsOf are the fields of a run that filters know; true ones are numbers.
var columnsOf = map[string]bool{"experiment": false, "name": false, "status": false, "method": false, "parent": false, "id": false, "seed": true, "data_hash": false, "git_commit": false}

// factName is the name of a fact for metrics.X, params.X, parameters.X, tags.X.
func factName(field string) (string, bool) {
	kind, name, ok := strings.Cut(field, ".")
	if kind == "parameters" {
		kind = "params"
	}
	if !ok || name == "" || kind != "metrics" && kind != "params" && kind != "tags" {
		return "", false
	}
	return kind + "." + name, true
}

func (p *filterParser) comparison() error {
	if p.terms++; p.terms > filterTermsMax {
		return p.fault("more than %d comparisons", filterTermsMax)
	}
	if p.kind != tokenName {
		return p.unexpected("metrics.NAME, params.NAME, tags.NAME or a field of the run")
	}
	field := p.token
	name, isFact := factName(field)
	numeric, isColumn := columnsOf[field]
	if !isFact && !isColumn {
		return p.fault("no field %q; there are metrics.NAME, params.NAME, tags.NAME, experiment, name, status, method, parent, id, seed, data_hash, git_commit", field)
	}
	if err := p.next(); err != nil {
		return err
	}
	operator, values, err := p.operation()
	if err != nil {
		return err
	}
	texts := strings.HasPrefix(name, "tags.")
	_, firstIsNumber := values[0].(float64)
	for _, v := range values {
		_, isNumber := v.(float64)
		if isColumn && isNumber != numeric || texts && isNumber || strings.HasPrefix(name, "metrics.") && !isNumber {
			return p.fault("%s is compared with a value of another kind: numbers have no quotes, texts have them", field)
		}
		if isNumber != firstIsNumber {
			return p.fault("numbers and texts in one list")
		}
	}
	marks := "?" + strings.Repeat(", ?", len(values)-1)
	if operator == "IN" {
		marks = "(" + marks + ")"
	}
	if isColumn {
		column := "r." + field
		if numeric { // else PostgreSQL refuses a fraction
			column = "CAST(" + column + " AS DOUBLE PRECISION)"
		}
		fmt.Fprintf(&p.sql, "%s %s %s", column, operator, marks)
	} else {
		side := "text"
		if firstIsNumber {
			side = "number"
		}
		fmt.Fprintf(&p.sql, "r.n IN (SELECT run FROM facts WHERE name = ? AND %s %s %s)", side, operator, marks)
		p.values = append(p.values, name)
	}
	p.values = append(p.values, values...)
	return nil
}

// operation reads the sign and what is compared with.
func (p *filterParser) operation() (operator string, values []any, err error) {
	if p.word("in") {
		values, err = p.list()
		return "IN", values, err
	}
	operator = map[string]string{"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}[p.token]
	if p.kind != tokenSign || operator == "" {
		return "", nil, p.unexpected("one of = != < <= > >= in")
	}
	if err := p.next(); err != nil {
		return "", nil, err
	}
	value, err := p.literal()
	return operator, []any{value}, err
}

func (p *filterParser) list() (values []any, err error) {
	if err := p.next(); err != nil {
		return nil, err
	}
	if !p.sign("(") {
		return nil, p.unexpected("an opening bracket")
	}
	for {
		if err := p.next(); err != nil {
			return nil, err
		}
		value, err := p.literal()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		if p.sign(")") {
			return values, p.next()
		}
		if !p.sign(",") {
			return nil, p.unexpected("a comma or a closing bracket")
		}
	}
}

func (p *filterParser) literal() (value any, err error) {
	switch {
	case p.kind == tokenText:
		value = p.token
	case p.word("true"), p.word("false"):
		value = strings.ToLower(p.token)
	case p.kind == tokenNumber:
		number, err := strconv.ParseFloat(p.token, 64)
		if err != nil || !finite(number) {
			return nil, p.fault("%q is not a number", p.token)
		}
		value = number
	default:
		return nil, p.unexpected("a number, a text in quotes, true or false")
	}
	return value, p.next()
}
