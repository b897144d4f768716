// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"encoding/hex"
	"path/filepath"

	"github.com/millrace-ml/millrace/featurestore/source"
)

// WriteOther writes the manifest of a training set that was not made by Build, such as one
// of logged vectors: m says all but the format and the hashes. Path is the file, which is whole
// already and has so many rows.
func (m *Manifest) WriteOther(ctx context.Context, path string, rows int64) error {
	sum, size, err := source.HashFile(ctx, path)
	if err != nil {
		return err
	}
	m.Format, m.Rows.Out = manifestFormat, rows
	m.Output = Output{Path: filepath.Base(path), Bytes: size, SHA256: hex.EncodeToString(sum[:]), Rows: rows}
	m.Hash = m.hash()
	return m.write(path + ManifestSuffix)
}

// WritePart writes the manifest of a file that has some of the rows of the training set
// that m is of, with all its columns. Name says which, such as "test"; path is the file,
// which is whole already.
func (m *Manifest) WritePart(ctx context.Context, path, name string, rows int64) (*Manifest, error) {
	sum, size, err := source.HashFile(ctx, path)
	if err != nil {
		return nil, err
	}
	part := *m
	part.PartOf, part.Part = m.Hash, name
	part.Rows = Rows{In: m.Rows.Out, Out: rows}
	if rows < m.Rows.Out {
		part.Rows.Dropped = map[string]int64{"not in the part " + name: m.Rows.Out - rows}
	}
	part.Output = Output{Path: filepath.Base(path), Bytes: size, SHA256: hex.EncodeToString(sum[:]), Rows: rows}
	part.Hash = part.hash()
	return &part, part.write(path + ManifestSuffix)
}
