// SPDX-License-Identifier: Apache-2.0

// Package text holds the operators of texts and the counts of words that exporters of
// text classifiers emit.
package text

import "github.com/millrace-ml/millrace/engine/native/op"

// Operators lists what this package runs.
func Operators() []op.Definition {
	return []op.Definition{
		{Name: "StringNormalizer", Since: 10, Build: buildNormalizer},
		{Name: "TfIdfVectorizer", Since: 9, Build: buildVectorizer},
	}
}
