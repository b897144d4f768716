// SPDX-License-Identifier: Apache-2.0

package text

import (
	"unicode"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// normalizer changes the case of texts, letter by letter and the same in every locale.
type normalizer struct{ change func(rune) rune }

func buildNormalizer(n *op.Node) (op.Operator, error) {
	// How many texts are left would depend on what they are.
	if len(n.Texts("stopwords")) > 0 {
		return nil, op.NotCovered("stop words")
	}
	o := &normalizer{}
	switch action := n.Text("case_change_action", "NONE"); action {
	case "NONE":
	case "LOWER":
		o.change = unicode.ToLower
	case "UPPER":
		o.change = unicode.ToUpper
	default:
		return nil, op.Invalid("case_change_action %q", action)
	}
	return o, n.Arity(1, 1, 1, 1)
}

func (o *normalizer) Infer(in, out []*op.Value) error {
	if in[0].Type != tensor.Bytes {
		return op.Invalid("input of type %s, want texts", in[0].Type)
	}
	if rank := in[0].Rank(); rank != 1 && (rank != 2 || in[0].Shape[0] != 1) {
		return op.Invalid("input of shape %v, want one row", in[0].Shape)
	}
	return out[0].Set(tensor.Bytes, in[0].Shape...)
}

func (o *normalizer) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	var letters []byte // of all texts, kept from run to run
	return func() error {
		if o.change == nil {
			copy(out[0].Strings, in[0].Strings)
			return nil
		}
		letters = letters[:0]
		for i, text := range in[0].Strings {
			first := len(letters)
			letters = o.appendChanged(letters, text)
			out[0].Strings[i] = letters[first:len(letters):len(letters)]
		}
		return nil
	}, nil
}

// appendChanged appends a text with its letters changed. What is no UTF-8 stays.
func (o *normalizer) appendChanged(letters, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			letters = append(letters, text[0])
		} else {
			letters = utf8.AppendRune(letters, o.change(r))
		}
		text = text[size:]
	}
	return letters
}
