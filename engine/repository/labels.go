// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"bytes"
	"fmt"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// labelBytesMax bounds one label file.
const labelBytesMax = 16 << 20

// labels reads the label files that the outputs of a configuration name: one label
// a line, by index. The result has an entry for each output that has labels.
func (s *source) labels(c *modelconfig.Config) (map[string][]string, error) {
	var labels map[string][]string
	for _, out := range c.Output {
		if out.LabelFilename == "" {
			continue
		}
		lines, err := s.lines(out.LabelFilename)
		if err != nil {
			return nil, fmt.Errorf("%w: labels of output %q: %w", engine.ErrInvalidModel, out.Name, err)
		}
		if labels == nil {
			labels = make(map[string][]string)
		}
		labels[out.Name] = lines
	}
	return labels, nil
}

// lines reads a text file of the model's folder.
func (s *source) lines(name string) ([]string, error) {
	content, err := s.readFile(name, labelBytesMax)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range bytes.Lines(content) {
		lines = append(lines, string(bytes.TrimRight(line, "\r\n")))
	}
	return lines, nil
}
