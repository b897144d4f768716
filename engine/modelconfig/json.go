// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// ParseJSON reads a configuration in the protobuf JSON mapping: names in
// snake_case or lowerCamelCase, whole numbers bare or in quotes, enums by name or
// number. Errors wrap ErrInvalidConfig and begin with line:column.
func ParseJSON(data []byte) (*Config, error) {
	if err := checkSource(data); err != nil {
		return nil, err
	}
	p := jsonParser{source: source{data: data}, tokens: json.NewDecoder(bytes.NewReader(data))}
	p.tokens.UseNumber()
	root, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if rest := p.skip(jsonSpace); rest < len(data) {
		return nil, p.errorf(rest, "text goes on after the configuration")
	}
	return decode(&p.source, root, jsonRules)
}

// jsonParser makes nodes of the standard library's tokens.
type jsonParser struct {
	source
	tokens *json.Decoder
}

const jsonSpace = " \t\r\n"

// start is where the next token begins.
func (p *jsonParser) start() int { return p.skip(jsonSpace + ",:") }

// skip is the offset of the first byte after the last token that is not among
// those given.
func (p *jsonParser) skip(bytesSkipped string) int {
	rest := p.data[p.tokens.InputOffset():]
	return len(p.data) - len(bytes.TrimLeft(rest, bytesSkipped))
}

func (p *jsonParser) token() (json.Token, error) {
	start := p.start()
	token, err := p.tokens.Token()
	if err == nil {
		return token, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.errorf(len(p.data), "JSON text ends early")
	}
	return nil, p.errorf(start, "not valid JSON: %v", err)
}

func (p *jsonParser) value(depth int) (node, error) {
	n := node{offset: p.start()}
	if err := p.enter(n.offset, depth); err != nil {
		return n, err
	}
	token, err := p.token()
	if err != nil {
		return n, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			n.kind = messageNode
			n.fields, err = p.object(depth)
		} else {
			n.kind = listNode
			n.items, err = p.array(depth)
		}
	case string:
		n.kind, n.text = stringNode, t
	case json.Number:
		n.kind, n.text = numberNode, t.String()
	case bool:
		n.kind, n.text = wordNode, "false"
		if t {
			n.text = "true"
		}
	default:
		n.kind, n.text = wordNode, "null"
	}
	return n, err
}

func (p *jsonParser) object(depth int) ([]fieldNode, error) {
	var fields []fieldNode
	for p.tokens.More() {
		field := fieldNode{offset: p.start()}
		name, err := p.token()
		if err != nil {
			return nil, err
		}
		field.name, _ = name.(string) // the tokenizer takes nothing else here
		if field.value, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		fields = append(fields, field)
	}
	_, err := p.token()
	return fields, err
}

func (p *jsonParser) array(depth int) ([]node, error) {
	var items []node
	for p.tokens.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := p.token()
	return items, err
}
